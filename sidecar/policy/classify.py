"""What an attempt says of the upstream: the one place where that is decided.

Good is any answer that shows the upstream at work: 4xx too, as those are the client's doing. Bad is a failure of the
upstream or of the way to it. Neutral says nothing: our own refusals, and attempts that somebody else ended.
"""

from __future__ import annotations

from typing import Final

from sidecar.errors import DEADLINE_EXCEEDED, SidecarError
from sidecar.exchange import BAD, GOOD, NEUTRAL, Exchange

_NOT_IMPLEMENTED: Final = 501  # says that it does not do this, not that it cannot

# The overall timeout is spent in our queues and backoffs as well. Of less than this share of it for the upstream,
# the upstream is not to blame: else a full queue in front of it would look like its failure.
_FAIR_SHARE: Final = 0.5
# An error so shortly before the client's deadline may be that deadline's doing (seconds).
_LAST_MOMENT: Final = 0.010


def of_status(exchange: Exchange, status: int, now: float) -> str:
    """The verdict on an attempt that was answered so at `now`."""
    if status < 500 or status == _NOT_IMPLEMENTED:
        return GOOD
    # Told of the client's deadline, many a service answers with an error of its own as it passes.
    return BAD if now < exchange.client_deadline - _LAST_MOMENT else NEUTRAL


def of_failure(exchange: Exchange, error: SidecarError | None) -> str:
    """The verdict on an attempt without an answer; without `error` it was ended from outside.

    The attempt's own time is in `exchange.upstream_wait` by now.
    """
    if error is None or not error.reason.blames_upstream:
        return NEUTRAL
    if error.reason is DEADLINE_EXCEEDED:
        if exchange.client_deadline <= exchange.deadline:
            return NEUTRAL  # the client would not wait: that may be any time at all
        if exchange.upstream_wait < exchange.timeout * _FAIR_SHARE:
            return NEUTRAL
    return BAD
