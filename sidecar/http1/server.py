"""The client side as a whole: what all its connections share, and what is done to all of them at a drain."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import Final, cast

from sidecar.answers import answer
from sidecar.descriptors import most_clients
from sidecar.errors import OVERLOADED, SidecarError
from sidecar.exchange import Exchange, FixedBody, Handler, Request, Timer
from sidecar.forwarding import NO_ADDRESS, Forwarding, Peer
from sidecar.headers import RequestIds
from sidecar.http1.answer_head import answer_head
from sidecar.http1.connection import ClientConnection
from sidecar.http1.entry import Entry, Judge, no_end
from sidecar.http1.heads import HeadReader
from sidecar.http1.intake import ReadBuffers
from sidecar.http1.turned_away import TurnedAway
from sidecar.policy.connections import PER_CLIENT, Connections
from sidecar.settings import Settings
from sidecar.throttle.keys import address_key

# So many refused clients are told so at one time; the others are closed at once, as each takes a descriptor.
_TOLD: Final = 32

# How long a connection has to be idle before a drain closes it, in seconds.
_QUIET: Final = 1.0

# What is told of a refused connection: (reason, client, limit, now).
Refused = Callable[[str, str, int, float], None]


class Http1Server:
    """Makes a connection object for each client; `accept` is an asyncio protocol factory.

    `refused` is told of each connection that is one too many; `descriptors` is how many the process may have, 0 where
    that is not known. `judge` bounds the line of those who wait to begin (see `entry.py`).
    """

    def __init__(
        self,
        settings: Settings,
        handler: Handler,
        refused: Refused,
        descriptors: int = 0,
        judge: Judge = no_end,
    ) -> None:
        self.settings = settings
        self.handler = handler
        self.reader = HeadReader(settings.http.max_headers)
        self.forwarding = Forwarding(settings.forwarding.trusted_proxies, forwarded=settings.forwarding.forwarded)
        self.request_ids = RequestIds()
        self.buffers = ReadBuffers()
        self.loop = asyncio.get_running_loop()
        self.entry = Entry(self.loop, judge)
        self.connections: set[ClientConnection] = set()
        self._refused = refused
        self._descriptors = descriptors
        self._limits = Connections()
        self._limit(settings)
        self._turned_away: set[TurnedAway] = set()
        self.draining = False
        self.closing_idle = False
        self.closed_idle = 0  # connections, so far: no request came in time
        self.closed_untaken = 0  # … and of whose last answer nothing was taken any more

    def apply(self, settings: Settings, handler: Handler) -> None:
        """Serve by these from the next request on; what is in flight ends as it began."""
        self.settings = settings
        self.handler = handler
        self.reader = HeadReader(settings.http.max_headers)
        self._limit(settings)

    def _limit(self, settings: Settings) -> None:
        self._limits.most = most_clients(
            settings.http.max_connections, self._descriptors, settings.pool.max_connections
        )
        self._limits.most_per_client = settings.http.max_connections_per_client

    @property
    def max_connections(self) -> int:
        """How many clients may be connected, by the settings and by the descriptors there are; 0 = any number."""
        return self._limits.most

    def accept(self) -> asyncio.Protocol:
        """A protocol for a new connection."""
        return cast(asyncio.Protocol, ClientConnection(self))

    def admit(self, connection: ClientConnection, peer: Peer, transport: asyncio.Transport) -> bool:
        """Whether a new connection is served. One that is not is seen to."""
        # It is accepted first, rather than left in the backlog: there it would wait unseen, and be counted nowhere.
        reason = self._limits.admit(_one_client(peer))
        if not reason:
            self.connections.add(connection)
            return True
        limit = self._limits.limit(reason)
        self._refused(reason, peer.name, limit, monotonic())
        if len(self._turned_away) < _TOLD:
            whose = "from this address" if reason is PER_CLIENT else "to the sidecar"
            told = self._refusal(f"{limit} connections {whose} are open, more are not allowed", limit)
            self._turned_away.add(TurnedAway(self.loop, transport, told, self._turned_away.discard))
        else:
            transport.abort()
        return False

    def left(self, connection: ClientConnection, peer: Peer) -> None:
        """A connection is closed."""
        if connection in self.connections:
            self.connections.discard(connection)
            self.entry.rests.leave(connection)
            self._limits.leave(_one_client(peer))

    def new_exchange(self, request: Request, peer: Peer, timer: Timer, started: float) -> Exchange:
        """For a request of which the first byte came at `started`."""
        known = request.headers.known
        request_id = self.request_ids.of(known.get(b"x-request-id"))
        exchange = Exchange(request, request_id, peer.client(known), started, timer)
        exchange.forwarded = peer.fields(known)
        return exchange

    def _refusal(self, detail: str, limit: int) -> bytes:
        error = SidecarError(OVERLOADED, detail, retry_after=1, facts={"limit": limit})
        request_id = self.request_ids.of(None)
        response = answer(error, request_id)
        assert isinstance(response.body, FixedBody)
        return answer_head(response, request_id, chunked=False, close=True, minor=1) + response.body.content

    def idle(self, *, new: bool = False) -> float:
        """How long a connection that has nothing to do stays open, in seconds.

        For its first request it has the time of a head: who only holds a connection is not waited for longer.
        """
        timeouts = self.settings.timeouts
        if self.closing_idle:
            return _QUIET
        return min(timeouts.head, timeouts.keep_alive) if new else timeouts.keep_alive

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
        self.entry.rests.end()

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
        for refused in list(self._turned_away):
            refused.close()
        return in_flight

    def fault(self, error: Exception) -> None:
        """Report a fault of ours that no answer can tell of any more."""
        self.loop.call_exception_handler({"message": "fault in the middle of an answer", "exception": error})

    def __repr__(self) -> str:
        return f"<Http1Server connections={len(self.connections)} in_flight={self.in_flight} draining={self.draining}>"


def _one_client(peer: Peer) -> bytes | None:
    """Whose share a connection counts for, if it is a single client's."""
    return None if peer.trusted or peer.name == NO_ADDRESS else address_key(peer.name)
