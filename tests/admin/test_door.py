"""How many connections the admin port has, when many come and none of them leaves."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from sidecar.address import ListenAddress, parse_listen
from sidecar.admin.app import start
from tests.admin.support import FakePlane, until

MOST = 4
GET = b"GET /%b HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


class Caller(asyncio.Protocol):
    """A client's end of a connection: what came, and whether the port has ended it."""

    def __init__(self) -> None:
        self.received = b""
        self.cut = False

    def data_received(self, data: bytes) -> None:
        self.received += data

    def connection_lost(self, exc: Exception | None) -> None:
        self.cut = True


class Port:
    """An admin port with room for `MOST` connections, and all that were opened to it."""

    def __init__(self, address: str) -> None:
        self._address = parse_listen(address)
        self.callers: list[Caller] = []
        self.transports: list[asyncio.Transport] = []

    async def connect(self, said: bytes = b"") -> Caller:
        """One more connection, on which this is said."""
        loop = asyncio.get_running_loop()
        transport, caller = await loop.create_connection(Caller, self._address.host, self._address.port)
        self.callers.append(caller)
        self.transports.append(transport)
        transport.write(said)
        return caller

    async def asks(self, page: bytes, answer: bytes) -> Caller:
        """One more connection, on which this page was answered so."""
        caller = await self.connect(GET % page)
        await until(lambda: answer in caller.received)
        return caller

    def cut(self) -> list[bool]:
        """Of each connection in turn, whether the port has ended it."""
        return [caller.cut for caller in self.callers]


@asynccontextmanager
async def opened(plane: FakePlane) -> AsyncIterator[Port]:
    """The port."""
    sock = socket.create_server(("127.0.0.1", 0))
    server = await start(plane, ListenAddress("127.0.0.1", sock.getsockname()[1]), sock, MOST)
    port = Port(server.address)
    try:
        yield port
    finally:
        for transport in port.transports:
            transport.abort()
        await server.stop()


@pytest.mark.parametrize("said", [b"", b"GET /status HTTP/1.1\r\nHo", GET % b"livez", b"POST /drain HTTP/1.1\r\n"])
async def test_a_probe_gets_in_however_many_wait(plane: FakePlane, said: bytes) -> None:
    """Silent clients, half a head, or an answered request: the oldest go when others come."""
    async with opened(plane) as port:
        for _ in range(3 * MOST):
            await port.connect(said)
        await port.asks(b"livez", b"200 OK")
        await until(lambda: port.cut().count(False) <= MOST)
        cut = port.cut()
        assert cut == sorted(cut, reverse=True), "the oldest first"


async def test_who_is_being_answered_stays(plane: FakePlane) -> None:
    """A reader of the events is older than all the silent clients, and is not cut for them."""
    async with opened(plane) as port:
        reader = await port.asks(b"events", b"each exchange that ends")
        for _ in range(3 * MOST):
            await port.connect()
        await port.asks(b"livez", b"200 OK")

        assert not reader.cut


async def test_even_those_being_answered_go_where_all_are(plane: FakePlane) -> None:
    """Nobody holds the port by reading nothing of what was asked for."""
    async with opened(plane) as port:
        for _ in range(MOST):
            await port.asks(b"events", b"each exchange that ends")

        await port.asks(b"livez", b"200 OK")
        await until(lambda: port.cut()[0])


async def test_the_bound_lets_ordinary_use_alone(plane: FakePlane) -> None:
    """As many as there is room for keep their connections."""
    async with opened(plane) as port:
        for _ in range(MOST):
            await port.asks(b"livez", b"200 OK")

        assert port.cut() == [False] * MOST
