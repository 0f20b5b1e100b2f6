"""A rate limit of this process: refuses at once, or lets requests wait in order for their turn (`rate.wait`).

In shadow mode one that would have waited goes on: its place is taken and served as ever, only nobody stands in it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final

from sidecar.exchange import Exchange
from sidecar.settings import Rate
from sidecar.throttle.bucket import Bucket, Place
from sidecar.throttle.buckets import Buckets
from sidecar.throttle.keys import key_reader
from sidecar.throttle.limit import Limit
from sidecar.throttle.verdicts import Count, Verdicts

Waiting = Coroutine[Any, Any, None]

# Requests that wait in one limiter at a time, over all its keys: each holds a connection and what came on it.
MOST_WAITING: Final = 10_000

# Seconds that floats round away, so that 100 ms are long enough to wait for the next of 10/s.
_ROUNDING: Final = 1e-6


class Throttle:
    """One limit: the sidecar's or a route's, which `scope` names. `is_on(settings)` holds; a loop is running.

    `count` is told each decision (see `verdicts`). All state is in here and lives as long as this does.
    """

    __slots__ = ("_bucket", "_buckets", "_key_of", "_limit", "_now", "_verdicts", "_waiting", "settings")

    def __init__(self, settings: Rate, scope: str, *, count: Count, shadow: Callable[[], None]) -> None:
        self.settings = settings
        self._limit = limit = Limit(settings, scope)
        self._verdicts = Verdicts(limit, count=count, shadow=shadow if settings.mode == "shadow" else None)
        self._key_of = key_reader(settings.key)
        # The clock that aiolimiter reads; uvloop's stands still within a turn of the loop.
        self._now = clock = asyncio.get_running_loop().time
        self._bucket = Bucket(limit, clock)
        self._buckets = Buckets(limit, settings.max_keys, clock)
        self._waiting = 0

    def admit(self, exchange: Exchange) -> Waiting | None:
        """Let it go on, now (None) or when what is returned has been awaited. Raises SidecarError where refused."""
        now = self._now()
        key_of = self._key_of
        bucket = self._bucket if key_of is None else self._buckets.of(key_of(exchange), now)
        remaining = bucket.take(now)
        if remaining < 0:
            return self._without_token(exchange, bucket, now)
        self._verdicts.admitted(exchange, remaining)
        return None

    def _without_token(self, exchange: Exchange, bucket: Bucket, now: float) -> Waiting | None:
        """Wait, where its turn comes soon enough for the settings and for the client."""
        delay = bucket.delay(now)
        patience = max(0.0, min(self.settings.wait, exchange.deadline - now))
        if not patience or delay > patience + _ROUNDING or self._waiting >= MOST_WAITING:
            self._verdicts.refused(exchange, max(0.0, delay - patience))
            return None
        if self._verdicts.enforced:
            return self._wait(exchange, bucket, now)
        self._join(bucket, now)
        self._verdicts.would_wait(exchange, delay)
        return None

    async def _wait(self, exchange: Exchange, bucket: Bucket, began: float) -> None:
        place = self._join(bucket, began)
        try:
            await place
        except BaseException:
            bucket.leave(place)
            self._verdicts.waited(exchange, "left", self._now() - began)
            raise
        self._verdicts.waited(exchange, "waited", self._now() - began)

    def _join(self, bucket: Bucket, now: float) -> Place:
        place = bucket.join(now)
        self._waiting += 1
        place.add_done_callback(self._done)
        return place

    def _done(self, place: Place) -> None:
        self._waiting -= 1

    def status(self) -> dict[str, object]:
        """The live state, for people: no key's value. `remaining` only where all share one bucket."""
        status = {**self._limit.facts, "mode": self.settings.mode, "waiting": self._waiting}
        if self._key_of is None:
            status["remaining"] = self._bucket.remaining(self._now())
        else:
            status["keys"] = len(self._buckets)
            status["overflow"] = round(self._buckets.overflow.spent(self._now()), 3)
        return status

    def __repr__(self) -> str:
        held = self._bucket if self._key_of is None else self._buckets
        return f"<Throttle {self._limit.facts['scope']}: {held!r}>"
