"""The connections to the upstream: which one a request gets, how many there may be, how long they are kept.

State changes are synchronous and whole; only then does I/O happen. A place is counted from before the dial to the
connection's loss, so that a cancelled request leaves no half-counted one behind.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Protocol, cast

from sidecar.address import UpstreamAddress
from sidecar.errors import CONNECT_FAILED, CONNECT_TIMEOUT, OVERLOADED, QUEUE_TIMEOUT, SHORTAGES, SidecarError
from sidecar.http1.client import UpstreamConnection
from sidecar.http1.heads import HeadReader
from sidecar.http1.idle import IdleLimit
from sidecar.http1.intake import ReadBuffers
from sidecar.http1.lane import Lane
from sidecar.http1.names import Hosts
from sidecar.settings import Settings

# While the upstream has never answered, a refused connect is tried again this often.
_STARTUP_RETRY = 0.05


class Events(Protocol):
    """Whom the pool tells what people should know."""

    def waiting_for_upstream(self, detail: str) -> None:
        """The upstream has not answered yet and cannot be connected to; may come often."""

    def idle_limit_learned(self, limit: IdleLimit) -> None:
        """The upstream's own limit on idle connections was learned."""


class Pool:
    """Connections to one upstream, the last used first. Times are seconds of `time.monotonic`.

    `hosts` says what the upstream's host means, where that is a name.
    """

    def __init__(
        self, address: UpstreamAddress, settings: Settings, events: Events, hosts: Hosts | None = None
    ) -> None:
        self._address = address
        self._hosts = hosts
        self._settings = settings
        self._events = events
        self._reader = HeadReader(settings.http.max_headers)
        self._buffers = ReadBuffers()
        self._lane = Lane(asyncio.get_running_loop())
        self._idle: list[UpstreamConnection] = []
        self._all: set[UpstreamConnection] = set()
        self._dialing = 0
        self._waiters: deque[asyncio.Future[UpstreamConnection | None]] = deque()
        self._addresses: frozenset[str] | None = None
        self._closed = False
        self.idle_limit = IdleLimit(settings.pool.idle)
        self.answered_once = False

    def apply(self, settings: Settings) -> None:
        """Go by these from the next connection on."""
        self._settings = settings
        self._reader = HeadReader(settings.http.max_headers)

    @property
    def size(self) -> int:
        """Connections there are or are being made."""
        return len(self._all) + self._dialing

    @property
    def idle(self) -> int:
        """Connections that lie idle."""
        return len(self._idle)

    @property
    def waiting(self) -> int:
        """Requests that wait for a place."""
        return len(self._waiters)

    def take(self, *, surely: bool = True) -> UpstreamConnection | None:
        """An idle connection that is still good, if there is one; `surely` is for what must not be sent twice."""
        while self._idle:
            connection = self._idle.pop()
            if connection.usable(surely=surely) and (self._addresses is None or self._current(connection)):
                if self.idle_limit.learned:
                    self.idle_limit.survived(monotonic() - connection.idle_since)
                return connection
            connection.close()
        return None

    async def connect(self) -> UpstreamConnection:
        """A new connection; where there are as many as there may be, the next that is free. Raises SidecarError.

        Who came first is served first, and what is free is handed over, not announced: so nobody overtakes.
        """
        if self._waiters or self.size >= self._settings.pool.max_connections:
            connection = await self._place()
            if connection is not None:
                return connection
        else:
            self._dialing += 1
        try:
            connection = await self._dial_patiently()
        except BaseException:
            self._dialing -= 1
            self._wake()
            raise
        self._dialing -= 1
        return connection

    async def _place(self) -> UpstreamConnection | None:
        """Wait for a connection, or (None) for leave to make one, which is counted as being made already."""
        pool, timeout = self._settings.pool, self._settings.timeouts.connect
        if len(self._waiters) >= pool.max_pending:
            raise SidecarError(
                OVERLOADED,
                f"all {pool.max_connections} upstream connections are busy and {pool.max_pending} requests wait",
                retry_after=1,
                facts={"limit": pool.max_connections, "waiting": pool.max_pending},
            )
        waiter: asyncio.Future[UpstreamConnection | None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            async with asyncio.timeout(timeout):
                return await waiter
        except TimeoutError:
            self._give_back(waiter)
            detail = f"no upstream connection became free within {timeout:g} s"
            raise SidecarError(QUEUE_TIMEOUT, detail, retry_after=1, facts={"limit": pool.max_connections}) from None
        except BaseException:
            self._give_back(waiter)
            raise

    def _give_back(self, waiter: asyncio.Future[UpstreamConnection | None]) -> None:
        """Who waited has given up, perhaps in the moment in which his turn came."""
        if not waiter.done() or waiter.cancelled():
            if waiter in self._waiters:
                self._waiters.remove(waiter)
            return
        connection = waiter.result()
        if connection is None:
            self._dialing -= 1
            self._wake()
        else:
            self.released(connection)

    def _wake(self) -> None:
        """Hand what is free to those who wait."""
        while self._waiters:
            if self._waiters[0].done():
                self._waiters.popleft()
                continue
            connection = self.take()
            if connection is None:
                if self.size >= self._settings.pool.max_connections:
                    return
                self._dialing += 1
            self._waiters.popleft().set_result(connection)

    async def _dial_patiently(self) -> UpstreamConnection:
        """Dial; while the upstream has never answered, again for a while: it may be starting beside us."""
        give_up = monotonic() + self._settings.timeouts.startup
        while True:
            try:
                return await self._dial()
            except SidecarError as error:
                if error.reason is OVERLOADED:
                    raise
                now = monotonic()
                self.idle_limit.connect_failed(now)
                starting = not self.answered_once and error.reason is CONNECT_FAILED
                if not starting or now + _STARTUP_RETRY > give_up:
                    raise
                self._events.waiting_for_upstream(error.detail)
            await asyncio.sleep(_STARTUP_RETRY)

    async def _dial(self) -> UpstreamConnection:
        await self._lane.turn()  # as costly as some requests, and where one is needed, many may be
        pool = self._settings
        connection = UpstreamConnection(self, self._reader, pool.http.max_header_bytes, self._buffers)
        try:
            await self._connect(connection, pool.timeouts.connect)
        except BaseException:
            # It may have been made in the same moment; and it lets go of itself only so.
            connection.close()
            raise
        self._all.add(connection)
        return connection

    async def _connect(self, connection: UpstreamConnection, timeout: float) -> None:
        address = self._address
        hosts: Sequence[str] = ()
        try:
            async with asyncio.timeout(timeout):
                # Half of the time is the resolver's: what the name meant before can be reached in the other half.
                hosts = await self._hosts(timeout / 2) if self._hosts is not None else (address.host,)
                await self._reach(connection, hosts)
        except TimeoutError:
            fault = "did not accept a connection" if hosts else "has a name that was not resolved"
            raise SidecarError(CONNECT_TIMEOUT, f"{address} {fault} in {timeout:g} s") from None
        except OSError as error:
            # asyncio's own text names functions; the kernel's is what people know.
            why = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror or str(error)
            if error.errno in SHORTAGES:
                detail = f"this machine has nothing left for a connection to the upstream: {why}"
                raise SidecarError(OVERLOADED, detail, retry_after=1) from None
            raise SidecarError(CONNECT_FAILED, f"cannot connect to {address}: {why}") from None
        if not connection.usable(surely=True):
            raise SidecarError(CONNECT_FAILED, f"{address} closed the new connection at once")

    async def _reach(self, connection: UpstreamConnection, hosts: Sequence[str]) -> None:
        loop, address, protocol = asyncio.get_running_loop(), self._address, cast(asyncio.Protocol, connection)
        if address.unix:
            await loop.create_unix_connection(lambda: protocol, address.path)
            return
        for host in hosts[:-1]:
            try:
                await loop.create_connection(lambda: protocol, host, address.port)
                return
            except OSError:
                pass
        await loop.create_connection(lambda: protocol, hosts[-1], address.port)

    def released(self, connection: UpstreamConnection) -> None:
        """See Owner."""
        if self._closed or (self._addresses is not None and not self._current(connection)):
            connection.close()
            return
        now = monotonic()
        hint = connection.keep_alive_hint
        if hint is not None and self.idle_limit.announced(hint):
            self._events.idle_limit_learned(self.idle_limit)
        connection.idle_since = now
        limit = self.idle_limit
        connection.rest(now + (limit.next_rest(now) if limit.learned else limit.seconds))
        self._idle.append(connection)
        if self._waiters:
            self._wake()

    def lost(self, connection: UpstreamConnection) -> None:
        """See Owner."""
        self._all.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        if connection.closed_while_idle and connection.served:
            now = monotonic()
            if self.idle_limit.closed_by_upstream(now - connection.idle_since, now):
                self._events.idle_limit_learned(self.idle_limit)
        self._wake()

    def later(self, work: Callable[[], object]) -> None:
        """See Owner."""
        self._lane.add(work)

    def addresses_are(self, addresses: frozenset[str]) -> None:
        """The upstream's name means these addresses now: connections to others are not used again."""
        self._addresses = addresses

    def _current(self, connection: UpstreamConnection) -> bool:
        """Whether it leads to an address that the upstream's name still has."""
        return self._addresses is None or not connection.address or connection.address in self._addresses

    def close(self) -> None:
        """Close every connection, what is in flight included."""
        self._closed = True
        for connection in list(self._all):
            connection.close()

    def status(self) -> dict[str, object]:
        """Its figures, ready to become JSON."""
        return {
            "connections": self.size,
            "idle": self.idle,
            "waiting": self.waiting,
            "idle_limit_seconds": round(self.idle_limit.seconds, 3),
            "idle_limit_source": self.idle_limit.source,
        }

    def __repr__(self) -> str:
        return f"<Pool {self._address} size={self.size} idle={self.idle} waiting={self.waiting}>"
