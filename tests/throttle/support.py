"""Exchanges to be limited, and what was said of them."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Any

from sidecar.errors import SidecarError
from sidecar.exchange import Exchange, Request, Response
from sidecar.headers import Headers
from sidecar.layers.throttle import Limiter, throttle
from sidecar.settings import Rate
from sidecar.throttle.local import Throttle


class NoTimer:
    """Nothing is to be looked at."""

    def at_latest(self, due: float) -> None:
        """See exchange.Timer."""


def exchange(client: str = "192.0.2.7", block: bytes = b"") -> Exchange:
    """A request from this client with these header lines."""
    return Exchange(Request("GET", b"/", Headers(block)), b"0" * 32, client, 0.0, NoTimer())


class Counts(Counter[str]):
    """How often what was decided."""

    def count(self, decision: str) -> None:
        """See verdicts.Count."""
        self[decision] += 1

    def shadow(self) -> None:
        """A refusal that was none."""
        self["shadow"] += 1


class Way:
    """The layer of a limiter, and an upstream behind it that notes who came."""

    def __init__(self, limiter: Limiter) -> None:
        self.limiter = limiter
        self.came: list[Exchange] = []
        self.handler = throttle(limiter, self._upstream)

    async def _upstream(self, exchange: Exchange) -> Response:
        self.came.append(exchange)
        return Response(200, b"OK", Headers())

    async def send(self, exchange: Exchange) -> SidecarError | None:
        """Send it through; returns why not, if it was refused."""
        try:
            await self.handler(exchange)
        except SidecarError as error:
            return error
        return None

    async def send_all(self, exchanges: Sequence[Exchange]) -> list[SidecarError | None]:
        """Send them all in one turn of the loop, in order."""
        return await asyncio.gather(*map(self.send, exchanges))

    async def admitted(self, count: int) -> int:
        """How many of so many requests at once come through."""
        return (await self.send_all([exchange() for _ in range(count)])).count(None)


def local(counts: Counts | None = None, **settings: Any) -> Throttle:
    """A limiter of this process."""
    counts = Counts() if counts is None else counts
    return Throttle(Rate(**settings), "sidecar", count=counts.count, shadow=counts.shadow)


def within(limit: float, burst: float, times: Sequence[float]) -> bool:
    """Whether in no stretch of time there are more of these (sorted) than a burst and what refills in it."""
    return all(
        last - first + 1 <= burst + limit * (times[last] - times[first]) + 1e-6
        for first in range(len(times))
        for last in range(first, len(times))
    )
