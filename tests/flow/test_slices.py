"""Bodies in so many pieces that one read of them is looked at in many turns of the loop, and who shares the lane."""

from __future__ import annotations

import asyncio
import gc
import re
from collections.abc import Callable
from functools import partial
from typing import Final

import pytest

from sidecar.exchange import Exchange, FixedBody, Response
from sidecar.headers import Headers
from sidecar.http1.lane import Lane
from sidecar.http1.turn import Turn
from sidecar.settings import Http
from tests.flow.scene import GET, OK, Client, Far, Scene, fine
from tests.flow.virtual import travelling
from tests.http1.support import unchunked

MANY: Final = 20_000
PAYLOAD: Final = bytes(number * 7 % 251 for number in range(MANY))
BODY: Final = b"".join(b"1\r\n%c\r\n" % byte for byte in PAYLOAD) + b"0\r\n\r\n"
# The same with an extension in the middle: what is before it goes on when that has been seen.
MIXED: Final = BODY[:18_000] + b"1;x" + BODY[18_001:]
POST: Final = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
CHUNKED_OK: Final = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
LONG_POST: Final = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n"
KERNEL: Final = 1 << 18  # all of it is read at once


async def until(true: Callable[[], object]) -> None:
    """Let the loop take turns until this holds."""
    for _ in range(20_000):
        if true():
            return
        await asyncio.sleep(0)
    raise AssertionError("it does not come to that")


def turns(scene: Scene) -> list[Turn]:
    """Of the requests in hand."""
    return [connection.turn for connection in scene.server.connections if connection.turn is not None]


def behind(scene: Scene) -> bool:
    """Whether there is a request of whose body more has come than was looked at."""
    return any(turn.inflow is not None and turn.inflow.behind for turn in turns(scene))


def crowd(lane: Lane, count: int = 4000) -> list[Callable[[], object]]:
    """Work of others, which fills the lane."""
    works: list[Callable[[], object]] = [partial(int) for _ in range(count)]
    for work in works:
        lane.add(work)
    return works


def sent_on(far: Far) -> bytes:
    """The body that an upstream got, whole."""
    head, _, body = far.got.partition(b"\r\n\r\n")
    assert b"\r\nTransfer-Encoding: chunked" in head
    return unchunked(body)


async def answered_meanwhile(scene: Scene, other: Client) -> None:
    """Another client asks now, and is answered before anything else has come to its end."""
    ended = len(scene.book.ended)
    other.ask(GET)
    await until(lambda: [far for far in scene.far_upstreams if far.got.startswith(b"GET / ") and not far.sent])
    (asked,) = [far for far in scene.far_upstreams if far.got.startswith(b"GET / ") and not far.sent]
    asked.send(OK)
    await until(lambda: other.answers and other.answers[-1].complete)
    assert other.answers[-1].status == 200
    assert len(scene.book.ended) == ended + 1


async def gone(scene: Scene, client: Client) -> None:
    """The client resets its connection, which is seen at the next look where it is not read from."""
    client.wire.linger = False
    client.wire.abort()
    await until(lambda: client.wire.peer.was_reset)
    scene.loop.now += 1.5
    await until(lambda: client.wire.peer.lost)


# ── requests


@pytest.mark.parametrize("body", [BODY, MIXED], ids=["bare", "mixed"])
@travelling
async def test_a_request_in_pieces_of_a_byte(body: bytes) -> None:
    """It arrives whole and in order, and another connection's request is answered meanwhile."""
    async with Scene(kernel=KERNEL) as scene:
        client, other = scene.client(), scene.client()
        client.ask(POST + body)
        await until(lambda: behind(scene))
        await answered_meanwhile(scene, other)
        assert behind(scene)
        await scene.quiet()
        (upload,) = [far for far in scene.far_upstreams if far.got.startswith(b"POST ")]
        assert sent_on(upload) == PAYLOAD
        upload.send(OK)

        assert (await client.answer()).status == 200
        assert [exchange.bytes_in for exchange in scene.book.ended] == [0, MANY]


@travelling
async def test_such_a_request_that_came_before_its_turn() -> None:
    """So much waited that nothing more was read, and nothing is until it has been looked at."""
    go_on = asyncio.Event()

    async def wait(_: Exchange) -> Response:
        await go_on.wait()
        return await fine(_)

    async with Scene(wait, kernel=KERNEL) as scene:
        client = scene.client()
        client.ask(GET)
        client.ask(POST + BODY[:-5])
        await scene.quiet()
        client.send(BODY[-5:])
        await scene.quiet()
        assert not client.wire.peer.is_reading()
        go_on.set()
        await until(lambda: behind(scene))
        assert not client.wire.peer.is_reading()
        await scene.quiet()

        assert [answer.status for answer in client.answers] == [200, 200]
        assert [exchange.reason for exchange in scene.book.ended] == ["upstream", "upstream"]


@travelling
async def test_what_comes_behind_such_a_request_is_the_next_one() -> None:
    """Its bytes were read with the body's, and are looked at when that has been."""
    async with Scene(kernel=KERNEL) as scene:
        client = scene.client()
        client.ask(POST + BODY + GET)
        upstream = await scene.upstream()
        assert sent_on(upstream) == PAYLOAD
        upstream.take()
        upstream.send(OK)
        await scene.quiet()
        assert upstream.take().startswith(b"GET / HTTP/1.1\r\n")
        upstream.send(OK)
        await scene.quiet()

        assert client.got.count(b"HTTP/1.1 200 OK") == 2


@pytest.mark.parametrize(("kernel", "body"), [(64, BODY), (1024, MIXED)], ids=["head", "first half"])
@travelling
async def test_an_upstream_that_stops_taking_while_it_is_behind(kernel: int, body: bytes) -> None:
    """The rest is looked at when it takes on, and nothing is done meanwhile: neither read nor written."""
    async with Scene(kernel=KERNEL) as scene:
        client = scene.client()
        scene.kernel = kernel  # of the upstream's connection
        client.ask(POST + body)
        await until(lambda: scene.far_upstreams)
        upstream = scene.far_upstreams[0]
        upstream.wire.pause_reading()
        await scene.quiet()
        assert behind(scene)
        assert scene.server.entry.lane.waiting == 0
        assert not client.wire.peer.is_reading()
        assert upstream.wire.peer.get_write_buffer_size() < 20_000
        upstream.wire.resume_reading()
        await scene.quiet()

        assert sent_on(upstream) == PAYLOAD
        upstream.send(OK)
        assert (await client.answer()).status == 200


@pytest.mark.parametrize("crowded", [True, False])
@travelling
async def test_a_client_that_leaves_while_its_body_is_behind(crowded: bool) -> None:
    """It is settled and counted once, and the rest is not sent on; nothing of it is left in the lane."""
    async with Scene(kernel=KERNEL) as scene:
        lane = scene.server.entry.lane
        others = crowd(lane, 4000 if crowded else 0)
        client = scene.client()
        client.ask(POST + BODY)
        await until(lambda: behind(scene) and scene.far_upstreams and scene.far_upstreams[0].got)
        await gone(scene, client)
        await until(lambda: scene.book.reasons)
        assert scene.book.reasons == ["client_gone"]
        await until(lambda: scene.far_upstreams[0].lost)
        assert not scene.far_upstreams[0].got.endswith(BODY[-5:])
        assert lane.waiting > 1000 or not crowded
        for work in others:
            lane.leave(work)
        assert lane.waiting == 0


@travelling
async def test_a_client_that_ends_behind_its_body() -> None:
    """That is seen when the body has been looked at, and is what it is with any other body."""
    async with Scene(kernel=KERNEL) as scene:
        client = scene.client()
        client.ask(POST + BODY)
        await until(lambda: behind(scene))
        client.wire.write_eof()
        upstream = await scene.upstream()

        assert sent_on(upstream) == PAYLOAD
        assert scene.book.reasons == ["client_gone"]


@pytest.mark.parametrize("leaves", ["stays", "leaves", "resets"])
@pytest.mark.parametrize("crowded", [True, False])
@travelling
async def test_a_request_that_is_answered_while_it_is_behind(leaves: str, crowded: bool) -> None:
    """The answer is the connection's last, as the rest is not looked at; nothing is done for it once that is gone."""
    async with Scene(fine, kernel=KERNEL) as scene:
        if crowded:
            crowd(scene.server.entry.lane)
        client = scene.client()
        client.ask(POST + BODY)
        await until(lambda: client.got)
        assert not turns(scene)
        assert scene.server.entry.lane.waiting > 1000 or not crowded
        if leaves != "stays":
            client.wire.linger = leaves == "leaves"
            client.wire.abort()
            await until(lambda: not scene.server.connections)
        await scene.quiet()

        assert client.answers[0].status == 200
        assert b"\r\nConnection: close\r\n" in client.got
        assert scene.book.reasons == ["upstream"]
        assert scene.server.entry.lane.waiting == 0


@travelling
async def test_an_upstream_that_answers_while_the_body_is_behind() -> None:
    """It wants no more of it: its connection is closed, and the client has the answer."""
    async with Scene(kernel=KERNEL) as scene:
        client = scene.client()
        client.ask(POST + BODY)
        await until(lambda: scene.far_upstreams and scene.far_upstreams[0].got)
        assert behind(scene)
        scene.far_upstreams[0].send(OK)
        await scene.quiet()

        assert client.answers[0].status == 200
        assert scene.far_upstreams[0].lost
        assert scene.book.reasons == ["upstream"]


@travelling
async def test_the_proxy_s_delay_is_not_the_client_s() -> None:
    """Who has sent all that was read is not too slow, however long it takes to look at it."""
    async with Scene(kernel=KERNEL, http=Http(min_body_rate=10_000)) as scene:
        client = scene.client()
        client.ask(POST + BODY[:-5])
        await until(lambda: behind(scene))
        scene.loop.now += 30.0
        await scene.quiet()
        assert scene.book.reasons == []
        client.send(BODY[-5:])
        upstream = await scene.upstream()
        assert sent_on(upstream) == PAYLOAD
        upstream.send(OK)

        assert (await client.answer()).status == 200


@pytest.mark.parametrize("end", [b"nonsense\r\n", b"1\r\n\r\n\r\n"])
@travelling
async def test_a_body_that_is_broken_in_a_later_part(end: bytes) -> None:
    """Its sender is told, as by one that is broken in a later read."""
    async with Scene(kernel=KERNEL) as scene:
        client = scene.client()
        client.ask(POST + BODY[:-5] + end)
        upstream = await scene.upstream()

        assert (await client.answer()).reason == "bad_request"
        assert upstream.lost
        assert b"0\r\n\r\n" not in upstream.got


@travelling
async def test_a_body_that_is_broken_in_a_later_part_while_the_upstream_is_waited_for() -> None:
    """That takes no upstream; and reading goes on when there is nothing more to look at, so that a reset shows."""
    async with Scene(kernel=KERNEL) as scene:
        scene.accepts.clear()
        client = scene.client()
        client.stays = True
        client.ask(POST + b"1\r\na\r\n" * 1000 + b"nonsense\r\n")
        assert (await client.answer()).reason == "bad_request"
        client.wire.linger = False
        client.wire.abort()
        await scene.quiet()
        assert not scene.server.connections
        scene.accepts.set()

        assert scene.book.reasons == ["bad_request"]


@travelling
async def test_an_idle_connection_keeps_nothing_of_a_body_that_was_behind() -> None:
    """Neither its exchange nor its turn."""
    others = [each for each in gc.get_objects() if isinstance(each, Turn | Exchange)]
    async with Scene(kernel=KERNEL) as scene:
        client = scene.client()
        client.ask(POST + BODY[:1000])
        await scene.upstream()
        client.send(BODY[1000:])
        await until(lambda: behind(scene))
        connection = next(iter(scene.server.connections))
        upstream = await scene.upstream()
        upstream.send(OK)
        assert (await client.answer()).status == 200
        scene.book.exchanges.clear()
        scene.book.ended.clear()
        gc.collect()

        assert connection.turn is None
        left = [each for each in gc.get_objects() if isinstance(each, Turn | Exchange)]
        assert not [each for each in left if all(each is not other for other in others)]


# ── answers


@pytest.mark.parametrize("body", [BODY, MIXED], ids=["bare", "mixed"])
@travelling
async def test_an_answer_in_pieces_of_a_byte(body: bytes) -> None:
    """It arrives whole and in order, and another connection's request is answered meanwhile."""
    async with Scene(kernel=KERNEL) as scene:
        client, other = scene.client(), scene.client()
        client.ask(GET)
        upstream = await scene.upstream()
        upstream.sent.append("answered")
        upstream.send(CHUNKED_OK + body)
        await answered_meanwhile(scene, other)
        assert client.answers == [] or not client.answers[0].complete
        answer = await client.answer()

        assert (answer.complete, answer.body) == (True, PAYLOAD)
        assert scene.pool.idle == 2


@travelling
async def test_an_upstream_that_closes_behind_its_answer() -> None:
    """The end is seen when the answer has been looked at, and cuts nothing."""
    async with Scene(kernel=KERNEL) as scene:
        client = scene.client()
        client.ask(GET)
        upstream = await scene.upstream()
        upstream.send(CHUNKED_OK + BODY)
        upstream.wire.close()
        answer = await client.answer()

        assert (answer.complete, answer.body) == (True, PAYLOAD)
        assert scene.pool.size == 0


@pytest.mark.parametrize(("kernel", "body"), [(32, BODY), (1024, MIXED)], ids=["head", "first half"])
@travelling
async def test_a_client_that_stops_taking_while_its_answer_is_behind(kernel: int, body: bytes) -> None:
    """The rest is looked at when it takes on, and nothing is done meanwhile: neither read nor written."""
    async with Scene(kernel=kernel) as scene:
        client = scene.client()
        scene.kernel = KERNEL
        client.ask(GET)
        upstream = await scene.upstream()
        client.wire.pause_reading()
        upstream.send(CHUNKED_OK + body)
        await scene.quiet()
        assert scene.unsettled
        assert not upstream.wire.peer.is_reading()
        assert client.wire.peer.get_write_buffer_size() < 20_000
        client.wire.resume_reading()
        answer = await client.answer()

        assert (answer.complete, answer.body) == (True, PAYLOAD)
        assert scene.pool.idle == 1


@travelling
async def test_a_client_that_leaves_while_its_answer_is_behind() -> None:
    """It is settled once; the upstream's connection is closed, and what waits in the lane for it does nothing."""
    async with Scene(kernel=KERNEL) as scene:
        client = scene.client()
        client.ask(GET)
        upstream = await scene.upstream()
        upstream.send(CHUNKED_OK + BODY)
        await until(lambda: client.got)
        client.wire.abort()
        await scene.quiet()

        assert scene.book.reasons == ["client_gone"]
        assert upstream.lost
        assert scene.pool.size == 0


@travelling
async def test_an_answer_that_came_whole_before_a_reset() -> None:
    """It was read, so it is told, though the upstream has gone meanwhile and its end was not looked at yet."""
    async with Scene(kernel=KERNEL) as scene:
        client = scene.client()
        client.ask(LONG_POST)
        upstream = await scene.upstream()
        upstream.send(CHUNKED_OK + BODY)
        await until(lambda: client.got)
        upstream.wire.linger = False
        upstream.wire.abort()
        await until(lambda: upstream.lost)
        client.send(b"x" * 1000)  # which cannot be written to it
        await scene.quiet()
        (answer,) = client.answers

        assert (answer.complete, answer.body) == (True, PAYLOAD)
        assert scene.book.reasons == ["upstream"]


# ── who else is in the lane


@travelling
async def test_requests_sent_far_ahead_hold_up_nobody() -> None:
    """Two thousand of them are all answered, in order; another client's request is, long before."""

    async def echo(exchange: Exchange) -> Response:
        content = exchange.request.target
        return Response(200, b"OK", Headers(b"Content-Length: %d\r\n" % len(content)), FixedBody(content))

    async with Scene(echo, kernel=KERNEL) as scene:
        client, other = scene.client(), scene.client()
        for number in range(2000):
            client.send(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % number)
        await until(lambda: len(scene.book.ended) > 10)
        other.ask(GET)
        await until(lambda: other.answers)
        assert len(scene.book.ended) < 100
        await scene.quiet()

        assert re.findall(rb"\r\n\r\n/([0-9]+)", client.got) == [b"%d" % number for number in range(2000)]


@pytest.mark.parametrize("ahead", [GET, POST + BODY, b"nonsense\r\n\r\n"], ids=["request", "body", "nonsense"])
@travelling
async def test_who_leaves_while_his_next_request_waits_in_the_lane(ahead: bytes) -> None:
    """It is settled and counted once, at once, and no service is asked for it; the lane is rid of it."""
    served: list[bytes] = []

    async def count(exchange: Exchange) -> Response:
        served.append(exchange.request.target)
        return await fine(exchange)

    async with Scene(count, kernel=KERNEL) as scene:
        crowd(scene.server.entry.lane)
        client = scene.client()
        client.send(GET + ahead)
        await until(lambda: client.got)
        assert scene.server.entry.waiting == 1
        assert len(turns(scene)) == 1
        await gone(scene, client)
        await until(lambda: len(scene.book.ended) == 2)
        assert scene.server.entry.waiting == 0
        assert scene.server.entry.lane.waiting > 3000
        await scene.quiet()

        assert served == [b"/"]
        assert scene.book.reasons[0] == "upstream"
        assert scene.book.reasons[1] in ("client_gone", "bad_request")


@travelling
async def test_a_flood_of_those_who_say_nonsense_and_leave() -> None:
    """Whoever asks ahead does not wait for them."""
    async with Scene(fine) as scene:
        crowd(scene.server.entry.lane, 400)  # so that they come before their turn
        for _ in range(1000):
            scene.client().send(b"nonsense\r\n\r\n")
        await until(lambda: scene.server.entry.waiting > 900)
        client = scene.client()
        client.send(GET * 2)
        await until(lambda: client.got)
        for each in scene.clients[:-1]:
            each.wire.abort()
        await until(lambda: len(scene.server.connections) == 1)
        assert scene.server.entry.waiting <= 1
        await scene.quiet()

        assert client.got.count(b"HTTP/1.1 200 OK") == 2
        assert len(scene.book.ended) == 1002


@travelling
async def test_a_drain_while_one_waits_in_the_lane() -> None:
    """He is answered, and that is his connection's last."""
    async with Scene(fine) as scene:
        crowd(scene.server.entry.lane)
        client = scene.client()
        for _ in range(3):
            client.ask(GET)
        await until(lambda: client.got)
        scene.server.begin_drain()
        scene.server.close_when_quiet()
        assert scene.server.in_flight == 1
        await scene.quiet()

        assert [answer.headers.get(b"connection") for answer in client.answers] == [None, b"close"]
        assert client.ended
        assert scene.book.reasons == ["upstream", "upstream"]


@travelling
async def test_a_cut_while_some_wait_in_the_lane() -> None:
    """Each is counted as cut, once."""
    async with Scene(fine, kernel=KERNEL) as scene:
        crowd(scene.server.entry.lane)
        asks, sends = scene.client(), scene.client()
        asks.send(GET * 2)
        sends.send(GET + POST + BODY)
        await until(lambda: asks.got and sends.got)
        scene.server.begin_drain()
        assert scene.server.cut() == 2
        await scene.quiet()

        assert scene.book.reasons == ["upstream", "upstream", "draining", "draining"]
        assert scene.server.entry.waiting == 0


@travelling
async def test_dials_that_are_given_up_hold_up_no_other() -> None:
    """A client that leaves while its dial waits in the lane takes it along."""
    async with Scene() as scene:
        for work in [partial(int) for _ in range(4000)]:
            scene.pool.later(work)
        leaves, stays = scene.client(), scene.client()
        leaves.ask(GET)
        await until(lambda: scene.pool.size == 1)
        leaves.wire.abort()
        await until(lambda: scene.pool.size == 0)
        stays.ask(GET)
        (await scene.upstream()).send(OK)

        assert (await stays.answer()).status == 200
        assert scene.book.reasons == ["client_gone", "upstream"]
