"""One token bucket (aiolimiter), and the line of those who wait for its tokens.

`AsyncLimiter` says whether there is a token. It does not say when there will be one, nor when the bucket will have
refilled, and those who wait in its own `acquire` can be overtaken. So `full_at` is kept beside it, and the line is
ours: a place in it is a token promised, and `full_at` counts the promised ones as taken. Time may pass between two
looks at the clock, so ours is always the later one: `full_at` may be late and is never early.

While by that at least half of the bucket is there, aiolimiter is not asked, as its word would be no news and takes
longer than all the rest (1 µs). It is made when the bucket has sunk so low, and asked until it has risen again.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from aiolimiter import AsyncLimiter

from sidecar.throttle.limit import Limit

Place = asyncio.Future[None]

# Loops keep time in milliseconds (uvloop) and floats are rounded: a timer that was early is set anew, no sooner, and a
# bucket that is a millionth of a token short is not.
_TICK: Final = 0.001
_SLACK: Final = 1e-6

# A token that lacks only what floats round off is one.
_ALMOST: Final = 1e-3

# What `take` returns where there is no token.
NONE: Final = -1


class Bucket:
    """Belongs to the running event loop; `clock` is that loop's, and `now` what it said last."""

    __slots__ = ("_clock", "_limit", "_limiter", "_line", "_timer", "full_at")

    def __init__(self, limit: Limit, clock: Callable[[], float]) -> None:
        self.full_at = 0.0  # when it will have refilled, if nobody else comes
        self._clock = clock
        self._limit = limit
        self._limiter: AsyncLimiter | None = None  # while it has to be asked
        self._line: OrderedDict[Place, None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def take(self, now: float) -> int:
        """Take a token, if there is one that nobody waits for; returns how many are left, or NONE."""
        if self._line:
            return NONE
        limit = self._limit
        full_at = self.full_at
        if full_at - now <= limit.easy:
            self._limiter = None
        else:
            limiter = self._limiter or self._made(now)
            if not limiter.has_capacity():
                return NONE
            _acquire(limiter, 1)
            now = self._clock()
        self.full_at = full_at = (full_at if full_at > now else now) + limit.interval
        left = int((now + limit.period - full_at) * limit.rate + _ALMOST)
        return left if left > 0 else 0

    def begin_with(self, spent: float) -> None:
        """Take so many tokens (at most all) out of this bucket, which is new."""
        self.full_at = self._clock() + spent * self._limit.interval

    def _made(self, now: float) -> AsyncLimiter:
        """What is asked from now on; it begins with what has been spent."""
        limiter = self._limiter = AsyncLimiter(self._limit.burst, self._limit.period)
        _acquire(limiter, max(0.0, min(self.spent(now), self._limit.burst) - _SLACK))
        return limiter

    def is_full(self, now: float) -> bool:
        """Whether it has refilled, so that a new one is the same."""
        return self.full_at <= now and not self._line

    def spent(self, now: float) -> float:
        """Tokens that are missing from it, those promised included."""
        ahead = self.full_at - now
        return ahead * self._limit.rate if ahead > 0.0 else 0.0

    def remaining(self, now: float) -> int:
        """Whole tokens that are there."""
        left = int(self._limit.burst - self.spent(now) + _ALMOST)
        return left if left > 0 else 0

    def delay(self, now: float) -> float:
        """Seconds until there is a token for one who comes now, after all who wait already."""
        delay = self.full_at + self._limit.interval - self._limit.period - now
        return delay if delay > 0.0 else 0.0

    # ── the line

    @property
    def waiting(self) -> int:
        """Places in its line."""
        return len(self._line) if self._line else 0

    def join(self, now: float) -> Place:
        """A place at the line's end, done when its token has been taken. `leave` it where it is not waited out."""
        if self._line is None:
            self._line = OrderedDict()
        place: Place = asyncio.get_running_loop().create_future()
        self._line[place] = None
        self.full_at = max(self.full_at, now) + self._limit.interval
        if self._timer is None:
            self._arm(now)
        return place

    def leave(self, place: Place) -> None:
        """Give a place back; those behind move up. If its token has been taken already, the next one has it."""
        line = self._line
        assert line is not None
        granted = place.done() and not place.cancelled()
        place.cancel()
        if place in line:
            del line[place]
            self.full_at -= self._limit.interval
        elif granted and self._next() is not None:
            self.full_at -= self._limit.interval
        if not line and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _next(self) -> Place | None:
        """Let the first in line go, whose token was seen to."""
        while self._line:
            place, _ = self._line.popitem(last=False)
            if not place.done():
                place.set_result(None)
                return place
            self.full_at -= self._limit.interval  # it was cancelled and is about to leave
        return None

    def _serve(self) -> None:
        self._timer = None
        limiter = self._limiter
        assert limiter is not None  # a line begins where it has refused, and it stays while there is one
        while self._line and limiter.has_capacity():
            if self._next() is not None:
                _acquire(limiter, 1)
                # Who is served late has a token that was long there: it is missing from now, not from when it was due.
                self.full_at = max(self.full_at, self._clock() + (1 + self.waiting) * self._limit.interval)
        if self._line:
            self._arm(self._clock())

    def _arm(self, now: float) -> None:
        """Look again when the first in line can have its token."""
        due = self.full_at - self._limit.period - (self.waiting - 1) * self._limit.interval
        self._timer = asyncio.get_running_loop().call_later(max(_TICK, due - now + _SLACK), self._serve)

    def __repr__(self) -> str:
        return f"<Bucket full at {self.full_at:.3f}, {self.waiting} waiting>"


def _acquire(limiter: AsyncLimiter, amount: float) -> None:
    """Take what there is capacity for: so the coroutine ends in its first step, without a task or a wait."""
    pending = next(limiter.acquire(amount).__await__(), None)
    assert pending is None
