"""Exchanges that end before their time: the client leaves, the deadline passes, the upstream breaks off."""

from __future__ import annotations

import pytest

from sidecar.settings import Deadline, Http, Pool, Timeouts
from tests.flow.scene import GET, OK, Client, Far, Scene, post
from tests.flow.virtual import travelling

STREAM = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"
PATIENT = Timeouts(connect=30.0, startup=0.0)


def leave(client: Client, how: str) -> None:
    """The client goes."""
    if how == "close":
        client.wire.close()
    elif how == "half-close":
        client.stays = True
        client.wire.write_eof()
    else:
        client.wire.linger = False
        client.wire.abort()


LEAVES = pytest.mark.parametrize("how", ["close", "half-close", "reset"])


def gone(scene: Scene, status: int = 499, *, attempts: int = 1) -> None:
    """The one exchange has ended as one whose client has gone, and said nothing against the upstream."""
    (exchange,) = scene.book.ended
    assert (exchange.status, exchange.reason, exchange.attempts) == (status, "client_gone", attempts)
    assert not any(attempt.error.reason.blames_upstream for attempt in scene.book.attempts if attempt.error)


@LEAVES
@travelling
async def test_before_there_is_a_request(how: str) -> None:
    """A client that leaves within a head leaves no exchange."""
    async with Scene() as scene:
        client = scene.client()
        client.send(GET[:-1])
        await scene.quiet()
        leave(client, how)
        await scene.quiet()

        assert scene.server.open == 0
        assert scene.book.exchanges == []


@LEAVES
@travelling
async def test_in_the_same_moment_as_the_request(how: str) -> None:
    """What was begun ends, once, even if it had not come to anything yet."""
    async with Scene() as scene:
        client = scene.client()
        client.send(GET)
        leave(client, how)
        await scene.quiet()

        assert scene.unsettled == []
        assert scene.book.reasons in ([], ["client_gone"])


@LEAVES
@travelling
async def test_while_dialling(how: str) -> None:
    """The dial is given up, and its place with it."""
    async with Scene(timeouts=PATIENT) as scene:
        scene.accepts.clear()
        client = scene.client()
        client.ask(GET)
        await scene.quiet()
        assert scene.pool.size == 1
        leave(client, how)
        await scene.quiet()

        gone(scene)
        assert scene.pool.size == 0


@LEAVES
@travelling
async def test_while_waiting_for_a_place(how: str) -> None:
    """The place in the queue is given up."""
    async with Scene(timeouts=PATIENT, pool=Pool(max_connections=1)) as scene:
        first, second, third = scene.client(), scene.client(), scene.client()
        for client in (first, second, third):
            client.ask(GET)
            await scene.quiet()
        leave(second, how)
        await scene.quiet()
        assert scene.pool.waiting == 1
        upstream = await scene.upstream()
        upstream.send(OK)
        await scene.quiet()
        upstream.send(OK)

        assert (await third.answer()).status == 200
        assert scene.book.reasons == ["client_gone", "upstream", "upstream"]


@LEAVES
@travelling
async def test_while_waiting_for_the_answer(how: str) -> None:
    """The upstream learns of it at once; nobody is blamed."""
    async with Scene() as scene:
        client = scene.client()
        client.ask(GET)
        upstream = await scene.upstream()
        leave(client, how)
        await scene.quiet()

        gone(scene)
        assert upstream.lost
        assert scene.pool.size == 0


@LEAVES
@pytest.mark.parametrize("chunked", [True, False])
@travelling
async def test_within_its_request_body(how: str, chunked: bool) -> None:
    """What the upstream got does not look whole."""
    async with Scene() as scene:
        client = scene.client()
        if chunked:
            client.ask(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        else:
            client.ask(post(b"hello!")[:-1])
        upstream = await scene.upstream()
        leave(client, how)
        await scene.quiet()

        gone(scene)
        assert scene.book.ended[0].bytes_in == 5
        assert upstream.lost
        assert upstream.got.endswith(b"hello\r\n" if chunked else b"hello")


@LEAVES
@travelling
async def test_within_the_answer(how: str) -> None:
    """It had begun, so its status stands; the reason tells how it ended."""
    async with Scene() as scene:
        client = scene.client()
        client.ask(GET)
        upstream = await scene.upstream()
        upstream.send(STREAM)
        await scene.quiet()
        leave(client, how)
        await scene.quiet()

        gone(scene, 200)
        assert upstream.lost
        assert scene.book.ended[0].bytes_out == 5


@travelling
async def test_within_an_answer_that_it_does_not_read() -> None:
    """Even then it is seen: by the writing, or by the time in which nothing moves."""
    async with Scene() as scene:
        client = scene.client()
        client.ask(GET)
        upstream = await scene.upstream()
        client.wire.pause_reading()
        upstream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5000000\r\n\r\n" + b"x" * 5_000_000)
        await scene.after(290.0)
        assert scene.unsettled != []
        await scene.after(20.0)

        assert scene.unsettled == []
        assert upstream.lost


@travelling
async def test_while_it_is_not_read_from() -> None:
    """A reset does not show to who does not read: it is looked for, and the upstream told soon."""
    async with Scene() as scene:
        client = scene.client()
        client.ask(post(b"x" * 2000)[:-1000])
        upstream = await scene.upstream()
        upstream.wire.pause_reading()
        client.send(b"x" * 1000)
        await scene.quiet()
        client.ask(post(b"x" * 5_000_000))
        await scene.after(1.0)
        leave(client, "reset")
        await scene.after(310.0)

        assert scene.unsettled == []
        assert scene.server.open == 0


@travelling
async def test_a_client_that_never_reads_is_let_go() -> None:
    """Its answer was short enough to be written whole into the buffers, where it must not lie for ever."""
    async with Scene(kernel=1024) as scene:
        client = scene.client()
        client.ask(GET.replace(b"Host", b"Connection: close\r\nHost"))
        upstream = await scene.upstream()
        client.wire.pause_reading()
        upstream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b"x" * 100_000)
        await scene.after(1000.0)

        assert scene.unsettled == []
        assert scene.server.open == 0


@travelling
async def test_a_kept_connection_whose_client_never_reads_is_let_go() -> None:
    """Likewise."""
    async with Scene(kernel=1024) as scene:
        client = scene.client()
        client.ask(GET)
        upstream = await scene.upstream()
        client.wire.pause_reading()
        upstream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b"x" * 100_000)
        await scene.after(1000.0)

        assert scene.unsettled == []
        assert scene.server.open == 0


@LEAVES
@travelling
async def test_within_a_tunnel(how: str) -> None:
    """A half-close is the client's right there; all else ends it."""
    async with Scene() as scene:
        client = scene.client()
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
        upstream = await scene.upstream()
        upstream.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\nhello")
        await scene.quiet()
        leave(client, how)
        await scene.quiet()

        # The upstream closes when it sees the end, as the test's do: then both halves have ended.
        (exchange,) = scene.book.ended
        assert exchange.status == 101
        assert upstream.lost


# ── deadlines


def late(wanted: int) -> bytes:
    """A request of a client that waits so many milliseconds."""
    return GET.replace(b"Host", b"X-Request-Timeout-Ms: %d\r\nHost" % wanted)


async def refused_by_deadline(scene: Scene, client: Client) -> None:
    """504, the client may go on."""
    answer = await client.answer()
    assert (answer.status, answer.reason) == (504, "deadline_exceeded")
    assert not client.ended
    assert scene.book.reasons == ["deadline_exceeded"]


@travelling
async def test_a_deadline_that_has_passed_already() -> None:
    """Nobody is dialled for it."""
    async with Scene() as scene:
        client = scene.client()
        client.ask(late(0))
        await refused_by_deadline(scene, client)

        assert scene.far_upstreams == []
        assert scene.book.attempts == []


@travelling
async def test_a_head_that_came_slowly_has_spent_its_deadline() -> None:
    """It counts from the first byte."""
    async with Scene() as scene:
        client = scene.client()
        request = late(1000)
        client.ask(request[:20])
        await scene.after(2.0)
        client.send(request[20:])
        await refused_by_deadline(scene, client)

        assert scene.far_upstreams == []


@travelling
async def test_the_deadline_passes_while_dialling() -> None:
    """The answer comes before the client stops waiting, and the place is free again."""
    async with Scene(timeouts=PATIENT) as scene:
        scene.accepts.clear()
        client = scene.client()
        client.ask(late(1000))
        await scene.after(0.98)
        assert client.got == b""
        await scene.after(0.015)
        await refused_by_deadline(scene, client)

        assert scene.pool.size == 0


@travelling
async def test_the_deadline_passes_while_waiting_for_a_place() -> None:
    """Nothing is left in the queue."""
    async with Scene(timeouts=PATIENT, pool=Pool(max_connections=1)) as scene:
        first, second = scene.client(), scene.client()
        first.ask(GET)
        await scene.quiet()
        second.ask(late(1000))
        await scene.after(1.0)
        await refused_by_deadline(scene, second)
        assert scene.pool.waiting == 0
        (await scene.upstream()).send(OK)
        assert (await first.answer()).status == 200


@travelling
async def test_the_deadline_passes_while_waiting_for_the_answer() -> None:
    """The upstream was told how long it had, and now that nobody waits."""
    async with Scene() as scene:
        client = scene.client()
        client.ask(late(1000))
        upstream = await scene.upstream()
        assert b"\r\nx-request-timeout-ms: 990\r\n" in upstream.got
        await scene.after(1.0)
        await refused_by_deadline(scene, client)

        assert upstream.lost
        assert [attempt.error.reason.token for attempt in scene.book.attempts if attempt.error] == ["deadline_exceeded"]


@travelling
async def test_the_deadline_passes_within_the_request_body() -> None:
    """The answer comes all the same, and is the last."""
    async with Scene() as scene:
        client = scene.client()
        client.stays = True
        client.ask(post(b"x" * 1_000_000, b"X-Request-Timeout-Ms: 1000")[:-1])
        upstream = await scene.upstream()
        await scene.after(1.0)
        answer = await client.answer()

        assert (answer.status, answer.reason) == (504, "deadline_exceeded")
        assert upstream.lost
        assert scene.book.reasons == ["deadline_exceeded"]


@travelling
async def test_the_deadline_passes_within_the_answer() -> None:
    """It is cut, and does not look whole."""
    async with Scene() as scene:
        client = scene.client()
        client.ask(late(1000))
        upstream = await scene.upstream()
        upstream.send(STREAM)
        await scene.after(0.98)
        assert scene.unsettled != []
        await scene.after(0.02)
        answer = await client.answer()

        assert (answer.status, answer.body, answer.complete) == (200, b"hello", False)
        assert upstream.lost
        assert scene.book.reasons == ["deadline_exceeded"]


@travelling
async def test_our_own_deadline_does_not_bound_the_answers_body() -> None:
    """Downloads and event streams live, as long as something moves."""
    async with Scene() as scene:
        client = scene.client()
        client.ask(GET)
        upstream = await scene.upstream()
        upstream.send(STREAM)
        for _ in range(5):
            await scene.after(290.0)
            upstream.send(b"1\r\n!\r\n")
        upstream.send(b"0\r\n\r\n")
        answer = await client.answer()

        assert (answer.body, answer.complete) == (b"hello!!!!!", True)


@travelling
async def test_an_answer_that_was_long_in_coming_is_not_idle() -> None:
    """Its idle time begins with it, whether or not its first bytes come with its head."""
    async with Scene(timeouts=Timeouts(stream_idle=5.0, startup=0.0)) as scene:
        client = scene.client()
        client.ask(GET)
        upstream = await scene.upstream()
        await scene.after(6.0)
        upstream.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        await scene.after(4.0)
        upstream.send(b"5\r\nhello\r\n0\r\n\r\n")
        answer = await client.answer()

        assert (answer.body, answer.complete) == (b"hello", True)


@travelling
async def test_a_body_whose_head_was_long_in_coming_is_not_idle() -> None:
    """Nor is a request's."""
    async with Scene(timeouts=Timeouts(stream_idle=5.0, startup=0.0)) as scene:
        client = scene.client()
        request = post(b"hello")
        client.ask(request[:10])
        await scene.after(6.0)
        client.send(request[10:-5])
        await scene.after(4.0)
        client.send(request[-5:])
        (await scene.upstream()).send(OK)

        assert (await client.answer()).status == 200


@travelling
async def test_a_stream_in_which_nothing_moves_is_cut() -> None:
    """After its idle time."""
    async with Scene() as scene:
        client = scene.client()
        client.ask(GET)
        upstream = await scene.upstream()
        upstream.send(STREAM)
        await scene.after(290.0)
        assert scene.unsettled != []
        await scene.after(11.0)

        assert not (await client.answer()).complete
        assert upstream.lost


# ── the upstream breaks off

CUTS = {
    "length": (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello", "close"),
    "length, reset": (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello", "reset"),
    "chunked": (STREAM, "close"),
    "chunked, reset": (STREAM, "reset"),
    "chunked, within a chunk": (STREAM[:-4], "close"),
    "chunked, nonsense": (STREAM + b"nonsense\r\n", "stay"),
    "chunked, before the trailers' end": (STREAM + b"0\r\nX: y\r\n", "close"),
    "to the close, reset": (b"HTTP/1.1 200 OK\r\n\r\nhello", "reset"),
}


def break_off(upstream: Far, how: str) -> None:
    """The upstream ends its connection."""
    if how == "close":
        upstream.wire.close()
    elif how == "reset":
        upstream.wire.linger = False
        upstream.wire.abort()


@pytest.mark.parametrize(("said", "how"), CUTS.values(), ids=CUTS)
@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize("minor", [1, 0])
@travelling
async def test_an_answer_that_breaks_off_does_not_look_whole(said: bytes, how: str, at_once: bool, minor: int) -> None:
    """In whatever framing, to whichever client; nor is it called the upstream's good answer."""
    async with Scene() as scene:
        client = scene.client()
        client.ask(b"GET / HTTP/1.%d\r\nHost: a\r\n\r\n" % minor)
        upstream = await scene.upstream()
        upstream.send(said)
        if not at_once:
            await scene.quiet()
        break_off(upstream, how)
        await scene.quiet()

        # Nobody was told anything yet, and so it is a refusal; or it was cut.
        assert all(answer.reason if answer.complete else client.lost for answer in client.answers)
        assert scene.book.reasons != ["upstream"]
        assert scene.pool.size == 0


@travelling
async def test_an_answer_before_the_requests_end_is_passed_on() -> None:
    """The upstream wants no more of it: its connection ends, and the client is told that this is the last answer."""
    async with Scene() as scene:
        client = scene.client()
        client.stays = True
        client.ask(post(b"x" * 1_000_000)[:-500_000])
        upstream = await scene.upstream()
        upstream.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
        answer = await client.answer()

        assert (answer.status, answer.body, answer.complete) == (413, b"no", True)
        assert answer.headers[b"connection"] == b"close"
        assert upstream.lost
        assert scene.book.reasons == ["upstream"]
        await scene.after(2.0)
        assert scene.server.open == 0


@travelling
async def test_the_little_that_is_left_of_a_request_is_read_past() -> None:
    """So that its connection can be kept."""
    async with Scene() as scene:
        client = scene.client()
        request = post(b"x" * 1000)
        client.ask(request[:-500])
        upstream = await scene.upstream()
        upstream.send(OK)
        assert (await client.answer()).status == 200
        assert upstream.lost
        client.send(request[-500:])
        client.ask(GET)
        (await scene.upstreams(2))[1].send(OK)
        await scene.quiet()

        assert [answer.status for answer in client.answers] == [200, 200]
        assert b"connection" not in client.answers[0].headers


@travelling
async def test_the_little_that_is_left_is_read_past_though_reading_had_stopped() -> None:
    """An upstream that answers without taking the body holds up nobody any more."""
    async with Scene(kernel=4096) as scene:
        client = scene.client()
        request = post(b"x" * 100_000)
        client.ask(request[:1000])
        upstream = await scene.upstream()
        upstream.wire.pause_reading()
        client.send(request[1000:])
        await scene.quiet()
        assert not client.wire.peer.is_reading()
        upstream.send(OK)
        client.ask(GET)
        (await scene.upstreams(2))[1].send(OK)
        await scene.quiet()

        assert [answer.status for answer in client.answers] == [200, 200]


@travelling
async def test_what_is_left_of_a_request_is_not_waited_for_long() -> None:
    """The connection closes."""
    async with Scene() as scene:
        client = scene.client()
        client.ask(post(b"x" * 1000)[:-500])
        (await scene.upstream()).send(OK)
        await scene.after(4.0)
        assert not client.lost
        await scene.after(2.0)

        assert client.lost


@travelling
async def test_a_drain_ends_connections_with_their_next_answer() -> None:
    """And those that stay quiet after a moment; none in the middle of an exchange."""
    async with Scene() as scene:
        busy, idle, other = scene.client(), scene.client(), scene.client()
        busy.ask(GET)
        other.ask(GET)
        first, second = await scene.upstreams(2)
        scene.server.begin_drain()
        scene.server.close_when_quiet()
        await scene.after(0.9)
        assert not idle.lost
        await scene.after(0.2)
        assert idle.lost
        assert not busy.lost
        first.send(OK)
        answer = await busy.answer()
        assert answer.headers[b"connection"] == b"close"
        assert busy.lost
        assert scene.server.in_flight == 1
        assert scene.server.cut() == 1
        await scene.quiet()

        assert other.lost
        assert second.lost


@travelling
async def test_uploads_that_are_refused_do_not_teach_how_long_an_answer_takes() -> None:
    """Their time was that of whoever sent them; requests with a deadline are not refused by it."""
    async with Scene(http=Http(max_body=5), policies={"deadline": Deadline(mode="enforce")}) as scene:
        client, upload = scene.client(), post(b"hello").replace(b"/ ", b"/up ")

        async def answered(request: bytes) -> None:
            client.ask(request)
            await scene.after(0.1)
            scene.far_upstreams[-1].send(OK)
            await scene.quiet()
            assert client.answers[-1].status == 200

        for _ in range(30):
            await answered(upload)
        for _ in range(20):
            for _ in range(10):
                refused = scene.client()
                refused.ask(b"POST /up HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
                await scene.after(1.5)
                refused.send(b"6\r\nhello!\r\n")
                assert (await refused.answer()).status == 413
            await answered(upload.replace(b"\r\n\r\n", b"\r\nx-request-timeout-ms: 1000\r\n\r\n"))
