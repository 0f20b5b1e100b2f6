"""Asks leave of the circuits for each attempt.

Stands inside retry, so that each attempt asks. The attempt itself, the next layer, takes the permit and tells it how it
ended, whatever happens: nothing may stand between the two that could let it not begin. Which circuits there are and
what counts is decided in `policy/`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from time import monotonic

from sidecar.errors import CIRCUIT_OPEN, SidecarError
from sidecar.exchange import Exchange, Handler, Response
from sidecar.policy.breaker import Refusal
from sidecar.policy.circuits import Circuits


def breaker(circuits: Circuits, count: Callable[[str], None], call: Handler) -> Handler:
    """Try, if the circuits admit it. `count("refused" | "would refuse")` hears of each refusal."""

    def handler(exchange: Exchange) -> Awaitable[Response]:
        now = monotonic()
        permit = circuits.admit(exchange, now)
        if isinstance(permit, Refusal):
            _refused(exchange, permit, count, now)
        else:
            exchange.permit = permit
            exchange.notes.append((now, "breaker", "admitted", permit.facts))
        return call(exchange)

    return handler


def _refused(exchange: Exchange, refusal: Refusal, count: Callable[[str], None], now: float) -> None:
    """Refuse; or note that it would have been so. What goes on then counts for nothing, as it would not be."""
    verdict, facts = "refused" if refusal.enforced else "would refuse", refusal.facts
    count(verdict)
    exchange.notes.append((now, "breaker", verdict, facts))
    if refusal.enforced:
        raise SidecarError(CIRCUIT_OPEN, refusal.detail, retry_after=refusal.retry_after, facts=facts)
