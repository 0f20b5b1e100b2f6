"""The breaker in the stack: who reaches the upstream, what refused clients are told, what cannot open it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial

import pytest

from sidecar import stack
from sidecar.errors import BAD_RESPONSE, CONNECTION_LOST, Reason, SidecarError
from sidecar.exchange import Exchange, Facts, FixedBody, Handler, Response
from sidecar.headers import Headers
from sidecar.http1.upstream import Http1Upstream
from sidecar.layers.breaker import breaker
from sidecar.layers.deadline import Deadlines, deadline
from sidecar.policy.circuits import UPSTREAM, Circuits
from sidecar.settings import Breaker
from tests.flow.scene import Answer, Scene
from tests.flow.virtual import travelling


def get(path: str, *lines: bytes) -> bytes:
    """A request for this path."""
    return b"\r\n".join([b"GET %b HTTP/1.1" % path.encode(), b"Host: a", *lines, b"", b""])


def noted(exchange: Exchange) -> list[tuple[str, Facts]]:
    """The breaker's verdicts on an exchange, with their numbers."""
    return [(verdict, facts) for _, policy, verdict, facts in exchange.notes if policy == "breaker"]


class Service:
    """An upstream in the test's hand: each path answers by `does`, or waits for `let`."""

    def __init__(self) -> None:
        self.does: dict[str, int | Exception] = {}  # a status, or what is raised; 200 where nothing is said
        self.let = asyncio.Event()
        self.let.set()
        self.asked: list[str] = []
        self.left: list[str] = []  # who was cancelled

    async def __call__(self, exchange: Exchange) -> Response:
        path = exchange.request.path
        self.asked.append(path)
        try:
            await self.let.wait()
        except asyncio.CancelledError:
            self.left.append(path)
            raise
        does = self.does.get(path, 200)
        if isinstance(does, Exception):
            raise does
        return Response(does, b"X", Headers(b"Content-Length: 2\r\n"), FixedBody(b"ok"))


class Play:
    """A scene with a breaker in its stack. The circuits are those of the paths; chance is not at work."""

    def __init__(self, scene: Scene, upstream: Handler, settings: Breaker) -> None:
        self.scene = scene
        self.has_answered = True
        self.counted: list[str] = []
        self.moves: list[tuple[str, str, str]] = []
        self.circuits = Circuits(
            settings,
            {},
            scene.loop.time(),
            label=lambda exchange: exchange.request.path,
            has_answered=lambda: self.has_answered,
            on_transition=lambda name, old, new, why: self.moves.append((name, old, new)),
            random=lambda: 0.0,
        )
        layers: list[stack.Layer] = [
            partial(stack.observe, scene.book, lambda request: False),
            partial(stack.rescue, scene.book, lambda: False),
            partial(deadline, Deadlines(15.0)),
            partial(breaker, self.circuits, self.counted.append),
            partial(stack.attempt, scene.book),
        ]
        scene.server.handler = stack.compose(layers, upstream)

    async def ask(self, path: str, *lines: bytes) -> Answer:
        """One request, from a client of its own, and its answer."""
        client = self.scene.client()
        client.ask(get(path, *lines))
        answer = await client.answer()
        client.wire.close()
        return answer

    async def trip(self, service: Service, path: str) -> None:
        """Five answers of 500 open the circuit of `path`."""
        service.does[path] = 500
        for _ in range(5):
            assert (await self.ask(path)).status == 500
        assert self.open == {path}

    @property
    def open(self) -> set[str]:
        """Names of the circuits that are not closed."""
        return {name for name, state in self.circuits.states() if state != "closed"}

    @property
    def probing(self) -> list[str]:
        """Names of the circuits that wait for a probe."""
        return [name for name, status in self.circuits.status(self.scene.loop.time()).items() if status["probing"]]


@asynccontextmanager
async def playing(upstream: Handler | None = None, settings: Breaker | None = None) -> AsyncIterator[Play]:
    """A scene with a breaker; without `upstream`, connections are dialled. In the end no circuit waits for a probe."""
    async with Scene() as scene:
        play = Play(scene, upstream or Http1Upstream(scene.pool, "http://127.0.0.1:8080"), settings or Breaker())
        yield play
        for client in scene.clients:
            client.wire.abort()
        await scene.quiet()
        assert play.probing == []


@pytest.mark.parametrize("recovers", [True, False])
@travelling
async def test_of_fifty_callers_at_once_one_probes(recovers: bool) -> None:
    """Half-open, exactly one reaches the upstream; the others are refused, and by its outcome all go or wait again."""
    service = Service()
    async with playing(service) as play:
        await play.trip(service, "/a")
        await play.scene.after(30.0)
        service.asked.clear()
        service.let.clear()
        service.does["/a"] = 200 if recovers else 503
        clients = [play.scene.client() for _ in range(50)]
        for client in clients:
            client.ask(get("/a"))
        await play.scene.quiet()

        assert service.asked == ["/a"]
        refused = [client.answers[0] for client in clients if client.answers]
        assert len(refused) == 49
        assert {(answer.status, answer.reason) for answer in refused} == {(503, "circuit_open")}
        service.let.set()
        await play.scene.quiet()
        assert sum(client.answers[0].reason == "" for client in clients) == 1
        assert (await play.ask("/a")).status == (200 if recovers else 503)
        assert len(service.asked) == (2 if recovers else 1)
        assert play.open == (set() if recovers else {"/a"})


@travelling
async def test_one_broken_handler_leaves_the_others_alone() -> None:
    """Its circuit refuses; everybody else is served."""
    service = Service()
    async with playing(service) as play:
        for path in ("/a", "/b"):
            assert (await play.ask(path)).status == 200
        await play.trip(service, "/a")

        assert (await play.ask("/a")).reason == "circuit_open"
        assert [(await play.ask(path)).status for path in ("/b", "/c")] == [200, 200]


@travelling
async def test_a_refusal_tells_why_and_until_when() -> None:
    """In the header, in the sentence and in numbers; the note of the exchange has the same."""
    service = Service()
    async with playing(service) as play:
        await play.trip(service, "/a")
        await play.scene.after(12.5)
        answer = await play.ask("/a")
        problem = json.loads(answer.body)

        assert (answer.status, answer.headers[b"retry-after"]) == (503, b"18")
        assert problem["detail"] == "circuit /a has been open for 12.5 s: 5 failures in a row"
        facts = {"circuit": "/a", "state": "open", "since": 12.5, "failures": 5}
        assert facts.items() <= problem.items()
        assert noted(play.scene.book.ended[-1]) == [("refused", facts)]
        assert play.counted == ["refused"]


@travelling
async def test_each_attempt_is_noted() -> None:
    """A probe as such."""
    service = Service()
    async with playing(service) as play:
        await play.trip(service, "/a")
        await play.scene.after(30.0)
        await play.ask("/a")
        first, *_, last = play.scene.book.ended

        assert noted(first) == [("admitted", None)]
        assert noted(last) == [("admitted", {"probe": ["/a"]})]


@travelling
async def test_in_shadow_everybody_passes() -> None:
    """It would have refused, says so, and counts nothing of what passes then."""
    service = Service()
    async with playing(service, Breaker(mode="shadow")) as play:
        await play.trip(service, "/a")
        service.does["/a"] = 200
        for _ in range(5):
            assert (await play.ask("/a")).status == 200

        assert play.counted == ["would refuse"] * 5
        assert [verdict for verdict, _ in noted(play.scene.book.ended[-1])] == ["would refuse"]
        assert play.open == {"/a"}
        await play.scene.after(30.0)
        await play.ask("/a")
        assert play.open == set()


@pytest.mark.parametrize("reason", [CONNECTION_LOST, BAD_RESPONSE])
@travelling
async def test_the_attempts_own_error_is_told_when_it_trips(reason: Reason) -> None:
    """Not that of the circuit that it opened."""
    service = Service()
    async with playing(service) as play:
        service.does["/a"] = SidecarError(reason, "it was so", sent=True)
        answers = [await play.ask("/a") for _ in range(6)]

        assert [answer.reason for answer in answers] == [*[reason.token] * 5, "circuit_open"]
        assert json.loads(answers[4].body)["detail"] == "it was so"


@travelling
async def test_a_fault_of_ours_counts_for_nothing() -> None:
    """And loses no probe."""
    service = Service()
    async with playing(service) as play:
        service.does["/b"] = ZeroDivisionError("ours")
        for _ in range(10):
            assert (await play.ask("/b")).reason == "internal"
        assert play.open == set()
        await play.trip(service, "/a")
        await play.scene.after(30.0)
        service.does["/a"] = ZeroDivisionError("ours")
        assert (await play.ask("/a")).reason == "internal"
        assert play.probing == []
        service.does["/a"] = 200
        assert (await play.ask("/a")).status == 200
        assert play.open == set()


@travelling
async def test_a_fault_is_not_taken_for_the_attempt_before() -> None:
    """Whatever the exchange's last outcome was, it was another attempt's."""
    service = Service()
    async with playing(service, Breaker(failures=2)) as play:
        inner = play.scene.server.handler
        outcomes: Iterator[int | Exception] = iter([500, ZeroDivisionError("ours")])

        async def twice(exchange: Exchange) -> Response:
            service.does["/a"] = next(outcomes)
            return await service(exchange)

        layer = breaker(play.circuits, play.counted.append, stack.attempt(play.scene.book, twice))

        async def again(exchange: Exchange) -> Response:
            await layer(exchange)
            return await layer(exchange)

        play.scene.server.handler = stack.observe(
            play.scene.book, lambda request: False, stack.rescue(play.scene.book, lambda: False, again)
        )
        assert (await play.ask("/a")).reason == "internal"
        assert play.open == set()
        play.scene.server.handler = inner
        await play.ask("/b")
        assert play.circuits.status(0.0)["/a"]["failures_in_a_row"] == 1


# ── no remote kill switch


@pytest.mark.parametrize("milliseconds", [1, 5, 100, 14_999])
@travelling
async def test_an_impatient_client_opens_nothing(milliseconds: int) -> None:
    """However short its deadlines and however many of them pass."""
    service = Service()
    async with playing(service) as play:
        service.let.clear()
        for _ in range(50):
            client = play.scene.client()
            client.ask(get("/a", b"X-Request-Timeout-Ms: %d" % milliseconds))
            await play.scene.after(milliseconds / 1000)
            assert (await client.answer()).reason == "deadline_exceeded"
        assert len(service.left) == 50
        assert play.open == set()


@travelling
async def test_our_own_timeout_does() -> None:
    """The upstream had its time."""
    service = Service()
    async with playing(service) as play:
        service.let.clear()
        for _ in range(5):
            client = play.scene.client()
            client.ask(get("/a"))
            await play.scene.after(15.0)
            assert (await client.answer()).reason == "deadline_exceeded"
        assert play.open == {"/a"}


@travelling
async def test_clients_that_leave_open_nothing() -> None:
    """The upstream did nothing wrong."""
    service = Service()
    async with playing(service) as play:
        service.let.clear()
        for _ in range(50):
            client = play.scene.client()
            client.ask(get("/a"))
            await play.scene.quiet()
            client.wire.abort()
            await play.scene.quiet()
        assert play.scene.book.reasons == ["client_gone"] * 50
        assert play.open == set()


# ── connections


@travelling
async def test_an_upstream_that_is_not_reached_is_asked_for_nobody() -> None:
    """Five refused connects, whoever's, and the sixth is not tried; a connect that succeeds closes it."""
    async with playing() as play:
        play.scene.refuses = True
        answers = [await play.ask(f"/{number}") for number in range(6)]
        assert [answer.reason for answer in answers] == [*["connect_failed"] * 5, "circuit_open"]
        assert json.loads(answers[5].body)["circuit"] == UPSTREAM
        assert play.open == {UPSTREAM}

        play.scene.refuses = False
        play.circuits.upstream_proved_up(play.scene.loop.time())
        client = play.scene.client()
        client.ask(get("/a"))
        upstream = await play.scene.upstream()
        assert (await play.ask("/b")).reason == "circuit_open"
        upstream.send(b"HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n")
        assert (await client.answer()).status == 500
        assert play.open == set()


@travelling
async def test_an_upstream_that_has_not_started_yet_opens_nothing() -> None:
    """It may take its time; from its first answer on, it counts."""
    async with playing() as play:
        play.has_answered = False
        play.scene.refuses = True
        for _ in range(50):
            assert (await play.ask("/a")).reason == "connect_failed"
        assert play.open == set()
        play.has_answered = True
        for _ in range(5):
            await play.ask("/a")
        assert play.open == {UPSTREAM}


# ── a probe that comes to nothing


def leaves(play: Play, path: str) -> Callable[[], None]:
    """A client asks; what is returned makes it leave."""
    client = play.scene.client()
    client.ask(get(path))
    return client.wire.abort


@travelling
async def test_a_probe_whose_client_leaves_gives_its_place_to_the_next() -> None:
    """At once."""
    service = Service()
    async with playing(service) as play:
        await play.trip(service, "/a")
        await play.scene.after(30.0)
        service.let.clear()
        service.does["/a"] = 200
        leave = leaves(play, "/a")
        await play.scene.quiet()
        assert play.probing == ["/a"]
        leave()
        await play.scene.quiet()
        assert play.probing == []
        service.let.set()
        assert (await play.ask("/a")).status == 200
        assert play.open == set()


@travelling
async def test_a_probe_that_is_cancelled_before_its_first_step_has_asked_nobody() -> None:
    """Its client leaves in the very moment in which it asks."""
    service = Service()
    async with playing(service) as play:
        await play.trip(service, "/a")
        await play.scene.after(30.0)
        leaves(play, "/a")()
        await play.scene.quiet()
        assert play.probing == []


@pytest.mark.parametrize("steps", range(6))
@travelling
async def test_wherever_a_probe_is_cancelled_its_place_is_free(steps: int) -> None:
    """Between any two steps of its task."""
    service = Service()
    async with playing(service) as play:
        await play.trip(service, "/a")
        await play.scene.after(30.0)
        service.let.clear()
        leave = leaves(play, "/a")
        for _ in range(steps):
            await asyncio.sleep(0)
        leave()
        await play.scene.quiet()
        assert play.probing == []
        service.let.set()
        service.does["/a"] = 200
        assert (await play.ask("/a")).status == 200


@travelling
async def test_a_stream_is_judged_by_its_head() -> None:
    """The probe is over when the answer begins, however long it goes on."""
    async with playing(settings=Breaker(failures=1)) as play:
        client = play.scene.client()
        client.ask(get("/a"))
        upstream = await play.scene.upstream()
        upstream.send(b"HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n")
        await play.scene.after(30.0)
        client.ask(get("/a"))
        upstream = (await play.scene.upstreams(2))[1]  # the first lay idle for too long
        assert play.probing == ["/a"]
        upstream.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n")
        await play.scene.quiet()

        assert play.open == set()
        assert not client.answers[1].complete
