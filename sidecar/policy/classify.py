"""What an attempt says of the upstream: the one place where that is decided.

Good is any answer that shows the upstream at work: 4xx too, as those are the client's doing. Bad is a failure of the
upstream or of the way to it. Neutral says nothing: our own refusals, and attempts that somebody else ended.
"""

from __future__ import annotations

from sidecar.errors import DEADLINE_EXCEEDED, SidecarError
from sidecar.exchange import BAD, GOOD, NEUTRAL, Exchange

_NOT_IMPLEMENTED = 501  # says that it does not do this, not that it cannot


def of_status(status: int) -> str:
    """The verdict on an attempt that was answered so."""
    return GOOD if status < 500 or status == _NOT_IMPLEMENTED else BAD


def of_failure(exchange: Exchange, error: SidecarError | None) -> str:
    """The verdict on an attempt without an answer; without `error` it was ended from outside."""
    if error is None or not error.reason.blames_upstream:
        return NEUTRAL
    if error.reason is DEADLINE_EXCEEDED and exchange.client_deadline <= exchange.deadline:
        return NEUTRAL  # the client would not wait: that may be any time at all
    return BAD
