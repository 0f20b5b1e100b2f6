"""Sends a request again where an attempt failed and that does no harm. What it decides, it asks of `policy/retry.py`.

The response of the last attempt is what the client gets; where that one had none, the last response that was put aside.
Stands outside the breaker, so each attempt asks leave for itself; our own refusals are never tried again.
"""

from __future__ import annotations

from asyncio import CancelledError, sleep
from collections.abc import Callable
from math import inf
from time import monotonic, time

from sidecar.errors import STALE_CONNECTION, Side, SidecarError
from sidecar.exchange import EMPTY, Exchange, FixedBody, Handler, Request, Response
from sidecar.policy.retry import CANCELLED, FAILED, RETRY, SUCCESS, RetryPolicy, harmless, reached
from sidecar.replay import Replay

# Called with the condition under which an attempt failed (or `hedge`), and what became of it; see `policy/retry.py`.
Retried = Callable[[str, str], None]


def retry(policy: RetryPolicy, retried: Retried, shadow: Callable[[], None], call: Handler) -> Handler:
    """Try again, as the policy says. In shadow mode only call `shadow()` where it would have been done.

    Reads `exchange.attempts`, which whoever makes an attempt counts.
    """
    if not policy.attempts:
        return call
    retries = _Retries(policy, retried, shadow, call)
    budget, statuses, headers = policy.budget, policy.statuses, policy.headers

    async def handler(exchange: Exchange) -> Response:
        budget.deposit()
        request = exchange.request
        if request.body is not EMPTY and not policy.shadow and policy.may_keep(request):
            return await retries.with_body(exchange)
        try:
            response = await call(exchange)
        except SidecarError as error:
            failure = error.bare()
        else:
            if response.status not in statuses and not headers:
                return response
            return await retries.after(exchange, response)
        return await retries.after(exchange, failure)

    return handler


class _Retries:
    """What happens off the usual way."""

    __slots__ = ("_call", "_policy", "_retried", "_shadow")

    def __init__(self, policy: RetryPolicy, retried: Retried, shadow: Callable[[], None], call: Handler) -> None:
        self._policy = policy
        self._retried = retried
        self._shadow = shadow
        self._call = call

    async def with_body(self, exchange: Exchange) -> Response:
        """All of it, for a request whose body may have to flow again."""
        body = exchange.request.body = Replay(exchange.request.body, self._policy.max_body)
        try:
            return await self.after(exchange, await self._attempt(exchange))
        finally:
            body.release()

    async def after(self, exchange: Exchange, last: Response | SidecarError) -> Response:
        """Go on from an attempt that ended so."""
        spare: Response | None = None
        while (plan := self._plan(exchange, last)) is not None:
            condition, wait = plan
            if isinstance(last, Response):
                if isinstance(last.body, FixedBody):
                    spare = last
                else:
                    last.body.cancel()  # it holds a connection
            elif last.reason is STALE_CONNECTION:
                exchange.fresh = True  # the other idle ones may be no better
            try:
                last = await self._again(exchange, wait)
            except CancelledError:
                self._retried(condition, CANCELLED)
                raise
            failed = isinstance(last, SidecarError) or self._policy.condition(last)
            self._retried(condition, FAILED if failed else SUCCESS)
        if isinstance(last, Response):
            return last
        if spare is not None and last.reason.side is not Side.CLIENT:
            return spare
        raise last

    async def _attempt(self, exchange: Exchange) -> Response | SidecarError:
        try:
            return await self._call(exchange)
        except SidecarError as error:
            return error.bare()

    async def _again(self, exchange: Exchange, wait: float) -> Response | SidecarError:
        body = exchange.request.body
        if isinstance(body, Replay):
            body.rewind(last=exchange.attempts >= self._policy.attempts)
        if wait:
            began = monotonic()
            try:
                await sleep(wait)
            finally:
                exchange.backoff_wait += monotonic() - began
        return await self._attempt(exchange)

    def _plan(self, exchange: Exchange, last: Response | SidecarError) -> tuple[str, float] | None:
        """The condition and the seconds to wait, if there is to be another attempt."""
        policy, request = self._policy, exchange.request
        condition = policy.condition(last)
        if not condition or not harmless(request, last):
            return None
        now, attempts = monotonic(), exchange.attempts
        wait = policy.wait(last, attempts, time())
        whole = not reached(last) or self._has_body(request)
        verdict = policy.decide(attempts, wait, exchange.deadline - now, whole=whole)
        facts: dict[str, object] = {
            "attempt": attempts,
            "reason": condition,
            "after": str(last.status) if isinstance(last, Response) else last.reason.token,
            "backoff_ms": round(wait * 1e3) if wait != inf else None,
            "budget": policy.budget.left,
        }
        if verdict is not RETRY:
            exchange.notes.append((now, "retry", "refused", {"because": verdict, **facts}))
            if not policy.shadow:
                self._retried(condition, verdict)
            return None
        if policy.shadow:
            exchange.notes.append((now, "retry", "would retry", facts))
            self._shadow()
            return None
        exchange.notes.append((now, "retry", "admitted", facts))
        return condition, wait

    def _has_body(self, request: Request) -> bool:
        """Whether the request can be sent whole once more."""
        body = request.body
        if isinstance(body, Replay):
            return body.replayable
        # In shadow mode nothing is kept; what is not known to be too long counts as if it were.
        return body is EMPTY or (self._policy.shadow and self._policy.may_keep(request))
