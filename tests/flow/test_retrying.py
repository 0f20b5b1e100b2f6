"""Failed attempts that are followed by others: through the real client and server, on a clock that costs nothing."""

from __future__ import annotations

import asyncio

import pytest

from sidecar.errors import CIRCUIT_OPEN, CONNECTION_LOST, OVERLOADED, RATE_LIMITED, Reason, SidecarError
from sidecar.exchange import Exchange, FixedBody, Response
from sidecar.headers import Headers
from sidecar.layers.hedge import hedge
from sidecar.layers.retry import retry
from sidecar.policy.retry import RetryPolicy
from sidecar.replay import Replay
from sidecar.settings import Retry, Timeouts
from tests.flow.retrying import Retrying, cut
from tests.flow.scene import GET, OK, Client, Far, Scene, post
from tests.flow.virtual import travelling
from tests.property.test_interleaving import requests_in

KEY = b"Idempotency-Key: 1"
BUSY = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n%b\r\nbusy"


def busy(*lines: bytes) -> bytes:
    """A 503 with these header lines."""
    return BUSY % b"".join(line + b"\r\n" for line in lines)


def put(body: bytes, *lines: bytes) -> bytes:
    """A PUT of this body."""
    return post(body, *lines).replace(b"POST", b"PUT", 1)


def chunked(*pieces: bytes, method: bytes = b"PUT") -> bytes:
    """A request of these chunks, without their end."""
    head = method + b" / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)


def bodies(far: Far) -> list[tuple[bytes, bool]]:
    """The request bodies that an upstream got, and whether each was complete."""
    numbered = far.got.replace(b"\r\nHost:", b"\r\nX-N: 0\r\nHost:")
    return [(body, complete) for _, body, complete in requests_in(numbered)]


# ── answers


@travelling
async def test_a_failed_answer_is_followed_by_another_attempt() -> None:
    """After the backoff, on the connection that is there; all are told how many there were."""
    async with Retrying() as scene:
        client = scene.client()
        client.ask(GET)
        upstream = await scene.upstream()
        assert b"\r\nx-envoy-attempt-count: 1\r\n" in upstream.take()
        upstream.send(busy())
        await scene.after(0.049)
        assert upstream.got == b""
        await scene.after(0.002)
        assert b"\r\nx-envoy-attempt-count: 2\r\n" in (await scene.upstream()).got
        upstream.send(OK)
        answer = await client.answer()

        assert (answer.status, answer.body, answer.headers[b"x-envoy-attempt-count"]) == (200, b"ok", b"2")
        (exchange,) = scene.book.ended
        assert (exchange.attempts, exchange.reason) == (2, "upstream")
        assert exchange.backoff_wait == pytest.approx(0.05)
        assert [attempt.status for attempt in scene.book.attempts] == [503, 200]
        assert scene.counted == [("gateway-error", "success")]
        ((verdict, facts),) = [(note[2], note[3]) for note in exchange.notes if note[1] == "retry"]
        assert verdict == "admitted"
        assert facts == {"attempt": 1, "reason": "gateway-error", "after": "503", "backoff_ms": 50, "budget": 2.2}


@travelling
async def test_the_client_gets_the_last_answer() -> None:
    """However many there were."""
    async with Retrying() as scene:
        client = scene.client()
        client.ask(GET)
        upstream = await scene.upstream()
        for number in range(3):
            upstream.send(busy(b"X-N: %d" % number))
            await scene.after(1.0)
        answer = await client.answer()

        assert (answer.status, answer.body, answer.headers[b"x-n"], answer.reason) == (503, b"busy", b"2", "")
        assert answer.headers[b"x-envoy-attempt-count"] == b"3"
        assert scene.counted == [("gateway-error", result) for result in ("failed", "failed", "exhausted")]
        assert scene.verdicts == ["admitted", "admitted", "refused"]
        assert scene.book.ended[0].backoff_wait == pytest.approx(0.05 + 0.1)


@travelling
async def test_a_failure_after_an_answer_brings_that_answer() -> None:
    """The upstream has spoken once, and that is worth more than that it was silent later."""
    async with Retrying({"attempts": 1}) as scene:
        client = scene.client()
        client.ask(GET)
        (await scene.upstream()).send(busy())
        await scene.after(1.0)
        cut(await scene.upstream())  # which had served, so that it is only found to be stale
        cut((await scene.upstreams(2))[1])
        answer = await client.answer()

        assert (answer.status, answer.body, answer.reason) == (503, b"busy", "")
        assert scene.book.reasons == ["upstream"]


@travelling
async def test_an_answer_that_is_not_whole_is_let_go() -> None:
    """It holds a connection: that is closed, and what failed later is told."""
    async with Retrying({"attempts": 1}) as scene:
        client = scene.client()
        client.ask(GET)
        first = await scene.upstream()
        first.send(b"HTTP/1.1 503 Busy\r\nContent-Length: 100\r\n\r\nbusy")
        await scene.quiet()
        assert first.lost
        await scene.after(1.0)
        cut((await scene.upstreams(2))[1])

        assert (await client.answer()).reason == "connection_lost"


@travelling
async def test_what_fits_no_condition_is_passed_on() -> None:
    """At the cost of nothing, not even of a note."""
    async with Retrying() as scene:
        client = scene.client()
        client.ask(GET)
        (await scene.upstream()).send(b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n")

        assert (await client.answer()).status == 500
        assert (scene.counted, scene.verdicts) == ([], [])


@travelling
async def test_a_header_may_ask_for_another_attempt() -> None:
    """Of a response that is otherwise fine."""
    async with Retrying({"conditions": ("retriable-headers",), "headers": ("X-Try-Again",)}) as scene:
        client = scene.client()
        client.ask(GET)
        upstream = await scene.upstream()
        upstream.send(OK.replace(b"\r\n\r\n", b"\r\nx-try-again: 1\r\n\r\n"))
        await scene.after(1.0)
        assert client.got == b""
        upstream.send(OK)

        assert (await client.answer()).status == 200
        assert scene.counted == [("retriable-headers", "success")]


@pytest.mark.parametrize("reason", [OVERLOADED, CIRCUIT_OPEN, RATE_LIMITED], ids=lambda reason: reason.token)
@travelling
async def test_our_own_refusals_are_not_tried_again(reason: Reason) -> None:
    """Whatever is listed."""

    async def refusing(exchange: Exchange) -> Response:
        raise SidecarError(reason, "not now")

    async with Retrying({"conditions": ("reset", "gateway-error", "5xx", "retriable-4xx")}, upstream=refusing) as scene:
        client = scene.client()
        client.ask(GET)

        assert (await client.answer()).reason == reason.token
        assert scene.book.ended[0].attempts == 1
        assert scene.counted == []


@travelling
async def test_a_refusal_between_the_attempts_brings_the_answer_before_it() -> None:
    """The circuit has opened meanwhile: what the upstream said is what the client gets."""
    told: list[int] = []

    async def opening(exchange: Exchange) -> Response:
        told.append(exchange.attempts)
        if len(told) == 1:
            return Response(503, b"Busy", Headers(b"Content-Length: 4\r\n"), FixedBody(b"busy"))
        raise SidecarError(CIRCUIT_OPEN, "it failed too often")

    async with Retrying(upstream=opening) as scene:
        client = scene.client()
        client.ask(GET)
        await scene.after(5.0)
        answer = await client.answer()

        assert (answer.status, answer.body, told) == (503, b"busy", [1, 2])


# ── failures


@travelling
async def test_nothing_was_sent_so_anything_goes_again() -> None:
    """A POST whose connection failed: the upstream gets it once, whole."""
    async with Retrying() as scene:
        scene.refuses = True
        client = scene.client()
        client.ask(post(b"hello"))
        await scene.quiet()
        scene.refuses = False
        await scene.after(1.0)
        upstream = await scene.upstream()
        upstream.send(OK)

        assert (await client.answer()).status == 200
        assert bodies(upstream) == [(b"hello", True)]
        assert scene.counted == [("connect-failure", "success")]


@travelling
async def test_an_upstream_that_stays_away_is_told_of() -> None:
    """After all attempts."""
    async with Retrying() as scene:
        scene.refuses = True
        client = scene.client()
        client.ask(post(b"hello"))
        await scene.after(5.0)
        answer = await client.answer()

        assert (answer.reason, answer.headers[b"x-envoy-attempt-count"]) == ("connect_failed", b"3")
        assert scene.counted[-1] == ("connect-failure", "exhausted")


@travelling
async def test_a_slow_attempt_is_given_up_for_another() -> None:
    """Its connection is closed."""
    async with Retrying(timeouts=Timeouts(attempt=0.3, startup=0.0)) as scene:
        client = scene.client()
        client.ask(GET)
        slow = await scene.upstream()
        await scene.after(0.4)
        assert slow.lost
        (await scene.upstreams(2))[1].send(OK)

        assert (await client.answer()).status == 200
        assert scene.counted == [("reset", "success")]


@travelling
async def test_a_tunnel_is_not_tried_again() -> None:
    """What it would carry nobody knows."""
    async with Retrying() as scene:
        scene.refuses = True
        client = scene.client()
        client.ask(GET.replace(b"\r\n\r\n", b"\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"))
        await scene.after(5.0)

        assert (await client.answer()).reason == "connect_failed"
        assert scene.book.ended[0].attempts == 1


# ── bodies

UNSAFE = [
    pytest.param(post(b"hello"), id="length"),
    pytest.param(post(b"hello")[:-2], id="unfinished"),
    pytest.param(chunked(b"hello", method=b"POST"), id="chunked"),
    pytest.param(post(b""), id="empty"),
    pytest.param(post(b"hello").replace(b"POST", b"PATCH"), id="PATCH"),
]


@pytest.mark.parametrize("how", ["reset", "busy", "busy and gone", "half a head", "silent", "client's end"])
@pytest.mark.parametrize("request_bytes", UNSAFE)
@travelling
async def test_what_could_do_harm_is_sent_once(request_bytes: bytes, how: str) -> None:
    """Whatever becomes of it."""
    async with Retrying(timeouts=Timeouts(attempt=0.3, request=2.0, startup=0.0)) as scene:
        client = scene.client()
        client.ask(request_bytes)
        upstream = await scene.upstream()
        if how.startswith("busy"):
            upstream.send(busy())
        elif how == "half a head":
            upstream.send(busy()[:20])
        elif how == "client's end":
            client.wire.close()
        await scene.quiet()
        if how not in ("silent", "busy", "client's end"):
            cut(upstream)
        await scene.after(20.0)

        assert (len(scene.far_upstreams), scene.asked) == (1, 1)
        assert scene.counted == []


@pytest.mark.parametrize("sent", [0, 1, 4, 5])
@pytest.mark.parametrize("request_bytes", [put(b"hello"), post(b"hello", KEY)], ids=["PUT", "key"])
@travelling
async def test_a_body_is_sent_again_from_its_beginning(request_bytes: bytes, sent: int) -> None:
    """Wherever in it the upstream died."""
    async with Retrying() as scene:
        client = scene.client()
        begun = len(request_bytes) - 5 + sent
        client.ask(request_bytes[:begun])
        first = await scene.upstream()
        cut(first)
        await scene.after(1.0)
        second = (await scene.upstreams(2))[1]
        client.send(request_bytes[begun:])
        await scene.quiet()
        second.send(OK)

        assert (await client.answer()).status == 200
        assert bodies(first) == [(b"hello"[:sent], sent == 5)]
        assert bodies(second) == [(b"hello", True)]
        assert scene.book.ended[0].bytes_in == 5


@travelling
async def test_a_body_of_unknown_length_is_sent_again() -> None:
    """In chunks of our own, with its trailers."""
    async with Retrying() as scene:
        client = scene.client()
        client.ask(chunked(b"hel"))
        cut(await scene.upstream())
        await scene.after(0.01)
        client.send(b"2\r\nlo\r\n0\r\nX-Sum: 1\r\n\r\n")
        await scene.after(1.0)
        second = (await scene.upstreams(2))[1]
        second.send(OK)

        assert (await client.answer()).status == 200
        assert bodies(second) == [(b"hello", True)]
        assert second.got.endswith(b"0\r\nX-Sum: 1\r\n\r\n")


@travelling
async def test_a_body_that_grows_beyond_the_cap_is_sent_once() -> None:
    """It flows on, and the failure is told."""
    async with Retrying({"max_body": 10}) as scene:
        client = scene.client()
        client.ask(chunked(b"0123456789", b"a"))
        upstream = await scene.upstream()
        client.send(b"1\r\nb\r\n")
        await scene.quiet()
        assert bodies(upstream) == [(b"0123456789ab", False)]
        cut(upstream)

        assert (await client.answer()).reason == "connection_lost"
        assert scene.counted == [("reset", "body")]
        assert len(scene.far_upstreams) == 1


@travelling
async def test_a_body_that_is_announced_as_too_long_is_not_kept() -> None:
    """It passes as it would without retries."""
    async with Retrying({"max_body": 4}) as scene:
        client = scene.client()
        client.ask(put(b"hello"))
        upstream = await scene.upstream()
        upstream.send(busy())

        assert (await client.answer()).status == 503
        assert scene.counted == [("gateway-error", "body")]


@travelling
async def test_an_answer_before_the_end_of_the_request_is_tried_again_too() -> None:
    """The upstream wanted no more of it; the next attempt gets all."""
    async with Retrying() as scene:
        client = scene.client()
        client.ask(put(b"hello")[:-2])
        first = await scene.upstream()
        first.send(busy())
        await scene.quiet()
        assert first.lost
        await scene.after(1.0)
        client.send(b"lo")
        second = (await scene.upstreams(2))[1]
        await scene.quiet()
        second.send(OK)

        assert (await client.answer()).status == 200
        assert bodies(second) == [(b"hello", True)]


@pytest.mark.parametrize("status", [b"200 OK", b"503 Busy"])
@pytest.mark.parametrize("whole", [True, False])
@travelling
async def test_the_rest_of_a_request_that_is_answered_is_read_past(status: bytes, whole: bool) -> None:
    """As without retries: the client's connection serves on, or is told that it does not."""
    async with Retrying({"attempts": 1}) as scene:
        client = scene.client()
        client.ask(put(b"hello")[:-2])
        for number in range(1 if status[:1] == b"2" else 2):
            upstream = (await scene.upstreams(number + 1))[number]
            upstream.send(b"HTTP/1.1 %b\r\nContent-Length: 4\r\n\r\n" % status + (b"busy" if whole else b"bu"))
            await scene.after(1.0)
        client.send(b"lo")
        await scene.quiet()
        if not whole:
            upstream.send(b"sy")
        client.ask(GET)
        await scene.quiet()

        assert [(answer.status, answer.body) for answer in client.answers] == [(int(status[:3]), b"busy")]
        assert len(scene.book.exchanges) == 2
        scene.far_upstreams[-1].send(OK)


def kept(scene: Scene) -> int:
    """Bytes that are kept of the last request's body."""
    body = scene.book.exchanges[-1].request.body
    assert isinstance(body, Replay)
    return body.kept


@travelling
async def test_nothing_is_kept_for_longer_than_it_may_be_needed() -> None:
    """Not in the last attempt, nor while an answer is under way."""
    async with Retrying({"attempts": 1}) as scene:
        client = scene.client()
        client.ask(put(b"hello")[:-2])
        first = await scene.upstream()
        assert kept(scene) == 3
        cut(first)
        await scene.after(1.0)
        second = (await scene.upstreams(2))[1]
        assert (bodies(second), kept(scene)) == ([(b"hel", False)], 0)

        other = scene.client()
        other.ask(put(b"hello")[:-2])
        third = (await scene.upstreams(3))[2]
        assert kept(scene) == 3
        third.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
        await scene.quiet()
        assert kept(scene) == 0
        other.send(b"lo")
        await scene.quiet()
        assert bodies(third) == [(b"hello", True)]


@travelling
async def test_the_end_of_an_attempt_does_not_touch_the_next() -> None:
    """Though its connection ends when that has begun."""
    async with Retrying(chance=0.0) as scene:
        for client in (scene.client(), scene.client()):
            client.ask(GET)
        for upstream in await scene.upstreams(2):
            upstream.send(OK)
        client = scene.client()
        await scene.quiet()
        client.ask(put(b"hello")[:-2])
        await scene.quiet()
        first, second = sorted(scene.far_upstreams, key=lambda far: b"PUT" not in far.got)
        second.take()
        first.send(b"HTTP/1.1 503 Busy\r\nContent-Length: 100\r\n\r\n")
        await scene.quiet()
        assert first.lost
        client.send(b"lo")
        await scene.quiet()
        second.send(OK)

        assert (await client.answer()).status == 200
        assert bodies(second) == [(b"hello", True)]


@travelling
async def test_a_body_that_proves_broken_between_the_attempts_is_the_clients_fault() -> None:
    """And so is what it is told."""
    async with Retrying() as scene:
        client = scene.client()
        client.ask(chunked(b"hello"))
        (await scene.upstream()).send(busy())
        await scene.after(0.01)
        client.send(b"nonsense\r\n")
        await scene.after(1.0)

        assert (await client.answer()).reason == "bad_request"


@travelling
async def test_a_stale_connection_is_followed_by_a_new_one_at_once() -> None:
    """For a body that can be sent again; the other idle ones are not risked."""
    async with Retrying() as scene:
        for client in (scene.client(), scene.client()):
            client.ask(GET)
        for upstream in await scene.upstreams(2):
            upstream.send(OK)
        client = scene.client()
        await scene.quiet()
        client.ask(put(b"hello"))
        await scene.quiet()
        (stale,) = [far for far in scene.far_upstreams if b"PUT" in far.got]
        stale.wire.close()
        new = (await scene.upstreams(3))[2]
        new.send(OK)

        assert (await client.answer()).status == 200
        assert bodies(new) == [(b"hello", True)]
        assert scene.book.ended[-1].backoff_wait == 0.0


@travelling
async def test_an_upstream_that_reads_slowly_slows_the_client_down_in_each_attempt() -> None:
    """Nothing piles up here but what is kept."""
    async with Retrying({"max_body": 3000}, kernel=1000) as scene:
        client = scene.client()
        client.ask(chunked(b"x" * 1500))
        first = await scene.upstream()
        first.wire.pause_reading()
        cut(first)
        scene.accepts.clear()
        await scene.after(1.0)
        client.send(b"5dc\r\n" + b"y" * 1500 + b"\r\n" + b"2710\r\n" + b"z" * 10_000 + b"\r\n")
        await scene.quiet()
        assert client.wire.get_write_buffer_size() > 8000
        assert 3000 <= kept(scene) <= 4000
        scene.accepts.set()
        while len(scene.far_upstreams) < 2:  # noqa: ASYNC110 - no later, so that it reads nothing
            await asyncio.sleep(0)
        second = scene.far_upstreams[1]
        second.wire.pause_reading()
        await scene.quiet()
        assert client.wire.get_write_buffer_size() > 5000
        second.wire.resume_reading()
        await scene.quiet()
        client.send(b"0\r\n\r\n")
        await scene.quiet()
        second.send(OK)

        assert (await client.answer()).status == 200
        assert bodies(second) == [(b"x" * 1500 + b"y" * 1500 + b"z" * 10_000, True)]


# ── what speaks against it


async def asked_in_vain(scene: Retrying, client: Client, ended: int) -> None:
    """One more request, of which every attempt is told to come back later; so many have ended before."""
    client.ask(GET)
    upstream = await scene.upstream()
    while len(scene.book.ended) <= ended:
        upstream.send(busy())
        await scene.after(1.0)


@travelling
async def test_the_budget_bounds_the_retries_of_all() -> None:
    """Three to begin with, and a fifth of one for each request."""
    async with Retrying() as scene:
        client = scene.client()
        attempts = []
        for number in range(4):
            await asked_in_vain(scene, client, number)
            attempts.append(scene.book.ended[-1].attempts)

        assert attempts == [3, 2, 1, 1]
        assert scene.counted.count(("gateway-error", "budget")) == 3
        assert [answer.status for answer in client.answers] == [503] * 4


@travelling
async def test_by_default_an_outage_makes_one_retry_of_five_requests() -> None:
    """In the long run: ten for fifty, besides the three that are there to begin with."""
    async with Retrying() as scene:
        client = scene.client()
        for number in range(50):
            await asked_in_vain(scene, client, number)

        assert scene.asked == 50 + 3 + 10


@travelling
async def test_an_upstream_that_names_a_time_is_left_alone_until_then() -> None:
    """Though the backoff would be shorter."""
    async with Retrying() as scene:
        client = scene.client()
        client.ask(GET)
        upstream = await scene.upstream()
        upstream.take()
        upstream.send(busy(b"Retry-After: 2"))
        await scene.after(2.0)
        assert upstream.got == b""
        await scene.after(0.06)
        assert upstream.got != b""
        upstream.send(OK)

        assert (await client.answer()).status == 200


@pytest.mark.parametrize("line", [b"Retry-After: 2", b"Retry-After: 100", b"X-Nothing: 1"])
@travelling
async def test_no_wait_outlasts_the_deadline(line: bytes) -> None:
    """What there is goes out at once, with the time that the upstream named: the client may come back then."""
    async with Retrying({"base": 3.0, "cap": 3.0}) as scene:
        client = scene.client()
        client.ask(GET.replace(b"\r\n\r\n", b"\r\nx-request-timeout-ms: 1500\r\n\r\n"))
        (await scene.upstream()).send(busy(line))
        answer = await client.answer()

        name, _, value = line.partition(b": ")
        assert (answer.status, answer.headers[name.lower()]) == (503, value)
        assert scene.counted == [("gateway-error", "deadline")]


@travelling
async def test_the_deadline_ends_a_later_attempt_too() -> None:
    """And the client is told so."""
    async with Retrying() as scene:
        client = scene.client()
        client.ask(GET.replace(b"\r\n\r\n", b"\r\nx-request-timeout-ms: 1000\r\n\r\n"))
        upstream = await scene.upstream()
        upstream.send(busy())
        await scene.after(0.2)
        assert b"\r\nx-request-timeout-ms: 940\r\n" in upstream.got
        await scene.after(1.0)

        assert (await client.answer()).reason == "deadline_exceeded"
        assert scene.counted == [("gateway-error", "cancelled")]


@pytest.mark.parametrize("request_bytes", [GET, put(b"hello"), put(b"hello")[:-2]], ids=["GET", "PUT", "unfinished"])
@travelling
async def test_a_client_that_leaves_between_the_attempts_is_gone(request_bytes: bytes) -> None:
    """There is no other."""
    async with Retrying() as scene:
        client = scene.client()
        client.ask(request_bytes)
        upstream = await scene.upstream()
        upstream.send(busy())
        await scene.after(0.02)
        client.wire.close()
        await scene.after(5.0)

        assert scene.book.reasons == ["client_gone"]
        assert scene.asked == 1
        assert scene.book.ended[0].backoff_wait == pytest.approx(0.02)
        assert scene.counted == [("gateway-error", "cancelled")]


@pytest.mark.parametrize("request_bytes", [GET, put(b"hello")], ids=["GET", "PUT"])
@travelling
async def test_shadow_mode_tells_what_it_would_have_done(request_bytes: bytes) -> None:
    """Budget and all; the client gets the first answer."""
    async with Retrying({"mode": "shadow"}) as scene:
        client = scene.client()
        for _ in range(5):
            client.ask(request_bytes)
            (await scene.upstream()).send(busy())
            await scene.quiet()

        assert [answer.status for answer in client.answers] == [503] * 5
        assert scene.asked == 5
        assert not any(isinstance(exchange.request.body, Replay) for exchange in scene.book.exchanges)
        assert scene.verdicts == ["would retry"] * 3 + ["refused", "would retry"]
        assert (scene.shadows, scene.counted) == (4, [])


@pytest.mark.parametrize("knobs", [{"attempts": 0}, {"budget": 0.0}])
def test_where_there_can_be_no_retry_there_is_no_layer(knobs: dict[str, float]) -> None:
    """Not even a frame."""
    policy = RetryPolicy(Retry(**knobs, hedge=0.1), lambda: 0.5)  # type: ignore[arg-type]

    async def call(exchange: Exchange) -> Response:
        raise SidecarError(CONNECTION_LOST, "never called")

    for layer in (retry, hedge):
        assert layer(policy, lambda reason, result: None, lambda: None, call) is call


@travelling
async def test_what_others_claim_of_attempts_is_not_passed_on() -> None:
    """Neither what the client says of earlier ones, nor what the upstream does."""
    async with Scene() as scene:
        client = scene.client()
        client.ask(GET.replace(b"\r\n\r\n", b"\r\nX-Envoy-Attempt-Count: 7\r\n\r\n"))
        upstream = await scene.upstream()
        assert upstream.got.lower().count(b"x-envoy-attempt-count") == 1
        upstream.send(OK.replace(b"\r\n\r\n", b"\r\nX-Envoy-Attempt-Count: 9\r\n\r\n"))
        answer = await client.answer()

        assert client.got.lower().count(b"x-envoy-attempt-count") == 1
        assert answer.headers[b"x-envoy-attempt-count"] == b"1"
