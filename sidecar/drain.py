"""Leaving without losing a request: the sequence, and the report on it.

    begin             not ready; each connection's next answer says `Connection: close`; all goes on being served
    close_idle        after the delay: idle connections are closed once they have been quiet
    finish            after the delay: what waits in the backlog is taken, the listener closed, idle connections
                      closed likewise, what is in flight waited for, the rest cut

`POST /drain` begins and closes what is idle, a signal finishes; it joins a drain that has begun. A second signal ends
the wait at once. In a pod the service ends between the two: by then no client may hold a connection that it believes
to be good.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import NamedTuple, Protocol

from sidecar.exchange import Exchange
from sidecar.settings import Drain as Limits

# How often the wait looks whether all is done, in seconds.
_LOOK = 0.02


class Server(Protocol):
    """What a drain does with the client side."""

    @property
    def in_flight(self) -> int:
        """Exchanges that have not ended."""

    @property
    def open(self) -> int:
        """Connections."""

    def begin_drain(self) -> None:
        """Each connection's next answer is its last."""

    def close_when_quiet(self) -> None:
        """Close idle connections after a quiet moment."""

    def cut(self) -> int:
        """Close everything; returns how many exchanges that cut."""


class Report(NamedTuple):
    """How a drain went. Counts are exchanges, times seconds; `left` is what remained of the time allowed."""

    cause: str
    in_flight_at_start: int
    finished: int
    cut: int
    longest: float
    took: float
    left: float


class Drain:
    """One drain. `close_listener` stops accepting, having taken what the kernel had accepted."""

    def __init__(self, server: Server, limits: Limits, close_listener: Callable[[], Awaitable[None]]) -> None:
        self._server = server
        self.limits = limits  # they may change until they are needed
        self._close_listener = close_listener
        self._began: float | None = None
        self._cause = ""
        self._in_flight_at_start = 0
        self._ended = 0
        self._longest = 0.0
        self.hurry = asyncio.Event()

    @property
    def began(self) -> bool:
        """Whether a drain has begun."""
        return self._began is not None

    def begin(self, cause: str) -> bool:
        """Begin; returns False where one had begun before."""
        if self._began is not None:
            return False
        self._began = monotonic()
        self._cause = cause
        self._in_flight_at_start = self._server.in_flight
        self._server.begin_drain()
        return True

    def ended(self, exchange: Exchange, now: float) -> None:
        """Count an exchange that has ended since the drain began."""
        self._ended += 1
        self._longest = max(self._longest, now - exchange.started)

    async def close_idle(self) -> None:
        """After the delay, close connections that stay idle; others are still accepted. `begin` has been called."""
        await self._delay()
        self._server.close_when_quiet()

    async def finish(self) -> Report:
        """Go through the sequence to its end; `begin` has been called."""
        began = self._began
        assert began is not None
        await self._delay()
        await self._close_listener()
        self._server.close_when_quiet()
        give_up = monotonic() + self.limits.timeout
        await self._wait_until(give_up, lambda: self._server.open == 0)
        left = give_up - monotonic()
        ended = self._ended
        cut = self._server.cut()
        # What was cut ends when its connection's loss is reported, which takes turns of the loop.
        await asyncio.sleep(0 if not cut else 2 * _LOOK)
        return Report(
            self._cause,
            self._in_flight_at_start,
            ended,
            cut,
            round(self._longest, 3),
            round(monotonic() - began, 3),
            round(max(0.0, left), 3),
        )

    async def _delay(self) -> None:
        assert self._began is not None
        await self._wait_until(self._began + self.limits.delay, lambda: False)

    async def _wait_until(self, due: float, done: Callable[[], bool]) -> None:
        # Three ends to wait for, one of them time, and one that nobody tells of.
        while monotonic() < due and not done() and not self.hurry.is_set():  # noqa: ASYNC110
            await asyncio.sleep(_LOOK)
