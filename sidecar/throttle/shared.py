"""A rate limit that all replicas share, in Redis; while that is away, each replica has its part of it.

The part is `rate / replicas` and `burst / replicas`, at least one, in a `Throttle` of its own that takes over at once.
It begins full, so an outage grants one burst more at most.

Smoothing reserves: Redis says when a request's turn is, and it is waited for here. A reservation whose exchange ends
is not given back, as those behind it have been told their turns.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

from msgspec.structs import replace

from sidecar.exchange import Exchange
from sidecar.settings import Rate
from sidecar.throttle.keys import digest, key_reader
from sidecar.throttle.limit import Limit
from sidecar.throttle.local import MOST_WAITING, Throttle, Waiting
from sidecar.throttle.script import arguments
from sidecar.throttle.store import Store
from sidecar.throttle.verdicts import Count, Verdicts


class SharedThrottle:
    """One limit: the sidecar's or a route's, which `scope` names. As `Throttle`; the store is its owner's to close."""

    __slots__ = (
        "_arguments",
        "_key_of",
        "_limit",
        "_local",
        "_now",
        "_prefix",
        "_store",
        "_verdicts",
        "_waiting",
        "settings",
    )

    def __init__(self, settings: Rate, scope: str, store: Store, *, count: Count, shadow: Callable[[], None]) -> None:
        self.settings = settings
        self._store = store
        self._limit = limit = Limit(settings, scope)
        self._verdicts = Verdicts(limit, count=count, shadow=shadow if settings.mode == "shadow" else None)
        self._key_of = key_reader(settings.key)
        self._prefix = f"{store.settings.prefix}rate:{scope}:".encode("ascii")
        self._arguments = arguments(limit, settings.wait, settings.wait)
        replicas = store.settings.replicas
        part = replace(settings, limit=limit.rate / replicas, burst=max(1, limit.burst // replicas))
        self._local = Throttle(part, scope, count=partial(_count_fallback, count), shadow=shadow)
        self._waiting = 0
        self._now = asyncio.get_running_loop().time

    def admit(self, exchange: Exchange) -> Waiting | None:
        """As `Throttle.admit`; it asks Redis unless that is away."""
        if self._store.away:
            return self._fall_back(exchange)
        return self._ask(exchange)

    async def _ask(self, exchange: Exchange) -> None:
        found = await self._store.ask(self._name(exchange), self._arguments_for(exchange))
        if found is None:
            turn = self._fall_back(exchange)
            if turn is not None:
                await turn
        elif not found.admitted:
            self._verdicts.refused(exchange, max(0.0, found.delay - self._patience(exchange)))
        elif not found.delay:
            self._verdicts.admitted(exchange, found.remaining)
        elif not self._verdicts.enforced:
            self._verdicts.would_wait(exchange, found.delay)
        else:
            await self._wait(exchange, found.delay)

    def _fall_back(self, exchange: Exchange) -> Waiting | None:
        self._verdicts.left_to_replica(exchange)
        return self._local.admit(exchange)

    def _patience(self, exchange: Exchange) -> float:
        """Seconds that it may be kept waiting."""
        if self._waiting >= MOST_WAITING:
            return 0.0
        return max(0.0, min(self.settings.wait, exchange.deadline - self._now()))

    def _arguments_for(self, exchange: Exchange) -> tuple[str, ...]:
        patience = self._patience(exchange)
        wait = self.settings.wait
        return self._arguments if patience == wait else arguments(self._limit, patience, wait)

    def _name(self, exchange: Exchange) -> bytes:
        """The bucket's name in Redis, where others can read it: what may be a secret is not spelt out."""
        key_of = self._key_of
        if key_of is None:
            return self._prefix
        key = key_of(exchange)
        return self._prefix + (key if self.settings.key == "client" else digest(key))

    async def _wait(self, exchange: Exchange, delay: float) -> None:
        began = self._now()
        decision = "left"
        self._waiting += 1
        try:
            await asyncio.sleep(delay)
            decision = "waited"
        finally:
            self._waiting -= 1
            self._verdicts.waited(exchange, decision, self._now() - began)

    def status(self) -> dict[str, object]:
        """The live state, for people: no key's value. `fallback` is what holds, in part, while Redis is away."""
        return {
            **self._limit.facts,
            "mode": self.settings.mode,
            "waiting": self._waiting,
            "redis": "away" if self._store.away else "connected",
            "outages": self._store.outages,
            "fallback": self._local.status(),
        }

    def __repr__(self) -> str:
        return f"<SharedThrottle {self._limit.facts['scope']}: {self._limit!r} in {self._store!r}>"


def _count_fallback(count: Count, decision: str) -> None:
    count(f"fallback_{decision}")
