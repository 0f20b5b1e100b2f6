"""Heads as the tests see them, whatever the reader's own types are."""

from __future__ import annotations

from typing import NamedTuple

from sidecar.http1.heads import HeadReader


class Asked(NamedTuple):
    """A request head that was believed."""

    method: str
    target: bytes
    block: bytes
    known: dict[bytes, bytes]
    minor: int
    length: int
    chunked: bool
    keep_alive: bool
    upgrade: bytes
    accepts_trailers: bool


class Told(NamedTuple):
    """A response head that was believed."""

    status: int
    phrase: bytes
    block: bytes
    known: dict[bytes, bytes]
    length: int | None
    chunked: bool
    bodiless: bool
    keep_alive: bool


def asked(head: bytes, max_headers: int = 100) -> Asked:
    """Read a request head. Raises HeadError."""
    request, minor, length, chunked, keep_alive = HeadReader(max_headers).request(head)
    return Asked(
        request.method,
        request.target,
        request.headers.block,
        dict(request.headers.known),
        minor,
        length,
        chunked,
        keep_alive,
        request.upgrade,
        request.accepts_trailers,
    )


def told(head: bytes, method: str = "GET", max_headers: int = 100) -> Told:
    """Read the head of a response to a `method` request. Raises HeadError."""
    response, length, chunked, bodiless, keep_alive = HeadReader(max_headers).response(head, method)
    return Told(
        response.status,
        response.phrase,
        response.headers.block,
        dict(response.headers.known),
        length,
        chunked,
        bodiless,
        keep_alive,
    )


def request_head(*lines: bytes, first: bytes = b"GET / HTTP/1.1", host: bytes | None = b"a") -> bytes:
    """A request head of these field lines."""
    hosts = [] if host is None else [b"Host: " + host]
    return b"\r\n".join([first, *hosts, *lines, b"", b""])


def response_head(*lines: bytes, first: bytes = b"HTTP/1.1 200 OK") -> bytes:
    """A response head of these field lines."""
    return b"\r\n".join([first, *lines, b"", b""])
