"""Each answer that the sidecar gives itself, as it comes about, and what becomes of the connection."""

from __future__ import annotations

import json

import pytest

from sidecar.settings import Concurrency, Http, Pool, Retry, Timeouts
from tests.flow.scene import GET, OK, Answer, Client, Scene, post
from tests.flow.virtual import travelling

CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"

# As `nc` does, that has said all it had to: the end may come in one piece with what is refused, or at once behind it.
HALF_CLOSES = pytest.mark.parametrize("half_closes", [False, True])


async def refused(scene: Scene, client: Client, status: int, reason: str, *, kept: bool) -> Answer:
    """The one answer, which the sidecar gave for this reason; and it was counted as that."""
    answer = await client.answer()
    assert (answer.status, answer.reason, answer.complete) == (status, reason, True)
    assert json.loads(answer.body)["request_id"].encode() == answer.headers[b"x-request-id"]
    assert (None if kept else b"close") == answer.headers.get(b"connection")
    assert client.ended is not kept
    (exchange,) = scene.book.ended
    assert (exchange.status, exchange.reason) == (status, reason)
    return answer


@pytest.mark.parametrize(
    ("request_bytes", "status", "reason", "words"),
    [
        (b"NONSENSE\r\n\r\n", 400, "bad_request", "refused"),
        (b"GET / HTTP/1.1\r\n\r\n", 400, "bad_request", "Host is missing"),
        (
            b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            400,
            "bad_request",
            "",
        ),
        (b"\x16\x03\x01\x02\x00", 400, "bad_request", "looks like TLS"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "bad_request", "HTTP/2 is not spoken here"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 70_000, 431, "headers_too_large", "more than 61440 bytes"),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 200 + b"\r\n", 431, "headers_too_large", "100 are allowed"),
    ],
    ids=lambda value: repr(value)[:30],
)
@travelling
async def test_what_cannot_be_read_is_refused(request_bytes: bytes, status: int, reason: str, words: str) -> None:
    """Counted, answered, and the connection closed once the client has stopped; nobody is dialled."""
    async with Scene() as scene:
        client = scene.client()
        client.sent.append("GET")
        client.send(request_bytes)
        answer = await refused(scene, client, status, reason, kept=False)

        assert words in json.loads(answer.body)["detail"]
        assert scene.far_upstreams == []


@travelling
async def test_a_head_that_does_not_come_is_not_waited_for() -> None:
    """408 after its time, counted from its first byte; a connection without one just closes."""
    async with Scene() as scene:
        client = scene.client()
        client.sent.append("GET")
        client.send(b"GET / HTTP/1.1\r\n")
        await scene.after(9.0)
        client.send(b"Host: a\r\n")
        await scene.after(0.9)
        assert client.got == b""
        await scene.after(0.2)
        await refused(scene, client, 408, "request_timeout", kept=False)
        assert scene.book.ended[0].client_wait == pytest.approx(10.0, abs=0.01)


@travelling
async def test_a_body_that_is_announced_too_large_is_refused_at_once() -> None:
    """Nothing of it reaches the upstream; the client is told, and may stop sending."""
    async with Scene(http=Http(max_body=5)) as scene:
        client = scene.client()
        client.stays = True
        client.ask(post(b"hello!"))
        answer = await refused(scene, client, 413, "body_too_large", kept=False)
        assert json.loads(answer.body)["limit"] == 5
        assert scene.far_upstreams == []


@HALF_CLOSES
@travelling
async def test_a_body_that_grows_too_large_is_refused_then(half_closes: bool) -> None:
    """The upstream sees that it was cut."""
    async with Scene(http=Http(max_body=5)) as scene:
        client = scene.client()
        client.stays = True
        client.ask(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        upstream = await scene.upstream()
        assert upstream.take().endswith(b"5\r\nhello\r\n")
        client.send(b"1\r\n!\r\n0\r\n\r\n")
        if half_closes:
            client.wire.write_eof()
        await refused(scene, client, 413, "body_too_large", kept=False)
        assert scene.book.ended[0].bytes_in == 6
        assert upstream.take() == b""
        assert upstream.lost


@HALF_CLOSES
@pytest.mark.parametrize("early", [True, False])
@travelling
async def test_a_body_whose_framing_breaks_is_refused(early: bool, half_closes: bool) -> None:
    """Also when it breaks before the upstream was reached; what the upstream has does not look whole."""
    async with Scene() as scene:
        client = scene.client()
        client.stays = True
        client.ask(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n" + b"x" * early)
        if not early:
            await scene.upstream()
            client.send(b"nonsense")
        if half_closes:
            client.wire.write_eof()
        await refused(scene, client, 400, "bad_request", kept=False)
        for upstream in scene.far_upstreams:
            assert not upstream.got.endswith(b"0\r\n\r\n")
            assert upstream.lost


@HALF_CLOSES
@pytest.mark.parametrize("waits", ["for a connection", "for a place", "to try again", "in the queue"])
@travelling
async def test_a_body_that_breaks_is_refused_whatever_its_request_waits_for(waits: str, half_closes: bool) -> None:
    """At once, as if it had come in one piece: what would be done for it is not done."""
    retry = Retry(attempts=2, base=5.0, cap=5.0)
    cap = Concurrency(max=1, queue_wait=3600.0)
    policies = {"retry": retry} if waits == "to try again" else {"concurrency": cap} if waits == "in the queue" else {}
    one = Pool(max_connections=1)
    async with Scene(pool=one, policies=policies, timeouts=Timeouts(startup=0.0, connect=60.0)) as scene:
        if waits == "for a connection":
            scene.accepts.clear()
        elif waits == "to try again":
            scene.refuses = True
        else:
            other = scene.client()
            other.ask(GET)
            await scene.quiet()
        client = scene.client()
        client.stays = True
        client.ask(CHUNKED)
        await scene.quiet()
        attempts = len(scene.book.attempts)
        client.send(b"nonsense")
        if half_closes:
            client.wire.write_eof()

        assert (await client.answer()).reason == "bad_request"
        assert scene.book.ended[0].bytes_in == 5
        await scene.after(10.0)
        assert not any(b"POST" in upstream.got for upstream in scene.far_upstreams)
        assert len(scene.book.attempts) == attempts + (waits in ("for a connection", "for a place"))
        scene.accepts.set()


@travelling
async def test_a_body_that_breaks_in_the_moment_of_the_answer() -> None:
    """Of which nothing has gone out: what is told of the request is what is wrong with it."""
    async with Scene() as scene:
        client = scene.client()
        client.stays = True
        client.ask(CHUNKED)
        upstream = await scene.upstream()
        upstream.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n")
        client.send(b"nonsense")
        await refused(scene, client, 400, "bad_request", kept=False)


@pytest.mark.parametrize(
    ("said", "status"),
    [
        (b"NONSENSE\r\n\r\n", 400),
        (post(b"too long"), 413),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n", 400),
    ],
    ids=["a head", "a length", "a body"],
)
@travelling
async def test_many_that_are_refused_and_half_close_are_all_told(said: bytes, status: int) -> None:
    """Though only so many can be in one turn of the loop."""
    async with Scene(http=Http(max_body=5)) as scene:
        clients = [scene.client() for _ in range(64)]
        for client in clients:
            client.sent.append("POST")
            client.send(said)
            client.wire.write_eof()
        await scene.quiet()

        assert [answer.status for client in clients for answer in client.answers] == [status] * 64
        assert scene.server.open == 0


@travelling
async def test_a_body_that_stops_coming_is_not_waited_for() -> None:
    """408 after the idle time; the upstream's connection ends."""
    async with Scene() as scene:
        client = scene.client()
        client.stays = True
        client.ask(post(b"hello")[:-1])
        await scene.after(290.0)
        assert client.got == b""
        await scene.after(11.0)
        await refused(scene, client, 408, "request_timeout", kept=False)
        assert (await scene.upstream()).lost


@travelling
async def test_an_upstream_that_cannot_be_reached_is_a_502() -> None:
    """The client may try again on the same connection."""
    async with Scene() as scene:
        scene.refuses = True
        client = scene.client()
        client.ask(GET)
        await refused(scene, client, 502, "connect_failed", kept=True)
        assert [attempt.error.reason.token for attempt in scene.book.attempts if attempt.error] == ["connect_failed"]
        assert not scene.book.attempts[0].sent


@travelling
async def test_while_draining_that_is_no_outage() -> None:
    """The whole pod is going."""
    async with Scene() as scene:
        scene.refuses = scene.draining = True
        client = scene.client()
        client.ask(GET)
        answer = await refused(scene, client, 503, "draining", kept=False)
        assert answer.headers[b"retry-after"] == b"1"


@travelling
async def test_an_upstream_that_does_not_accept_is_a_504() -> None:
    """After the time for that."""
    async with Scene(timeouts=Timeouts(connect=2.0, startup=0.0)) as scene:
        scene.accepts.clear()
        client = scene.client()
        client.ask(GET)
        await scene.after(1.9)
        assert client.got == b""
        await scene.after(0.2)
        await refused(scene, client, 504, "connect_timeout", kept=True)


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 200 O"])
@travelling
async def test_an_upstream_that_closes_without_an_answer_is_a_502(said: bytes) -> None:
    """Whatever it had begun to say."""
    async with Scene() as scene:
        client = scene.client()
        client.ask(GET)
        upstream = await scene.upstream()
        upstream.send(said)
        upstream.wire.close()
        await refused(scene, client, 502, "connection_lost", kept=True)
        assert scene.book.attempts[0].sent


@pytest.mark.parametrize(
    "said",
    [
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000,
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 11,
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    ],
    ids=lambda value: repr(value)[:30],
)
@travelling
async def test_an_upstream_that_speaks_nonsense_is_a_502(said: bytes) -> None:
    """Its connection ends."""
    async with Scene() as scene:
        client = scene.client()
        client.ask(GET)
        upstream = await scene.upstream()
        upstream.send(said)
        await scene.quiet()
        if b"100 Continue" in said:
            client.got = client.got.replace(b"HTTP/1.1 100 Continue\r\n\r\n", b"")
        await refused(scene, client, 502, "bad_response", kept=True)
        assert upstream.lost


@travelling
async def test_an_attempt_that_takes_too_long_is_a_504() -> None:
    """The upstream learns that nobody waits for it any more."""
    async with Scene(timeouts=Timeouts(attempt=2.0, startup=0.0)) as scene:
        client = scene.client()
        client.ask(GET)
        upstream = await scene.upstream()
        assert b"\r\nx-request-timeout-ms: 2000\r\n" in upstream.got
        await scene.after(1.9)
        assert client.got == b""
        await scene.after(0.2)
        await refused(scene, client, 504, "attempt_timeout", kept=True)
        assert upstream.lost


@travelling
async def test_an_attempts_time_counts_from_the_last_byte_too() -> None:
    """On a kept connection as on a new one, however long the upload takes."""
    async with Scene(timeouts=Timeouts(request=0.0, attempt=10.0, startup=0.0)) as scene:
        client = scene.client()
        client.ask(GET)
        upstream = await scene.upstream()
        upstream.send(OK)
        await scene.quiet()
        client.ask(post(b"hello")[:-2])
        await scene.after(20.0)
        client.send(b"l")
        await scene.after(20.0)
        client.send(b"o")
        await scene.after(9.9)
        assert not upstream.lost
        assert len(scene.book.ended) == 1
        await scene.after(0.2)

        assert client.answers[1].reason == "attempt_timeout"


@travelling
async def test_the_time_for_an_answer_counts_from_the_last_byte_of_the_request() -> None:
    """However long the upload took."""
    async with Scene() as scene:
        client = scene.client()
        client.ask(post(b"hello")[:-2])
        await scene.after(20.0)
        client.send(b"l")
        await scene.after(20.0)
        client.send(b"o")
        await scene.after(14.9)
        assert client.got == b""
        await scene.after(0.2)
        await refused(scene, client, 504, "deadline_exceeded", kept=True)
        assert (await scene.upstream()).lost


@travelling
async def test_too_many_that_wait_are_refused() -> None:
    """Those that may wait, wait; then it is a queue timeout."""
    async with Scene(pool=Pool(max_connections=1, max_pending=1)) as scene:
        clients = [scene.client() for _ in range(3)]
        for client in clients:
            client.ask(GET)
            await scene.quiet()
        assert (await clients[2].answer()).reason == "overloaded"
        assert clients[1].got == b""
        await scene.after(1.1)
        assert (await clients[1].answer()).reason == "queue_timeout"
        (await scene.upstream()).send(OK)
        assert (await clients[0].answer()).status == 200

        assert scene.book.reasons == ["overloaded", "queue_timeout", "upstream"]


@travelling
async def test_who_waits_is_served_when_a_place_is_free() -> None:
    """On the very connection."""
    async with Scene(pool=Pool(max_connections=1, max_pending=5)) as scene:
        clients = [scene.client() for _ in range(5)]
        for client in clients:
            client.ask(GET)
        for number in range(5):
            upstream = await scene.upstream()
            upstream.send(OK)
            assert (await clients[number].answer()).status == 200


@pytest.mark.parametrize(("nonsense", "ends"), [(True, True), (False, False)])
@travelling
async def test_what_was_sent_ahead_of_a_refusal(nonsense: bool, ends: bool) -> None:
    """Is served after a refusal that says nothing against it, and dropped where it may be anything."""
    async with Scene() as scene:
        scene.refuses = True
        client = scene.client()
        client.ask(b"NONSENSE\r\n\r\n" if nonsense else GET)
        client.ask(GET)
        client.sent = ["GET", "GET"]
        await scene.quiet()
        answers = client.answers

        assert len(answers) == (1 if ends else 2)
        assert client.ended is ends
        assert len(scene.book.ended) == len(answers)


@travelling
async def test_a_client_that_goes_on_sending_still_gets_its_refusal() -> None:
    """To close at once would be a reset, which could overtake the answer; but it is not read for ever."""
    async with Scene(http=Http(max_body=5)) as scene:
        client = scene.client()
        client.stays = True
        client.ask(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10000000\r\n\r\n")
        for _ in range(20):
            client.send(b"x" * 10_000)
            await scene.after(0.5)
            if client.lost:
                break
        answer = client.answers[0]

        assert (answer.reason, answer.complete) == ("body_too_large", True)
        assert client.ended
        assert client.lost
        assert 4.0 < scene.loop.now - 1000.0 < 7.0


@travelling
async def test_a_refusal_to_head_has_no_body() -> None:
    """As any answer to it."""
    async with Scene() as scene:
        scene.refuses = True
        client = scene.client()
        for number in (1, 2):
            client.ask(GET.replace(b"GET", b"HEAD"))
            await scene.quiet()
            answers = client.answers
            assert len(answers) == number
            assert (answers[-1].status, answers[-1].body) == (502, b"")
            assert int(answers[-1].headers[b"content-length"]) > 0
