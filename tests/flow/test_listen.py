"""Listening sockets."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from pathlib import Path

import pytest

from sidecar.address import ListenAddress
from sidecar.listen import accept_rest, begin_no_more, bind, bound_address


def test_any_free_port_is_told() -> None:
    """Port 0 becomes the one that was chosen."""
    asked = ListenAddress("127.0.0.1", 0)
    with bind(asked) as sock:
        assert bound_address(sock, asked) == ("127.0.0.1", sock.getsockname()[1], "")
        assert sock.getsockname()[1] > 0
        assert not sock.getblocking()


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="needs IPv6")
def test_no_host_means_every_interface_of_both_families() -> None:
    """One socket for both."""
    with bind(ListenAddress("", 0)) as sock:
        for host in ("127.0.0.1", "::1"):
            socket.create_connection((host, sock.getsockname()[1]), timeout=1).close()


def test_localhost_means_ipv4_first() -> None:
    """As it does to most clients."""
    with bind(ListenAddress("localhost", 0)) as sock:
        assert sock.getsockname()[0] == "127.0.0.1"


def test_a_port_in_use_is_said_with_its_remedy() -> None:
    """One line, with the address."""
    with bind(ListenAddress("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
        with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{port}: it is in use; stop who listens there"):
            bind(ListenAddress("127.0.0.1", port))


@pytest.mark.parametrize(
    ("host", "words"),
    [("192.0.2.1", "that is no address of this machine"), ("no-such-name.invalid", "the name is not known")],
)
def test_an_address_of_somebody_else_is_said(host: str, words: str) -> None:
    """In words, not numbers."""
    with pytest.raises(OSError, match=words):
        bind(ListenAddress(host, 0))


def test_a_socket_file_is_made_and_used(tmp_path: Path) -> None:
    """Whoever connects is heard."""
    address = ListenAddress("", 0, str(tmp_path / "s"))
    with bind(address) as sock, socket.socket(socket.AF_UNIX) as client:
        client.connect(address.path)
        assert bound_address(sock, address) is address


def test_a_socket_file_that_was_left_behind_is_replaced(tmp_path: Path) -> None:
    """A process that was killed removes nothing."""
    address = ListenAddress("", 0, str(tmp_path / "s"))
    bind(address).close()
    assert os.path.exists(address.path)

    with bind(address), socket.socket(socket.AF_UNIX) as client:
        client.connect(address.path)


def test_a_socket_file_in_use_stays(tmp_path: Path) -> None:
    """Whoever listens there goes on listening."""
    address = ListenAddress("", 0, str(tmp_path / "s"))
    with bind(address):
        with pytest.raises(OSError, match="it is in use"):
            bind(address)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(address.path)


def test_a_file_that_is_no_socket_stays(tmp_path: Path) -> None:
    """Somebody needs it."""
    file = tmp_path / "precious"
    file.write_text("data")
    with pytest.raises(OSError, match="it is in use"):
        bind(ListenAddress("", 0, str(file)))

    assert file.read_text() == "data"


def test_a_directory_that_is_not_there_is_said(tmp_path: Path) -> None:
    """With the path."""
    with pytest.raises(OSError, match=r"cannot listen on unix:.*/none/s: No such file"):
        bind(ListenAddress("", 0, str(tmp_path / "none" / "s")))


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the kernel cannot be told")
def test_no_connection_is_made_between_the_last_accept_and_the_close() -> None:
    """From some time before, handshakes do not begin; what has been connected is not disturbed."""
    with bind(ListenAddress("127.0.0.1", 0)) as sock:
        with socket.create_connection(sock.getsockname(), timeout=5) as before:
            assert begin_no_more(sock)
            with pytest.raises(TimeoutError):
                socket.create_connection(sock.getsockname(), timeout=0.3)
            accepted, _ = sock.accept()
            with accepted:
                before.sendall(b"heard")
                accepted.settimeout(5)
                assert accepted.recv(9) == b"heard"
        with pytest.raises(BlockingIOError):
            sock.accept()


async def test_what_waits_in_the_backlog_is_taken() -> None:
    """The kernel has accepted those connections already; then there are none left."""
    made: list[asyncio.Transport] = []

    class Made(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            assert isinstance(transport, asyncio.Transport)
            made.append(transport)

    with bind(ListenAddress("127.0.0.1", 0)) as sock:
        clients = [socket.create_connection(sock.getsockname(), timeout=1) for _ in range(5)]
        assert await accept_rest(sock, Made) == 5
        assert await accept_rest(sock, Made) == 0
    for client in clients:
        client.close()
    for transport in made:
        transport.abort()
    await asyncio.sleep(0)

    assert len(made) == 5
