"""A kept connection that proves dead: tried once more where that does no harm, and only there."""

from __future__ import annotations

import pytest

from tests.flow.scene import GET, OK, Far, Scene, post
from tests.flow.virtual import travelling

POST = b"POST / HTTP/1.1\r\nHost: a\r\n\r\n"


async def kept(scene: Scene) -> Far:
    """A connection to the upstream that has served."""
    client = scene.client()
    client.ask(GET)
    upstream = await scene.upstream()
    upstream.send(OK)
    await scene.quiet()
    upstream.take()
    client.wire.close()
    await scene.quiet()
    return upstream


SAFE = [
    GET,
    GET.replace(b"GET", b"PUT"),
    GET.replace(b"GET", b"DELETE"),
    POST.replace(b"Host", b"Idempotency-Key: 1\r\nHost"),
]
UNSAFE = [POST, POST.replace(b"POST", b"PATCH"), post(b"hello"), post(b"hello", b"Idempotency-Key: 1")]


@pytest.mark.parametrize("request_bytes", SAFE, ids=lambda value: repr(value)[:20])
@travelling
async def test_a_harmless_request_is_sent_again(request_bytes: bytes) -> None:
    """On a new connection, once; the client notices nothing."""
    async with Scene() as scene:
        stale = await kept(scene)
        client = scene.client()
        client.ask(request_bytes)
        await scene.quiet()
        assert stale.take() != b""
        stale.wire.close()
        new = (await scene.upstreams(2))[1]
        new.send(OK)

        assert (await client.answer()).status == 200
        exchange = scene.book.ended[-1]
        assert (exchange.attempts, exchange.reason) == (2, "upstream")
        assert [attempt.error.reason.token for attempt in scene.book.attempts if attempt.error] == ["stale_connection"]


@pytest.mark.parametrize("request_bytes", UNSAFE, ids=lambda value: repr(value)[:20])
@travelling
async def test_a_request_that_could_do_harm_is_not(request_bytes: bytes) -> None:
    """Nobody knows what the upstream made of it; nor is a body sent twice that has gone."""
    async with Scene() as scene:
        stale = await kept(scene)
        client = scene.client()
        client.ask(request_bytes)
        await scene.quiet()
        stale.wire.close()
        answer = await client.answer()

        assert (answer.status, answer.reason) == (502, "stale_connection")
        assert len(scene.far_upstreams) == 1
        assert scene.book.ended[-1].attempts == 1


@travelling
async def test_it_is_tried_only_once_more() -> None:
    """The second connection was new, so its loss is another matter."""
    async with Scene() as scene:
        stale = await kept(scene)
        client = scene.client()
        client.ask(GET)
        await scene.quiet()
        stale.wire.close()
        (await scene.upstreams(2))[1].wire.close()
        answer = await client.answer()

        assert (answer.status, answer.reason) == (502, "connection_lost")
        assert len(scene.far_upstreams) == 2
        assert scene.book.ended[-1].attempts == 2


@travelling
async def test_a_new_connection_that_is_lost_is_not_stale() -> None:
    """Whatever the request."""
    async with Scene() as scene:
        client = scene.client()
        client.ask(GET)
        (await scene.upstream()).wire.close()

        assert (await client.answer()).reason == "connection_lost"


@pytest.mark.parametrize("said", [b"H", b"HTTP/1.1 100 Continue\r\n\r\n"])
@travelling
async def test_an_upstream_that_had_begun_to_answer_was_not_stale(said: bytes) -> None:
    """It had the request."""
    async with Scene() as scene:
        old = await kept(scene)
        client = scene.client()
        client.ask(GET)
        await scene.quiet()
        old.send(said)
        await scene.quiet()
        client.take()
        old.wire.close()

        assert (await client.answer()).reason == "connection_lost"
        assert len(scene.far_upstreams) == 1


@pytest.mark.parametrize("request_bytes", [GET, POST], ids=["GET", "POST"])
@travelling
async def test_a_connection_that_has_closed_meanwhile_is_not_used(request_bytes: bytes) -> None:
    """Nobody's request is risked on it."""
    async with Scene() as scene:
        old = await kept(scene)
        old.wire.close()
        client = scene.client()
        client.ask(request_bytes)
        new = (await scene.upstreams(2))[1]
        assert old.take() == b""
        new.send(OK)

        assert (await client.answer()).status == 200
        assert scene.book.ended[-1].attempts == 1


@travelling
async def test_a_client_that_leaves_between_the_attempts_is_gone() -> None:
    """And the second attempt with it."""
    async with Scene() as scene:
        stale = await kept(scene)
        client = scene.client()
        client.ask(GET)
        await scene.quiet()
        scene.accepts.clear()
        stale.wire.close()
        await scene.quiet()
        client.wire.close()
        await scene.quiet()

        assert scene.book.reasons == ["upstream", "client_gone"]
        assert scene.pool.size == 0
