"""Why the sidecar answered as it did: one table, read by the answers, the metrics, the log and the policies.

    SidecarError                       carries one row of the table and the facts that decided
      reason.side == CLIENT            the client's message or absence: never the upstream's fault
      reason.side == SIDECAR           our own refusals and faults
      reason.side == UPSTREAM          the upstream, or the way to it, failed

Knows no protocol and no I/O. `REASONS` is the whole vocabulary: the token is at once the `X-Sidecar-Reason` header,
the `reason` label of `sidecar_answers_total` and the `reason` field of the access log.
"""

from __future__ import annotations

import errno
from enum import Enum
from typing import Final, NamedTuple


class Side(Enum):
    """Who brought a failure about."""

    CLIENT = "client"
    SIDECAR = "sidecar"
    UPSTREAM = "upstream"


class Retry(Enum):
    """When the sidecar itself may try again after this failure."""

    NEVER = "never"
    IF_IDEMPOTENT = "if idempotent"
    IF_IDEMPOTENT_OR_UNSENT = "once, if idempotent or no request byte was written"
    ALWAYS = "always: nothing was sent"


class Reason(NamedTuple):
    """One row: what the client is told, and what the policies may make of it.

    `grpc` is the canonical gRPC status code; `proxy_error` the RFC 9209 section 2.3 error type; `close` says that
    the answer ends its connection, because the bytes that follow can no longer be trusted or wanted.
    """

    token: str
    status: int
    grpc: int
    side: Side
    retry: Retry
    blames_upstream: bool
    proxy_error: str
    title: str
    close: bool = False


_C, _S, _U = Side.CLIENT, Side.SIDECAR, Side.UPSTREAM
_N, _I = Retry.NEVER, Retry.IF_IDEMPOTENT

RATE_LIMITED: Final = Reason("rate_limited", 429, 8, _S, _N, False, "http_request_denied", "Rate limit exceeded")
OVERLOADED: Final = Reason("overloaded", 503, 14, _S, _N, False, "connection_limit_reached", "Too many requests")
QUEUE_TIMEOUT: Final = Reason(
    "queue_timeout", 503, 14, _S, _N, False, "connection_limit_reached", "Waited too long for a place"
)
CIRCUIT_OPEN: Final = Reason("circuit_open", 503, 14, _S, _N, False, "destination_unavailable", "Circuit open")
DRAINING: Final = Reason("draining", 503, 14, _S, _N, False, "destination_unavailable", "Shutting down", close=True)
UNAUTHENTICATED: Final = Reason("unauthenticated", 401, 16, _C, _N, False, "http_request_denied", "Not authenticated")
FORBIDDEN: Final = Reason("forbidden", 403, 7, _C, _N, False, "http_request_denied", "Forbidden")
BAD_REQUEST: Final = Reason("bad_request", 400, 3, _C, _N, False, "http_request_error", "Bad request", close=True)
HEADERS_TOO_LARGE: Final = Reason(
    "headers_too_large", 431, 3, _C, _N, False, "http_request_error", "Request headers too large", close=True
)
BODY_TOO_LARGE: Final = Reason(
    "body_too_large", 413, 3, _C, _N, False, "http_request_error", "Request body too large", close=True
)
REQUEST_TIMEOUT: Final = Reason(
    "request_timeout", 408, 3, _C, _N, False, "http_request_error", "Request came too slowly", close=True
)
CLIENT_GONE: Final = Reason("client_gone", 499, 1, _C, _N, False, "http_request_error", "Client left", close=True)
CONNECT_FAILED: Final = Reason(
    "connect_failed", 502, 14, _U, Retry.ALWAYS, True, "connection_refused", "Upstream not reachable"
)
CONNECT_TIMEOUT: Final = Reason(
    "connect_timeout", 504, 14, _U, Retry.ALWAYS, True, "connection_timeout", "Upstream did not accept in time"
)
STALE_CONNECTION: Final = Reason(
    "stale_connection",
    502,
    14,
    _U,
    Retry.IF_IDEMPOTENT_OR_UNSENT,
    False,
    "connection_terminated",
    "Upstream closed a kept connection",
)
CONNECTION_LOST: Final = Reason(
    "connection_lost", 502, 14, _U, _I, True, "connection_terminated", "Upstream connection lost"
)
ATTEMPT_TIMEOUT: Final = Reason(
    "attempt_timeout", 504, 4, _U, _I, True, "http_response_timeout", "Upstream too slow in this attempt"
)
DEADLINE_EXCEEDED: Final = Reason(
    "deadline_exceeded", 504, 4, _U, _N, True, "http_response_timeout", "Deadline exceeded"
)
BAD_RESPONSE: Final = Reason(
    "bad_response", 502, 13, _U, _N, True, "http_protocol_error", "Upstream answered with nonsense"
)
INTERNAL: Final = Reason("internal", 500, 13, _S, _N, False, "proxy_internal_error", "Fault in the sidecar")

REASONS: Final[tuple[Reason, ...]] = (
    RATE_LIMITED,
    OVERLOADED,
    QUEUE_TIMEOUT,
    CIRCUIT_OPEN,
    DRAINING,
    UNAUTHENTICATED,
    FORBIDDEN,
    BAD_REQUEST,
    HEADERS_TOO_LARGE,
    BODY_TOO_LARGE,
    REQUEST_TIMEOUT,
    CLIENT_GONE,
    CONNECT_FAILED,
    CONNECT_TIMEOUT,
    STALE_CONNECTION,
    CONNECTION_LOST,
    ATTEMPT_TIMEOUT,
    DEADLINE_EXCEEDED,
    BAD_RESPONSE,
    INTERNAL,
)

# What a machine says that has nothing left for another connection: no word about who was to be at its other end.
SHORTAGES: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

# The label of an answer that was the upstream's own.
UPSTREAM: Final = "upstream"


class SidecarError(Exception):
    """An exchange, or one attempt of it, that ended without an upstream's answer.

    `detail` is one sentence for the reader of the answer; it names what was wrong and never holds a secret.
    `facts` are the numbers that decided (limit, remaining, …), copied into the problem body. `sent` says that at
    least one byte of the request had been handed to a connection. `retry_after` is in seconds. `headers` are further
    lines of the answer, each with its CRLF.
    """

    def __init__(
        self,
        reason: Reason,
        detail: str,
        *,
        sent: bool = False,
        retry_after: float | None = None,
        facts: dict[str, object] | None = None,
        headers: bytes = b"",
    ) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
        self.sent = sent
        self.retry_after = retry_after
        self.facts = facts or {}
        self.headers = headers

    def bare(self) -> SidecarError:
        """Itself without its traceback, for whoever keeps it.

        Its frames would keep it in turn, and the exchange with it, for the collector to find: under a flood of
        refusals that took the event loop a tenth of a second at a time. It is an answer, and who raised it nobody asks.
        """
        self.__traceback__ = self.__context__ = None
        return self

    def __repr__(self) -> str:
        return f"<SidecarError {self.reason.token}: {self.detail}>"
