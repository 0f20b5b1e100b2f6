"""What asyncio does not ask of a transport and its socket, or not so that it holds for every event loop."""

from __future__ import annotations

import asyncio
import os
import select
import socket
import struct
from typing import Final

from sidecar.forwarding import NO_ADDRESS

_LAST: Final = 64 * 1024  # bytes of a broken connection that are still read: an answer, or the end of one


def set_reading(transport: asyncio.Transport, on: bool) -> None:
    """Start or stop reading, unless the transport is on its way out."""
    if transport.is_closing():
        return
    if on:
        transport.resume_reading()
    else:
        transport.pause_reading()


def replace_protocol(transport: asyncio.Transport, protocol: asyncio.BaseProtocol) -> None:
    """Have `protocol` called from now on, unless the transport is on its way out."""
    if transport.is_closing():
        return
    transport.set_protocol(protocol)
    if transport.is_reading():
        # uvloop settles whose memory it reads into when reading starts.
        transport.pause_reading()
        transport.resume_reading()


def readable(transport: asyncio.BaseTransport) -> bool:
    """Whether bytes, an end or an error wait in the socket, not yet seen by the event loop."""
    sock = transport.get_extra_info("socket")
    if sock is None or sock.fileno() < 0:
        return True
    poll = select.poll()
    poll.register(sock.fileno(), select.POLLIN | select.POLLHUP | select.POLLERR)
    return bool(poll.poll(0))


def broken(transport: asyncio.BaseTransport) -> bool:
    """Whether the socket's connection is known to be gone, though nobody reads from it."""
    sock = transport.get_extra_info("socket")
    if sock is None or sock.fileno() < 0:
        return False
    poll = select.poll()
    poll.register(sock.fileno(), 0)  # errors and hang-ups are always told
    return bool(poll.poll(0))


def unread(transport: asyncio.BaseTransport) -> bytes:
    """What the peer sent and nobody read before the transport failed. For `connection_lost`: the socket is open there.

    A loop that finds it cannot write gives the transport up without another look at what has come in.
    """
    sock = transport.get_extra_info("socket")
    if sock is None or sock.fileno() < 0:
        return b""
    try:
        return os.read(sock.fileno(), _LAST)
    except OSError:
        return b""


def reset(transport: asyncio.Transport) -> None:
    """Close so that the peer sees a cut (RST), not an end: for bodies that only the close would end."""
    sock = transport.get_extra_info("socket")
    if sock is not None and sock.fileno() >= 0 and sock.family != getattr(socket, "AF_UNIX", None):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


def abort(transport: asyncio.Transport) -> None:
    """Close at once; what the client has not been given must not look given."""
    if transport.get_write_buffer_size():
        reset(transport)
    else:
        transport.abort()


def peer_name(transport: asyncio.BaseTransport) -> str:
    """The peer's address without its port; `unix` for a Unix socket."""
    peer = transport.get_extra_info("peername")
    if not isinstance(peer, tuple) or not peer:
        return NO_ADDRESS
    address = str(peer[0])
    # On a socket for both families an IPv4 client shows as IPv6; nobody knows it by that name.
    mapped = address.removeprefix("::ffff:")
    return mapped if "." in mapped else address
