"""All circuits: who asks which, and what counts for which."""

from __future__ import annotations

from typing import Any, cast

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from sidecar.errors import REASONS, Reason, SidecarError
from sidecar.exchange import BAD, GOOD, NEUTRAL, Exchange, Outcome, Request
from sidecar.headers import Headers
from sidecar.policy.breaker import Refusal
from sidecar.policy.circuits import UPSTREAM, Circuits, Permit, UnknownCircuitError
from sidecar.settings import Breaker

BY_TOKEN = {reason.token: reason for reason in REASONS}
REFUSED = BY_TOKEN["connect_failed"]


class NoTimer:
    """Nobody looks."""

    def at_latest(self, due: float) -> None:
        """See Timer."""


def answered(status: int, elapsed: float = 0.1) -> Outcome:
    """An attempt that was answered so."""
    return Outcome(status, None, True, elapsed, BAD if status >= 500 and status != 501 else GOOD)


def failed(reason: Reason) -> Outcome:
    """An attempt that failed so."""
    return Outcome(0, SidecarError(reason, ""), True, 0.1, BAD if reason.blames_upstream else NEUTRAL)


CANCELLED = Outcome(0, None, True, 0.1, NEUTRAL)
CLIENTS_DEADLINE = Outcome(0, SidecarError(BY_TOKEN["deadline_exceeded"], ""), True, 0.001, NEUTRAL)


class Set:
    """Circuits on a clock of their own. Labels are the paths."""

    def __init__(self, routes: dict[str, Breaker] | None = None, **knobs: Any) -> None:
        self.now = 1000.0
        self.answered = True
        self.moves: list[tuple[str, str, str]] = []
        self.circuits = Circuits(
            Breaker(**knobs),
            routes or {},
            self.now,
            label=lambda exchange: exchange.label,
            has_answered=lambda: self.answered,
            on_transition=lambda name, old, new, why: self.moves.append((name, old, new)),
            random=lambda: 0.0,
        )

    def exchange(self, label: str = "/a", route: str = "") -> Exchange:
        """A request that came in whole just now."""
        exchange = Exchange(Request("GET", b"/", Headers(b"")), b"1", "192.0.2.7", self.now, NoTimer())
        exchange.label, exchange.route = label, route
        exchange.received(self.now)
        return exchange

    def ask(self, label: str = "/a", route: str = "") -> Permit | Refusal:
        """Whatever the answer is."""
        return self.circuits.admit(self.exchange(label, route), self.now)

    def permit(self, label: str = "/a", route: str = "") -> Permit:
        """A permit; it must be admitted."""
        permit = self.ask(label, route)
        assert isinstance(permit, Permit)
        return permit

    def refused(self, label: str = "/a", route: str = "") -> str:
        """Which circuit refuses; empty if none does."""
        answer = self.ask(label, route)
        if isinstance(answer, Permit):
            answer.settle(None, self.now)
            return ""
        return answer.circuit

    def try_(self, outcome: Outcome | None, label: str = "/a", route: str = "", *, times: int = 5) -> None:
        """Attempts that are admitted, and end so."""
        for _ in range(times):
            self.permit(label, route).settle(outcome, self.now)

    @property
    def open(self) -> set[str]:
        """Names of the circuits that are not closed."""
        return {name for name, state in self.circuits.states() if state != "closed"}


# ── what counts for which

FOR_THE_UPSTREAM = {"connect_failed", "connect_timeout"}
FOR_THE_OWN = {"connection_lost", "attempt_timeout", "deadline_exceeded", "bad_response"}


@pytest.mark.parametrize("reason", REASONS, ids=[reason.token for reason in REASONS])
def test_a_failure_counts_for_one_circuit_or_for_none(reason: Reason) -> None:
    """Failures to connect for the upstream's; other failures of the upstream for the own; the rest for none."""
    group = Set()
    group.try_(failed(reason))

    expected = {UPSTREAM} if reason.token in FOR_THE_UPSTREAM else {"/a"} if reason.token in FOR_THE_OWN else set()
    assert group.open == expected


@pytest.mark.parametrize("status", [500, 502, 503, 504, 599])
def test_an_answer_of_5xx_counts_for_the_own(status: int) -> None:
    """Others go on."""
    group = Set()
    group.try_(answered(200), "/b")
    group.try_(answered(status))

    assert group.open == {"/a"}
    assert (group.refused("/a"), group.refused("/b"), group.refused(""), group.refused("/new")) == ("/a", "", "", "")


@pytest.mark.parametrize(
    "outcome",
    [*map(answered, (101, 200, 304, 400, 404, 429, 499, 501)), CANCELLED, CLIENTS_DEADLINE, None],
    ids=str,
)
def test_what_says_nothing_bad_opens_nothing(outcome: Outcome | None) -> None:
    """Whatever the client does wrong, however early it leaves."""
    group = Set(ratio=0.1)
    group.try_(outcome, times=200)

    assert group.open == set()


@pytest.mark.parametrize("status", [200, 404, 500, 501])
def test_any_answer_is_a_success_for_the_upstream(status: int) -> None:
    """It was reached."""
    group = Set()
    group.try_(failed(REFUSED), times=4)
    group.try_(answered(status), times=1)
    group.try_(failed(REFUSED), times=4)
    assert group.open == set()
    group.try_(failed(REFUSED), times=1)
    assert group.open == {UPSTREAM}
    group.now += 30
    group.try_(answered(status), times=1)
    assert group.open == set()


@pytest.mark.parametrize("outcome", [CANCELLED, failed(BY_TOKEN["attempt_timeout"]), failed(BY_TOKEN["client_gone"])])
def test_what_says_nothing_of_connecting_is_neutral_to_the_upstream(outcome: Outcome) -> None:
    """It neither ends a row nor takes the probe's place."""
    group = Set()
    group.try_(failed(REFUSED), times=4)
    group.try_(outcome, "/b", times=1)
    group.try_(failed(REFUSED), times=1)
    assert group.open == {UPSTREAM}
    group.now += 30
    group.try_(outcome, "/b", times=1)
    assert group.permit().facts == {"probe": [UPSTREAM]}


def test_a_failure_to_connect_is_neutral_to_the_own() -> None:
    """A probe that did not get there leaves its place to the next."""
    group = Set()
    group.try_(answered(500))
    group.now += 30
    group.try_(failed(REFUSED), times=3)

    assert dict(group.circuits.states())["/a"] == "half_open"
    assert group.permit().facts == {"probe": ["/a"]}


def test_failures_to_connect_are_everybodys() -> None:
    """They open the upstream's circuit, and it refuses all."""
    group = Set()
    for label in ("/a", "/b", "", "other", "/a"):
        group.try_(failed(REFUSED), label, times=1)

    assert [group.refused(label) for label in ("/a", "/b", "", "other", "/new")] == [UPSTREAM] * 5


@pytest.mark.parametrize("outcome", [failed(REFUSED), failed(BY_TOKEN["attempt_timeout"])])
def test_nothing_counts_until_the_upstream_has_answered_once(outcome: Outcome) -> None:
    """It may start after the sidecar does."""
    group = Set()
    group.answered = False
    group.try_(outcome, times=100)
    assert group.open == set()
    group.answered = True
    group.try_(outcome, times=4)
    assert group.open == set()
    group.try_(outcome, times=1)
    assert len(group.open) == 1


@pytest.mark.parametrize("label", ["", "other"])
def test_what_has_no_template_has_no_circuit_of_its_own(label: str) -> None:
    """Or five strange paths would take all other strange ones away."""
    group = Set()
    group.try_(answered(500), label, times=100)

    assert list(group.circuits.states()) == [(UPSTREAM, "closed")]
    assert group.refused(label) == ""


# ── slow calls


def test_a_slow_answer_counts_as_failed_where_that_is_set() -> None:
    """For the own circuit; the upstream was reached."""
    group, patient = Set(slow=2.0), Set()
    for each in (group, patient):
        for elapsed in (2.0, 2.1, 2.1, 2.1, 2.1, 2.1):
            permit = each.permit()
            each.now += elapsed
            permit.settle(answered(200, elapsed), each.now)

    assert (group.open, patient.open) == ({"/a"}, set())


@pytest.mark.parametrize("whole", [True, False])
def test_a_slow_client_makes_no_slow_answer(whole: bool) -> None:
    """While it was sending, the upstream could not answer."""
    group = Set(slow=2.0, failures=1)
    exchange = group.exchange()
    permit = group.circuits.admit(exchange, group.now)
    assert isinstance(permit, Permit)
    group.now += 100
    exchange.whole = group.now - 2 if whole else None
    permit.settle(answered(200, 100.0), group.now)

    assert group.open == set()


# ── routes


def test_a_route_has_a_circuit_and_settings_of_its_own() -> None:
    """Whatever its paths are; other requests are counted by their template."""
    group = Set({"orders": Breaker(failures=2)})
    group.try_(answered(500), "/orders/{id}", "orders", times=1)
    group.try_(answered(500), "/orders", "orders", times=1)
    group.try_(answered(500), "/orders", times=4)

    assert group.open == {"orders"}
    assert (group.refused("/new", "orders"), group.refused("/orders")) == ("orders", "")


def test_a_routes_circuit_is_there_from_the_start() -> None:
    """A dashboard shows it before it was ever used; a template's comes with its first request."""
    group = Set({"orders": Breaker()})
    assert list(group.circuits.states()) == [(UPSTREAM, "closed"), ("orders", "closed")]
    group.permit("/a")
    assert [name for name, _ in group.circuits.states()] == [UPSTREAM, "orders", "/a"]


def test_a_route_without_a_breaker_asks_nobody() -> None:
    """Neither does it count."""
    group = Set({"orders": Breaker(mode="off")})
    group.try_(failed(REFUSED), route="orders", times=100)
    assert group.open == set()
    group.circuits.force_open(UPSTREAM, group.now)

    assert group.refused(route="orders") == ""
    assert group.refused("/a") == UPSTREAM


def test_a_route_may_have_a_breaker_where_others_have_none() -> None:
    """Then the upstream's circuit, which is everybody's, is off."""
    group = Set({"orders": Breaker()}, mode="off")
    group.try_(failed(REFUSED), "/a", times=100)
    group.try_(failed(REFUSED), route="orders", times=100)
    group.try_(answered(500), "/a", times=100)
    group.circuits.upstream_proved_up(group.now)
    group.try_(answered(500), route="orders")

    assert list(group.circuits.states()) == [("orders", "open")]


def test_shadow_decides_the_same_and_enforces_nothing() -> None:
    """The refusals are those of enforce, and say that they are none."""
    shadow, enforced = Set(mode="shadow"), Set()
    for group in (shadow, enforced):
        group.try_(answered(500))
    told, refused = shadow.ask(), enforced.ask()
    assert isinstance(told, Refusal)
    assert isinstance(refused, Refusal)
    assert (told.enforced, refused.enforced) == (False, True)
    assert told._replace(enforced=True) == refused

    for group in (shadow, enforced):
        group.circuits.force_open(UPSTREAM, group.now)
    told = shadow.ask()
    assert isinstance(told, Refusal)
    assert (told.circuit, told.enforced) == (UPSTREAM, False)


def test_a_route_in_shadow_is_refused_by_nobody() -> None:
    """Not even by the upstream's circuit, which refuses all others."""
    group = Set({"orders": Breaker(mode="shadow")})
    group.try_(failed(REFUSED))
    told = group.ask(route="orders")

    assert isinstance(told, Refusal)
    assert not told.enforced
    assert group.refused("/a") == UPSTREAM


# ── half-open


def test_of_two_circuits_both_must_admit() -> None:
    """What the first gave in vain it has back: the probe's place is not lost."""
    group = Set()
    group.try_(answered(500))
    group.try_(failed(REFUSED), "/b")
    group.now += 29
    group.circuits.force_open("/a", group.now)
    group.now += 1

    assert group.refused("/a") == "/a"
    assert group.permit("/b").facts == {"probe": [UPSTREAM]}
    assert group.refused("/b") == UPSTREAM


def test_one_attempt_may_be_the_probe_of_both() -> None:
    """And closes both."""
    group = Set()
    group.try_(failed(REFUSED), times=4)
    for _ in range(5):
        group.permit("/a")
    held = [group.permit("/a") for _ in range(5)]
    for permit in held:
        permit.settle(failed(BY_TOKEN["connection_lost"]), group.now)
    group.try_(failed(REFUSED), "/b", times=1)
    assert group.open == {UPSTREAM, "/a"}
    group.now += 30
    permit = group.permit("/a")
    assert permit.facts == {"probe": [UPSTREAM, "/a"]}
    assert group.refused("/b") == UPSTREAM
    permit.settle(answered(200), group.now)

    assert group.open == set()


def test_only_the_first_settling_counts() -> None:
    """Of probes and of others."""
    group = Set()
    permit = group.permit()
    for _ in range(10):
        permit.settle(answered(500), group.now)
    assert group.open == set()
    group.try_(answered(500), times=4)
    assert group.open == {"/a"}
    group.now += 30
    probe = group.permit()
    probe.settle(CANCELLED, group.now)
    again = group.permit()
    probe.settle(answered(200), group.now)
    assert group.open == {"/a"}
    again.settle(answered(200), group.now)
    assert group.open == set()


def test_an_active_probe_that_reaches_the_upstream_saves_the_wait() -> None:
    """Only of the upstream's circuit: of the handlers behind it it says nothing."""
    group = Set()
    group.try_(answered(500))
    group.try_(failed(REFUSED), "/b")
    group.circuits.upstream_proved_up(group.now)

    assert dict(group.circuits.states()) == {UPSTREAM: "half_open", "/a": "open", "/b": "closed"}
    group.try_(answered(200), "/b", times=1)
    assert group.open == {"/a"}


# ── by hand


def test_circuits_open_and_close_by_hand() -> None:
    """By their names."""
    group = Set({"orders": Breaker()})
    for name in (UPSTREAM, "orders"):
        group.circuits.force_open(name, group.now)
        assert group.open == {name}
        assert group.refused(route="orders") == name
        group.circuits.force_close(name, group.now)
        assert group.open == set()

    assert group.moves[:2] == [(UPSTREAM, "closed", "open"), (UPSTREAM, "open", "closed")]


def test_an_unknown_name_is_an_error_that_names_the_known() -> None:
    """Nothing is made by a typing error."""
    group = Set({"orders": Breaker()})
    for force in (group.circuits.force_open, group.circuits.force_close):
        with pytest.raises(UnknownCircuitError, match="no circuit 'order'; there are: upstream, orders"):
            force("order", group.now)
    with pytest.raises(UnknownCircuitError, match="breaker is off"):
        Set(mode="off").circuits.force_open(UPSTREAM, 1.0)
    assert len(group.circuits.status(group.now)) == 2


# ── other settings


def test_what_stays_the_same_keeps_its_state() -> None:
    """A reload that is about something else closes nothing; what differs begins anew, what is gone is gone."""
    group = Set({"a": Breaker(), "b": Breaker(), "c": Breaker(), "d": Breaker()})
    for route in "abcd":
        group.try_(answered(500), route=route)
    group.try_(answered(500), "/t")
    group.try_(failed(REFUSED), "/u")
    assert group.open == {UPSTREAM, *"abcd", "/t"}
    routes = {"a": Breaker(), "b": Breaker(failures=7), "d": Breaker(mode="off"), "e": Breaker()}
    group.circuits.change(Breaker(), routes, group.now)

    assert dict(group.circuits.states()) == {
        UPSTREAM: "open",
        "a": "open",
        "b": "closed",
        "/t": "open",
        "/u": "closed",
        "e": "closed",
    }
    assert group.moves[-1] == ("b", "open", "closed")
    assert group.refused(route="d") == ""
    assert group.refused(route="a") == UPSTREAM


def test_turning_it_off_and_on_begins_anew() -> None:
    """Off means that there are no circuits."""
    group = Set()
    group.try_(answered(500))
    group.circuits.change(Breaker(mode="off"), {}, group.now)
    assert list(group.circuits.states()) == []
    assert group.refused("/a") == ""
    group.circuits.change(Breaker(), {}, group.now)
    assert group.refused("/a") == ""
    assert group.open == set()


def test_from_shadow_to_enforce_the_state_is_kept() -> None:
    """What was learned in shadow is what to enforce."""
    group = Set(mode="shadow")
    group.try_(answered(500))
    group.circuits.change(Breaker(), {}, group.now)

    assert group.refused("/a") == "/a"


def test_a_permit_outlives_a_change() -> None:
    """What was in flight settles, and hurts nobody."""
    group = Set({"a": Breaker()})
    permits = [group.permit(route="a") for _ in range(10)]
    group.circuits.change(Breaker(), {}, group.now)
    for permit in permits:
        permit.settle(answered(500), group.now)

    assert group.open == set()


def test_it_shows_itself() -> None:
    """In short."""
    group = Set()
    group.try_(answered(500))
    group.now += 30
    permit = group.permit()

    assert repr(group.circuits) == "<Circuits 2, 1 not closed>"
    assert [repr(permit), repr(group.permit(""))] == ["<Permit out, {'probe': ['/a']}>", "<Permit out>"]
    permit.settle(None, group.now)
    assert repr(permit).startswith("<Permit settled")


# ── any order of events

LABELS = ["/a", "/b", "", "other"]
OUTCOMES = [
    *(answered(200), answered(500), answered(500), CANCELLED, CLIENTS_DEADLINE, None),
    *(failed(REFUSED), failed(REFUSED), failed(BY_TOKEN["attempt_timeout"]), failed(BY_TOKEN["client_gone"])),
]


def probed_by(permit: Permit) -> list[str]:
    """The circuits whose probe it is."""
    return cast(list[str], permit.facts["probe"]) if permit.facts else []


OPEN_FOR = Breaker().open_for


class AnyOrder(RuleBasedStateMachine):
    """Whatever happens in whichever order: one probe at a time in each circuit, and no permit is left."""

    @initialize(mode=st.sampled_from(["enforce", "shadow"]))
    def begin(self, mode: str) -> None:
        """A new set."""
        self.group = Set(mode=mode, failures=2, ratio=0.0)
        self.out: list[Permit] = []
        self.settled: list[Permit] = []
        self.probed: dict[str, float] = {}  # when a circuit's latest probe began

    @rule(label=st.sampled_from(LABELS))
    def ask(self, label: str) -> None:
        """Somebody asks; who becomes the probe of a circuit is the only one, or the last has been out for too long."""
        taken = {name for name, status in self.group.circuits.status(self.group.now).items() if status["probing"]}
        answer = self.group.ask(label)
        if isinstance(answer, Permit):
            self.out.append(answer)
            for name in probed_by(answer):
                assert name not in taken or self.group.now - self.probed[name] >= OPEN_FOR
                self.probed[name] = self.group.now
        else:
            assert 1.0 <= answer.retry_after <= 30.0
            assert answer.circuit in (UPSTREAM, label)

    @precondition(lambda self: self.out)
    @rule(data=st.data(), outcome=st.sampled_from(OUTCOMES))
    def settle(self, data: st.DataObject, outcome: Outcome | None) -> None:
        """One of them ends."""
        permit = self.out.pop(data.draw(st.integers(0, len(self.out) - 1)))
        permit.settle(outcome, self.group.now)
        self.settled.append(permit)

    @precondition(lambda self: self.settled)
    @rule(data=st.data(), outcome=st.sampled_from(OUTCOMES))
    def settle_again(self, data: st.DataObject, outcome: Outcome | None) -> None:
        """A second time, which changes nothing."""
        before = self.group.circuits.status(self.group.now)
        data.draw(st.sampled_from(self.settled)).settle(outcome, self.group.now)
        assert self.group.circuits.status(self.group.now) == before

    @rule(seconds=st.sampled_from([1.0, 29.0, 30.0]))
    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.group.now += seconds

    @rule(name=st.sampled_from([UPSTREAM, "/a"]), opens=st.booleans())
    def by_hand(self, name: str, opens: bool) -> None:
        """Somebody interferes."""
        if name in dict(self.group.circuits.states()):
            circuits = self.group.circuits
            (circuits.force_open if opens else circuits.force_close)(name, self.group.now)

    @rule()
    def proved_up(self) -> None:
        """An active probe reached the upstream."""
        self.group.circuits.upstream_proved_up(self.group.now)

    @invariant()
    def probes_are_out(self) -> None:
        """A circuit that waits for a probe waits for one that is out."""
        for name, status in self.group.circuits.status(self.group.now).items():
            assert not status["probing"] or status["state"] == "half_open"
            assert not status["probing"] or any(name in probed_by(permit) for permit in self.out)

    def teardown(self) -> None:
        """All end, and say nothing: then everybody may probe who comes."""
        if hasattr(self, "group"):
            for permit in self.out:
                permit.settle(None, self.group.now)
            assert not any(status["probing"] for status in self.group.circuits.status(self.group.now).values())


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = hypothesis_settings(max_examples=100, stateful_step_count=60, deadline=None)
