"""The layers, with only the upstream made up."""

from __future__ import annotations

import json
from functools import partial
from typing import cast

import pytest

from sidecar.errors import CONNECT_FAILED, REASONS, STALE_CONNECTION, Reason, SidecarError
from sidecar.exchange import Body, Exchange, FixedBody, Handler, Response, Sink
from sidecar.headers import Headers
from sidecar.stack import compose
from tests.flow.scene import GET, Scene, fine
from tests.flow.virtual import travelling


def failing(error: Exception) -> Handler:
    """An upstream that fails so."""

    async def handler(exchange: Exchange) -> Response:
        raise error

    return handler


@pytest.mark.parametrize("reason", REASONS, ids=[reason.token for reason in REASONS])
@travelling
async def test_every_reason_becomes_its_answer(reason: Reason) -> None:
    """The token in header, body, log and metric is the same; the connection ends where the table says so."""
    error = SidecarError(reason, "it was so", sent=True, facts={"limit": 5})
    async with Scene(failing(error)) as scene:
        client = scene.client()
        client.ask(GET)
        answer = await client.answer()
        body = json.loads(answer.body)

        assert (answer.status, answer.reason) == (reason.status, reason.token)
        assert (body["detail"], body["limit"]) == ("it was so", 5)
        assert client.ended is reason.close
        assert scene.book.reasons == [reason.token]
        assert scene.book.faults == []
        told = [attempt.error for attempt in scene.book.attempts]
        assert told == [error] * (2 if reason is STALE_CONNECTION else 1)


@travelling
async def test_a_fault_of_ours_is_a_500_that_the_log_explains() -> None:
    """The client is told nothing of its inside; the next request is served."""
    async with Scene(failing(ZeroDivisionError("secret"))) as scene:
        client = scene.client()
        client.ask(GET)
        answer = await client.answer()

        assert (answer.status, answer.reason) == (500, "internal")
        assert b"secret" not in client.got
        assert not client.ended
        assert scene.book.faults == scene.book.ended
        assert scene.book.reasons == ["internal"]


@travelling
async def test_an_answer_that_cannot_be_written_cuts_the_connection() -> None:
    """Whatever was wrong with it, its exchange ends."""

    class Broken(FixedBody):
        complete = False

        def attach(self, sink: Sink) -> None:
            raise ZeroDivisionError

    async def broken(exchange: Exchange) -> Response:
        response = Response(200, b"OK", Headers(b"Content-Length: 1\r\n"))
        response.body = cast(Body, Unknown(Broken(b"x")))
        return response

    class Unknown:
        """Not one that is known to be here already."""

        def __init__(self, body: FixedBody) -> None:
            self._body = body

        def __getattr__(self, name: str) -> object:
            return getattr(self._body, name)

    async with Scene(broken) as scene:
        client = scene.client()
        client.ask(GET)
        await scene.quiet()

        assert client.lost
        assert scene.unsettled == []
        assert len(scene.book.faults) + len(scene.loop.faults) == 1
        scene.loop.faults.clear()


@pytest.mark.parametrize(("draining", "reason"), [(True, "draining"), (False, "connect_failed")])
@travelling
async def test_only_a_drain_excuses_a_missing_upstream(draining: bool, reason: str) -> None:
    """Everybody is leaving then."""
    async with Scene(failing(SidecarError(CONNECT_FAILED, "refused"))) as scene:
        scene.draining = draining
        client = scene.client()
        client.ask(GET)

        assert (await client.answer()).reason == reason


@travelling
async def test_a_drain_excuses_what_began_before_it() -> None:
    """A request whose upstream goes after the drain began is told of the drain, whenever it came itself."""
    async with Scene() as scene:
        scene.accepts.clear()
        client = scene.client()
        client.ask(GET)
        await scene.quiet()
        scene.draining = scene.refuses = True
        scene.accepts.set()

        assert (await client.answer()).reason == "draining"


@travelling
async def test_a_stale_connection_is_tried_once_more() -> None:
    """Then a new one, and if that should be called stale too, it is the end."""
    fresh: list[bool] = []

    async def stale(exchange: Exchange) -> Response:
        fresh.append(exchange.fresh)
        raise SidecarError(STALE_CONNECTION, "gone", sent=True)

    async with Scene(stale) as scene:
        client = scene.client()
        client.ask(GET)

        assert (await client.answer()).reason == "stale_connection"
        assert fresh == [False, True]


@pytest.mark.parametrize("sent", [True, False])
@travelling
async def test_nothing_sent_is_never_harmful(sent: bool) -> None:
    """A POST may go again if not a byte of it went before."""
    tries: list[bool] = []

    async def stale(exchange: Exchange) -> Response:
        tries.append(True)
        if len(tries) == 1:
            raise SidecarError(STALE_CONNECTION, "gone", sent=sent)
        return await fine(exchange)

    async with Scene(stale) as scene:
        client = scene.client()
        client.ask(b"POST / HTTP/1.1\r\nHost: a\r\n\r\n")

        assert (await client.answer()).status == (502 if sent else 200)
        assert len(tries) == (1 if sent else 2)


def test_layers_stand_in_the_order_they_are_listed() -> None:
    """The first is the outermost."""
    order: list[str] = []

    def layer(name: str, call: Handler) -> Handler:
        async def handler(exchange: Exchange) -> Response:
            order.append(name)
            return await call(exchange)

        return handler

    handler = compose([partial(layer, "outer"), partial(layer, "inner")], fine)
    with pytest.raises(StopIteration) as caught:
        handler(None).__await__().send(None)  # type: ignore[arg-type]  # none of them looks

    assert order == ["outer", "inner"]
    assert caught.value.value.status == 200
