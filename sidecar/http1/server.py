"""The client side as a whole: what all its connections share, and what is done to all of them at a drain."""

from __future__ import annotations

import asyncio

from sidecar.exchange import Exchange, Handler
from sidecar.forwarding import Forwarding
from sidecar.headers import RequestIds
from sidecar.http1.connection import ClientConnection
from sidecar.http1.heads import HeadReader
from sidecar.http1.intake import ReadBuffers
from sidecar.settings import Settings


class Http1Server:
    """Makes a connection object for each client; `accept` is an asyncio protocol factory."""

    def __init__(self, settings: Settings, handler: Handler) -> None:
        self.settings = settings
        self.handler = handler
        self.reader = HeadReader(settings.http.max_headers)
        self.forwarding = Forwarding(settings.forwarding.trusted_proxies, forwarded=settings.forwarding.forwarded)
        self.request_ids = RequestIds()
        self.buffers = ReadBuffers()
        self.loop = asyncio.get_running_loop()
        self.connections: set[ClientConnection] = set()
        self.draining = False
        self.closing_idle = False

    def apply(self, settings: Settings, handler: Handler) -> None:
        """Serve by these from the next request on; what is in flight ends as it began."""
        self.settings = settings
        self.handler = handler
        self.reader = HeadReader(settings.http.max_headers)

    def accept(self) -> ClientConnection:
        """A protocol for a new connection."""
        return ClientConnection(self)

    @property
    def in_flight(self) -> int:
        """Exchanges that have not ended."""
        return len(self.exchanges)

    @property
    def exchanges(self) -> list[Exchange]:
        """Those in flight."""
        return [connection.turn.exchange for connection in self.connections if connection.turn is not None]

    @property
    def open(self) -> int:
        """Connections."""
        return len(self.connections)

    def begin_drain(self) -> None:
        """From here each connection's next answer is its last. Idle ones stay open: a request may be on its way."""
        self.draining = True

    def close_when_quiet(self) -> None:
        """Close each connection once it has been idle for a while, from now."""
        self.closing_idle = True
        for connection in list(self.connections):
            connection.close_when_quiet()

    def cut(self) -> int:
        """Close everything at once; returns how many exchanges that cut."""
        in_flight = self.in_flight
        for connection in list(self.connections):
            connection.cut()
        return in_flight

    def fault(self, error: Exception) -> None:
        """Report a fault of ours that no answer can tell of any more."""
        self.loop.call_exception_handler({"message": "fault in the middle of an answer", "exception": error})

    def __repr__(self) -> str:
        return f"<Http1Server connections={len(self.connections)} in_flight={self.in_flight} draining={self.draining}>"
