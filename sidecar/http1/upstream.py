"""One attempt over HTTP/1.1: the innermost handler of the stack.

Writes the request's head anew for this hop, gets a connection, and lets both bodies flow. Which attempt this is, and
whether there will be another, is decided further out.
"""

from __future__ import annotations

from asyncio import CancelledError
from math import inf
from time import monotonic

from sidecar.exchange import EMPTY, Exchange, Response
from sidecar.http1.pool import Pool


class Http1Upstream:
    """A stack `Handler` that sends an exchange's request to the upstream. `attempt_timeout` is in seconds, 0 = none."""

    def __init__(self, pool: Pool, name: str, attempt_timeout: float) -> None:
        self._pool = pool
        self._name = name
        self._attempt_timeout = attempt_timeout
        scheme, _, authority = name.partition("://")
        self._authority = authority.encode("ascii") if scheme == "http" else b"localhost"

    async def __call__(self, exchange: Exchange) -> Response:
        """Send it; returns at the response's head. Raises SidecarError."""
        exchange.upstream = self._name
        pool = self._pool
        request = exchange.request
        surely = request.body is not EMPTY or not request.idempotent
        connection = None if exchange.fresh else pool.take(surely=surely)
        if connection is None:
            connection = await pool.connect()
        answer = connection.send(self._head(exchange), exchange.request, exchange.inform, self._attempt_timeout)
        try:
            response = await answer
        except CancelledError:
            connection.abandon(answer)
            raise
        pool.answered_once = True
        return response

    def _head(self, exchange: Exchange) -> bytes:
        request = exchange.request
        extra = exchange.forwarded
        if b"host" not in request.headers.known:
            # An HTTP/1.0 client need not name one; our request is HTTP/1.1.
            extra += b"Host: %b\r\n" % self._authority
        # What the upstream has for this attempt, if it is bounded: told to it on every attempt.
        left = exchange.deadline - monotonic() if exchange.deadline != inf else exchange.timeout
        if 0.0 < self._attempt_timeout < left:
            left = self._attempt_timeout
        if left != inf:
            budget = int(left * 1000) if left >= 0.001 else 1
            extra += b"x-request-timeout-ms: %d\r\nx-envoy-expected-rq-timeout-ms: %d\r\n" % (budget, budget)
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
