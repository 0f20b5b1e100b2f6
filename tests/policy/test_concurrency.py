"""Places, classes and the queue."""

from __future__ import annotations

from math import inf

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from sidecar.policy.concurrency import (
    DISPLACED,
    EXPIRED,
    FULL,
    HIGH,
    HOLDING,
    HOPELESS,
    LEFT,
    LOW,
    NORMAL,
    STREAMING,
    WAITING,
    Gate,
    Place,
    class_of,
    shares,
)
from sidecar.settings.policies import Concurrency

NOW = 1000.0


def settings(most: int = 2, *, wait: float = 0.1, classes: bool = False) -> Concurrency:
    """A cap."""
    return Concurrency(max=most, queue_wait=wait, priority="x-priority" if classes else "")


def gate(most: int = 2, *, taken: int = 0, wait: float = 0.1, classes: bool = False) -> Gate:
    """A gate with so many places, and so many of them taken by the high class."""
    made = Gate(settings(most, wait=wait, classes=classes))
    assert all(made.enter(HIGH) for _ in range(taken))
    return made


def line_up(at: Gate, rank: int = NORMAL, *, deadline: float = inf, now: float = NOW) -> Place:
    """A place in the queue."""
    place = at.line_up(rank, deadline, now)
    assert isinstance(place, Place)
    return place


def test_there_are_so_many_places() -> None:
    """And one again, when one is given back."""
    cap = gate(2)

    assert [cap.enter(NORMAL) for _ in range(3)] == [True, True, False]
    cap.settled(None, NOW)
    assert cap.enter(NORMAL)
    assert cap.in_flight == 2


def test_the_queue_is_as_long_as_the_cap() -> None:
    """And served in its order."""
    cap = gate(2, taken=2)
    first, second = line_up(cap), line_up(cap)
    assert cap.line_up(NORMAL, inf, NOW) == FULL

    cap.settled(None, NOW)
    assert (first.state, second.state) == (HOLDING, WAITING)
    assert (cap.in_flight, cap.queued) == (2, 1)
    assert line_up(cap).state == WAITING


def test_without_a_wait_there_is_no_queue() -> None:
    """Full is full."""
    assert gate(1, taken=1, wait=0.0).line_up(NORMAL, inf, NOW) == FULL


def test_who_waits_is_told_once() -> None:
    """Whatever becomes of it."""
    cap = gate(4, taken=4, classes=True)
    told: list[Place] = []
    places = [line_up(cap, LOW) for _ in range(4)]
    for place in places:
        place.tell = told.append
    high = line_up(cap, HIGH)
    places[0].settled(None, NOW)
    cap.expire(NOW + 0.1)

    assert told == [places[3], places[0], places[1], places[2]]
    assert [place.state for place in places] == [LEFT, EXPIRED, EXPIRED, DISPLACED]
    assert high.state == EXPIRED
    for place in [*places, high, *places]:
        place.settled(None, NOW)
    assert (len(told), cap.queued, cap.in_flight) == (4, 0, 4)


def test_a_wait_is_over_at_its_time() -> None:
    """Each at its own; the next is known."""
    cap = gate(2, taken=2)
    early, late = line_up(cap), line_up(cap, now=NOW + 0.05)
    assert cap.next_expiry() == NOW + 0.1
    cap.expire(NOW + 0.0999)
    assert early.state == WAITING
    cap.expire(NOW + 0.1)
    assert (early.state, late.state) == (EXPIRED, WAITING)
    assert cap.next_expiry() == NOW + 0.05 + 0.1


def test_what_has_no_time_left_is_not_served() -> None:
    """Neither put in line nor given a place: it goes to the next."""
    cap = gate(2, taken=2)
    assert cap.line_up(NORMAL, NOW, NOW) == HOPELESS
    short, long = line_up(cap, deadline=NOW + 0.01), line_up(cap)
    cap.settled(None, NOW + 0.02)

    assert (short.state, long.state) == (EXPIRED, HOLDING)


def test_what_cannot_make_its_deadline_does_not_wait() -> None:
    """Places became free every 10 ms of late; the fifth in line has to wait for 50."""
    cap = gate(100, taken=100, wait=10.0)
    for _ in range(60):
        line_up(cap)
    now = NOW
    for _ in range(55):
        now += 0.01
        cap.settled(None, now)
    assert cap.queued == 5

    assert cap.line_up(NORMAL, now + 0.04, now) == HOPELESS
    line_up(cap, NORMAL, deadline=now + 0.06, now=now)
    while cap.queued:
        cap.settled(None, now)
    line_up(cap, deadline=now + 0.001, now=now)  # nobody is ahead: it may be at once


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        (0, (0, 0, 0)),
        (1, (1, 1, 1)),
        (2, (2, 1, 1)),
        (3, (3, 2, 1)),
        (4, (4, 3, 2)),
        (10, (10, 9, 8)),
        (20, (20, 19, 16)),
        (1000, (1000, 950, 800)),
    ],
)
def test_lower_classes_leave_places_free(limit: int, expected: tuple[int, int, int]) -> None:
    """5 % and 20 %, and at least one each where there are so many; none without classes."""
    assert shares(limit, classes=True) == expected
    assert shares(limit, classes=False) == (limit, limit, limit)


def test_classes_are_served_in_their_order() -> None:
    """High first, each up to its share."""
    cap = gate(4, taken=4, classes=True)
    low, normal, high = line_up(cap, LOW), line_up(cap, NORMAL), line_up(cap, HIGH)
    order = []
    for _ in range(4):
        cap.settled(None, NOW)
        order.append((high.state, normal.state, low.state))

    assert order == [
        (HOLDING, WAITING, WAITING),
        (HOLDING, WAITING, WAITING),  # three are left, which is as many as normal may see
        (HOLDING, HOLDING, WAITING),
        (HOLDING, HOLDING, WAITING),
    ]
    cap.settled(None, NOW)
    assert low.state == HOLDING


def test_a_higher_class_finds_room_in_a_full_queue() -> None:
    """At the cost of the youngest of the lowest; nobody goes for its own class."""
    cap = gate(3, taken=3, classes=True)
    normal, old, young = line_up(cap, NORMAL), line_up(cap, LOW), line_up(cap, LOW)
    assert cap.line_up(LOW, inf, NOW) == FULL

    line_up(cap, NORMAL)
    assert (normal.state, old.state, young.state) == (WAITING, WAITING, DISPLACED)
    line_up(cap, HIGH)
    assert (normal.state, old.state) == (WAITING, DISPLACED)
    assert cap.line_up(NORMAL, inf, NOW) == FULL
    line_up(cap, HIGH)
    assert (normal.state, cap.queued) == (WAITING, 3)


@pytest.mark.parametrize(
    ("value", "rank"),
    [
        (b"high", HIGH),
        (b"HIGH", HIGH),
        (b"Low", LOW),
        (b"normal", NORMAL),
        (b"", NORMAL),
        (b"high, low", NORMAL),
        (b"9", NORMAL),
        (None, NORMAL),
    ],
)
def test_what_is_no_class_is_normal(value: bytes | None, rank: int) -> None:
    """By name, in any case."""
    assert class_of(value) == rank


def test_a_lower_limit_lets_nobody_in_until_there_is_room() -> None:
    """Who is in flight stays; a higher one serves the queue at once."""
    cap = gate(4, taken=4)
    cap.set_limit(2, NOW)
    waits = line_up(cap)
    for _ in range(2):
        cap.settled(None, NOW)
    assert (cap.in_flight, waits.state, cap.enter(NORMAL)) == (2, WAITING, False)
    cap.set_limit(3, NOW)
    assert (cap.in_flight, waits.state) == (3, HOLDING)
    cap.set_limit(99, NOW)
    assert cap.limit == 4


def test_other_settings_keep_who_is_in_flight() -> None:
    """And whoever waits is served as they say."""
    cap = gate(2, taken=2)
    waits = line_up(cap)
    cap.change(settings(10, wait=5.0), NOW)
    assert (cap.in_flight, waits.state) == (3, HOLDING)
    cap.change(settings(2), NOW)
    assert (cap.in_flight, cap.limit, cap.enter(HIGH)) == (3, 2, False)
    cap.change(settings(10), NOW, limit=3)
    assert (cap.limit, cap.enter(HIGH)) == (3, False)
    cap.change(settings(0), NOW)
    assert cap.enter(HIGH)


def test_an_answer_that_streams_leaves_its_place_to_the_next() -> None:
    """It counts against the most there may be, no longer against what the upstream can take at once."""
    cap = gate(3)
    cap.set_limit(2, NOW)
    first, second = cap.hold(NORMAL, NOW), cap.hold(NORMAL, NOW)
    assert first is not None
    assert second is not None
    waits = line_up(cap)
    cap.stream(first, NOW)
    assert (first.state, waits.state, cap.in_flight, cap.streams) == (STREAMING, HOLDING, 2, 1)
    cap.stream(second, NOW)
    assert not cap.enter(HIGH)  # one in flight and two streams: no more than three in all
    later = line_up(cap)
    first.settled(None, NOW)
    first.settled(None, NOW)
    assert (later.state, cap.in_flight, cap.streams) == (HOLDING, 2, 1)
    cap.stream(first, NOW)
    assert first.state == LEFT


def test_tunnels_have_a_cap_of_their_own() -> None:
    """As many as requests."""
    cap = gate(2, taken=2)

    assert [cap.open_tunnel() for _ in range(3)] == [True, True, False]
    cap.tunnel_settled(None, NOW)
    assert cap.open_tunnel()


def test_it_says_whether_the_limit_was_in_use() -> None:
    """That is, whether somebody found no place."""
    cap = gate(1)
    assert cap.enter(NORMAL)
    assert not cap.in_use
    assert cap.hold(NORMAL, NOW) is None
    assert cap.in_use


def test_they_say_how_they_stand() -> None:
    """For whoever looks at them in a debugger."""
    cap = gate(2, taken=2)

    assert repr(line_up(cap)) == "<Place normal waiting>"
    assert repr(cap) == "<Gate 2 of 2 in flight, 0 streams, 1 queued>"


class Interleaving(RuleBasedStateMachine):
    """Whatever comes in whichever order."""

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.patience = 0.1
        self.gate = Gate(settings(8, wait=self.patience, classes=True))
        self.places: list[Place] = []
        self.told: list[int] = []
        self.entered = 0

    def hear(self, place: Place) -> None:
        """Somebody waits no longer."""
        assert id(place) not in self.told
        self.told.append(id(place))
        assert place.state != WAITING
        if place.state == HOLDING:
            assert self.gate.in_flight <= self.gate.caps[place.rank]
            higher = [other for other in self.places if other.state == WAITING and other.rank < place.rank]
            assert higher == []
        if place.state == DISPLACED:
            lower = [other for other in self.places if other.state == WAITING and other.rank > place.rank]
            assert lower == []

    @rule(rank=st.sampled_from([HIGH, NORMAL, LOW]), patience=st.sampled_from([0.0, 0.03, 0.5, inf]))
    def arrive(self, rank: int, patience: float) -> None:
        place = self.gate.hold(rank, self.now)
        if place is not None:
            assert self.gate.in_flight <= self.gate.caps[rank]
            self.places.append(place)
            return
        waiting = self.gate.line_up(rank, self.now + patience, self.now)
        if isinstance(waiting, Place):
            waiting.tell = self.hear
            self.places.append(waiting)
        elif rank == HIGH and patience == inf and self.patience:
            # Refused only for others of its class.
            assert sum(place.state == WAITING and place.rank == HIGH for place in self.places) >= self.gate.limit

    @rule(rank=st.sampled_from([HIGH, NORMAL, LOW]))
    def enter(self, rank: int) -> None:
        if self.gate.enter(rank):
            assert self.gate.in_flight <= self.gate.caps[rank]
            self.entered += 1

    @precondition(lambda self: self.entered)
    @rule()
    def settle_entered(self) -> None:
        self.entered -= 1
        self.gate.settled(None, self.now)

    @precondition(lambda self: self.places)
    @rule(data=st.data())
    def settle(self, data: st.DataObject) -> None:
        data.draw(st.sampled_from(self.places)).settled(None, self.now)

    @precondition(lambda self: self.places)
    @rule(data=st.data())
    def stream(self, data: st.DataObject) -> None:
        self.gate.stream(data.draw(st.sampled_from(self.places)), self.now)

    @rule(seconds=st.sampled_from([0.001, 0.02, 0.1]))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.gate.expire(self.now)
        assert not self.gate.queued or self.gate.next_expiry() > self.now

    @rule(limit=st.integers(1, 10))
    def set_limit(self, limit: int) -> None:
        self.gate.set_limit(limit, self.now)

    @rule(most=st.integers(1, 10), wait=st.sampled_from([0.0, 0.05, 0.1]), classes=st.booleans())
    def change(self, most: int, wait: float, classes: bool) -> None:
        self.patience = wait
        self.gate.change(settings(most, wait=wait, classes=classes), self.now)

    @invariant()
    def it_adds_up(self) -> None:
        states = [place.state for place in self.places]
        assert self.gate.in_flight == states.count(HOLDING) + self.entered
        assert self.gate.streams == states.count(STREAMING)
        assert self.gate.queued == states.count(WAITING)

    @invariant()
    def nobody_waits_for_a_place_that_is_free(self) -> None:
        for place in self.places:
            if place.state == WAITING:
                assert self.gate.in_flight >= self.gate.caps[place.rank]

    def teardown(self) -> None:
        for _ in range(self.entered):
            self.gate.settled(None, self.now)
        self.entered = 0
        for place in self.places:
            place.settled(None, self.now)
        self.it_adds_up()
        assert (self.gate.in_flight, self.gate.streams, self.gate.queued) == (0, 0, 0)
        assert self.gate.caps[HIGH] == self.gate.limit


TestInterleaving = Interleaving.TestCase
