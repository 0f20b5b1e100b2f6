"""Lets in what there is a place for, has the rest wait a moment or go; refuses while the sidecar is overloaded itself.

guard           the sidecar's own overload: refused at once
shed_by_route   a place of the request's route, where that has a cap …
shed            … and one of the sidecar, both until the exchange has ended: its body too
"""

from __future__ import annotations

from collections.abc import Awaitable
from time import monotonic
from typing import Final

from sidecar.errors import OVERLOADED, SidecarError
from sidecar.exchange import Exchange, Handler, Response
from sidecar.layers.gatekeeper import ADMITTED, REFUSED, VERDICTS, Count, Gatekeeper, Shadow
from sidecar.policy.concurrency import NORMAL, class_of
from sidecar.policy.guard import Guard

_GUARD: Final = "guard"


def shed(keeper: Gatekeeper, call: Handler) -> Handler:
    """A place at the gate for each request. No coroutine where one is free and nothing has to be seen of the answer."""
    gate, admitted = keeper.gate, keeper.admitted
    settled = gate.settled

    def handler(exchange: Exchange) -> Awaitable[Response]:
        header = keeper.header
        rank = NORMAL if header is None else class_of(exchange.request.headers.get(header))
        if keeper.adaptive is None and not exchange.request.upgrade and gate.enter(rank):
            exchange.on_settled(settled)
            admitted(exchange)
            return call(exchange)
        return keeper.serve(exchange, rank, call)

    return handler


def guard(state: Guard, count: Count, shadow: Shadow, call: Handler) -> Handler:
    """Refuse at once while the sidecar itself is overloaded; only then `count` hears "admitted" or "refused".

    The connection of who is refused rests.
    """

    def handler(exchange: Exchange) -> Awaitable[Response]:
        if state.tripped or exchange.crowded:
            _ask(state, exchange, count, shadow)
        return call(exchange)

    return handler


def _ask(state: Guard, exchange: Exchange, count: Count, shadow: Shadow) -> None:
    """Raises SidecarError, unless it may pass."""
    now, facts = monotonic(), state.facts
    if state.admit(exchange.crowded):
        count(ADMITTED)
        exchange.notes.append((now, _GUARD, ADMITTED, facts))
        return
    exchange.notes.append((now, _GUARD, VERDICTS[state.enforced], facts))
    if state.enforced:
        count(REFUSED)
        rest = state.rest(now)
        exchange.rests_until = now + rest
        raise SidecarError(OVERLOADED, state.detail(exchange.crowded), retry_after=rest, facts=facts)
    shadow()
