"""Sends a safe request a second time where the first attempt is slow; the first good answer wins.

For requests that can do no harm and have no body. The second attempt takes a token of the retry budget and is one of
the attempts that retry allows. Stands inside retry, outside the breaker. What is not wanted any more is cancelled, its
answer's body too, and has ended before this layer returns.
"""

from __future__ import annotations

from asyncio import FIRST_COMPLETED, CancelledError, Task, create_task, wait
from collections.abc import Awaitable, Callable
from time import monotonic

from sidecar.exchange import EMPTY, Exchange, Handler, Outcome, Response
from sidecar.layers.retry import Retried
from sidecar.policy.retry import CANCELLED, FAILED, HEDGED_METHODS, RETRY, SUCCESS, RetryPolicy

_HEDGE = "hedge"

_Tried = tuple[Response, Outcome | None]
_Racer = Task[_Tried]


def hedge(policy: RetryPolicy, retried: Retried, shadow: Callable[[], None], call: Handler) -> Handler:
    """Send again what has no answer after `policy.hedge` seconds; in shadow mode only call `shadow()` for it."""
    if not policy.hedge or not policy.attempts:
        return call

    def handler(exchange: Exchange) -> Awaitable[Response]:
        request = exchange.request
        if request.method not in HEDGED_METHODS or request.body is not EMPTY or request.upgrade:
            return call(exchange)
        if exchange.attempts >= policy.attempts:
            return call(exchange)  # which is the last one
        if policy.shadow:
            return _watched(policy, shadow, call, exchange)
        return _hedged(policy, retried, call, exchange)

    return handler


async def _watched(policy: RetryPolicy, shadow: Callable[[], None], call: Handler, exchange: Exchange) -> Response:
    """One attempt; whether there would have been two is told at its end."""
    due = monotonic() + policy.hedge
    try:
        return await call(exchange)
    finally:
        if monotonic() >= due and _decide(policy, exchange, due, "would hedge") is RETRY:
            shadow()


async def _hedged(policy: RetryPolicy, retried: Retried, call: Handler, exchange: Exchange) -> Response:
    began, waited = monotonic(), exchange.upstream_wait
    racers = [create_task(_attempt(call, exchange), name="attempt")]
    try:
        await wait(racers, timeout=policy.hedge)
        if racers[0].done():
            return racers[0].result()[0]
        verdict = _decide(policy, exchange, monotonic(), "hedged")
        if verdict is RETRY:
            racers.append(create_task(_attempt(call, exchange), name="hedge"))
        else:
            retried(_HEDGE, verdict)
        winner = await _first_good(policy, racers)
        await _dismiss([racer for racer in racers if racer is not winner])
    except CancelledError:
        if len(racers) > 1:
            retried(_HEDGE, CANCELLED)
        await _dismiss(racers)
        raise
    if len(racers) > 1:
        retried(_HEDGE, _result(policy, racers[1], winner))
        # They waited side by side.
        exchange.upstream_wait = waited + monotonic() - began
    response, exchange.outcome = winner.result()
    return response


async def _attempt(call: Handler, exchange: Exchange) -> _Tried:
    # Whoever cancels this before its first step has called nobody.
    response = await call(exchange)
    return response, exchange.outcome


def _decide(policy: RetryPolicy, exchange: Exchange, now: float, verdict: str) -> str:
    """RETRY, or why there is no second attempt."""
    attempts = exchange.attempts
    refused = policy.decide(attempts, 0.0, exchange.deadline - now)
    facts: dict[str, object] = {
        "attempt": attempts,
        "reason": _HEDGE,
        "waited_ms": round(policy.hedge * 1e3),
        "budget": policy.budget.left,
    }
    if refused is not RETRY:
        verdict, facts = "refused", {"because": refused, **facts}
    exchange.notes.append((now, "retry", verdict, facts))
    return refused


async def _first_good(policy: RetryPolicy, racers: list[_Racer]) -> _Racer:
    """The first with a good answer; failing that the last with any; failing that the first attempt."""
    pending, best = set(racers), racers[0]
    while pending:
        done, pending = await wait(pending, return_when=FIRST_COMPLETED)
        for racer in [racer for racer in racers if racer in done]:
            if _is_good(policy, racer):
                return racer
            if racer.exception() is None:
                best = racer
    return best


def _is_good(policy: RetryPolicy, racer: _Racer) -> bool:
    return not racer.cancelled() and racer.exception() is None and not policy.condition(racer.result()[0])


def _result(policy: RetryPolicy, second: _Racer, winner: _Racer) -> str:
    if second is not winner and (second.cancelled() or _is_good(policy, second)):
        return CANCELLED
    return SUCCESS if _is_good(policy, second) else FAILED


async def _dismiss(racers: list[_Racer]) -> None:
    """Have them end, and wait until they have; an answer that comes in the same moment is not wanted either."""
    for racer in racers:
        racer.cancel()
        racer.add_done_callback(_discard)
    if racers:
        await wait(racers)


def _discard(racer: _Racer) -> None:
    if not racer.cancelled() and racer.exception() is None:
        racer.result()[0].body.cancel()
