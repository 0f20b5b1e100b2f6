"""A bucket for each key, for a bounded number of keys, such that no key gains by there being many.

A bucket that has refilled holds no information: a new one is the same. So those go first, and where there is none the
new keys share the overflow bucket. A key that comes out of it begins with as much spent as all in there have spent
together, which is no less than its own share.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush, heapreplace
from typing import Final

from sidecar.throttle.bucket import Bucket
from sidecar.throttle.limit import Limit

# Buckets that are looked at for one new key: with a million of them, all in use, a look at each would take a second.
_LOOKS: Final = 64


class Buckets:
    """At most `max_keys` buckets, and the overflow bucket. `clock` and `now` as for a bucket."""

    __slots__ = ("_by_key", "_clock", "_limit", "_max", "_refilling", "overflow")

    def __init__(self, limit: Limit, max_keys: int, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._limit = limit
        self._max = max_keys
        self._by_key: dict[bytes, Bucket] = {}
        # One entry for each key: a time before which its bucket has not refilled. It is set right when it is looked at.
        self._refilling: list[tuple[float, bytes]] = []
        self.overflow = Bucket(limit, clock)

    def of(self, key: bytes, now: float) -> Bucket:
        """The bucket that this key takes from."""
        return self._by_key.get(key) or self._add(key, now)

    def _add(self, key: bytes, now: float) -> Bucket:
        overflow = self.overflow
        # While some wait in the overflow's line, what they will have taken there cannot be said yet.
        if overflow.waiting or (len(self._by_key) >= self._max and not self._make_room(now)):
            return overflow
        bucket = self._by_key[key] = Bucket(self._limit, self._clock)
        spent = overflow.spent(now)
        if spent:
            bucket.begin_with(spent)
        heappush(self._refilling, (now, key))
        return bucket

    def _make_room(self, now: float) -> bool:
        """Let go of one bucket that has refilled; returns whether there was one."""
        refilling, by_key = self._refilling, self._by_key
        for _ in range(_LOOKS):
            earliest, key = refilling[0]
            if earliest > now:
                return False
            bucket = by_key[key]
            if bucket.is_full(now):
                heappop(refilling)
                del by_key[key]
                return True
            heapreplace(refilling, (max(bucket.full_at, now + self._limit.interval), key))
        return False

    def __len__(self) -> int:
        return len(self._by_key)

    def __repr__(self) -> str:
        return f"<Buckets {len(self)} of {self._max}, overflow {self.overflow!r}>"
