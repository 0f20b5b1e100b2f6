"""A request's way, outermost layer first. `build` and `way` are the list; what each layer guards against stands beside.

A layer takes the rest of the way and returns the way with itself in front, `layer(call) -> handler`, as middleware does
in Go. Handlers are asynchronous and thin; what they decide, they ask of `policy/`. One that has nothing to do on the
way back is a plain function that returns `call(exchange)`, and so costs no coroutine. The layers with a policy of
their own are in `layers/`, a file each; a policy that is off has no layer.
"""

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from time import monotonic
from typing import Final, NamedTuple, Protocol

from sidecar.answers import answer
from sidecar.errors import CIRCUIT_OPEN, CONNECT_FAILED, DRAINING, INTERNAL, STALE_CONNECTION, SidecarError
from sidecar.exchange import EMPTY, GOOD, Exchange, Handler, Outcome, Request, Response
from sidecar.layers.deadline import Deadlines, deadline
from sidecar.policy.circuits import UPSTREAM as UPSTREAM_CIRCUIT
from sidecar.policy.classify import of_failure, of_status

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


# The words of the most frequent statuses, made once.
_WORDS: Final = {status: str(status) for status in (200, 201, 202, 204, 206, 301, 302, 304, 400, 401, 403, 404)}


class Policies(NamedTuple):
    """The layers of one route that ask a policy; one that is off has none. Order and meaning are those of `way`."""

    deadline: Deadlines
    guard: Sequence[Layer] = ()
    rate: Sequence[Layer] = ()
    concurrency: Sequence[Layer] = ()
    retry: Sequence[Layer] = ()
    hedge: Sequence[Layer] = ()
    breaker: Sequence[Layer] = ()
    may_resend: Callable[[], bool] | None = None  # takes of the retry budget


class Way(NamedTuple):
    """One route: its `name`, the `label` that its requests count under, and the handler behind it."""

    name: str
    label: str
    call: Handler


class Plan(NamedTuple):
    """How requests are told apart.

    `find` gives a route's place in `routes`, or -1, which is the `rest`; `probe` is the way of health probes, which
    pass all limits. `template` is the path template of a request outside all routes, empty while it is not known.
    """

    is_probe: Callable[[Request], bool]
    probe: Handler
    rest: Handler
    routes: Sequence[Way]
    find: Callable[[Request], int]
    template: Callable[[Request], str]


def build(recorder: Recorder, plan: Plan, draining: Callable[[], bool]) -> Handler:
    """The whole stack; behind it are the ways of `plan`."""
    layers: list[Layer] = [
        # Sees what the client saw, whatever happens further in; settles when the body has ended.
        partial(observe, recorder, plan.is_probe),
        # Turns every exception into an answer, by one table; what happens while we go it marks as such.
        partial(rescue, recorder, draining),
    ]
    return compose(layers, route(plan))


def way(upstream: Handler, recorder: Recorder, policies: Policies) -> Handler:
    """What is behind `route`, for requests with these policies."""
    layers: list[Layer] = [
        # Bounds everything further in by the client's time and by ours, and refuses what that leaves too little for.
        partial(deadline, policies.deadline),
        # Refuses at once while the process itself is behind, so that it can catch up.
        *policies.guard,
        # Holds clients to their rate. May let them wait, and so stands outside the places: a sleeper holds none.
        *policies.rate,
        # Bounds how much is in flight, so that the upstream is never given more than it can do.
        *policies.concurrency,
        # Tries again what failed and does no harm twice. Inside the limits: a retry spends nobody's rate.
        *policies.retry,
        # Asks a second time where the first answer takes unusually long.
        *policies.hedge,
        # Leaves an upstream alone that fails. Inside retry: each attempt asks, and reports.
        *policies.breaker,
        # Counts and classifies each try; tries once more where a kept connection proved dead.
        partial(attempt, recorder, rule=policies.deadline, may_resend=policies.may_resend),
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


def rescue(recorder: Recorder, draining: Callable[[], bool], call: Handler) -> Handler:
    """Answer what failed, was refused, or was abandoned by the connection that the exchange came on.

    An upstream that stops while we do, as pods do, is no outage, and alarms nobody.
    """

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
        # Asked now, not on the way in: the drain may have begun in the meantime.
        if _is_outage(error) and draining():
            error = SidecarError(DRAINING, "this instance and its upstream are stopping", retry_after=1)
        exchange.failed(error)
        exchange.close = error.reason.close
        return answer(error.bare(), exchange.id)

    return handler


def _is_outage(error: SidecarError) -> bool:
    """Whether the upstream cannot be reached, or is not asked because it could not be."""
    return error.reason is CONNECT_FAILED or (
        error.reason is CIRCUIT_OPEN and error.facts.get("circuit") == UPSTREAM_CIRCUIT
    )


def route(plan: Plan) -> Handler:
    """Send each request the way of its route."""
    is_routed = bool(plan.routes)

    def handler(exchange: Exchange) -> Awaitable[Response]:
        if not exchange.observed:
            return plan.probe(exchange)
        request = exchange.request
        place = plan.find(request) if is_routed else -1
        if place < 0:
            exchange.label = plan.template(request)
            return plan.rest(exchange)
        exchange.route, exchange.label, call = plan.routes[place]
        return call(exchange)

    return handler


def attempt(
    recorder: Recorder,
    call: Handler,
    rule: Deadlines | None = None,
    may_resend: Callable[[], bool] | None = None,
) -> Handler:
    """Try; and once more on a new connection, where a kept one was found dead and sending twice does no harm.

    How it ends is told to the exchange's permit. `rule` is told how long attempts take. `may_resend()` is asked where
    the upstream may have seen the request: one that dies of what it is sent must not be sent more than the retry budget
    allows.
    """
    took = rule.took if rule is not None else None

    async def handler(exchange: Exchange) -> Response:
        permit, exchange.permit, exchange.outcome = exchange.permit, None, None
        try:
            while True:
                exchange.attempts += 1
                began = monotonic()
                try:
                    response = await call(exchange)
                    break
                except SidecarError as error:
                    _failed(recorder, exchange, began, error)
                    if exchange.fresh or not _harmless(exchange, error):
                        raise
                    if error.sent and may_resend is not None and not may_resend():
                        raise
                    exchange.fresh = True
        except BaseException as end:
            if isinstance(end, CancelledError):
                _failed(recorder, exchange, began, exchange.abandoned)
                if rule is not None:
                    rule.cut(exchange, began)
            if permit is not None:
                permit.settle(exchange.outcome, monotonic())
            raise
        now, status = response.arrived or monotonic(), response.status
        elapsed = now - began
        exchange.upstream_wait += elapsed
        exchange.outcome = outcome = Outcome(status, None, True, elapsed, of_status(exchange, status, now))
        exchange.notes.append((now, "attempt", _WORDS.get(status) or str(status), ("began", began)))
        if permit is not None:
            permit.settle(outcome, now)
        if took is not None and outcome.verdict is GOOD:
            took(exchange, began, now)
        recorder.attempt(outcome, now)
        return response

    return handler


def _failed(recorder: Recorder, exchange: Exchange, began: float, error: SidecarError | None) -> None:
    """An attempt has failed; without `error` it was ended from outside, which says nothing of it."""
    now = monotonic()
    elapsed = now - began
    exchange.upstream_wait += elapsed
    sent = error is None or error.sent
    exchange.outcome = outcome = Outcome(0, error, sent, elapsed, of_failure(exchange, error))
    word = error.reason.token if error is not None else "cancelled"
    exchange.notes.append((now, "attempt", word, ("began", began, "sent", sent)))
    if error is not None:
        recorder.attempt(outcome, now)


def _harmless(exchange: Exchange, error: SidecarError) -> bool:
    """Whether a stale connection's request can go out again: nothing was written, or it is harmless and whole."""
    if error.reason is not STALE_CONNECTION:
        return False
    request = exchange.request
    return not error.sent or (request.idempotent and request.body is EMPTY)
