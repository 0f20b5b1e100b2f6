"""The slow lane: work for which there is time, of which little is done in each turn of the event loop.

What floods bring goes here, so that turns stay short for all others: who asks ahead, before the answer to his last
request; who is to be told that his bytes are no request; and bodies in so many pieces that one read of them would keep
the loop for long. First come, first served; whoever does not flood seldom comes here, and is late by a turn at most.

Knows nothing of what the work is.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import Final

# Pieces of work in a turn, at some 100 µs each.
_FEW: Final = 4


class Lane:
    """All calls belong to the loop's thread."""

    __slots__ = ("_loop", "_moves", "_taken", "_waiting")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: OrderedDict[Callable[[], object], None] = OrderedDict()  # in this order; some leave
        self._moves = False
        self._taken = 0  # of this turn, by what was done at once

    @property
    def waiting(self) -> int:
        """Pieces of work that have not begun."""
        return len(self._waiting)

    def add(self, work: Callable[[], object]) -> None:
        """Have `work()` called in its turn, never at once. What waits already keeps its place, and has no second."""
        self._waiting[work] = None
        if not self._moves:
            self._moves = True
            self._loop.call_soon(self._turn)

    def at_once(self) -> bool:
        """Whether there is room in this turn and nobody waits; then it is taken, and the work can be done at once."""
        if self._waiting or self._taken == _FEW:
            return False
        self._taken += 1
        if not self._moves:
            self._moves = True
            self._loop.call_soon(self._turn)
        return True

    def leave(self, work: Callable[[], object]) -> None:
        """What still waits is not wanted any more: a flood of those who come and go is to hold up nobody."""
        self._waiting.pop(work, None)

    async def turn(self) -> None:
        """Wait for one's turn."""
        turn: asyncio.Future[None] = self._loop.create_future()
        work = partial(_call, turn)
        self.add(work)
        try:
            await turn
        finally:
            self.leave(work)

    def _turn(self) -> None:
        waiting = self._waiting
        self._taken = 0
        for _ in range(min(_FEW, len(waiting))):
            self._loop.call_soon(waiting.popitem(last=False)[0])  # each by itself: one that fails stops no other
        self._moves = bool(waiting)
        if waiting:
            self._loop.call_soon(self._turn)

    def __repr__(self) -> str:
        return f"<Lane {len(self._waiting)} wait>"


def _call(turn: asyncio.Future[None]) -> None:
    if not turn.done():  # else whoever waited has left
        turn.set_result(None)
