"""What the access log says of a request: these fields and no others."""

from __future__ import annotations

import msgspec


class Line(msgspec.Struct, gc=False, omit_defaults=True):
    """The fields of a line, in their order. Times are milliseconds, sizes bytes of the bodies.

    Those with a default are left out where that holds: most requests take no route, wait for nobody and end well.
    """

    ts: str  # when the request ended
    level: str
    event: str
    method: str
    path: str
    status: int
    reason: str
    attempts: int
    duration_ms: float
    upstream_ms: float
    overhead_ms: float
    bytes_in: int
    bytes_out: int
    request_id: str
    upstream: str
    client: str
    budget_ms: float | None = None  # what the client's own deadline gave
    route: str = ""
    queue_ms: float | None = None  # waited for a turn: rate, concurrency
    backoff_ms: float | None = None  # waited between attempts
