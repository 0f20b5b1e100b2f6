"""How many connections the admin port has at once, and who goes when one more comes.

Clients that say nothing, or half a request for ever, would take descriptors from the proxy and the way in from the
kubelet's probes. So the number is bounded and the newcomer wins: the oldest connection that no page is being made for
is cut, and only where each has one, the oldest of all. Knows no page.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

from aiohttp import web

from sidecar.admin.connection import Connection

MOST: Final = 256  # connections; scrapers, probes and people have a handful

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Door:
    """The bound. `inside` is a middleware, `admit` what makes the protocol of each new connection."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._busy: set[object] = set()  # protocols that a page is being made for
        self.server: web.Server | None = None  # whose connections they are, once it is there

    def admit(self) -> asyncio.Protocol:
        """A new connection, in the place of an old one where there is none free."""
        assert self.server is not None
        # One that was cut in this turn of the loop is still listed, without its transport.
        there = [connection for connection in self.server.connections if connection.transport is not None]
        surplus = len(there) - self._most + 1
        if surplus > 0:
            there.sort(key=self._busy.__contains__)  # keeps their order, which is that of their age
            for connection in there[:surplus]:
                assert connection.transport is not None
                connection.transport.abort()  # to close would wait for a client that does not read
        return Connection(self.server)

    @property
    def inside(self) -> Any:
        """Marks the connection of each request for as long as its page takes."""

        @web.middleware
        async def inside(request: web.Request, handler: Handler) -> web.StreamResponse:
            self._busy.add(request.protocol)
            try:
                return await handler(request)
            finally:
                self._busy.discard(request.protocol)

        return inside
