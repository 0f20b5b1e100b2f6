"""What has taken too long, by whose limit, and by which numbers: the errors that end an exchange's waits. Pure."""

from __future__ import annotations

from sidecar.errors import (
    ATTEMPT_TIMEOUT,
    CLIENT_GONE,
    CONNECTION_LOST,
    DEADLINE_EXCEEDED,
    REQUEST_TIMEOUT,
    SidecarError,
)
from sidecar.exchange import Exchange


def no_answer(exchange: Exchange, now: float) -> SidecarError:
    """The response head has not come in time."""
    limit = exchange.deadline - exchange.started
    if exchange.client_deadline <= exchange.deadline:
        detail = f"no answer within {limit:.3g} s, the client's own deadline"
    else:
        detail = f"no answer within {exchange.timeout:g} s of the whole request, the sidecar's --timeout"
    facts: dict[str, object] = {"waited_ms": round((now - exchange.started) * 1e3), "limit_ms": round(limit * 1e3)}
    return SidecarError(DEADLINE_EXCEEDED, detail, sent=True, facts=facts)


def stuck_answer(untaken: bool, seconds: float) -> SidecarError:
    """An answer has not moved for so long: what came of it is `untaken`, or nothing comes."""
    if untaken:
        return SidecarError(CLIENT_GONE, f"the client took nothing of its answer for {seconds:g} s", sent=True)
    return SidecarError(CONNECTION_LOST, f"nothing moved for {seconds:g} s", sent=True)


def stuck_request(untaken: bool, seconds: float) -> SidecarError:
    """A request's body has not moved for so long: what came of it is `untaken`, or nothing comes."""
    if untaken:
        return SidecarError(ATTEMPT_TIMEOUT, f"the upstream took nothing of the body for {seconds:g} s", sent=True)
    return SidecarError(REQUEST_TIMEOUT, f"no byte of the request's body came for {seconds:g} s", sent=True)


def slow_request(received: int) -> SidecarError:
    """A request's body, of which so many bytes have been received, is too slow."""
    detail = f"the request's body came more slowly than http.min_body_rate: {received} bytes so far"
    return SidecarError(REQUEST_TIMEOUT, detail, sent=True)
