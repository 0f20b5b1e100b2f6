"""One circuit, on a clock of its own."""

from __future__ import annotations

import subprocess
import sys
import warnings
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from sidecar.exchange import BAD, GOOD, NEUTRAL
from sidecar.policy.breaker import Circuit, Refusal
from sidecar.policy.machine import CLOSED, HALF_OPEN, OPEN, STATES, Machine
from sidecar.settings import Breaker

VERDICTS = {"good": GOOD, "bad": BAD, "neutral": NEUTRAL}
START = 1000.0


class Bench:
    """A circuit, its clock, and what was reported of it. `chance` is what `random()` gives."""

    def __init__(self, chance: float = 0.0, **knobs: Any) -> None:
        self.now = START
        self.chance = chance
        self.moves: list[tuple[str, str, str]] = []
        self.tickets: dict[str, int] = {}
        self.circuit = Circuit("/a", Breaker(**knobs), self.now, self._moved, lambda: self.chance)

    def _moved(self, name: str, old: str, new: str, why: str) -> None:
        assert name == "/a"
        assert old == (self.moves[-1][1] if self.moves else "closed")
        self.moves.append((old, new, why))

    @property
    def state(self) -> str:
        """Ours, which is aiobreaker's."""
        state = STATES[self.circuit.state]
        assert state == (self.moves[-1][1] if self.moves else "closed")
        return state

    def ask(self) -> int:
        """A ticket; it must be admitted."""
        ticket = self.circuit.admit(self.now)
        assert not isinstance(ticket, Refusal)
        return ticket

    def refused(self) -> Refusal:
        """A refusal; it must not be admitted."""
        refusal = self.circuit.admit(self.now)
        assert isinstance(refusal, Refusal)
        return refusal

    def try_(self, verdict: str, times: int = 1) -> None:
        """Attempts that are admitted, and end so at once."""
        for _ in range(times):
            self.circuit.settle(self.ask(), verdict, self.now)

    def step(self, step: str) -> None:
        """One word of a script, see `play`."""
        name, _, more = step.partition("*")
        if name in VERDICTS:
            self.try_(VERDICTS[name], int(more or 1))
        elif name in STATES:
            assert self.state == name
        elif name[0] == "+":
            self.now += float(name[1:])
        elif name == "refused":
            self.refused()
        elif name.startswith("ask:"):
            self.tickets[name[4:]] = self.ask()
        elif "=" in name:
            who, _, verdict = name.partition("=")
            self.circuit.settle(self.tickets[who], VERDICTS[verdict], self.now)
        else:
            getattr(self.circuit, name)(self.now)

    def play(self, script: str) -> Bench:
        """A script: attempts (`bad*5`), states to be in, pauses (`+30`), `ask:x … x=good`, or a method's name."""
        for step in script.split():
            self.step(step)
        return self


@pytest.mark.parametrize(
    ("knobs", "script"),
    [
        # closed: in a row
        ({}, "bad*4 closed bad open refused"),
        ({}, "bad*4 good bad*4 closed"),
        ({}, "bad*4 neutral closed bad open"),
        ({}, "bad*4 +3600 bad open"),
        ({"failures": 1}, "bad open"),
        ({"failures": 0}, "bad*19 closed"),
        # closed: share of the window
        ({"failures": 0}, "good*10 bad*9 closed bad open"),
        ({"failures": 0}, "good*11 bad*10 closed bad open"),
        ({"failures": 0}, "bad*10 good*10 closed bad open"),
        ({"failures": 0}, "bad*19 neutral*5 closed bad open"),
        ({"failures": 0}, "bad*10 +11 bad*19 closed bad open"),
        ({"failures": 0}, "bad*10 +5 bad*9 closed bad open"),
        ({"failures": 0}, "bad*10 +6 bad*9 +4 closed bad*10 closed bad open"),
        ({"failures": 0, "ratio": 1.0}, "good bad*100 closed +11 bad*20 open"),
        ({"failures": 0, "requests": 1}, "bad open"),
        ({"failures": 0, "ratio": 0.0}, "bad*1000 closed"),
        # open
        ({}, "bad*5 open +29.9 refused open +0.1 ask:a half_open"),
        ({}, "bad*5 +3600 open"),
        ({"open_for": 0.5}, "bad*5 +0.4 refused +0.1 ask:a half_open"),
        # half-open
        ({}, "bad*5 +30 ask:a refused refused a=good closed good*100 closed"),
        ({}, "bad*5 +30 ask:a refused a=bad open refused +29.9 refused +0.1 ask:b half_open b=good closed"),
        ({}, "bad*5 +30 ask:a a=neutral half_open ask:b refused b=good closed"),
        ({}, "bad*5 +30 ask:a +29.9 refused half_open a=good closed"),
        # a probe that does not come back is followed by another, and whichever does come back decides
        ({}, "bad*5 +30 ask:a +30 ask:b refused +29.9 refused +0.1 ask:c refused a=good closed b=bad c=bad closed"),
        ({}, "bad*5 +30 ask:a +30 ask:b b=bad open a=good open +30 good closed"),
        ({}, "bad*5 +30 ask:a +30 ask:b a=neutral refused b=neutral half_open good closed"),
        ({}, "bad*5 +30 good bad*4 closed bad open"),
        ({"failures": 0}, "bad*20 +30 good closed bad*18 closed"),
        # stale outcomes
        ({}, "ask:old bad*5 old=good open"),
        ({}, "ask:old bad*5 +29 old=bad +1 ask:a half_open"),
        ({}, "ask:old bad*5 +30 ask:a old=good half_open old=bad half_open refused a=good closed"),
        ({}, "ask:old bad*5 +30 good bad*4 old=bad closed old=good bad open"),
        ({}, "bad*5 +30 ask:a a=neutral a=good half_open ask:b a=good a=bad a=neutral half_open refused"),
        ({}, "bad*5 +30 ask:a a=bad +30 ask:b a=good half_open refused b=good closed"),
        # an active probe
        ({}, "bad*5 +1 refused prove_up half_open ask:a refused a=good closed"),
        ({}, "prove_up closed bad*4 prove_up bad open"),
        ({}, "bad*5 +30 ask:a prove_up half_open refused a=good closed"),
        # by hand
        ({}, "force_open open refused +3600 refused prove_up open force_open force_close closed good"),
        ({}, "ask:old force_open old=good open force_close old=bad closed"),
        ({}, "bad*5 force_open +30 refused force_close closed bad*4 closed bad open +30 good closed"),
        ({}, "bad*5 force_close closed good"),
        ({}, "bad*4 force_close bad*4 closed bad open"),
        ({"failures": 0}, "bad*19 force_close bad*19 closed"),
        ({}, "bad*5 +30 ask:a force_close closed a=bad bad*4 closed"),
        ({}, "bad*5 +30 ask:a force_open a=good open"),
    ],
    ids=lambda value: value if isinstance(value, str) else ",".join(f"{key}={knob}" for key, knob in value.items()),
)
def test_the_states(knobs: dict[str, Any], script: str) -> None:
    """What opens it, whom it admits then, what closes it, and what changes nothing."""
    Bench(**knobs).play(script)


@pytest.mark.parametrize(("chance", "seconds"), [(0.0, 30.0), (0.5, 33.0), (0.999, 35.994)])
def test_the_time_open_is_jittered(chance: float, seconds: float) -> None:
    """By a fifth on top, and anew at each opening."""
    bench = Bench(1.0 - chance).play("bad*5 +36 ask:a")
    bench.chance = chance
    bench.play("a=bad")

    assert bench.refused().retry_after == pytest.approx(seconds)
    bench.now += seconds - 0.01
    assert bench.refused().retry_after == 1.0
    bench.now += 0.01
    bench.ask()


def test_a_refusal_says_what_was_and_when_to_come_again() -> None:
    """In a sentence and in numbers; never sooner than in a second."""
    bench = Bench().play("bad*5 +12.5")
    refusal = bench.refused()

    assert refusal.facts == {"circuit": "/a", "state": "open", "since": 12.5, "failures": 5}
    assert refusal.detail == "circuit /a has been open for 12.5 s: 5 failures in a row"
    assert refusal.retry_after == pytest.approx(17.5)
    bench.play("+17.5 ask:a +2")
    assert bench.refused().detail == "circuit /a has been half-open for 2.0 s: time to try again"
    assert bench.refused().retry_after == 1.0
    bench.play("a=bad")
    assert bench.refused().failures == 6


def test_what_is_open_by_hand_has_no_time_set() -> None:
    """A client that asks is told the usual one."""
    bench = Bench(open_for=20.0).play("force_open +100")

    assert bench.refused().retry_after == 20.0
    assert bench.refused().why == "opened by hand"
    assert bench.circuit.status(bench.now)["seconds_to_half_open"] is None


def test_transitions_are_reported_with_their_cause() -> None:
    """Once each, in their order."""
    bench = Bench().play("bad*5 +30 bad +30 good force_open force_open force_close force_close bad*5 prove_up prove_up")

    assert bench.moves == [
        ("closed", "open", "5 failures in a row"),
        ("open", "half_open", "time to try again"),
        ("half_open", "open", "its probe failed"),
        ("open", "half_open", "time to try again"),
        ("half_open", "closed", "its probe succeeded"),
        ("closed", "open", "opened by hand"),
        ("open", "closed", "closed by hand"),
        ("closed", "open", "5 failures in a row"),
        ("open", "half_open", "the upstream was seen to be up"),
    ]


def test_the_share_of_failures_is_a_cause_too() -> None:
    """With its numbers."""
    assert Bench(failures=0).play("good*10 bad*10 open").circuit.why == "10 of 20 attempts failed in 10 s"


def admitted(bench: Bench, times: int) -> int:
    """How many of so many, asking at once, are admitted."""
    return sum(not isinstance(bench.circuit.admit(bench.now), Refusal) for _ in range(times))


def test_after_a_ramp_has_begun_more_and_more_are_admitted() -> None:
    """In equal steps and not by chance, the first at once; when it is over, all."""
    bench = Bench(ramp=10.0).play("bad*5 +30 ask:a a=good closed")

    assert not isinstance(bench.circuit.admit(bench.now), Refusal)
    shares = []
    for _ in range(10):
        shares.append(admitted(bench, 100))
        bench.now += 1.0
    assert shares == pytest.approx([10, 10, 20, 30, 40, 50, 60, 70, 80, 90], abs=1)
    assert admitted(bench, 100) == 100
    assert not bench.circuit.guarded


def test_a_ramp_refuses_in_its_own_words() -> None:
    """The circuit is closed, so it cannot be called open."""
    bench = Bench(ramp=10.0).play("bad*5 +30 good ask:a +1")
    refusal = bench.refused()

    assert refusal.detail == "circuit /a closed 1.0 s ago and admits only a share of the requests yet"
    assert (refusal.state, refusal.retry_after) == ("closed", 1.0)


def test_a_ramp_ends_when_it_fails_again() -> None:
    """Then it is open, and the next ramp begins at its beginning."""
    bench = Bench(ramp=10.0).play("bad*5 +30 good +9.9")
    tickets = [bench.ask() for _ in range(5)]
    for ticket in tickets:
        bench.circuit.settle(ticket, BAD, bench.now)
    bench.play("open +30 good closed ask:a refused")


def test_without_a_ramp_all_are_admitted_at_once() -> None:
    """The default."""
    bench = Bench().play("bad*5 +30 good")

    assert admitted(bench, 100) == 100


def test_equal_settings_change_nothing() -> None:
    """Nor does their mode, which is not the circuit's matter."""
    bench = Bench().play("bad*4")
    bench.circuit.change(Breaker(mode="shadow"), bench.now)
    assert bench.circuit.settings.mode == "shadow"
    bench.play("bad open")
    bench.circuit.change(Breaker(), bench.now)
    bench.play("+29 refused open +1 good closed")


def test_other_settings_begin_anew() -> None:
    """Closed, with nothing counted, and what is in flight is stale; only what a hand opened stays."""
    bench = Bench().play("ask:old bad*5")
    bench.circuit.change(Breaker(failures=3), bench.now)
    assert bench.moves[-1] == ("open", "closed", "its settings changed")
    bench.play("bad*2 old=bad closed bad open force_open")
    bench.circuit.change(Breaker(failures=2), bench.now)
    bench.play("+3600 refused open force_close bad closed bad open")


def test_the_live_state_is_all_there() -> None:
    """Ready for JSON."""
    bench = Bench().play("good*3 bad*5 +10")

    assert bench.circuit.status(bench.now) == {
        "state": "open",
        "mode": "enforce",
        "manual": False,
        "why": "5 failures in a row",
        "for_seconds": 10.0,
        "failures_in_a_row": 5,
        "window": {"seconds": 10.0, "attempts": 0, "failures": 0},
        "seconds_to_half_open": 20.0,
        "probing": False,
        "generation": 1,
    }
    assert repr(bench.circuit) == "<Circuit /a open, 5 failures, #1>"
    assert repr(bench.play("force_open").circuit) == "<Circuit /a open by hand, 5 failures, #1>"


# ── aiobreaker


def test_the_machine_goes_where_it_is_told() -> None:
    """And its listener hears of it."""
    heard: list[tuple[str, str]] = []
    machine = Machine("x", lambda old, new: heard.append((old, new)))
    states = [machine.state]
    for state in (OPEN, HALF_OPEN, OPEN, HALF_OPEN, CLOSED):
        machine.move(state)
        states.append(machine.state)

    assert states == ["closed", "open", "half_open", "open", "half_open", "closed"]
    assert heard == list(pairwise(states))
    assert repr(machine) == "<Machine x closed>"


@pytest.mark.parametrize("year", [1971, 2099])
def test_the_wall_clock_may_jump(monkeypatch: pytest.MonkeyPatch, year: int) -> None:
    """The time open is of the monotonic clock; aiobreaker's own notes of time, deprecated besides, are not read."""

    class Jumping(datetime):
        @classmethod
        def utcnow(cls) -> Jumping:
            warnings.warn("datetime.datetime.utcnow() is deprecated", DeprecationWarning, stacklevel=2)
            return cls(year, 1, 1, tzinfo=UTC)

    monkeypatch.setattr("aiobreaker.circuitbreaker.datetime", Jumping)
    monkeypatch.setattr("aiobreaker.state.datetime", Jumping)

    Bench().play("bad*5 open +29.9 refused +0.1 good closed")


def test_the_library_does_not_bring_redis_along() -> None:
    """Where redis is installed it would be loaded for nothing; where it was loaded before, it stays."""
    code = (
        "import sys\n"
        "import sidecar.policy.machine\n"
        "assert 'redis' not in sys.modules and 'redis.exceptions' not in sys.modules\n"
        "import redis.exceptions\n"
        "kept = sys.modules['redis.exceptions']\n"
        "del sys.modules['sidecar.policy.machine']\n"
        "import sidecar.policy.machine\n"
        "assert sys.modules['redis.exceptions'] is kept\n"
    )
    subprocess.run([sys.executable, "-c", code], timeout=30, check=True)


# ── any order of events


class Model(RuleBasedStateMachine):
    """A circuit beside what it should be, in the plainest words. Three failures in a row, 10 s, no jitter."""

    @initialize()
    def begin(self) -> None:
        """A new circuit."""
        self.bench = Bench(failures=3, ratio=0.0, open_for=10.0)
        self.state = "closed"
        self.row = 0
        self.half_opens = 0.0
        self.next_probe = 0.0
        self.by_hand = False
        self.current: set[int] = set()  # attempts that count, by their number here
        self.out: dict[int, int] = {}  # all attempts in flight: number here, ticket
        self.number = 0

    def enter(self, state: str) -> None:
        """Go to another state: nothing that is in flight counts any more."""
        self.state = state
        self.current.clear()

    @rule()
    def ask(self) -> None:
        """Somebody asks."""
        now = self.bench.now
        if self.state == "open" and not self.by_hand and now >= self.half_opens:
            self.enter("half_open")
        late = now >= self.next_probe
        should = self.state == "closed" or (self.state == "half_open" and (late or not self.current))
        answer = self.bench.circuit.admit(now)
        assert isinstance(answer, Refusal) is not should
        if not isinstance(answer, Refusal):
            self.next_probe = now + 10.0
            self.number += 1
            self.out[self.number] = answer
            self.current.add(self.number)

    @precondition(lambda self: self.out)
    @rule(data=st.data(), verdict=st.sampled_from([GOOD, BAD, BAD, NEUTRAL]), twice=st.booleans())
    def settle(self, data: st.DataObject, verdict: str, twice: bool) -> None:
        """An attempt ends, maybe one from long ago. To settle a probe twice changes nothing."""
        number = data.draw(st.sampled_from(sorted(self.out)))
        ticket = self.out.pop(number)
        probe = self.state == "half_open"
        self.bench.circuit.settle(ticket, verdict, self.bench.now)
        if number in self.current:
            self.current.remove(number)
            self.count(verdict)
            if probe and twice:
                self.bench.circuit.settle(ticket, GOOD, self.bench.now)

    def count(self, verdict: str) -> None:
        """What an attempt that counts does."""
        if verdict == GOOD:
            self.row = 0
            if self.state == "half_open":
                self.enter("closed")
        elif verdict == BAD:
            self.row += 1
            if self.state == "half_open" or self.row >= 3:
                self.enter("open")
                self.half_opens = self.bench.now + 10.0

    @rule(seconds=st.sampled_from([0.1, 5.0, 10.0]))
    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.bench.now += seconds

    @rule()
    def prove_up(self) -> None:
        """An active probe succeeded."""
        self.bench.circuit.prove_up(self.bench.now)
        if self.state == "open" and not self.by_hand:
            self.enter("half_open")

    @rule()
    def open_by_hand(self) -> None:
        """Somebody opens it."""
        self.bench.circuit.force_open(self.bench.now)
        self.by_hand = True
        if self.state != "open":
            self.enter("open")

    @rule()
    def close_by_hand(self) -> None:
        """Somebody closes it."""
        self.bench.circuit.force_close(self.bench.now)
        self.by_hand = False
        self.row = 0
        if self.state != "closed":
            self.enter("closed")

    @invariant()
    def agrees(self) -> None:
        """Ours, aiobreaker's and the model's are one; no failure is lost."""
        circuit = self.bench.circuit
        assert self.bench.state == self.state
        assert circuit.failures == self.row
        assert circuit.manual is self.by_hand
        assert circuit.guarded is (self.state != "closed")
        assert circuit.probing is (self.state == "half_open" and bool(self.current))
        assert self.state != "open" or not self.current

    def teardown(self) -> None:
        """When all have been settled no permit is left."""
        if hasattr(self, "bench"):
            for ticket in self.out.values():
                self.bench.circuit.settle(ticket, NEUTRAL, self.bench.now)
            assert not self.bench.circuit.probing


TestModel = Model.TestCase
TestModel.settings = hypothesis_settings(max_examples=100, stateful_step_count=60, deadline=None)
