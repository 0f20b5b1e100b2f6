"""The cap on what is in flight: places, classes, and a short queue for a place.

    enter / hold      a place if there is one, at once
    line_up           else one in the queue, if it is of use
    settled / leave   the place goes to the next in the queue, in the same moment

High goes before normal and normal before low, and lower classes may not fill the last places: normal up to 95 %, low up
to 80 % of the limit, at least one place less each where there are so many. In a full queue a higher class takes the
place of the youngest of the lowest. Within a class it is first come, first served: the wait is short, so that those at
the head are not those who have given up; the other order would serve some at once and let others wait in vain.

Invariant: who waits has no place because its class has none free. So a newcomer that finds a place free for its class
overtakes nobody of its class or above.

A pure decision: clock and deadlines are arguments, seconds of one monotonic clock. Waiters are told by a call; how they
wait is their own affair.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from sidecar.settings.policies import Concurrency

HIGH: Final = 0
NORMAL: Final = 1
LOW: Final = 2
CLASSES: Final = ("high", "normal", "low")

# How a place stands. It is told when it no longer waits; what it is then says why.
WAITING: Final = 0
HOLDING: Final = 1
STREAMING: Final = 2  # its answer has begun: it no longer counts against the limit, but against the most there may be
LEFT: Final = 3
EXPIRED: Final = 4  # waited as long as one may
DISPLACED: Final = 5  # its place in the queue went to a higher class

# Why there is not even a place in the queue.
FULL: Final = "full"
HOPELESS: Final = "hopeless"

_NORMAL_SHARE: Final = 0.95
_LOW_SHARE: Final = 0.8

_UNLIMITED: Final = 1 << 30
_NOBODY: Final = (-1, -1, -1)

# How much the latest interval counts for the pace at which places become free.
_WEIGHT: Final = 0.1

_BY_NAME: Final = {b"high": HIGH, b"normal": NORMAL, b"low": LOW}


def class_of(value: bytes | None) -> int:
    """The class that a header's value asks for: high, normal or low in any case; whatever else is normal."""
    return _BY_NAME.get(value.lower(), NORMAL) if value is not None else NORMAL


def shares(limit: int, *, classes: bool) -> tuple[int, int, int]:
    """How many places high, normal and low may fill; all of them where there are no classes."""
    if not classes or limit <= 1:
        return limit, limit, limit
    normal = min(int(limit * _NORMAL_SHARE), limit - 1)
    return limit, normal, max(1, min(int(limit * _LOW_SHARE), normal - 1))


class Place:
    """A place, or one in the queue for it. `tell` is called once it no longer waits, and must not raise."""

    __slots__ = ("_gate", "deadline", "rank", "since", "state", "tell")

    def __init__(self, gate: Gate, rank: int, state: int, since: float, deadline: float) -> None:
        self._gate = gate
        self.rank = rank
        self.state = state
        self.since = since  # when it was asked for
        self.deadline = deadline
        self.tell: Callable[[Place], None] = _ignore

    def settled(self, _: object, now: float) -> None:
        """Give it back, whatever it is. Only the first call counts; see `Exchange.on_settled`."""
        self._gate.release(self, now)

    def __repr__(self) -> str:
        states = ("waiting", "holding", "streaming", "left", "expired", "displaced")
        return f"<Place {CLASSES[self.rank]} {states[self.state]}>"


class Gate:
    """One cap. Its numbers may change at any time; who is in flight stays so, and nobody enters until there is room."""

    __slots__ = (
        "_classes",
        "_lines",
        "_most",
        "_pace",
        "_passed_at",
        "_wait",
        "caps",
        "in_flight",
        "in_use",
        "limit",
        "queued",
        "streams",
        "tunnels",
    )

    caps: tuple[int, int, int]  # how many may be in flight for each class to enter
    limit: int

    def __init__(self, settings: Concurrency) -> None:
        self._lines: tuple[OrderedDict[Place, None], ...] = (OrderedDict(), OrderedDict(), OrderedDict())
        self._pace = 0.0  # seconds between two places that became free for those who wait, smoothed
        self._passed_at = 0.0  # when the last did, or when the first began to wait
        self.in_flight = 0  # places taken, less those whose answer streams
        self.streams = 0
        self.tunnels = 0  # there may be as many as requests; they do not count as such
        self.queued = 0
        self.in_use = False  # somebody found no place since this was last cleared
        self.change(settings, 0.0)

    # ── in and out

    @property
    def taken(self) -> int:
        """Places taken, those included whose answer streams."""
        return self.in_flight + self.streams

    def enter(self, rank: int) -> bool:
        """Take a place, if one is free for this class; it is given back by `settled`."""
        if self.in_flight < self.caps[rank]:
            self.in_flight += 1
            return True
        self.in_use = True
        return False

    def settled(self, _: object, now: float) -> None:
        """Give back what `enter` gave; see `Exchange.on_settled`."""
        self.in_flight -= 1
        if self.queued:
            self._hand_over(now)

    def hold(self, rank: int, now: float) -> Place | None:
        """As `enter`, with a place to hold on to."""
        return Place(self, rank, HOLDING, now, now) if self.enter(rank) else None

    def line_up(self, rank: int, deadline: float, now: float) -> Place | str:
        """A place in the queue, where `hold` gave none; or why not: FULL or HOPELESS."""
        if not self.queued:
            self._passed_at = now
        ahead = sum(map(len, self._lines[: rank + 1]))
        if now + ahead * self._pace >= deadline:
            return HOPELESS
        if not self._wait or (self.queued >= self.limit and not self._displace(rank)):
            return FULL
        place = Place(self, rank, WAITING, now, deadline)
        self._lines[rank][place] = None
        self.queued += 1
        return place

    def release(self, place: Place, now: float) -> None:
        """The holder of this place, or of this place in the queue, has gone."""
        state, place.state = place.state, LEFT
        if state == HOLDING:
            self.settled(None, now)
        elif state == WAITING:
            del self._lines[place.rank][place]
            self.queued -= 1
            place.tell(place)
        elif state == STREAMING:
            self.streams -= 1
            if self.caps[HIGH] < self.limit:  # the streams left less room than the limit
                self._fit(now)
        else:
            place.state = state

    def stream(self, place: Place, now: float) -> None:
        """The answer has begun. The upstream's latency no longer depends on this one, nor does the limit."""
        if place.state == HOLDING:
            place.state = STREAMING
            self.in_flight -= 1
            self.streams += 1
            if self.queued or self.limit + self.streams > self._most:
                self._fit(now)

    # ── tunnels

    def open_tunnel(self) -> bool:
        """Count one more, if there may be one."""
        if self.tunnels >= self._most:
            return False
        self.tunnels += 1
        return True

    def tunnel_settled(self, _: object, now: float) -> None:
        """It has ended."""
        self.tunnels -= 1

    # ── the queue

    def expire(self, now: float) -> None:
        """Dismiss who has waited long enough."""
        for line in self._lines:
            while line and (first := next(iter(line))).since + self._wait <= now:
                self._dismiss(first, EXPIRED)

    def next_expiry(self) -> float:
        """When to call that; somebody waits."""
        return min([next(iter(line)).since for line in self._lines if line]) + self._wait

    def _hand_over(self, now: float) -> None:
        """Give what is free to those who wait, in their order."""
        for rank, line in enumerate(self._lines):
            while line and self.in_flight < self.caps[rank]:
                first = next(iter(line))
                if first.deadline <= now:
                    self._dismiss(first, EXPIRED)
                    continue
                self._pace += _WEIGHT * (now - self._passed_at - self._pace)
                self._passed_at = now
                self.in_flight += 1
                self._dismiss(first, HOLDING)

    def _displace(self, rank: int) -> bool:
        """Make room in the queue at the cost of the youngest of the lowest class, if that is below this one."""
        for line in reversed(self._lines[rank + 1 :]):
            if line:
                self._dismiss(next(reversed(line)), DISPLACED)
                return True
        return False

    def _dismiss(self, place: Place, state: int) -> None:
        del self._lines[place.rank][place]
        self.queued -= 1
        place.state = state
        place.tell(place)

    # ── its numbers

    def set_limit(self, limit: int, now: float) -> None:
        """So many at once, but never more than the settings say."""
        self.limit = min(limit, self._most)
        self._fit(now)

    def change(self, settings: Concurrency, now: float, limit: int | None = None) -> None:
        """Go by other settings; without `limit` it is theirs until `set_limit`."""
        self._most = settings.max or _UNLIMITED
        self._wait = settings.queue_wait
        self._classes = bool(settings.priority)
        self.caps = _NOBODY
        self.set_limit(self._most if limit is None else limit, now)

    def _fit(self, now: float) -> None:
        """Go by the limit and by what the streams leave of the most there may be."""
        room = max(0, min(self.limit, self._most - self.streams))
        if room != self.caps[HIGH]:
            self.caps = shares(room, classes=self._classes)
        if self.queued:
            self._hand_over(now)

    def __repr__(self) -> str:
        return f"<Gate {self.in_flight} of {self.limit} in flight, {self.streams} streams, {self.queued} queued>"


def _ignore(_: Place) -> None:
    """Nobody has to be told."""
