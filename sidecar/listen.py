"""Listening sockets: bound before anything is started, and emptied before they are closed."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import stat
import struct
from array import array
from collections.abc import Callable
from contextlib import suppress

from sidecar.address import ListenAddress

BACKLOG = 4096

# Handshakes that have begun when the listener closes have so many seconds to end.
_HANDSHAKES = 0.05

# Linux's option that gives a socket a filter, which the socket module does not name, and the filter: drop what has SYN
# among its TCP flags, let all else pass. Instructions as in linux/filter.h.
_ATTACH_FILTER = 26
_NO_SYN = (
    (0x30, 0, 0, 13),  # load the byte of the flags
    (0x45, 0, 1, 0x02),  # is SYN set? else skip one
    (0x06, 0, 0, 0),  # return: drop it
    (0x06, 0, 0, 0xFFFFFFFF),  # return: all of it passes
)


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


def begin_no_more(sock: socket.socket) -> bool:
    """Let a listening socket complete the handshakes that have begun, and begin none; returns whether that can be had.

    Else there is always a moment between the last accept and the close, and a connection that the kernel makes in it
    is reset. A client that is not heard asks again after a second, and then nobody listens, or the next one does.
    """
    if sock.family not in (socket.AF_INET, socket.AF_INET6):
        return False
    code = b"".join(struct.pack("HBBI", *instruction) for instruction in _NO_SYN)
    held = array("B", code)  # not by ctypes, which takes half a megabyte
    try:
        sock.setsockopt(socket.SOL_SOCKET, _ATTACH_FILTER, struct.pack("HP", len(_NO_SYN), held.buffer_info()[0]))
    except OSError:
        return False
    return True


async def close_listener(
    server: asyncio.AbstractServer, sock: socket.socket, factory: Callable[[], asyncio.BaseProtocol]
) -> None:
    """Close a listening socket, the loop's descriptor and ours, without losing what the kernel has accepted."""
    if begin_no_more(sock):
        await asyncio.sleep(_HANDSHAKES)
    if isinstance(server, asyncio.base_events.Server):
        # asyncio's own server would drop what it has accepted and not yet handed over.
        for listening in server.sockets:
            asyncio.get_running_loop().remove_reader(listening.fileno())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    server.close()
    await accept_rest(sock, factory)


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
    # All at once: one by one each would wait for a turn of the loop, behind everything else.
    await asyncio.gather(*(loop.connect_accepted_socket(factory, connection) for connection in waiting))
    return len(waiting)


def _tcp(address: ListenAddress) -> socket.socket:
    if address.host == "":
        if socket.has_dualstack_ipv6():
            return socket.create_server(
                ("", address.port), family=socket.AF_INET6, backlog=BACKLOG, dualstack_ipv6=True
            )
        return socket.create_server(("", address.port), backlog=BACKLOG)
    # As bytes: for a str Python loads its tables of Unicode in host names, half a megabyte.
    host = address.host.encode() if address.host.isascii() else address.host
    found = socket.getaddrinfo(host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
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
