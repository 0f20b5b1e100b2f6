"""How many requests begin in one turn of the event loop; the others wait in line, first come, first served.

Without it, a turn takes as long as all requests that came since the last one, and everything else that the loop has to
do waits as long: answers, timers, the health endpoints. So turns are short however many ask. And the line is no longer
than can be served in some time: who comes when it is full is to be refused further in, as soon as may be. Then his
connection rests for a while (`rests.py`), or until there is room again.

Beside the line is the slow lane (`lane.py`), for requests too: there is time for those who ask ahead.

Knows nothing of requests but that they can begin, and not who judges how many are too many.
"""

from __future__ import annotations

import asyncio
import sys
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from time import monotonic
from typing import Final, Protocol

from sidecar.alarm import Alarm
from sidecar.http1.lane import Lane
from sidecar.http1.rests import Resting, Rests
from sidecar.policy.guard import Bounds

# At some 50 µs each a millisecond; and what belongs to so many stays in the processor's cache until they have gone out:
# with 1,024 connections a request costs 8 % less than with 64 in a turn. As many again may be refused beside them: then
# those of a burst are told at once, and who comes on ever new connections, and so never rests, leaves most of the time.
MOST: Final = 16

# How often it is looked whether there is room again while the process is late, in seconds.
_LOOK: Final = 0.1

# What a request takes until it has been measured, in seconds, and how much the latest turn counts for that.
_PACE: Final = 0.0001
_WEIGHT: Final = 0.1

# Told how many seconds pass from one request's beginning to the next, and whether room has just ended all rests.
Judge = Callable[[float, bool], Bounds]


def no_end(_: float, __: bool) -> Bounds:
    """All may wait."""
    return Bounds(sys.maxsize, False, True)


class Entrant(Protocol):
    """What stands in line."""

    def begin(self, waited: float, crowded: bool) -> None:
        """It is its turn, after so many seconds; `crowded` where there was no place in line."""


class Entry:
    """The line. All calls belong to the loop's thread."""

    __slots__ = (
        "_ahead",
        "_alarm",
        "_begun",
        "_bounds",
        "_crowd",
        "_judge",
        "_last",
        "_line",
        "_loop",
        "_pace",
        "lane",
        "rests",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, judge: Judge) -> None:
        self.lane = Lane(loop)
        self.rests = Rests(loop)
        self._loop = loop
        self._judge = judge
        # Since when, and whether the line was full: by who waits, as some leave.
        self._line: OrderedDict[Entrant, tuple[float, bool]] = OrderedDict()
        self._crowd: OrderedDict[Entrant, float] = OrderedDict()  # came when the line was full, and are to be refused
        self._ahead: dict[Entrant, Callable[[], None]] = {}  # who waits in the slow lane, as the work that he is there
        self._begun = 0  # in this turn of the loop
        self._last = 0.0  # when a turn went to those who wait, if the one before did
        self._pace = _PACE
        self._bounds = judge(_PACE, False)
        self._alarm = Alarm(loop, self._look)

    @property
    def waiting(self) -> int:
        """How many have come and not begun."""
        return len(self._line) + len(self._crowd) + len(self._ahead)

    def come(self, entrant: Entrant) -> None:
        """Begin now, or when it is its turn."""
        begun = self._begun
        if begun < MOST:
            if not begun:
                self._loop.call_soon(self._next_turn)
            self._begun = begun + 1
            entrant.begin(0.0, False)
            return
        full = len(self._line) >= self._bounds.longest
        if full and self._bounds.strict:
            self._crowd[entrant] = monotonic()
        else:
            self._line[entrant] = monotonic(), full

    def come_ahead(self, entrant: Entrant) -> None:
        """Begin at once if the slow lane is free, else when it is its turn there."""
        if self.lane.at_once():
            # A refusal that came a turn later would not reach who sends and then half-closes, as `nc` does.
            entrant.begin(0.0, False)
            return
        full = len(self._ahead) >= self._bounds.longest
        begin = self._ahead[entrant] = partial(self._begin, entrant, monotonic(), full)
        self.lane.add(begin)

    def _begin(self, entrant: Entrant, since: float, full: bool) -> None:
        if self._ahead.pop(entrant, None) is not None:  # else it has left in the last moment
            entrant.begin(monotonic() - since, full)

    def leave(self, entrant: Entrant) -> None:
        """Who may still wait waits no longer."""
        if self._line.pop(entrant, None) is not None or self._crowd.pop(entrant, None) is not None:
            return
        begin = self._ahead.pop(entrant, None)
        if begin is not None:
            self.lane.leave(begin)

    def rest(self, one: Resting, until: float) -> None:
        """Have it woken then, or sooner, when there is room."""
        self.rests.add(one, until)
        self._look()

    def _look(self, _: float = 0.0) -> None:
        if not self._begun:
            self._begun = 1
            self._loop.call_soon(self._next_turn)

    def _next_turn(self) -> None:
        line, crowd = self._line, self._crowd
        if not line and not crowd and not self.rests.count:
            self._begun = 0
            self._last = 0.0
            return
        now = monotonic()
        if self._last:
            self._pace += _WEIGHT * ((now - self._last) / MOST - self._pace)
        self._last = now if len(line) >= MOST else 0.0
        bounds = self._bounds = self._judge(self._pace, False)
        has_room = bounds.wakes and not self._ahead
        if not line and not crowd and not has_room:
            self._begun = 0
            self._alarm.set(now + _LOOK)
            return
        # All of this turn goes to those who wait: nobody overtakes them.
        self._begun = MOST
        self._loop.call_soon(self._next_turn)
        served = min(MOST, len(line))
        for _ in range(served):
            entrant, (since, full) = line.popitem(last=False)
            entrant.begin(now - since, full)
        for _ in range(min(MOST, len(crowd))):
            entrant, since = crowd.popitem(last=False)
            entrant.begin(now - since, True)
        if has_room and served < MOST and not crowd and self.rests.count:
            self.rests.end(MOST - served)
            if not self.rests.count:
                self._bounds = self._judge(self._pace, True)

    def __repr__(self) -> str:
        return f"<Entry {len(self._line)} of {self._bounds.longest} wait, {len(self._crowd)} too many>"
