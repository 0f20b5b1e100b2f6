"""What passed and what failed in the last seconds: counts in a ring of buckets, the same cost for every attempt.

Knows nothing of circuits. The clock is an argument: seconds of one monotonic clock, never going back.
"""

from __future__ import annotations

from collections import deque
from math import inf
from typing import Final

# So finely does the window slide: it looks back for at least nine tenths of its time, and never for longer.
BUCKETS: Final = 10

_EMPTY: Final = (0, 0)


class Window:
    """Counts over the last `seconds`."""

    __slots__ = ("_edge", "_failed", "_passed", "_past", "_past_failed", "_past_passed", "_seconds", "_width")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._width = seconds / BUCKETS
        self._edge = -inf  # when the present bucket ends
        self._passed = self._failed = 0  # in the present bucket
        self._past = deque([_EMPTY] * (BUCKETS - 1))  # the buckets before it, oldest first …
        self._past_passed = self._past_failed = 0  # … and their sums

    def passed(self, now: float) -> None:
        """An attempt was good."""
        if now >= self._edge:
            self._turn(now)
        self._passed += 1

    def failed(self, now: float) -> None:
        """An attempt was bad."""
        if now >= self._edge:
            self._turn(now)
        self._failed += 1

    def counts(self, now: float) -> tuple[int, int]:
        """How many attempts the window holds, and how many of them failed."""
        if now >= self._edge:
            self._turn(now)
        failed = self._past_failed + self._failed
        return self._past_passed + self._passed + failed, failed

    def clear(self) -> None:
        """Forget everything."""
        self._edge = -inf
        self._passed = self._failed = 0
        self._past = deque([_EMPTY] * (BUCKETS - 1))
        self._past_passed = self._past_failed = 0

    def _turn(self, now: float) -> None:
        """Begin the bucket that `now` falls into."""
        if now - self._edge >= self._seconds:
            self.clear()
            self._edge = now + self._width
            return
        while now >= self._edge:
            oldest_passed, oldest_failed = self._past.popleft()
            self._past.append((self._passed, self._failed))
            self._past_passed += self._passed - oldest_passed
            self._past_failed += self._failed - oldest_failed
            self._passed = self._failed = 0
            self._edge += self._width

    def __repr__(self) -> str:
        failed = self._past_failed + self._failed
        return f"<Window {failed} of {self._past_passed + self._passed + failed} failed in {self._seconds:g}s>"
