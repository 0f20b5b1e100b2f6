"""Exchanges in which nothing goes wrong: what passes, and how it is framed on either side."""

from __future__ import annotations

import pytest

from sidecar.headers import index
from sidecar.settings import Probes
from tests.flow.scene import GET, OK, Scene, post
from tests.flow.virtual import travelling
from tests.http1.support import unchunked


def chunked(*pieces: bytes, trailers: bytes = b"") -> bytes:
    """A chunked body of these chunks."""
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n" + trailers + b"\r\n"


@travelling
async def test_a_request_and_its_answer() -> None:
    """The upstream is told who asks, and how long it has; the client gets the answer under its ID."""
    async with Scene() as scene:
        client = scene.client()
        client.ask(b"GET /a?b HTTP/1.1\r\nHost: a.example\r\nX-Request-ID: id-1\r\nAccept: */*\r\n\r\n")
        upstream = await scene.upstream()
        line, _, block = upstream.got.partition(b"\r\n")
        assert line == b"GET /a?b HTTP/1.1"
        assert index(block) == {
            b"host": b"a.example",
            b"accept": b"*/*",
            b"x-request-id": b"id-1",
            b"x-forwarded-for": b"192.0.2.7",
            b"x-forwarded-proto": b"http",
            b"x-forwarded-host": b"a.example",
            b"x-request-timeout-ms": b"15000",
            b"x-envoy-expected-rq-timeout-ms": b"15000",
            b"x-envoy-attempt-count": b"1",
        }
        await scene.after(0.5)
        upstream.send(OK)
        answer = await client.answer()

        assert (answer.status, answer.body, answer.complete) == (200, b"ok", True)
        assert answer.headers == {b"content-length": b"2", b"x-request-id": b"id-1", b"x-envoy-attempt-count": b"1"}
        (exchange,) = scene.book.ended
        assert (exchange.status, exchange.reason, exchange.attempts) == (200, "upstream", 1)
        assert (exchange.bytes_in, exchange.bytes_out, exchange.client) == (0, 2, "192.0.2.7")
        assert exchange.upstream_wait == pytest.approx(0.5)
        assert [(attempt.status, attempt.sent) for attempt in scene.book.attempts] == [(200, True)]


@travelling
async def test_connections_are_kept_on_both_sides() -> None:
    """One of each serves many exchanges, and each ends by itself."""
    async with Scene() as scene:
        client = scene.client()
        for number in range(1, 4):
            client.ask(GET)
            upstream = await scene.upstream()
            upstream.send(OK)
            await scene.quiet()
            assert len(scene.book.ended) == number

        assert [answer.body for answer in client.answers] == [b"ok"] * 3
        assert not client.ended


@travelling
async def test_requests_sent_ahead_wait_for_their_turn() -> None:
    """The upstream sees the next one when the one before has been answered."""
    async with Scene() as scene:
        client = scene.client()
        for _ in range(3):
            client.ask(post(b"abc"))
        upstream = await scene.upstream()
        for number in range(3):
            assert upstream.take().count(b"POST / HTTP/1.1") == 1
            upstream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%d" % number)
            await scene.quiet()

        assert [answer.body for answer in client.answers] == [b"0", b"1", b"2"]


@pytest.mark.parametrize("pieces", [1, 3, 100])
@travelling
async def test_a_body_of_known_length_passes_both_ways(pieces: int) -> None:
    """As it comes."""
    async with Scene(piece=lambda: 300_000 // pieces) as scene:
        client = scene.client()
        client.ask(post(b"x" * 300_000))
        upstream = await scene.upstream()
        head, _, body = upstream.take().partition(b"\r\n\r\n")
        assert body == b"x" * 300_000
        assert index(head + b"\r\n")[b"content-length"] == b"300000"
        upstream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 400000\r\n\r\n" + b"y" * 400_000)
        answer = await client.answer()

        assert (answer.body, answer.complete) == (b"y" * 400_000, True)
        (exchange,) = scene.book.ended
        assert (exchange.bytes_in, exchange.bytes_out) == (300_000, 400_000)
        assert scene.pool.idle == 1


@travelling
async def test_a_chunked_body_passes_both_ways() -> None:
    """With its trailers, less those that have no place there."""
    async with Scene() as scene:
        client = scene.client()
        head = b"POST / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: TE\r\nTransfer-Encoding: chunked\r\n\r\n"
        client.ask(head + chunked(b"hello", b"!", trailers=b"X-Sum: 1\r\nContent-Length: 5\r\n"))
        upstream = await scene.upstream()
        got, _, body = upstream.take().partition(b"\r\n\r\n")
        fields = index(got + b"\r\n")
        assert (fields[b"transfer-encoding"], fields[b"te"], fields[b"connection"]) == (b"chunked", b"trailers", b"TE")
        assert b"content-length" not in fields
        assert body == b"5\r\nhello\r\n1\r\n!\r\n0\r\nX-Sum: 1\r\n\r\n"
        reply = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: Grpc-Status\r\n\r\n"
        upstream.send(reply + chunked(b"a", b"bc", trailers=b"Grpc-Status: 0\r\n"))
        answer = await client.answer()

        assert (answer.body, answer.complete) == (b"abc", True)
        assert answer.trailers == {b"grpc-status": b"0"}
        assert answer.headers[b"trailer"] == b"Grpc-Status"


@travelling
async def test_an_answer_without_framing_is_chunked_for_the_client() -> None:
    """So that it can see the end, and keep its connection."""
    async with Scene() as scene:
        client = scene.client()
        client.ask(GET)
        upstream = await scene.upstream()
        upstream.send(b"HTTP/1.0 200 OK\r\n\r\nhel")
        await scene.quiet()
        upstream.send(b"lo")
        upstream.wire.close()
        answer = await client.answer()

        assert (answer.body, answer.complete) == (b"hello", True)
        assert unchunked(client.got.partition(b"\r\n\r\n")[2]) == b"hello"
        assert not client.ended
        assert scene.pool.size == 0


@pytest.mark.parametrize("reply", [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(b"hel", b"lo")])
@travelling
async def test_an_old_client_gets_no_chunks(reply: bytes) -> None:
    """The close ends its body, even if it would keep the connection."""
    async with Scene() as scene:
        client = scene.client()
        client.ask(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        upstream = await scene.upstream()
        upstream.send(reply)
        answer = await client.answer()

        assert (answer.body, answer.complete) == (b"hello", True)
        assert b"transfer-encoding" not in answer.headers
        assert answer.headers[b"connection"] == b"close"
        assert client.ended
        assert not client.reset


@travelling
async def test_an_old_client_may_keep_its_connection() -> None:
    """If it says so and the length is known; and it is told."""
    async with Scene() as scene:
        client = scene.client()
        client.ask(b"GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n")
        (await scene.upstream()).send(OK)
        answer = await client.answer()

        assert answer.headers[b"connection"] == b"keep-alive"
        assert not client.ended


@pytest.mark.parametrize(
    ("method", "reply"),
    [
        ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"),
        ("HEAD", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
        ("HEAD", b"HTTP/1.1 200 OK\r\n\r\n"),
        ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"),
        ("GET", b"HTTP/1.1 204 No Content\r\n\r\n"),
        ("GET", b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n"),
        ("GET", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    ],
)
@travelling
async def test_answers_without_a_body_keep_both_connections(method: str, reply: bytes) -> None:
    """Whatever they announce."""
    async with Scene() as scene:
        client = scene.client()
        for number in (1, 2):
            client.ask(GET.replace(b"GET", method.encode()))
            (await scene.upstream()).send(reply)
            await scene.quiet()
            answers = client.answers
            assert len(answers) == number
            assert (answers[-1].body, answers[-1].complete) == (b"", True)

        assert not client.ended
        assert scene.pool.idle == 1


@travelling
async def test_whoever_wants_no_further_answer_gets_none() -> None:
    """The answer says so, then the connection closes; the upstream's is kept."""
    async with Scene() as scene:
        client = scene.client()
        client.ask(GET.replace(b"Host", b"Connection: close\r\nHost"))
        client.send(GET)
        (await scene.upstream()).send(OK)
        answer = await client.answer()

        assert answer.headers[b"connection"] == b"close"
        assert client.ended
        assert len(scene.book.exchanges) == 1
        assert scene.pool.idle == 1


@pytest.mark.parametrize("reply", [b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", OK + b"x"])
@travelling
async def test_an_upstream_connection_that_is_not_to_be_kept_is_not(reply: bytes) -> None:
    """By the upstream's word, or because of bytes that answer nothing; the client keeps its own."""
    async with Scene() as scene:
        client = scene.client()
        client.ask(GET)
        (await scene.upstream()).send(reply)
        assert (await client.answer()).body == b"ok"
        await scene.quiet()

        assert scene.pool.size == 0
        assert not client.ended


@travelling
async def test_interim_answers_pass() -> None:
    """In order, before the final one, and not to a client that does not know them."""
    async with Scene() as scene:
        for minor in (1, 0):
            client = scene.client()
            client.ask(b"GET / HTTP/1.%d\r\nHost: a\r\n\r\n" % minor)
            upstream = await scene.upstream()
            upstream.send(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
            await scene.quiet()
            interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
            assert client.got == (interim if minor else b"")
            upstream.send(b"HTTP/1.1 100 Continue\r\n\r\n" + OK)
            assert (await client.answer()).status == 200


@travelling
async def test_a_client_that_waits_for_leave_gets_it_from_the_upstream() -> None:
    """Nobody else can give it."""
    async with Scene() as scene:
        client = scene.client()
        head = b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
        client.ask(head)
        upstream = await scene.upstream()
        assert b"\r\nExpect: 100-continue\r\n" in upstream.take()
        upstream.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        await scene.quiet()
        assert client.take() == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.send(b"hello")
        await scene.quiet()
        assert upstream.take() == b"hello"
        upstream.send(OK)

        assert (await client.answer()).status == 200


@travelling
async def test_a_slow_client_slows_the_upstream_down() -> None:
    """Memory is bounded: no more lies here than the windows of both sides; and the wait is the client's."""
    async with Scene() as scene:
        client = scene.client()
        client.ask(GET)
        upstream = await scene.upstream()
        client.wire.pause_reading()
        upstream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5000000\r\n\r\n" + b"x" * 5_000_000)
        await scene.after(60.0)
        assert upstream.wire.get_write_buffer_size() > 3_500_000
        client.wire.resume_reading()
        answer = await client.answer()

        assert (len(answer.body), answer.complete) == (5_000_000, True)
        assert scene.book.ended[0].client_wait == pytest.approx(60.0)


@travelling
async def test_a_slow_upstream_slows_the_client_down() -> None:
    """Likewise."""
    async with Scene() as scene:
        client = scene.client()
        client.ask(post(b""))
        (await scene.upstream()).send(OK)
        await scene.quiet()
        upstream = await scene.upstream()
        upstream.wire.pause_reading()
        client.ask(post(b"x" * 5_000_000))
        await scene.after(60.0)
        assert client.wire.get_write_buffer_size() > 3_500_000
        upstream.wire.resume_reading()
        await scene.quiet()
        assert upstream.got.endswith(b"x" * 5_000_000)
        upstream.send(OK)
        await scene.quiet()

        assert [answer.status for answer in client.answers] == [200, 200]


@pytest.mark.parametrize("upload", [True, False])
@travelling
async def test_what_waits_for_a_slow_reader_is_not_overwritten(upload: bool) -> None:
    """Long bodies are read into one buffer that all share: each reader still gets its own bytes."""
    async with Scene(kernel=300_000) as scene:
        bodies = [bytes([65 + number]) * 3_000_000 for number in range(4)]
        clients = [scene.client() for _ in bodies]
        for number, client in enumerate(clients):
            client.ask(post(bodies[number])[:2000] if upload else GET)
            await scene.quiet()
            far = scene.far_upstreams[number]
            far.wire.pause_reading()
            if upload:
                client.send(post(bodies[number])[2000:])
            else:
                client.wire.pause_reading()
                far.send(b"HTTP/1.1 200 OK\r\nContent-Length: 3000000\r\n\r\n")
                await scene.quiet()
                far.send(bodies[number])
        await scene.quiet()
        for client, far, body in zip(clients, scene.far_upstreams, bodies, strict=True):
            (far if upload else client).wire.resume_reading()
            await scene.quiet()
            if upload:
                assert far.got.partition(b"\r\n\r\n")[2] == body
                far.send(OK)
            else:
                assert (await client.answer()).body == body


@travelling
async def test_many_waiting_bytes_stop_the_reading() -> None:
    """A client that sends ahead without end is not read without end."""
    async with Scene() as scene:
        client = scene.client()
        client.ask(GET)
        upstream = await scene.upstream()
        client.send(GET * 100_000)
        await scene.quiet()

        assert client.wire.get_write_buffer_size() > 1_000_000
        upstream.send(OK)
        await scene.quiet()
        assert upstream.got.count(b"GET / ") == 2
        scene.server.cut()  # as long as nobody reads it, the client's leave is not seen


@pytest.mark.parametrize("early", [True, False])
@travelling
async def test_a_tunnel_carries_bytes_both_ways(early: bool) -> None:
    """After the switch each half ends by itself; the exchange ends with the second one."""
    async with Scene() as scene:
        client = scene.client()
        head = b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
        client.send(head + (b"early" if early else b""))
        upstream = await scene.upstream()
        upstream.stays = client.stays = True
        assert b"Connection: Upgrade\r\nUpgrade: websocket\r\n" in upstream.take()
        upstream.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhi")
        await scene.quiet()
        assert client.take().endswith(b"\r\n\r\nhi")
        assert upstream.take() == (b"early" if early else b"")
        client.send(b"up")
        await scene.quiet()
        assert upstream.take() == b"up"
        client.wire.write_eof()
        await scene.quiet()
        assert upstream.ended
        assert not client.ended
        upstream.send(b"down")
        await scene.quiet()
        assert client.take() == b"down"
        assert scene.unsettled != []
        upstream.wire.close()
        await scene.quiet()

        assert client.ended
        (exchange,) = scene.book.ended
        assert (exchange.status, exchange.reason) == (101, "upstream")
        assert (exchange.bytes_in, exchange.bytes_out) == (7 if early else 2, 6)


@travelling
async def test_a_tunnel_whose_upstream_ends_first_goes_on_the_other_way() -> None:
    """Until the client ends, too."""
    async with Scene() as scene:
        client = scene.client()
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
        upstream = await scene.upstream()
        upstream.stays = client.stays = True
        upstream.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
        upstream.wire.write_eof()
        await scene.quiet()
        assert client.ended
        upstream.take()
        client.send(b"still here")
        await scene.quiet()
        assert upstream.take() == b"still here"
        client.wire.close()
        await scene.quiet()

        assert upstream.ended
        assert scene.book.reasons == ["upstream"]


@travelling
async def test_probes_are_served_but_not_counted() -> None:
    """They would drown what matters."""
    async with Scene(policies={"probes": Probes(paths=("/healthz",))}) as scene:
        client = scene.client()
        client.ask(GET.replace(b" / ", b" /healthz "))
        (await scene.upstream()).send(OK)

        assert (await client.answer()).status == 200
        assert not scene.book.ended[0].observed
        assert scene.book.metrics.in_flight == 0


@travelling
async def test_idle_connections_are_closed() -> None:
    """The client's after its time, the upstream's after its own."""
    async with Scene() as scene:
        client = scene.client()
        client.ask(GET)
        (await scene.upstream()).send(OK)
        await scene.after(2.9)
        assert scene.pool.idle == 1
        await scene.after(0.2)
        assert scene.pool.size == 0
        await scene.after(71.0)
        assert not client.ended
        await scene.after(1.0)

        assert client.ended


@travelling
async def test_an_empty_line_behind_a_request_begins_none() -> None:
    """The connection idles on, for as long as any other; the next request's time begins with its own first byte."""
    async with Scene() as scene:
        client = scene.client()
        client.ask(GET + b"\r\n")
        upstream = await scene.upstream()
        upstream.send(OK)
        assert (await client.answer()).status == 200
        await scene.after(20.0)
        assert not client.ended
        client.ask(GET)
        _, upstream = await scene.upstreams(2)
        upstream.send(OK)
        await scene.loop.quiet()
        assert [answer.status for answer in client.answers] == [200, 200]
        assert scene.book.ended[-1].client_wait == pytest.approx(0.0, abs=0.01)
