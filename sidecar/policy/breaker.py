"""One circuit: when it opens, whom it admits, what closes it again.

    closed ──failures in a row, or a share of the window──▶ open
    open ──its time is over, or the upstream is proved up──▶ half-open
    half-open ──the probe succeeded──▶ closed        half-open ──the probe failed──▶ open

Two steps: `admit` gives a ticket, `settle` takes it back with what the attempt said of the upstream. A ticket is the
circuit's generation, which each transition ends: what began before the last transition changes nothing any more. Half
open there is one ticket at a time; and one more where that has been out for as long as the circuit is open otherwise,
as an upload whose client dawdles would else keep everybody out.

A pure decision: clock and chance are arguments. What an outcome means, and for which circuit, is `circuits.py`'s.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Final, NamedTuple

from msgspec.structs import replace

from sidecar.exchange import BAD, GOOD
from sidecar.policy.machine import CLOSED, HALF_OPEN, OPEN, STATES, Machine
from sidecar.policy.window import Window
from sidecar.settings.policies import Breaker

# Circuits that opened in the same moment, here and in other replicas, must not all probe in the same moment.
_JITTER: Final = 0.2

# While a probe or a ramp goes on, nobody knows when it will be one's turn.
_SOON: Final = 1.0  # seconds

# What a ramp admits at the least: with less, a quiet service would never learn that it is well.
_LEAST_SHARE: Final = 0.1

# circuit, from, to, why
Transition = Callable[[str, str, str, str], None]


class Refusal(NamedTuple):
    """Not now. `since` is how long the state has lasted, `retry_after` when to ask again, both in seconds.

    `failures` is how many there were in a row. Without `enforced` it is what would have been said.
    """

    circuit: str
    state: str
    why: str
    since: float
    failures: int
    retry_after: float
    enforced: bool = True

    @property
    def detail(self) -> str:
        """One sentence for the client."""
        if self.state == STATES[CLOSED]:
            return f"circuit {self.circuit} closed {self.since:.1f} s ago and admits only a share of the requests yet"
        return f"circuit {self.circuit} has been {self.state.replace('_', '-')} for {self.since:.1f} s: {self.why}"

    @property
    def facts(self) -> dict[str, object]:
        """The numbers that decided."""
        return {
            "circuit": self.circuit,
            "state": self.state,
            "since": round(self.since, 3),
            "failures": self.failures,
        }


class Circuit:
    """One circuit. `on_transition(name, from, to, why)` hears of each transition and must not raise.

    `random()` is in [0, 1). All times are seconds of one monotonic clock.
    """

    __slots__ = (
        "_credit",
        "_half_opens",
        "_machine",
        "_next_probe",
        "_on_transition",
        "_probes",
        "_random",
        "_window",
        "failures",
        "generation",
        "guarded",
        "manual",
        "name",
        "settings",
        "since",
        "state",
        "why",
    )

    def __init__(
        self, name: str, settings: Breaker, now: float, on_transition: Transition, random: Callable[[], float]
    ) -> None:
        self.name = name
        self.settings = settings
        self.state = CLOSED  # the machine's, as a number for the hot path; `_move` changes both
        self.guarded = False  # while it is not, everybody is admitted
        self.generation = 0
        self.failures = 0  # in a row
        self.manual = False  # opened by hand, and so only closed by hand
        self.since = now  # when the state was entered
        self.why = ""  # … and because of what
        self._half_opens = inf
        self._probes: set[int] = set()  # tickets of those on their way: one, as a rule
        self._next_probe = inf  # when to try another, though they have not come back
        self._credit = 0.0  # of a ramp: what is due to those who ask
        self._window = Window(settings.window)
        self._on_transition = on_transition
        self._random = random
        self._machine = Machine(name, self._moved)

    # ── ask, then report

    def admit(self, now: float) -> int | Refusal:
        """A ticket for one attempt, which is to be settled; or why not."""
        if self.guarded:
            if self.state == OPEN and now >= self._half_opens:
                self._move(HALF_OPEN, "time to try again", now)
            if self.state == HALF_OPEN and (not self._probes or now >= self._next_probe):
                self.generation += 1
                self._probes.add(self.generation)
                self._next_probe = now + self.settings.open_for
            elif self.state != CLOSED or not self._ramp_admits(now):
                return self._refuse(now)
        return self.generation

    def settle(self, ticket: int, verdict: str, now: float) -> None:
        """How the attempt of this ticket ended: GOOD, BAD or NEUTRAL. A stale ticket does not count.

        A probe that says nothing gives its place to the next who asks.
        """
        if self.state != CLOSED:
            if ticket in self._probes:
                self._probes.remove(ticket)
                self._probed(verdict, now)
        elif ticket == self.generation:
            if verdict == GOOD:
                self.failures = 0
                self._window.passed(now)
            elif verdict == BAD:
                self.failures += 1
                self._window.failed(now)
                self._judge(now)

    def _judge(self, now: float) -> None:
        """Open if a failure was one too many."""
        settings = self.settings
        attempts, failed = self._window.counts(now)
        if 0 < settings.failures <= self.failures:
            self._open(f"{self.failures} failures in a row", now)
        elif settings.ratio and attempts >= settings.requests and failed >= settings.ratio * attempts:
            self._open(f"{failed} of {attempts} attempts failed in {settings.window:g} s", now)

    def _probed(self, verdict: str, now: float) -> None:
        if verdict == GOOD:
            self._close("its probe succeeded", now)
        elif verdict == BAD:
            self.failures += 1
            self._open("its probe failed", now)

    def _ramp_admits(self, now: float) -> bool:
        """Whether one more belongs to the share that is admitted by now; evenly, not by chance."""
        ramp = self.settings.ramp
        share = (now - self.since) / ramp if ramp else 1.0
        if share >= 1.0:
            self.guarded = False
            return True
        self._credit += max(share, _LEAST_SHARE)
        if self._credit < 1.0:
            return False
        self._credit -= 1.0
        return True

    @property
    def probing(self) -> bool:
        """Whether a probe is on its way."""
        return bool(self._probes)

    def _refuse(self, now: float) -> Refusal:
        left = _SOON
        if self.state == OPEN:
            # By hand there is no time set; then the usual one is as good as any.
            left = max(_SOON, self.settings.open_for if self.manual else self._half_opens - now)
        return Refusal(self.name, STATES[self.state], self.why, now - self.since, self.failures, left)

    # ── from outside

    def prove_up(self, now: float) -> None:
        """The upstream was seen to be well: no need to wait any longer before the next probe."""
        if self.state == OPEN and not self.manual:
            self._move(HALF_OPEN, "the upstream was seen to be up", now)

    def force_open(self, now: float) -> None:
        """Open it until `force_close`, whatever happens."""
        self.manual = True
        self._half_opens = inf
        if self.state == OPEN:
            self.why = "opened by hand"
        else:
            self._move(OPEN, "opened by hand", now)

    def force_close(self, now: float) -> None:
        """Close it and forget what was counted; from then on it goes by its rules again."""
        self._close("closed by hand", now)

    def change(self, settings: Breaker, now: float) -> None:
        """Go by other settings. If they are others indeed (`mode` aside), begin anew; what is open by hand stays so."""
        if settings == replace(self.settings, mode=settings.mode):
            self.settings = settings
            return
        self.settings = settings
        self._window = Window(settings.window)
        if not self.manual:
            self._close("its settings changed", now)

    def status(self, now: float) -> dict[str, object]:
        """Everything live, ready to become JSON. `seconds_to_half_open` is None where no time is set."""
        attempts, failed = self._window.counts(now)
        timed = self.state == OPEN and not self.manual
        return {
            "state": STATES[self.state],
            "mode": self.settings.mode,
            "manual": self.manual,
            "why": self.why,
            "for_seconds": round(now - self.since, 3),
            "failures_in_a_row": self.failures,
            "window": {"seconds": self.settings.window, "attempts": attempts, "failures": failed},
            "seconds_to_half_open": round(max(0.0, self._half_opens - now), 3) if timed else None,
            "probing": self.probing,
            "generation": self.generation,
        }

    # ── transitions

    def _open(self, why: str, now: float) -> None:
        self._half_opens = now + self.settings.open_for * (1.0 + _JITTER * self._random())
        self._move(OPEN, why, now)

    def _close(self, why: str, now: float) -> None:
        self.failures = 0
        self.manual = False
        self._credit = 1.0  # the first who asks is admitted
        self._window.clear()
        if self.state == CLOSED:
            self.guarded = False
        else:
            self._move(CLOSED, why, now)

    def _move(self, state: int, why: str, now: float) -> None:
        """The only way from state to state, so that ours and the machine's cannot differ."""
        self.state = state
        self.generation += 1
        self._probes.clear()
        self.guarded = state != CLOSED or self.settings.ramp > 0.0
        self.since = now
        self.why = why
        self._machine.move(state)

    def _moved(self, old: str, new: str) -> None:
        self._on_transition(self.name, old, new, self.why)

    def __repr__(self) -> str:
        by_hand = " by hand" if self.manual else ""
        return f"<Circuit {self.name} {STATES[self.state]}{by_hand}, {self.failures} failures, #{self.generation}>"
