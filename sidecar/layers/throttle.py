"""The layer of a rate limit. What it decides, it asks of a limiter of `throttle/`."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Protocol

from sidecar.exchange import Exchange, Handler, Response


class Limiter(Protocol):
    """`Throttle` or `SharedThrottle`."""

    def admit(self, exchange: Exchange) -> Awaitable[None] | None:
        """Let it go on, now (None) or when what is returned has been awaited. Raises SidecarError where refused."""


def throttle(limiter: Limiter, call: Handler) -> Handler:
    """Let through what the limiter admits, when it does. No coroutine where it admits at once."""
    admit = limiter.admit

    def handler(exchange: Exchange) -> Awaitable[Response]:
        turn = admit(exchange)
        return call(exchange) if turn is None else _in_turn(turn, exchange, call)

    return handler


async def _in_turn(turn: Awaitable[None], exchange: Exchange, call: Handler) -> Response:
    await turn
    return await call(exchange)
