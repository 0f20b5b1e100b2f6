"""What is kept of an exchange: a few fields and its notes, never the objects around it, and never a header's value, a
query string or a byte of a body.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from sidecar.exchange import Exchange, Note

# Characters of a path or a sentence that are kept.
_LONGEST: Final = 256


class Record(msgspec.Struct, gc=False):
    """One exchange. Times are seconds of the monotonic clock, waits seconds, sizes bytes of the two bodies.

    Not for the collector to look at: it holds nothing that could hold it.
    """

    id: bytes
    method: str
    path: str
    client: str
    route: str
    label: str  # the path template it counts under; empty while that is not known
    status: int  # what the client was told; 0 = nothing
    reason: str
    detail: str  # one sentence about a failure, where there is one
    started: float
    whole: float | None
    answered: float | None
    ended: float | None  # None = still in flight
    deadline: float
    client_deadline: float
    attempts: int
    upstream: str
    upstream_wait: float
    client_wait: float
    queue_wait: float
    backoff_wait: float
    bytes_in: int
    bytes_out: int
    notes: list[Note]  # the exchange's own list: what a cancelled attempt adds after the end belongs to it


Wanted = Callable[[Record], bool]


def record_of(exchange: Exchange, ended: float | None) -> Record:
    """The exchange as it is now; `ended` is when it did, None while it is in flight."""
    request, reason = exchange.request, exchange.reason
    path = request.path
    return Record(
        exchange.id,
        request.method,
        path if len(path) <= _LONGEST else path[:_LONGEST] + "…",
        exchange.client,
        exchange.route,
        exchange.label,
        exchange.status,
        reason,
        exchange.detail[:_LONGEST],
        exchange.started,
        exchange.whole,
        exchange.answered,
        ended,
        exchange.deadline,
        exchange.client_deadline,
        exchange.attempts,
        exchange.upstream,
        exchange.upstream_wait,
        exchange.client_wait,
        exchange.queue_wait,
        exchange.backoff_wait,
        exchange.bytes_in,
        exchange.bytes_out,
        exchange.notes,
    )
