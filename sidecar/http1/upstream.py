"""One attempt over HTTP/1.1: the innermost handler of the stack.

Writes the request's head anew for this hop, gets a connection, and lets both bodies flow. Which attempt this is, and
whether there will be another, is decided further out.
"""

from __future__ import annotations

from asyncio import CancelledError
from functools import lru_cache
from math import inf
from time import monotonic
from typing import Final

from sidecar.exchange import EMPTY, Body, Exchange, Response
from sidecar.headers import attempt_count
from sidecar.http1.pool import Pool

# So many bytes of a body come with their head, or right behind it.
_LITTLE: Final = 64 * 1024


class Http1Upstream:
    """A stack `Handler` that sends an exchange's request to the upstream, which is called `name`: its URL."""

    def __init__(self, pool: Pool, name: str) -> None:
        self._pool = pool
        self._name = name
        scheme, _, authority = name.partition("://")
        self._authority = authority.encode("ascii") if scheme == "http" else b"localhost"

    async def __call__(self, exchange: Exchange) -> Response:
        """Send it; returns at the response's head. Raises SidecarError."""
        exchange.upstream = self._name
        attempt = exchange.attempts  # before any wait, in which a second one may begin
        pool = self._pool
        request = exchange.request
        surely = request.body is not EMPTY or not request.idempotent
        connection = None if exchange.fresh else pool.take(surely=surely)
        if connection is None:
            connection = await pool.connect()
        head = self._head(exchange, attempt)
        answer = connection.send(head, request, exchange.inform, exchange.attempt_timeout)
        try:
            response = await answer
        except CancelledError:
            connection.abandon(answer)
            raise
        pool.answered_once = True
        return response

    def _head(self, exchange: Exchange, attempt: int) -> bytes:
        request = exchange.request
        extra = exchange.forwarded + attempt_count(attempt)
        if b"host" not in request.headers.known:
            # An HTTP/1.0 client need not name one; our request is HTTP/1.1.
            extra += b"Host: %b\r\n" % self._authority
        extra += _budget(exchange)
        if request.body is not EMPTY and request.body.length is None:
            extra += b"Transfer-Encoding: chunked\r\n"
        if request.upgrade:
            extra += b"Connection: Upgrade\r\nUpgrade: %b\r\n" % request.upgrade
        elif request.accepts_trailers:
            extra += b"Connection: TE\r\nTE: trailers\r\n"
        return b"%b %b HTTP/1.1\r\n%bX-Request-ID: %b\r\n%b\r\n" % (
            request.method.encode(),
            request.target,
            request.headers.block,
            exchange.id,
            extra,
        )


def _comes_soon(body: Body) -> bool:
    return body.length is not None and body.length <= _LITTLE


def _budget(exchange: Exchange) -> bytes:
    """What the upstream has for this attempt, if it is bounded: told to it on every attempt.

    A long body that is still to come takes its client's time, which our own limits do not count, so they are not told
    then. Rounded up: a service that gives up first would answer in our place, and be blamed for it.
    """
    left = exchange.deadline - monotonic()
    if exchange.whole is not None or _comes_soon(exchange.request.body):
        if exchange.timeout < left:
            left = exchange.timeout
        if 0.0 < exchange.attempt_timeout < left:
            left = exchange.attempt_timeout
    return _told(int(left * 1000 + 0.999)) if left != inf else b""


@lru_cache(maxsize=256)  # most requests have the same, to the millisecond
def _told(budget: int) -> bytes:
    budget = max(1, budget)
    return b"x-request-timeout-ms: %d\r\nx-envoy-expected-rq-timeout-ms: %d\r\n" % (budget, budget)
