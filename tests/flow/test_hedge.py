"""A safe request that is slow is sent a second time; one answer reaches the client, the other leaves nothing."""

from __future__ import annotations

from asyncio import sleep
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.errors import CONNECTION_LOST, SidecarError
from sidecar.exchange import Exchange, Response, Sink
from sidecar.headers import Headers
from sidecar.settings import Timeouts
from tests.flow.retrying import Retrying, cut
from tests.flow.scene import GET, OK, Far, post
from tests.flow.virtual import travel, travelling

# No retries beside it, so that what is seen is the hedge's doing.
HEDGE = {"hedge": 0.1, "attempts": 1, "conditions": ()}
BUSY = b"HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy"
FIRST, SECOND = (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n" + which for which in (b"1", b"2"))


async def two(scene: Retrying) -> tuple[Far, Far]:
    """Both attempts under way."""
    await scene.upstream()
    await scene.after(0.11)
    first, second = await scene.upstreams(2)
    return first, second


@pytest.mark.parametrize("winner", [0, 1])
@travelling
async def test_the_first_answer_wins(winner: int) -> None:
    """Whichever it is; the other attempt's connection is closed, so that its upstream learns of it."""
    async with Retrying(HEDGE) as scene:
        client = scene.client()
        client.ask(GET)
        attempts = await two(scene)
        assert b"\r\nx-envoy-attempt-count: 1\r\n" in attempts[0].got
        assert b"\r\nx-envoy-attempt-count: 2\r\n" in attempts[1].got
        attempts[winner].send((FIRST, SECOND)[winner])
        answer = await client.answer()

        assert (answer.status, answer.body, answer.headers[b"x-envoy-attempt-count"]) == (200, b"12"[winner:][:1], b"2")
        assert [far.lost for far in attempts] == [winner == 1, winner == 0]
        assert scene.counted == [("hedge", ["cancelled", "success"][winner])]
        (exchange,) = scene.book.ended
        assert exchange.outcome is not None
        assert (exchange.attempts, exchange.outcome.status) == (2, 200)
        assert exchange.upstream_wait == pytest.approx(0.11), "they were waited for side by side"
        (facts,) = [note[3] for note in exchange.notes if note[2] == "hedged"]
        assert facts == {"attempt": 1, "reason": "hedge", "waited_ms": 100, "budget": 2.2}


@travelling
async def test_an_answer_in_time_is_the_only_one() -> None:
    """Nothing is spent then."""
    async with Retrying(HEDGE) as scene:
        client = scene.client()
        client.ask(GET)
        (await scene.upstream()).send(OK)
        await scene.after(1.0)

        assert (await client.answer()).status == 200
        assert (scene.asked, scene.counted) == (1, [])


@pytest.mark.parametrize(
    "request_bytes",
    [
        post(b""),
        GET.replace(b"GET", b"DELETE"),
        GET.replace(b"GET", b"PUT"),
        post(b"hi").replace(b"POST", b"GET"),
        post(b"", b"Idempotency-Key: 1"),
        GET.replace(b"\r\n\r\n", b"\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"),
    ],
    ids=["POST", "DELETE", "PUT", "body", "key", "upgrade"],
)
@travelling
async def test_only_what_is_safe_and_has_no_body_is_sent_twice(request_bytes: bytes) -> None:
    """Two that run side by side are more than one after the other."""
    async with Retrying(HEDGE) as scene:
        client = scene.client()
        client.ask(request_bytes)
        await scene.after(1.0)
        (await scene.upstream()).send(OK)

        assert (await client.answer()).status == 200
        assert scene.asked == 1


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"OPTIONS"])
@travelling
async def test_what_is_safe(method: bytes) -> None:
    """Methods that change nothing."""
    async with Retrying(HEDGE) as scene:
        client = scene.client()
        client.ask(GET.replace(b"GET", method))
        _, second = await two(scene)
        second.send(b"HTTP/1.1 204 No\r\n\r\n")

        assert (await client.answer()).status == 204


@pytest.mark.parametrize("fails", [0, 1])
@travelling
async def test_where_one_fails_the_other_is_waited_for(fails: int) -> None:
    """However long it takes."""
    async with Retrying(HEDGE) as scene:
        client = scene.client()
        client.ask(GET)
        attempts = await two(scene)
        cut(attempts[fails])
        await scene.after(5.0)
        assert client.got == b""
        attempts[1 - fails].send(OK)

        assert (await client.answer()).status == 200
        assert scene.counted == [("hedge", ["success", "failed"][fails])]


@pytest.mark.parametrize("bad", [0, 1])
@travelling
async def test_an_answer_to_retry_after_is_not_the_winner(bad: int) -> None:
    """The other may be better; if it fails, this one is what there is."""
    for other_fails in (False, True):
        async with Retrying({**HEDGE, "conditions": ("gateway-error",)}) as scene:
            client = scene.client()
            client.ask(GET)
            attempts = await two(scene)
            attempts[bad].send(BUSY)
            await scene.after(0.5)
            assert client.got == b""
            if other_fails:
                cut(attempts[1 - bad])
            else:
                attempts[1 - bad].send(OK)

            assert (await client.answer()).status == (503 if other_fails else 200)
            assert scene.counted[0] == ("hedge", "success" if bad == 0 and not other_fails else "failed")


@travelling
async def test_two_that_fail_are_one_failure() -> None:
    """Which retry may act upon, within its attempts."""
    async with Retrying({"hedge": 0.1, "attempts": 2, "conditions": ("reset",)}) as scene:
        client = scene.client()
        client.ask(GET)
        for far in await two(scene):
            cut(far)
        await scene.after(0.2)
        (await scene.upstreams(3))[2].send(OK)

        assert (await client.answer()).status == 200
        assert scene.counted == [("hedge", "failed"), ("reset", "success")]
        assert scene.book.ended[0].attempts == 3


@travelling
async def test_the_attempts_are_those_that_retry_allows() -> None:
    """The second one here is the last."""
    async with Retrying({"hedge": 0.1, "attempts": 1, "conditions": ("reset",)}) as scene:
        client = scene.client()
        client.ask(GET)
        for far in await two(scene):
            cut(far)
        await scene.after(5.0)

        assert (await client.answer()).reason == "connection_lost"
        assert scene.asked == 2


@travelling
async def test_the_budget_is_that_of_retries() -> None:
    """Three to begin with."""
    async with Retrying(HEDGE) as scene:
        client = scene.client()
        for _ in range(4):
            client.ask(GET)
            await scene.after(0.2)
            next(far for far in scene.far_upstreams if not far.lost).send(OK)
            await scene.quiet()

        assert [exchange.attempts for exchange in scene.book.ended] == [2, 2, 2, 1]
        assert scene.counted == [("hedge", "cancelled")] * 3 + [("hedge", "budget")]


@travelling
async def test_there_is_no_second_attempt_just_before_the_deadline() -> None:
    """It would come to nothing."""
    async with Retrying(HEDGE, timeouts=Timeouts(request=0.102, startup=0.0)) as scene:
        client = scene.client()
        client.ask(GET)
        await scene.after(1.0)

        assert (await client.answer()).reason == "deadline_exceeded"
        assert (scene.asked, scene.counted) == (1, [("hedge", "deadline")])


@pytest.mark.parametrize("after", [0.0, 0.05, 0.11])
@travelling
async def test_a_client_that_leaves_takes_both_with_it(after: float) -> None:
    """Or the one."""
    async with Retrying(HEDGE) as scene:
        client = scene.client()
        client.ask(GET)
        await scene.after(after)
        client.wire.close()
        await scene.quiet()

        assert scene.book.reasons == ["client_gone"]
        assert [far.lost for far in scene.far_upstreams] == [True] * len(scene.far_upstreams)
        assert scene.pool.size == 0
        assert scene.counted == ([("hedge", "cancelled")] if after > 0.1 else [])


@travelling
async def test_the_deadline_ends_both() -> None:
    """And the client is told of it."""
    async with Retrying(HEDGE, timeouts=Timeouts(request=1.0, startup=0.0)) as scene:
        client = scene.client()
        client.ask(GET)
        await two(scene)
        await scene.after(1.0)

        assert (await client.answer()).reason == "deadline_exceeded"
        assert [far.lost for far in scene.far_upstreams] == [True, True]


@travelling
async def test_shadow_mode_tells_what_it_would_have_sent() -> None:
    """At the end, as it is the only attempt."""
    async with Retrying({**HEDGE, "mode": "shadow"}) as scene:
        client = scene.client()
        for seconds in (0.05, 0.2):
            client.ask(GET)
            await scene.after(seconds)
            (await scene.upstream()).send(OK)
            await scene.quiet()

        assert (scene.asked, scene.shadows, scene.verdicts) == (2, 1, ["would hedge"])
        assert scene.counted == []


# ── whatever happens


class Holding:
    """A body that holds something until it is passed on or cancelled."""

    length = 2
    complete = False

    def __init__(self) -> None:
        self.passed_on = self.cancelled = False

    def attach(self, sink: Sink) -> None:
        assert not self.cancelled
        self.passed_on = True
        sink.data(b"ok", None)
        sink.end(b"")

    def pause(self) -> None:
        """See Flow."""

    def resume(self) -> None:
        """See Flow."""

    def cancel(self) -> None:
        self.cancelled = True


Act = tuple[float, str]


def acting(acts: list[Act], bodies: list[Holding]) -> Callable[[Exchange], Awaitable[Response]]:
    """An upstream whose attempts take so long, and then do so."""
    left = iter(acts)

    async def handler(exchange: Exchange) -> Response:
        seconds, what = next(left)
        try:
            await sleep(seconds)
        finally:
            if what == "answers anyhow":
                bodies.append(Holding())
                return Response(200, b"OK", Headers(b"Content-Length: 2\r\n"), bodies[-1])  # noqa: B012 - on purpose
        if what == "fails":
            raise SidecarError(CONNECTION_LOST, "lost", sent=True)
        bodies.append(Holding())
        status = 503 if what == "is busy" else 200
        return Response(status, b"", Headers(b"Content-Length: 2\r\n"), bodies[-1])

    return handler


TIMES = st.sampled_from([0.0, 0.05, 0.1, 0.15, 0.2])
ACTS = st.tuples(TIMES, st.sampled_from(["answers", "fails", "is busy", "answers anyhow"]))


async def race(acts: list[Act], leaves: float, turns: int) -> None:
    bodies: list[Holding] = []
    async with Retrying({**HEDGE, "conditions": ("gateway-error",)}, upstream=acting(acts, bodies)) as scene:
        client = scene.client()
        client.ask(GET)
        await sleep(leaves)
        for _ in range(turns):
            await sleep(0)
        client.wire.abort()
        await scene.after(5.0)
        (exchange,) = scene.book.ended

        assert [body.cancelled for body in bodies] == [not body.passed_on for body in bodies]
        assert sum(body.passed_on for body in bodies) == (exchange.reason == "upstream")


@given(st.tuples(ACTS, ACTS), st.sampled_from([0.0, 0.05, 0.1, 0.15, 0.2, 1.0]), st.integers(0, 6))
def test_no_answer_is_lost_whoever_ends_first(acts: tuple[Act, Act], leaves: float, turns: int) -> None:
    """Of all answers one at most is passed on, the others are cancelled; no task is left."""
    travel(lambda: race(list(acts), leaves, turns))
