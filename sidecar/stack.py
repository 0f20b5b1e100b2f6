"""A request's way, outermost layer first. `build` is the list; what each layer guards against stands beside it.

A layer takes the rest of the way and returns the way with itself in front, `layer(call) -> handler`, as middleware does
in Go. Handlers are asynchronous and thin; what they decide, they ask of `policy/`. One that has nothing to do on the
way back is a plain function that returns `call(exchange)`, and so costs no coroutine.
"""

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from time import monotonic
from typing import Protocol

from sidecar.answers import answer
from sidecar.errors import CONNECT_FAILED, DEADLINE_EXCEEDED, DRAINING, INTERNAL, STALE_CONNECTION, SidecarError
from sidecar.exchange import EMPTY, Exchange, Handler, Outcome, Request, Response
from sidecar.policy.classify import of_failure, of_status
from sidecar.policy.deadline import answer_within, client_timeout

Layer = Callable[[Handler], Handler]


class Recorder(Protocol):
    """Where exchanges and attempts are counted and logged."""

    def opened(self, exchange: Exchange) -> None:
        """An exchange begins."""

    def settled(self, exchange: Exchange, now: float) -> None:
        """It has ended: its body too, or it was cut."""

    def attempt(self, outcome: Outcome, now: float) -> None:
        """An attempt has ended at its response head, or failed."""

    def fault(self, exchange: Exchange) -> None:
        """The exception being handled is a fault of ours."""


def build(
    upstream: Handler,
    recorder: Recorder,
    *,
    is_probe: Callable[[Request], bool],
    draining: Callable[[], bool],
    timeout: float,
) -> Handler:
    """The stack around `upstream`. `timeout` (seconds, 0 for none) is for the wait for a response head."""
    layers: list[Layer] = [
        # Sees what the client saw, whatever happens further in; settles when the body has ended.
        partial(observe, recorder, is_probe),
        # Turns every exception into an answer, by one table.
        partial(rescue, recorder),
        # Marks what happens while we go as such, so that it alarms nobody.
        partial(drain, draining),
        # Bounds everything further in by the client's time and by ours.
        partial(deadline, timeout),
        # Counts and classifies each try; tries once more where a kept connection proved dead.
        partial(attempt, recorder),
    ]
    return compose(layers, upstream)


def compose(layers: Iterable[Layer], upstream: Handler) -> Handler:
    """The layers around `upstream`, the first one outermost."""
    handler = upstream
    for layer in reversed(list(layers)):
        handler = layer(handler)
    return handler


def observe(recorder: Recorder, is_probe: Callable[[Request], bool], call: Handler) -> Handler:
    """Register the exchange where it is counted and logged."""

    def handler(exchange: Exchange) -> Awaitable[Response]:
        if is_probe(exchange.request):
            exchange.observed = False
        recorder.opened(exchange)
        exchange.on_settled(recorder.settled)
        return call(exchange)

    return handler


def rescue(recorder: Recorder, call: Handler) -> Handler:
    """Answer what failed, was refused, or was abandoned by the connection that the exchange came on."""

    async def handler(exchange: Exchange) -> Response:
        try:
            if exchange.abandoned is not None:
                raise exchange.abandoned
            return await call(exchange)
        except SidecarError as failure:
            error = failure
        except CancelledError:
            if exchange.abandoned is None:
                raise
            error = exchange.abandoned
        except Exception:
            recorder.fault(exchange)
            error = SidecarError(INTERNAL, "the sidecar failed on this request; its log says where")
        exchange.reason = error.reason.token
        exchange.close = error.reason.close
        return answer(error, exchange.id)

    return handler


def drain(draining: Callable[[], bool], call: Handler) -> Handler:
    """The upstream that stops while we do, as pods do, is no outage."""

    async def handler(exchange: Exchange) -> Response:
        try:
            return await call(exchange)
        except SidecarError as error:
            # Asked now, not on the way in: the drain may have begun in the meantime.
            if error.reason is CONNECT_FAILED and draining():
                raise SidecarError(DRAINING, "this instance and its upstream are stopping", retry_after=1) from error
            raise

    return handler


def deadline(timeout: float, call: Handler) -> Handler:
    """Set the limits that the exchange's timer watches over; it cancels the stack when they pass."""

    def handler(exchange: Exchange) -> Awaitable[Response]:
        wanted = client_timeout(exchange.request.headers.known)
        if wanted is not None:
            exchange.client_deadline = exchange.started + answer_within(wanted)
            exchange.limit(exchange.client_deadline)
            if exchange.deadline <= monotonic():
                raise SidecarError(DEADLINE_EXCEEDED, f"the client's deadline of {wanted:g} s had passed already")
        if timeout:
            exchange.timeout = timeout
            if exchange.whole is not None:
                exchange.limit(exchange.whole + timeout)
        return call(exchange)

    return handler


def attempt(recorder: Recorder, call: Handler) -> Handler:
    """Try; and once more on a new connection, where a kept one was found dead and sending twice does no harm."""

    async def handler(exchange: Exchange) -> Response:
        while True:
            exchange.attempts += 1
            began = monotonic()
            try:
                response = await call(exchange)
            except SidecarError as error:
                _ended(recorder, exchange, began, error)
                if exchange.fresh or not _may_resend(exchange, error):
                    raise
                exchange.fresh = True
            except CancelledError:
                _ended(recorder, exchange, began, exchange.abandoned)
                raise
            else:
                now = response.arrived or monotonic()
                elapsed = now - began
                exchange.upstream_wait += elapsed
                status = response.status
                exchange.outcome = outcome = Outcome(status, None, True, elapsed, of_status(status))
                recorder.attempt(outcome, now)
                return response

    return handler


def _ended(recorder: Recorder, exchange: Exchange, began: float, error: SidecarError | None) -> None:
    """An attempt has failed; without `error` it was ended from outside, which says nothing of it."""
    now = monotonic()
    elapsed = now - began
    exchange.upstream_wait += elapsed
    sent = error is None or error.sent
    exchange.outcome = outcome = Outcome(0, error, sent, elapsed, of_failure(exchange, error))
    if error is not None:
        recorder.attempt(outcome, now)


def _may_resend(exchange: Exchange, error: SidecarError) -> bool:
    """Whether a stale connection's request can go out again: nothing was written, or it is harmless and whole."""
    if error.reason is not STALE_CONNECTION:
        return False
    request = exchange.request
    return not error.sent or (request.idempotent and request.body is EMPTY)
