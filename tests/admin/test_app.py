"""The admin port's listener."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from pathlib import Path

import aiohttp
import pytest

from sidecar.address import ListenAddress, parse_listen
from sidecar.admin.app import AdminServer, start
from tests.admin.support import FakePlane


async def on_tcp(plane: FakePlane) -> AdminServer:
    """The admin port on any free port."""
    sock = socket.create_server(("127.0.0.1", 0))
    return await start(plane, ListenAddress("127.0.0.1", sock.getsockname()[1]), sock)


async def test_it_serves_on_the_socket_it_is_given(plane: FakePlane) -> None:
    """And tells where that is."""
    server = await on_tcp(plane)
    try:
        async with aiohttp.ClientSession() as session, session.get(f"http://{server.address}/status") as answer:
            assert answer.status == 200
    finally:
        await server.stop()


async def test_a_socket_file_is_this_machine(plane: FakePlane, tmp_path: Path) -> None:
    """Whatever the Host header says: no web page can reach it."""
    path = str(tmp_path / "admin")
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(path)
    sock.listen()
    server = await start(plane, ListenAddress("", 0, path), sock)
    try:
        assert server.address == f"unix:{path}"
        connector = aiohttp.UnixConnector(path)
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            session.post("http://any.example/drain") as answer,
        ):
            assert answer.status == 202
    finally:
        await server.stop()
    assert plane.drains == ["POST /drain from a local socket"]


async def test_connections_kept_open_do_not_hold_up_the_end(plane: FakePlane) -> None:
    """A scraper keeps its connection, and may be in the middle of a request."""
    server = await on_tcp(plane)
    address = parse_listen(server.address)
    idle = await asyncio.open_connection(address.host, address.port)
    half = await asyncio.open_connection(address.host, address.port)
    idle[1].write(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
    assert b"200 OK" in await idle[0].readuntil(b"ok")
    half[1].write(b"POST /drain HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Le")
    await asyncio.sleep(0.01)
    began = time.monotonic()
    await server.stop()

    assert time.monotonic() - began < 2.5
    for _, writer in (idle, half):
        writer.close()
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)


@pytest.mark.parametrize(
    "unreadable",
    [
        b"GET /livez HTTP/1.1\r\nHost: x\r\nAuthorization secret\r\n\r\n",
        b"secret\r\n\r\n",
        b"POST /drain HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\nsecret\r\n\r\n",
    ],
)
async def test_what_it_cannot_read_it_does_not_quote(plane: FakePlane, unreadable: bytes) -> None:
    """aiohttp would. It is refused, the connection with it, and nothing is done."""
    server = await on_tcp(plane)
    address = parse_listen(server.address)
    try:
        reader, writer = await asyncio.open_connection(address.host, address.port)
        writer.write(unreadable)
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()
    finally:
        await server.stop()
    assert b" 400 Bad Request\r\n" in head
    assert b"secret" not in head + body
    assert (json.loads(body)["status"], json.loads(body)["reason"]) == (400, "bad_request")
    assert plane.drains == []
