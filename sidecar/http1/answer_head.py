"""Writes the head of a response to a client (RFC 9112 sections 4, 6 and 9). Pure."""

from __future__ import annotations

from functools import lru_cache

from sidecar.exchange import Response
from sidecar.headers import attempt_count


@lru_cache(maxsize=256)  # phrases are short: heads.py sees to that
def _status_line(status: int, phrase: bytes) -> bytes:
    return b"HTTP/1.1 %d %b\r\n" % (status, phrase)


def answer_head(
    response: Response, request_id: bytes, *, chunked: bool, close: bool, minor: int, attempts: int = 0
) -> bytes:
    """The head as bytes. `minor` is the client's HTTP/1.x version; `close` says that the answer is the last.

    `attempts` at the upstream are told, if there were any.
    """
    if response.tunnel is not None:
        last = b"Connection: Upgrade\r\nUpgrade: %b\r\n\r\n" % response.headers.known.get(b"upgrade", b"")
    elif close:
        last = b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n" if chunked else b"Connection: close\r\n\r\n"
    elif chunked:
        last = b"Transfer-Encoding: chunked\r\n\r\n"
    else:
        last = b"\r\n" if minor else b"Connection: keep-alive\r\n\r\n"
    return b"%b%bX-Request-ID: %b\r\n%b%b" % (
        _status_line(response.status, response.phrase),
        response.headers.block,
        request_id,
        attempt_count(attempts),
        last,
    )


def interim_head(response: Response) -> bytes:
    """A 1xx as bytes."""
    return b"%b%b\r\n" % (_status_line(response.status, response.phrase), response.headers.block)
