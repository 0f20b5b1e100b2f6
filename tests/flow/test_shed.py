"""The cap in the stack: who gets a place, who waits, what the refused are told, and that no place is lost."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import settings as tries
from hypothesis import strategies as st

from sidecar import stack
from sidecar.errors import CONNECTION_LOST, SidecarError
from sidecar.exchange import Exchange, FixedBody, Handler, Request, Response
from sidecar.headers import Headers
from sidecar.http1.upstream import Http1Upstream
from sidecar.layers.deadline import Deadlines, deadline
from sidecar.layers.gatekeeper import Gatekeeper
from sidecar.layers.shed import guard, shed
from sidecar.policy.adaptive import AdaptiveLimit
from sidecar.policy.guard import Guard
from sidecar.settings import Concurrency, Timeouts
from sidecar.settings import Guard as Limits
from tests.flow.scene import OK, Client, Scene, fine
from tests.flow.virtual import VirtualLoop, travel, travelling


def get(*lines: bytes, path: bytes = b"/") -> bytes:
    """A request with these header lines."""
    return b"\r\n".join([b"GET %b HTTP/1.1" % path, b"Host: a", *lines, b"", b""])


UPGRADE = get(b"Connection: upgrade", b"Upgrade: echo")
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n"


class Service:
    """An upstream that answers those it is told to, in the order in which they came."""

    def __init__(self) -> None:
        self.waiting: list[asyncio.Future[int]] = []
        self.asked = 0

    async def __call__(self, exchange: Exchange) -> Response:
        self.asked += 1
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.waiting.append(future)
        try:
            status = await future
        finally:
            self.waiting.remove(future)
        if not status:
            raise SidecarError(CONNECTION_LOST, "it was lost", sent=True)
        return Response(status, b"X", Headers(b"Content-Length: 2\r\n"), FixedBody(b"ok"))

    def answer(self, status: int = 200, number: int = 0) -> None:
        """Answer the one that has waited longest; with status 0, fail."""
        self.waiting[number].set_result(status)


class Play:
    """A scene with gates in its stack, the first the outermost."""

    def __init__(self, scene: Scene, upstream: Handler, *settings: Concurrency) -> None:
        self.scene = scene
        self.counted: list[str] = []
        self.shadows = 0
        self.keepers = [
            Gatekeeper(f"gate{number}", each, self.counted.append, self._shadow) for number, each in enumerate(settings)
        ]
        layers: list[stack.Layer] = [
            partial(stack.observe, scene.book, lambda request: False),
            partial(stack.rescue, scene.book, lambda: False),
            partial(deadline, Deadlines(15.0)),
            *(partial(shed, keeper) for keeper in self.keepers),
            partial(stack.attempt, scene.book),
        ]
        scene.server.handler = stack.compose(layers, upstream)

    def _shadow(self) -> None:
        self.shadows += 1

    @property
    def keeper(self) -> Gatekeeper:
        """The one gate's."""
        (keeper,) = self.keepers
        return keeper

    def ask(self, *lines: bytes) -> Client:
        """A request from a client of its own."""
        client = self.scene.client()
        client.ask(get(*lines))
        return client

    async def asked(self, count: int, *lines: bytes) -> list[Client]:
        """So many of them, once nothing more happens."""
        clients = []
        for _ in range(count):
            clients.append(self.ask(*lines))
            await self.scene.quiet()  # one after the other
        return clients

    def notes(self, number: int = -1) -> list[tuple[str, Any]]:
        """The verdicts on an exchange."""
        exchange = self.scene.book.exchanges[number]
        return [(verdict, facts) for _, policy, verdict, facts in exchange.notes if policy == "concurrency"]

    def check(self) -> None:
        """No place is taken and nobody waits."""
        for keeper in self.keepers:
            gate = keeper.gate
            assert (gate.in_flight, gate.streams, gate.queued, gate.tunnels) == (0, 0, 0, 0)


@asynccontextmanager
async def playing(upstream: Handler | None, *settings: Concurrency) -> AsyncIterator[Play]:
    """A scene with gates; without `upstream`, connections are dialled. In the end no place is taken."""
    async with Scene() as scene:
        play = Play(scene, upstream or Http1Upstream(scene.pool, "http://127.0.0.1:8080"), *settings)
        yield play
        for client in scene.clients:
            client.wire.abort()
        await scene.quiet()
        play.check()


@travelling
async def test_the_cap_holds_and_the_queue_is_served_in_order() -> None:
    """Two at the upstream, two wait; the fifth is told at once, with the numbers that decided."""
    service = Service()
    async with playing(service, Concurrency(max=2)) as play:
        clients = await play.asked(5)
        assert service.asked == 2
        refused = await clients[4].answer()
        body = json.loads(refused.body)

        assert (refused.status, refused.reason, refused.headers[b"retry-after"]) == (503, "overloaded", b"1")
        expected = {"limiter": "gate0", "limit": 2, "in_flight": 2, "queued": 2, "waited_ms": 0.0}
        assert {name: body[name] for name in expected} == expected
        assert play.notes() == [("refused", expected)]
        service.answer()
        assert (await clients[0].answer()).status == 200
        assert (service.asked, play.keeper.status()["queued"]) == (3, 1)
        for client in clients[1:4]:
            service.answer()
            assert (await client.answer()).status == 200
        assert play.counted == ["admitted", "admitted", "refused", "queued", "queued"]


@travelling
async def test_who_waits_too_long_is_told_so() -> None:
    """After 100 ms, each at its own time, and what it waited is noted."""
    service = Service()
    async with playing(service, Concurrency(max=2)) as play:
        clients = await play.asked(3)
        await play.scene.after(0.06)
        clients += await play.asked(1)
        await play.scene.after(0.05)
        late = await clients[2].answer()

        assert (late.status, late.reason, late.headers[b"retry-after"]) == (503, "queue_timeout", b"1")
        assert json.loads(late.body)["waited_ms"] == pytest.approx(100.0, abs=2)
        assert play.scene.book.ended[0].queue_wait == pytest.approx(0.1, abs=0.002)
        assert clients[3].answers == []
        await play.scene.after(0.05)
        assert (await clients[3].answer()).reason == "queue_timeout"
        assert play.counted == ["admitted", "admitted", "timed_out", "timed_out"]
        assert play.scene.book.reasons == ["queue_timeout", "queue_timeout"]


@travelling
async def test_what_waited_and_was_served_says_how_long() -> None:
    """The wait is no wait for the upstream."""
    service = Service()
    async with playing(service, Concurrency(max=1)) as play:
        await play.asked(2)
        await play.scene.after(0.05)
        service.answer()
        await play.scene.quiet()

        assert play.scene.book.exchanges[1].queue_wait == pytest.approx(0.05)
        ((verdict, facts),) = play.notes(1)
        assert facts is not None
        assert (verdict, facts["waited_ms"]) == ("admitted", pytest.approx(50.0))


@pytest.mark.parametrize("how", ["abort", "close"])
@travelling
async def test_a_client_that_leaves_leaves_the_queue(how: str) -> None:
    """At once: its place in line is free for another, and it is never sent to the upstream."""
    service = Service()
    async with playing(service, Concurrency(max=1)) as play:
        clients = await play.asked(2)
        getattr(clients[1].wire, how)()
        await play.scene.quiet()
        assert play.keeper.gate.queued == 0
        await play.asked(1)
        assert play.counted == ["admitted", "abandoned"]
        service.answer()
        await play.scene.quiet()
        assert play.counted == ["admitted", "abandoned", "queued"]
        assert service.asked == 2


@travelling
async def test_a_deadline_that_passes_in_the_queue_ends_the_wait() -> None:
    """It is the client's own, and says so."""
    service = Service()
    async with playing(service, Concurrency(max=1)) as play:
        await play.asked(1)
        client = play.ask(b"X-Request-Timeout-Ms: 50")
        await play.scene.after(0.06)

        assert (await client.answer()).reason == "deadline_exceeded"
        assert play.keeper.gate.queued == 0
        assert play.counted == ["admitted", "abandoned"]


@travelling
async def test_without_a_wait_full_is_full() -> None:
    """No queue."""
    async with playing(Service(), Concurrency(max=1, queue_wait=0.0)) as play:
        _, refused = await play.asked(2)

        assert (await refused.answer()).reason == "overloaded"


@pytest.mark.parametrize("adaptive", [False, True])
@travelling
async def test_a_place_is_held_until_the_body_has_ended(adaptive: bool) -> None:
    """Not only until the head: and a client that leaves in the middle gives it back."""
    async with playing(None, Concurrency(max=1, min=1, queue_wait=60.0, adaptive=adaptive)) as play:
        first, second = await play.asked(2)
        upstream = await play.scene.upstream()
        upstream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab")
        await play.scene.quiet()
        assert upstream.got.count(b"GET") == 1
        upstream.send(b"cd")
        await play.scene.quiet()
        assert (await first.answer()).complete
        assert upstream.got.count(b"GET") == 2
        upstream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab")
        await play.scene.quiet()
        second.wire.abort()
        await play.scene.quiet()
        assert play.keeper.status()["in_flight"] == 0


@travelling
async def test_a_tunnel_gives_its_place_back() -> None:
    """It lives for hours; there may be as many tunnels as requests, and one more is refused."""
    async with playing(None, Concurrency(max=1)) as play:
        tunnel = play.scene.client()
        tunnel.ask(UPGRADE)
        upstream = await play.scene.upstream()
        upstream.send(SWITCH)
        await play.scene.quiet()
        gate = play.keeper.gate
        assert (gate.in_flight, gate.tunnels) == (0, 1)
        (client,) = await play.asked(1)
        _, other = await play.scene.upstreams(2)
        other.send(OK)
        assert (await client.answer()).status == 200
        more = play.scene.client()
        more.ask(UPGRADE)
        assert (await more.answer()).reason == "overloaded"
        tunnel.wire.close()
        upstream.wire.close()
        await play.scene.quiet()
        assert gate.tunnels == 0
        assert play.counted == ["admitted", "admitted", "refused"]


@travelling
async def test_a_refused_upgrade_is_a_request_like_any_other() -> None:
    """Nothing was switched: its place and its tunnel are given back with its answer."""
    async with playing(None, Concurrency(max=1)) as play:
        client = play.scene.client()
        client.ask(UPGRADE)
        upstream = await play.scene.upstream()
        upstream.send(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\n")
        await play.scene.quiet()
        gate = play.keeper.gate
        assert (gate.in_flight, gate.tunnels) == (1, 1)
        upstream.send(b"no")
        assert (await client.answer()).status == 403
        assert (gate.in_flight, gate.tunnels) == (0, 0)


@travelling
async def test_classes_come_from_a_header() -> None:
    """High first; in a full queue the youngest of the lowest makes room."""
    service = Service()
    async with playing(service, Concurrency(max=2, priority="X-Priority")) as play:
        await play.asked(2, b"X-Priority: high")
        (low,) = await play.asked(1, b"x-priority: LOW")
        (normal,) = await play.asked(1)
        (high,) = await play.asked(1, b"X-Priority: high")
        answer = await low.answer()
        assert (answer.reason, json.loads(answer.body)["class"]) == ("overloaded", "low")
        service.answer()
        await play.scene.quiet()
        assert play.counted[2:] == ["refused", "queued"]
        service.answer(number=1)
        assert (await high.answer()).status == 200
        assert normal.answers == []


@travelling
async def test_both_gates_must_admit() -> None:
    """Of a route, then of the sidecar: who waits at the first holds no place of the second."""
    service = Service()
    async with playing(service, Concurrency(max=1), Concurrency(max=5)) as play:
        await play.asked(2)
        outer, inner = play.keepers
        assert (outer.gate.in_flight, outer.gate.queued, inner.gate.in_flight) == (1, 1, 1)
        service.answer()
        await play.scene.quiet()
        assert (outer.gate.in_flight, outer.gate.queued, inner.gate.in_flight) == (1, 0, 1)


@travelling
async def test_shadow_lets_through_what_it_would_refuse() -> None:
    """The same decisions, at the same times; nobody waits."""
    service = Service()
    async with playing(service, Concurrency(max=1, mode="shadow")) as play:
        await play.asked(3)
        assert service.asked == 3
        assert play.counted == ["admitted"]
        assert play.notes(2)[0][0] == "would refuse"
        await play.scene.after(0.05)
        service.answer()
        await play.scene.quiet()
        ((verdict, facts),) = play.notes(1)
        assert facts is not None
        assert (verdict, facts["waited_ms"]) == ("would wait", pytest.approx(50.0))
        await play.asked(1)
        await play.scene.after(0.2)
        assert play.notes(3)[0][0] == "would refuse"
        assert play.counted == ["admitted", "queued"]
        assert play.shadows == 2
        assert {exchange.queue_wait for exchange in play.scene.book.exchanges} == {0.0}


@travelling
async def test_what_ends_before_shadow_has_decided_was_abandoned() -> None:
    """It leaves the queue that it only seemed to stand in."""
    service = Service()
    async with playing(service, Concurrency(max=1, mode="shadow")) as play:
        await play.asked(2)
        service.answer(number=1)
        await play.scene.quiet()
        assert (play.keeper.gate.in_flight, play.keeper.gate.queued) == (1, 0)
        assert play.counted == ["admitted", "abandoned"]
        assert play.shadows == 0


@travelling
async def test_a_reload_keeps_the_places() -> None:
    """And serves who waits as the new settings say."""
    service = Service()
    async with playing(service, Concurrency(max=1)) as play:
        await play.asked(2)
        play.keeper.change(Concurrency(max=2))
        await play.scene.quiet()
        assert service.asked == 2
        play.keeper.change(Concurrency(max=1))
        (client,) = await play.asked(1)
        for _ in range(2):
            service.answer()
            await play.scene.quiet()
        assert service.asked == 3
        play.keeper.change(Concurrency(max=1, mode="shadow"))
        await play.asked(1)
        assert service.asked == 4
        service.answer()
        assert (await client.answer()).status == 200


@travelling
async def test_the_adaptive_limit_follows_the_upstream() -> None:
    """Up while it answers in its usual time, down when it does not; failures to connect say nothing."""
    service = Service()
    async with playing(service, Concurrency(max=100, min=2, adaptive=True)) as play:
        keeper = play.keeper

        async def rounds(count: int, seconds: float, status: int = 200) -> None:
            for _ in range(count):
                clients = await play.asked(keeper.gate.limit + 1)
                await play.scene.after(seconds)
                for number in range(len(service.waiting)):
                    service.answer(status, number)
                await play.scene.after(seconds)
                for number in range(len(service.waiting)):  # who waited
                    service.answer(status, number)
                await play.scene.quiet()
                for client in clients:
                    client.wire.close()

        assert keeper.status()["limit"] == 20
        await rounds(12, 0.06)
        grown = keeper.gate.limit
        assert grown > 25
        assert keeper.status()["usual_latency_ms"] == pytest.approx(60, rel=0.3)
        await rounds(3, 0.0, status=0)
        assert keeper.gate.limit == grown
        await rounds(3, 1.0)
        assert keeper.gate.limit < grown
        keeper.change(Concurrency(max=10, min=2, adaptive=True))
        assert keeper.gate.limit == 10
        keeper.change(Concurrency(max=50))
        assert (keeper.gate.limit, keeper.status()["adaptive"]) == (50, False)


class Hearing(AdaptiveLimit):
    """A limit that notes what it is told."""

    def __init__(self) -> None:
        super().__init__(2, 100, 0.0)
        self.heard: list[tuple[float, bool, bool]] = []

    def observe(self, latency: float, *, answered: bool, good: bool, in_flight: int, in_use: bool, now: float) -> int:
        self.heard.append((round(latency, 3), answered, good))
        return self.limit


@travelling
async def test_the_adaptive_limit_hears_of_every_attempt() -> None:
    """How long it took and how it ended, one that was cancelled too; but not of a tunnel's handshake."""
    service = Service()
    async with playing(service, Concurrency(max=100, adaptive=True)) as play:
        play.keeper.adaptive = limit = Hearing()
        (*_, leaves) = await play.asked(4)
        await play.scene.after(0.5)
        service.answer(200)
        service.answer(500, 1)
        service.answer(0, 2)
        leaves.wire.abort()
        tunnel = play.scene.client()
        tunnel.ask(UPGRADE)
        await play.scene.quiet()
        service.answer(101)
        await play.scene.quiet()

        assert limit.heard == [(0.5, True, True), (0.5, True, False), (0.5, False, False), (0.5, False, False)]


@travelling
async def test_streams_do_not_fill_an_adaptive_limit() -> None:
    """What the upstream has begun to answer no longer waits for it: only the cap counts those."""
    async with playing(None, Concurrency(max=5, min=2, adaptive=True)) as play:
        play.keeper.gate.set_limit(2, play.scene.loop.time())
        for number in range(5):
            await play.asked(1)
            upstreams = await play.scene.upstreams(number + 1)
            upstreams[-1].send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
            await play.scene.quiet()
        assert (play.keeper.gate.streams, play.keeper.status()["in_flight"]) == (5, 5)
        await play.asked(1)
        assert play.keeper.gate.queued == 1


# ── cancellation, to the turn of the loop


class NoTimer:
    """No limits here."""

    def at_latest(self, due: float) -> None:
        """See Timer."""


def exchange() -> Exchange:
    """One, without a connection."""
    return Exchange(Request("GET", b"/", Headers()), b"id", "192.0.2.7", 0.0, NoTimer())


async def at_once(_: Exchange) -> Response:
    """Answers, and its body has not ended."""
    return Response(200, b"OK", Headers())


def alone(
    settings: Concurrency, counted: list[str]
) -> tuple[Gatekeeper, Callable[[Exchange], Coroutine[Any, Any, Any]]]:
    """A gate without a stack, and what a task runs; what shadow mode would have refused is counted too."""
    keeper = Gatekeeper("alone", settings, counted.append, lambda: counted.append("shadow"))
    handler = shed(keeper, at_once)

    async def serve(one: Exchange) -> Response:
        return await handler(one)

    return keeper, serve


@pytest.mark.parametrize("turns", [0, 1, 2])
@travelling
async def test_a_place_given_to_who_is_just_leaving_goes_on(turns: int) -> None:
    """Handed over and cancelled in the same turn of the loop, or in the ones after it."""
    loop = asyncio.get_running_loop()
    keeper, serve = alone(Concurrency(max=1), [])
    exchanges = [exchange() for _ in range(2)]
    first, second = (loop.create_task(serve(each)) for each in exchanges)
    await asyncio.sleep(0.01)
    assert (first.done(), keeper.gate.queued) == (True, 1)

    exchanges[0].settle(loop.time())
    for _ in range(turns):
        await asyncio.sleep(0)
    second.cancel()
    await asyncio.wait([second])
    exchanges[1].settle(loop.time())
    assert (keeper.gate.in_flight, keeper.gate.queued) == (0, 0)


@travelling
async def test_cancelled_first_and_handed_over_then() -> None:
    """The other order, in the same turn: the next in line gets it."""
    loop = asyncio.get_running_loop()
    counted: list[str] = []
    keeper, serve = alone(Concurrency(max=2), counted)
    exchanges = [exchange() for _ in range(4)]
    tasks = [loop.create_task(serve(each)) for each in exchanges]
    await asyncio.sleep(0.01)
    tasks[2].cancel()
    exchanges[0].settle(loop.time())
    await asyncio.sleep(0.01)

    assert (tasks[2].cancelled(), tasks[3].done(), keeper.gate.in_flight) == (True, True, 2)
    for each in exchanges[1:]:
        each.settle(loop.time())
    assert keeper.gate.in_flight == 0


ACTS = st.lists(
    st.tuples(st.sampled_from(["ask", "cancel", "settle", "turn", "wait", "limit"]), st.integers(0, 7)), max_size=60
)


@tries(max_examples=100, deadline=None)
@given(ACTS, st.booleans(), st.sampled_from(["enforce", "shadow"]))
def test_any_interleaving_leaves_no_place_taken(acts: list[tuple[str, int]], adaptive: bool, mode: Any) -> None:
    """Requests, cancellations, ends, time and reloads, to the turn of the loop."""
    travel(lambda: interleave(acts, Concurrency(max=2, min=1, adaptive=adaptive, mode=mode)))


async def interleave(acts: list[tuple[str, int]], settings: Concurrency) -> None:
    """Do all that; then everybody goes."""
    loop = asyncio.get_running_loop()
    counted: list[str] = []
    keeper, serve = alone(settings, counted)
    exchanges: list[Exchange] = []
    tasks: list[asyncio.Task[Response]] = []
    for act, number in acts:
        if act == "ask":
            exchanges.append(exchange())
            tasks.append(loop.create_task(serve(exchanges[-1])))
        elif act == "cancel" and number < len(tasks):
            tasks[number].cancel()
        elif act == "settle" and number < len(tasks) and tasks[number].done():
            exchanges[number].settle(loop.time())
        elif act == "turn":
            await asyncio.sleep(0)
        elif act == "wait":
            await asyncio.sleep(number / 50)
        elif act == "limit":
            keeper.change(Concurrency(max=number + 1, min=1, adaptive=settings.adaptive, mode=settings.mode))
        gate = keeper.gate
        assert all(gate.in_flight >= cap for cap in gate.caps) or not gate.queued
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)
    for each in exchanges:
        each.settle(loop.time())
    assert (keeper.gate.in_flight, keeper.gate.streams, keeper.gate.queued) == (0, 0, 0)
    began = [task for task in tasks if not task.cancelled()]
    assert len(began) <= len(counted) <= len(tasks)
    for task in began:
        assert task.exception() is None or isinstance(task.exception(), SidecarError)
    assert cast(VirtualLoop, loop).timers == []


# ── the sidecar's own overload


@pytest.mark.parametrize("mode", ["enforce", "shadow"])
@travelling
async def test_an_overloaded_sidecar_refuses_nine_in_ten(mode: Any) -> None:
    """At once and with the numbers, until its loop has caught up; in shadow mode it only says so."""
    counted: list[str] = []
    shadows: list[bool] = []
    state = Guard(Limits(lag=0.5, mode=mode))
    async with Scene(guard(state, counted.append, lambda: shadows.append(True), fine)) as scene:
        statuses = []
        for lag in (0.0, 0.9, 0.9, *[0.8] * 9, 0.0, 0.0):
            state.sampled(lag, 0)
            client = scene.client()
            client.ask(get())
            answer = await client.answer()
            statuses.append(answer.status)
            if answer.status == 503:
                body = json.loads(answer.body)
                assert (answer.reason, body["lag_limit_ms"], body["retry_after"]) == ("overloaded", 500, 1)
        refused = [200, 200, *[503] * 9, 200, 503, 200]
        notes = [verdict for each in scene.book.ended for _, policy, verdict, _ in each.notes if policy == "guard"]

        enforced = ["refused"] * 9 + ["admitted", "refused"]
        assert counted == (enforced if mode == "enforce" else ["admitted"])
        assert statuses == (refused if mode == "enforce" else [200] * 14)
        word = "refused" if mode == "enforce" else "would refuse"
        assert notes == [word] * 9 + ["admitted", word]
        assert len(shadows) == (0 if mode == "enforce" else 10)


def lag(scene: Scene, seconds: float) -> None:
    """The loop has been late by so much for a while."""
    for _ in range(3):
        scene.ways.guard.sampled(seconds, 0)


@asynccontextmanager
async def late(upstream: Handler = fine, keep_alive: float = 75.0) -> AsyncIterator[Scene]:
    """A sidecar that is late: it refuses, and no rest ends early."""
    timeouts = Timeouts(startup=0.0, keep_alive=keep_alive)
    async with Scene(upstream, timeouts=timeouts, policies={"guard": Limits(lag=0.5)}) as scene:
        lag(scene, 0.9)
        yield scene
        await scene.after(0.2)  # it looks a last time whether somebody rests


def unread(scene: Scene) -> bool:
    """Whether something waits in the one client's socket."""
    return any(wire.unread for wire in scene.loop.wires.values())


async def refused(scene: Scene, request: bytes) -> Client:
    """A client that asked this and was refused; it rests."""
    client = scene.client()
    client.ask(request)
    answer = await client.answer()
    assert (answer.status, answer.reason, answer.headers[b"retry-after"]) == (503, "overloaded", b"1")
    assert scene.server.entry.rests.count == 1
    return client


@travelling
async def test_who_was_refused_is_not_heard_at_once() -> None:
    """What he asks next waits in his socket, and costs nothing until then."""
    async with late() as scene:
        client = await refused(scene, get())
        for number in range(2, 4):
            client.ask(get())
            await scene.quiet()
            assert unread(scene)
            assert (len(client.answers), len(scene.book.exchanges)) == (number - 1, number - 1)
            await scene.after(0.002)
            assert [answer.status for answer in client.answers] == [503] * number
            assert not unread(scene)
        await scene.after(0.05)
        assert scene.server.entry.rests.count == 0


@travelling
async def test_what_was_asked_ahead_waits_too() -> None:
    """Though it has been read already."""
    async with late() as scene:
        client = scene.client()
        for _ in range(3):
            client.ask(get())
        for number in range(1, 4):
            await scene.quiet()
            assert len(client.answers) == number
            await scene.after(0.002)
        assert [answer.status for answer in client.answers] == [503] * 3
        await scene.after(0.05)


@travelling
async def test_who_takes_his_time_does_not_rest() -> None:
    """A little of a body is read past first; and so is a client waited for that is slow to take his answer."""
    async with late() as scene:
        client = scene.client()
        client.ask(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n12345")
        assert (await client.answer()).status == 503
        client.send(b"67890")
        client.ask(get())
        await scene.quiet()
        assert [answer.status for answer in client.answers] == [503, 503]
        await scene.after(0.05)
        scene.kernel = 100
        slow = scene.client()
        slow.wire.pause_reading()
        slow.ask(get())
        await scene.quiet()
        assert scene.server.entry.rests.count == 0
        slow.ask(get())
        slow.wire.resume_reading()
        await scene.after(0.05)
        assert [answer.status for answer in slow.answers] == [503, 503]


@travelling
async def test_room_ends_the_rest() -> None:
    """As soon as it has caught up, with the next request of anybody."""
    async with late() as scene:
        client = await refused(scene, get())
        client.ask(get())
        await scene.quiet()
        lag(scene, 0.0)
        other = scene.client()
        other.ask(get())

        assert (await other.answer()).status == 200
        assert [answer.status for answer in client.answers] == [503, 200]


@travelling
async def test_a_drain_ends_the_rest() -> None:
    """What was asked is heard, and its answer is the last."""
    async with late() as scene:
        client, idle = await refused(scene, get()), scene.client()
        client.ask(get())
        await scene.quiet()
        scene.server.begin_drain()
        await scene.quiet()
        _, last = client.answers
        assert (last.status, last.headers[b"connection"], client.ended) == (503, b"close", True)
        assert not idle.ended
        scene.server.close_when_quiet()
        await scene.after(2.0)
        assert scene.server.open == 0


@travelling
async def test_a_reset_is_seen_after_a_rest() -> None:
    """Of a client whose upload waits, unread: it had come with the request that was refused."""
    hangs = asyncio.Event()

    async def hang(_: Exchange) -> Response:
        await hangs.wait()
        raise AssertionError

    async with late(hang) as scene:
        client = scene.client()
        client.ask(get() + b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 500000\r\n\r\n" + b"x" * 200_000)
        assert (await client.answer()).status == 503
        lag(scene, 0.0)
        await scene.after(0.5)
        assert (scene.book.metrics.in_flight, unread(scene)) == (1, True)
        client.wire.linger = False
        client.wire.abort()
        await scene.after(2.0)
        assert scene.book.reasons == ["overloaded", "client_gone"]


@pytest.mark.parametrize("how", ["closed", "reset", "cut"])
@travelling
async def test_who_leaves_while_he_rests(how: str) -> None:
    """Nothing is left of him, at the latest when the rest is over."""
    async with late() as scene:
        client = await refused(scene, get())
        if how == "closed":
            client.wire.close()
        elif how == "reset":
            client.wire.linger = False
            client.wire.abort()
        else:
            scene.server.cut()
        await scene.after(0.05)
        assert (scene.server.open, scene.server.entry.rests.count) == (0, 0)


@travelling
async def test_who_is_closed_on_does_not_rest() -> None:
    """There is nothing more to read from him."""
    async with late() as scene:
        client = scene.client()
        client.ask(get(b"Connection: close"))
        assert (await client.answer()).status == 503
        assert (client.ended, scene.server.open, scene.server.entry.rests.count) == (True, 0, 0)


@travelling
async def test_the_more_are_refused_the_longer_they_rest() -> None:
    """And they are told so. No rest is idleness."""
    async with late(keep_alive=1.0) as scene:
        clients = [scene.client() for _ in range(1000)]
        for client in clients:
            client.ask(get())
            await scene.quiet()  # one by one: that they begin together would say that it takes no time
        told = [client.answers[0].headers.get(b"retry-after") for client in clients]
        assert sorted({int(after) for after in told if after is not None}) == [1, 2]
        assert told.count(None) == 100
        await scene.after(1.2)
        assert 0 < scene.server.entry.rests.count < 900
        assert not clients[-2].ended
        await scene.after(1.0)
        assert scene.server.entry.rests.count == 0
        assert not clients[-2].ended


@travelling
async def test_who_asks_ahead_and_is_refused_rests_too() -> None:
    """Though the line is empty: the slow lane, where he was to wait, is not."""
    async with Scene(fine, policies={"guard": Limits(wait=1e-9)}) as scene:
        clients = [scene.client() for _ in range(1000)]
        for client in clients:
            client.stays = True
            client.sent += ["GET"] * 20
            client.send(get() * 20)
        most = 0
        for _ in range(2000):
            await asyncio.sleep(0)
            most = max(most, scene.server.entry.rests.count)
        assert most > 500
        refused = scene.book.reasons.count("overloaded")
        assert 0 < refused <= 1000
        await scene.after(10.0)
