"""Follows what the upstream's name means, so that connections to addresses it no longer has are not used again."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from ipaddress import ip_address
from typing import Final

_EVERY: Final = 5.0  # seconds


def is_name(host: str) -> bool:
    """Whether `host` has to be resolved."""
    try:
        ip_address(host)
    except ValueError:
        return True
    return False


async def follow(host: str, port: int, changed: Callable[[frozenset[str]], None]) -> None:
    """Tell `changed` the addresses, every few seconds, until cancelled. A name that does not resolve changes nothing.

    New connections resolve by themselves; this is for those that are kept.
    """
    loop = asyncio.get_running_loop()
    while True:
        try:
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError:
            pass
        else:
            changed(frozenset(str(entry[4][0]) for entry in found))
        await asyncio.sleep(_EVERY)
