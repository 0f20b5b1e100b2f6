"""Whose bucket a request takes from. Values of headers may be secrets: they are kept in memory and go nowhere else."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from socket import AF_INET, AF_INET6, inet_ntop, inet_pton
from typing import Final

from sidecar.exchange import Exchange

KeyOf = Callable[[Exchange], bytes]

# Longer keys are hashed: 10,000 of them must not take the memory that their senders please.
_LONGEST: Final = 64

_MAPPED: Final = bytes(10) + b"\xff\xff"  # RFC 4291 section 2.5.5.2: an IPv4 address written as an IPv6 one


def key_reader(key: str) -> KeyOf | None:
    """How to read `rate.key` from an exchange: `client`, `header:NAME`, or empty, where all share one bucket."""
    if not key:
        return None
    if key == "client":
        return client_key
    name = key.removeprefix("header:").lower().encode("ascii")

    def header_key(exchange: Exchange) -> bytes:
        return bounded(exchange.request.headers.get(name) or b"")

    return header_key


def client_key(exchange: Exchange) -> bytes:
    """The client's address, see `address_key`."""
    return address_key(exchange.client)


def address_key(client: str) -> bytes:
    """The IPv4 address, or the /64 of the IPv6 address: that much is anybody's to choose from."""
    if ":" not in client:
        return client.encode()
    try:
        packed = inet_pton(AF_INET6, client.partition("%")[0])
    except OSError:
        return bounded(client.encode())
    if packed.startswith(_MAPPED):
        return inet_ntop(AF_INET, packed[12:]).encode()
    return packed[:8] + b"/64"


def bounded(key: bytes) -> bytes:
    """The key itself, or where it is long a digest of it, which no header can spell."""
    return key if len(key) <= _LONGEST else b"\0" + digest(key)


def digest(key: bytes) -> bytes:
    """A name for a key that does not tell it."""
    return blake2b(key, digest_size=24).digest()
