"""Connections that are not read from for a while: what they asked was refused, as the sidecar is overloaded itself.

To refuse costs nearly what serving does, and who is refused often asks again at once. So he is told early, and what he
asks next on that connection waits in its socket until it has rested, never longer than he was told to wait, or there is
room for him. Then refusals take a small share of the time, however many ask.

Knows nothing of why one rests, nor of who says how long.
"""

from __future__ import annotations

import asyncio
import sys
from collections import OrderedDict
from time import monotonic
from typing import Final, Protocol

# Rests that end within so many seconds end together: a timer for each would cost more.
_TOGETHER: Final = 0.01


class Resting(Protocol):
    """A connection that rests."""

    def wake(self) -> None:
        """It has rested."""


class Rests:
    """All calls belong to the loop's thread. Times are seconds of `time.monotonic`."""

    __slots__ = ("_loop", "_timer", "_until")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._until: OrderedDict[Resting, float] = OrderedDict()  # in the order of their ends
        self._timer: asyncio.TimerHandle | None = None  # while there are any

    @property
    def count(self) -> int:
        """How many rest."""
        return len(self._until)

    def add(self, one: Resting, until: float) -> None:
        """Have it woken then. Those that came earlier have earlier ends."""
        self._until[one] = until
        if self._timer is None:
            self._timer = self._loop.call_later(until - monotonic(), self._look)

    def leave(self, one: Resting) -> None:
        """It may rest, and is not to be woken."""
        if self._until.pop(one, None) is not None:
            self._stop_if_empty()

    def end(self, most: int = sys.maxsize) -> None:
        """There is room for so many: wake them, first come, first served."""
        for _ in range(min(most, len(self._until))):
            one, _ = self._until.popitem(last=False)
            self._stop_if_empty()
            one.wake()

    def _look(self) -> None:
        now, rested = monotonic(), 0
        self._timer = None
        for until in self._until.values():
            if until > now:
                self._timer = self._loop.call_later(max(until - now, _TOGETHER), self._look)
                break
            rested += 1
        self.end(rested)

    def _stop_if_empty(self) -> None:
        if not self._until and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def __repr__(self) -> str:
        return f"<Rests of {len(self._until)}>"
