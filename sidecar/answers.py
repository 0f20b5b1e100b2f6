"""The answers the sidecar gives itself: a row of the table and its facts, as a response (RFC 9457, RFC 9209). Pure."""

from __future__ import annotations

from http import HTTPStatus
from math import ceil
from time import gmtime, time

import msgspec

from sidecar.errors import SidecarError
from sidecar.exchange import FixedBody, Response
from sidecar.headers import Headers

_encode = msgspec.json.Encoder(order=None).encode


def answer(error: SidecarError, request_id: bytes) -> Response:
    """What the client is told of `error`."""
    reason = error.reason
    problem: dict[str, object] = {
        "type": "about:blank",
        "title": reason.title,
        "status": reason.status,
        "detail": error.detail,
        "reason": reason.token,
        "request_id": request_id.decode("ascii"),
        **error.facts,
    }
    more = error.headers
    if error.retry_after is not None:
        seconds = max(1, ceil(error.retry_after))
        problem["retry_after"] = seconds
        more += b"Retry-After: %d\r\n" % seconds
    body = _encode(problem) + b"\n"
    token = reason.token.encode("ascii")
    block = (
        b"Content-Type: application/problem+json\r\nContent-Length: %d\r\nDate: %b\r\nCache-Control: no-store\r\n"
        b"X-Sidecar-Reason: %b\r\nProxy-Status: sidecar; error=%b\r\n%b"
    ) % (
        len(body),
        _date(time()),
        token,
        reason.proxy_error.encode("ascii"),
        more,
    )
    return Response(reason.status, _phrase(reason.status), Headers(block), FixedBody(body))


_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def _date(seconds: float) -> bytes:
    """RFC 9110 section 5.6.7, in English whatever the locale; `email.utils` would be 8 ms of the start."""
    now = gmtime(seconds)
    day, month = _DAYS[now.tm_wday], _MONTHS[now.tm_mon - 1]
    text = f"{day}, {now.tm_mday:02d} {month} {now.tm_year} {now.tm_hour:02d}:{now.tm_min:02d}:{now.tm_sec:02d} GMT"
    return text.encode("ascii")


def _phrase(status: int) -> bytes:
    try:
        return HTTPStatus(status).phrase.encode("ascii")
    except ValueError:
        return b"Client Closed Request" if status == 499 else b""
