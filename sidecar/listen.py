"""Listening sockets: bound before anything is started, and emptied before they are closed."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import stat
from collections.abc import Callable
from contextlib import suppress

from sidecar.address import ListenAddress

BACKLOG = 4096


def bind(address: ListenAddress) -> socket.socket:
    """A listening socket. Raises OSError whose text names the address and the remedy."""
    try:
        sock = _unix(address.path) if address.unix else _tcp(address)
    except OSError as error:
        raise OSError(error.errno, f"cannot listen on {address}: {_why(error)}") from None
    sock.setblocking(False)
    return sock


class SocketFile:
    """The file that a Unix socket was bound to; nothing for a port."""

    def __init__(self, address: ListenAddress) -> None:
        self._path = address.path
        self._inode = os.stat(address.path).st_ino if address.unix else 0

    def remove(self) -> None:
        """Take it away, unless somebody did, or another's is in its place by now."""
        if self._path:
            with suppress(OSError):
                if os.stat(self._path).st_ino == self._inode:
                    os.unlink(self._path)


def bound_address(sock: socket.socket, asked: ListenAddress) -> ListenAddress:
    """`asked`, with the port that was chosen."""
    return asked if asked.unix else asked._replace(port=sock.getsockname()[1])


async def accept_rest(sock: socket.socket, factory: Callable[[], asyncio.BaseProtocol]) -> int:
    """Accept what waits in the backlog of a listening socket, and close it; returns how many connections that were.

    The kernel has accepted them already: to close the socket on them would reset clients that did nothing wrong.
    """
    waiting: list[socket.socket] = []
    while True:
        try:
            waiting.append(sock.accept()[0])
        except ConnectionAbortedError:
            continue
        except OSError:
            break  # none is left, or no more can be had: then the rest is lost
    sock.close()
    loop = asyncio.get_running_loop()
    for connection in waiting:
        connection.setblocking(False)
        await loop.connect_accepted_socket(factory, connection)
    return len(waiting)


def _tcp(address: ListenAddress) -> socket.socket:
    if address.host == "":
        if socket.has_dualstack_ipv6():
            return socket.create_server(
                ("", address.port), family=socket.AF_INET6, backlog=BACKLOG, dualstack_ipv6=True
            )
        return socket.create_server(("", address.port), backlog=BACKLOG)
    found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    # A name with both kinds of address: IPv4 first, as that is what "localhost" means to most clients.
    family, _, _, _, where = min(found, key=lambda entry: entry[0] is not socket.AF_INET)
    return socket.create_server(where[:2], family=family, backlog=BACKLOG)


def _unix(path: str) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    try:
        try:
            sock.bind(path)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or not _abandoned(path):
                raise
            os.unlink(path)
            sock.bind(path)
        sock.listen(BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock


def _abandoned(path: str) -> bool:
    """Whether a socket file was left behind by a process that is gone."""
    if not stat.S_ISSOCK(os.stat(path).st_mode):
        return False
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            return True
        except OSError:
            return False
    return False


def _why(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "it is in use; stop who listens there, or choose another address"
    if error.errno == errno.EACCES:
        return "not permitted; choose a port above 1023"
    if isinstance(error, socket.gaierror):
        return "the name is not known; write an address of this machine"
    if error.errno == errno.EADDRNOTAVAIL:
        return "that is no address of this machine"
    return error.strerror or str(error)
