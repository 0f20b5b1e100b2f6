"""One timer that is moved far more often than it fires.

Moving a deadline later costs an attribute: the event loop's timer stays where it is, and when it goes off too early
the alarm sets it anew. So a connection keeps one loop timer for its life, whatever its requests do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import inf
from time import monotonic


class Alarm:
    """Calls `ring(now)` once the time last set has passed. Times are seconds of `time.monotonic`."""

    __slots__ = ("_due", "_handle", "_loop", "_ring", "_wakes")

    def __init__(self, loop: asyncio.AbstractEventLoop, ring: Callable[[float], None]) -> None:
        self._loop = loop
        self._ring = ring
        self._due = inf  # when to ring
        self._wakes = inf  # when the loop's timer goes off, never later than `_due`
        self._handle: asyncio.TimerHandle | None = None

    def set(self, due: float) -> None:
        """Ring at `due`, instead of any time set before."""
        self._due = due
        if due < self._wakes:
            self._arm(due)

    def at_latest(self, due: float) -> None:
        """Ring at `due`, unless an earlier time is set."""
        if due < self._due:
            self.set(due)

    def clear(self) -> None:
        """Do not ring."""
        self._due = inf

    def stop(self) -> None:
        """Let go of the loop, and of the owner: it is done."""
        self._due = inf
        self._ring = _nobody
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
            self._wakes = inf

    def _arm(self, due: float) -> None:
        if self._handle is not None:
            self._handle.cancel()
        self._wakes = due
        self._handle = self._loop.call_later(max(0.0, due - monotonic()), self._wake)

    def _wake(self) -> None:
        self._handle = None
        self._wakes = inf
        now = monotonic()
        if self._due > now:
            if self._due < inf:
                self._arm(self._due)
            return
        self._due = inf
        self._ring(now)

    def __repr__(self) -> str:
        return f"<Alarm in {self._due - monotonic():.3f}s>" if self._due < inf else "<Alarm off>"


def _nobody(now: float) -> None:
    pass
