"""Asks leave of the circuits for each attempt, and reports how it ended.

Stands inside retry, so that each attempt asks, and outside of what sets `exchange.outcome`, so that it is there to be
reported. Which circuits there are and what counts is decided in `policy/`.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

from sidecar.errors import CIRCUIT_OPEN, SidecarError
from sidecar.exchange import Exchange, Handler, Response
from sidecar.policy.breaker import Refusal
from sidecar.policy.circuits import Circuits


def breaker(circuits: Circuits, count: Callable[[str], None], call: Handler) -> Handler:
    """Try, if the circuits admit it. `count("refused" | "would refuse")` hears of each refusal."""

    async def handler(exchange: Exchange) -> Response:
        now = monotonic()
        permit = circuits.admit(exchange, now)
        if isinstance(permit, Refusal):
            _refused(exchange, permit, count, now)
            return await call(exchange)
        exchange.notes.append((now, "breaker", "admitted", permit.facts))
        earlier = exchange.outcome
        try:
            return await call(exchange)
        finally:
            outcome = exchange.outcome
            permit.settle(outcome if outcome is not earlier else None, monotonic())

    return handler


def _refused(exchange: Exchange, refusal: Refusal, count: Callable[[str], None], now: float) -> None:
    """Refuse; or note that it would have been so. What goes on then counts for nothing, as it would not be."""
    verdict, facts = "refused" if refusal.enforced else "would refuse", refusal.facts
    count(verdict)
    exchange.notes.append((now, "breaker", verdict, facts))
    if refusal.enforced:
        raise SidecarError(CIRCUIT_OPEN, refusal.detail, retry_after=refusal.retry_after, facts=facts)
