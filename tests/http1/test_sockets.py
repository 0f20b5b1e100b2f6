"""Questions to a transport's socket."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from sidecar.http1.sockets import broken, peer_name, readable, reset, unread
from tests.http1.support import Written


class Around(Written):
    """A transport around a socket."""

    def __init__(self, **info: object) -> None:
        super().__init__()
        self.info = info

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self.info.get(name, default)


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two ends of a TCP connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        near = socket.create_connection(server.getsockname(), timeout=1)
        far, _ = server.accept()
    with near, far:
        yield near, far


def test_an_open_and_silent_socket_is_not_readable(pair: tuple[socket.socket, socket.socket]) -> None:
    """It can be used."""
    assert not readable(Around(socket=pair[0]))


@pytest.mark.parametrize("how", ["bytes", "end", "reset"])
def test_bytes_an_end_or_a_reset_are_seen(pair: tuple[socket.socket, socket.socket], how: str) -> None:
    """Before the event loop has seen them."""
    near, far = pair
    if how == "bytes":
        far.send(b"x")
    elif how == "end":
        far.shutdown(socket.SHUT_WR)
    else:
        reset(Around(socket=far))
        far.close()

    assert readable(Around(socket=near))


@pytest.mark.parametrize(("how", "gone"), [("bytes", False), ("end", False), ("reset", True)])
def test_a_reset_is_seen_by_who_does_not_read(pair: tuple[socket.socket, socket.socket], how: str, gone: bool) -> None:
    """Bytes and an end wait until they are read; a reset does not."""
    near, far = pair
    assert not broken(Around(socket=near))
    if how == "bytes":
        far.send(b"x")
    elif how == "end":
        far.shutdown(socket.SHUT_WR)
    else:
        reset(Around(socket=far))
        far.close()

    assert broken(Around(socket=near)) is gone


def test_a_closed_socket_is_taken_for_readable(pair: tuple[socket.socket, socket.socket]) -> None:
    """It must not be used; nor one that is not there."""
    pair[0].close()

    assert readable(Around(socket=pair[0]))
    assert readable(Around())


def test_a_reset_is_seen_as_one(pair: tuple[socket.socket, socket.socket]) -> None:
    """The peer cannot take it for an end."""
    near, far = pair
    transport = Around(socket=near)
    reset(transport)
    near.close()

    assert transport.aborted
    with pytest.raises(ConnectionResetError):
        far.recv(1)


def test_a_reset_of_what_has_gone_is_an_abort() -> None:
    """No error."""
    transport = Around()
    reset(transport)

    assert transport.aborted


@pytest.mark.parametrize(
    ("peer", "name"),
    [
        (("192.0.2.7", 1234), "192.0.2.7"),
        (("2001:db8::1", 1234, 0, 0), "2001:db8::1"),
        (("::ffff:192.0.2.7", 1234, 0, 0), "192.0.2.7"),
        (("fe80::1%eth0", 1234, 0, 2), "fe80::1%eth0"),
        (("::1", 1234, 0, 0), "::1"),
        ("", "unix"),
        ("/run/client.sock", "unix"),
        (b"\0abstract", "unix"),
        (None, "unix"),
    ],
)
def test_a_peer_is_known_by_its_address(peer: object, name: str) -> None:
    """Without its port; IPv4 in IPv6 clothing is IPv4; a local socket has none."""
    assert peer_name(Around(peername=peer)) == name


async def test_an_event_loops_own_transports_can_be_asked() -> None:
    """Not only stand-ins."""
    server = await asyncio.start_server(lambda reader, writer: writer.transport.abort(), "127.0.0.1", 0)
    loop, lost = asyncio.get_running_loop(), asyncio.Event()

    class Client(asyncio.Protocol):
        def connection_lost(self, exc: Exception | None) -> None:
            lost.set()

    transport, _ = await loop.create_connection(Client, *server.sockets[0].getsockname())
    assert peer_name(transport) == "127.0.0.1"
    await lost.wait()

    assert readable(transport)
    server.close()
    await server.wait_closed()


@pytest.mark.parametrize("reset_behind", [False, True])
def test_what_was_sent_before_a_reset_is_read(pair: tuple[socket.socket, socket.socket], reset_behind: bool) -> None:
    """And where nothing is left, or no socket, that is nothing."""
    near, far = pair
    near.setblocking(False)
    far.send(b"the last words")
    if reset_behind:
        reset(Around(socket=far))
        far.close()

    assert unread(Around(socket=near)) == b"the last words"
    assert unread(Around(socket=near)) == b""
    assert unread(Around()) == b""
