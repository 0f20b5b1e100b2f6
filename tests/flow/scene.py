"""The real proxy without sockets: clients and upstreams are in the test's hand, time costs nothing.

    async with Scene() as scene:
        client = scene.client()
        client.send(GET)
        (upstream,) = await scene.upstreams(1)
        upstream.send(OK)
        assert (await client.answer()).status == 200

On leaving, nothing may be left: see `Scene.leave`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, NamedTuple, Self, cast

import h11

from sidecar.address import UpstreamAddress
from sidecar.exchange import Exchange, FixedBody, Handler, Outcome, Response
from sidecar.headers import Headers
from sidecar.http1.idle import IdleLimit
from sidecar.http1.pool import Pool
from sidecar.http1.server import Http1Server
from sidecar.http1.upstream import Http1Upstream
from sidecar.settings import Breaker, Deadline, Guard, Http, Retry, Settings, Timeouts
from sidecar.settings import Pool as PoolSettings
from sidecar.telemetry.metrics import Metrics
from sidecar.ways import Ways
from tests.flow.virtual import VirtualLoop, Wire, join

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


async def fine(_: Exchange) -> Response:
    """All that is behind the stack, if it answers at once."""
    return Response(200, b"OK", Headers(b"Content-Length: 2\r\n"), FixedBody(b"ok"))


def post(body: bytes, *lines: bytes) -> bytes:
    """A POST of this body."""
    head = [b"POST / HTTP/1.1", b"Host: a", *lines, b"Content-Length: %d" % len(body), b"", b""]
    return b"\r\n".join(head) + body


class Answer(NamedTuple):
    """A response as a strict client reads it; `complete` says that its body's end was there."""

    status: int
    headers: dict[bytes, bytes]
    body: bytes
    complete: bool
    trailers: dict[bytes, bytes]

    @property
    def reason(self) -> str:
        """Why the sidecar answered; empty where the upstream did."""
        return self.headers.get(b"x-sidecar-reason", b"").decode()


def read_answers(data: bytes, methods: list[str], *, ended: bool) -> list[Answer]:
    """The answers in a connection's bytes, interim ones left out. `ended`: the stream has ended, without a reset."""
    answers: list[Answer] = []
    for method in methods:
        reader = h11.Connection(h11.CLIENT)
        reader.send(h11.Request(method=method, target="/", headers=[("Host", "a")]))
        reader.send(h11.EndOfMessage())
        if data:
            reader.receive_data(data)
        if ended:
            reader.receive_data(b"")
        head, body, end = _read_one(reader)
        if head is None:
            break
        trailers = dict(end.headers) if end is not None else {}
        answers.append(Answer(head.status_code, dict(head.headers), body, end is not None, trailers))
        data = reader.trailing_data[0]
        if end is None or not data:
            break
    return answers


def _read_one(reader: h11.Connection) -> tuple[h11.Response | None, bytes, h11.EndOfMessage | None]:
    head, body = None, b""
    while True:
        try:
            event = reader.next_event()
        except h11.RemoteProtocolError:
            # Cut: the body's end did not come.
            return head, body, None
        if isinstance(event, h11.Response):
            head = event
        elif isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, h11.EndOfMessage):
            return head, body, event
        elif not isinstance(event, h11.InformationalResponse):
            return head, body, None


class Far(asyncio.Protocol):
    """The other end of a connection, in the test's hand."""

    def __init__(self, loop: VirtualLoop) -> None:
        self.loop = loop
        self.wire: Wire
        self.got = b""
        self.ended = False  # the stream's end came
        self.reset = False
        self.lost = False
        self.stays = False  # does not close when the other end has
        self.sent: list[str] = []  # methods, for reading the answers

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.wire = cast(Wire, transport)

    def data_received(self, data: bytes) -> None:
        self.got += data

    def eof_received(self) -> bool:
        self.ended = True
        return self.stays

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        self.reset = exc is not None

    def send(self, data: bytes) -> None:
        """Write bytes."""
        self.wire.write(data)

    def take(self) -> bytes:
        """What came since the last take."""
        got, self.got = self.got, b""
        return got


class Client(Far):
    """A client."""

    def ask(self, request: bytes) -> None:
        """Send a request whose answer will be read."""
        self.sent.append(request.partition(b" ")[0].decode())
        self.send(request)

    @property
    def answers(self) -> list[Answer]:
        """All that came so far."""
        return read_answers(self.got, self.sent, ended=self.ended and not self.reset)

    async def answer(self) -> Answer:
        """The one answer, once nothing more happens."""
        await self.loop.quiet()
        (answer,) = self.answers
        return answer


class Book:
    """A recorder that keeps everything, and counts with the real metrics."""

    def __init__(self) -> None:
        self.metrics = Metrics("test")
        self.exchanges: list[Exchange] = []
        self.ended: list[Exchange] = []
        self.attempts: list[Outcome] = []
        self.faults: list[Exchange] = []
        self.told: list[tuple[str, dict[str, Any]]] = []
        self.refusals: list[tuple[str, str, int]] = []

    def opened(self, exchange: Exchange) -> None:
        self.exchanges.append(exchange)
        self.metrics.opened(exchange)

    def settled(self, exchange: Exchange, now: float) -> None:
        self.ended.append(exchange)
        self.metrics.settled(exchange, now)

    def attempt(self, outcome: Outcome, now: float = 0.0) -> None:
        self.attempts.append(outcome)
        self.metrics.attempt(outcome)

    def fault(self, exchange: Exchange) -> None:
        self.faults.append(exchange)

    def info(self, event: str, **fields: Any) -> None:
        """See ways.Log."""
        self.told.append((event, fields))

    warning = info

    def refused(self, reason: str, client: str, limit: int, now: float) -> None:
        """See server.Refused."""
        self.refusals.append((reason, client, limit))

    def waiting_for_upstream(self, detail: str) -> None:
        """See pool.Events."""

    def idle_limit_learned(self, limit: IdleLimit) -> None:
        """See pool.Events."""

    @property
    def reasons(self) -> list[str]:
        """Why those that have ended were answered so."""
        return [exchange.reason for exchange in self.ended]


# No policy acts unless a test says so by its `policies`: sections of the settings by name.
QUIET: dict[str, Any] = {
    "retry": Retry(attempts=0),
    "breaker": Breaker(mode="off"),
    "deadline": Deadline(mode="off"),
    "guard": Guard(mode="off"),
}


class Scene:
    """One proxy. `upstream` stands for all that is behind the stack; without it, connections are dialled."""

    def __init__(
        self,
        upstream: Handler | None = None,
        *,
        timeouts: Timeouts | None = None,
        pool: PoolSettings | None = None,
        http: Http | None = None,
        policies: dict[str, Any] | None = None,
        kernel: int = 64 * 1024,
        piece: Callable[[], int] = lambda: 256 * 1024,
    ) -> None:
        self._fake = upstream
        self.settings = Settings(
            upstream="http://127.0.0.1:8080",
            timeouts=timeouts or Timeouts(startup=0.0),
            pool=pool or PoolSettings(),
            http=http or Http(),
            **(QUIET | (policies or {})),
        )
        self.kernel = kernel  # holds for connections made from now on
        self._piece = piece
        self.draining = False
        self.refuses = False  # dials
        self.accepts = asyncio.Event()
        self.accepts.set()
        self.far_upstreams: list[Far] = []
        self.clients: list[Client] = []
        self._tasks: list[asyncio.Task[None]] = []
        self.nothing_is_left = False

    async def __aenter__(self) -> Self:
        self.loop = cast(VirtualLoop, asyncio.get_running_loop())
        self.loop.dial = self._dial
        self.book = Book()
        self.pool = Pool(UpstreamAddress("127.0.0.1", 8080), self.settings, self.book)
        upstream = Http1Upstream(self.pool, "http://127.0.0.1:8080")
        self.ways = Ways(
            self._fake or upstream,
            self.book,
            self.book.metrics,
            self.book,
            has_answered=lambda: self.pool.answered_once,
            draining=lambda: self.draining,
            spawn=self._spawn,
        )
        handler = self.ways.build(self.settings)
        self.server = Http1Server(self.settings, handler, self.book.refused, judge=self.ways.guard.bounds)
        return self

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        self._tasks.append(self.loop.create_task(work))

    async def _dial(self, factory: Callable[[], asyncio.Protocol]) -> Any:
        await asyncio.sleep(0)
        await self.accepts.wait()
        if self.refuses:
            raise ConnectionRefusedError(111, "Connection refused")
        far = Far(self.loop)
        near = factory()
        wire, _ = join(self.loop, near, far, far_name=("127.0.0.1", 8080), kernel=self.kernel, piece=self._piece)
        self.far_upstreams.append(far)
        return wire, near

    def client(self, name: str = "192.0.2.7") -> Client:
        """A new connection from a client."""
        client = Client(self.loop)
        join(self.loop, self.server.accept(), client, far_name=(name, 40000), kernel=self.kernel, piece=self._piece)
        self.clients.append(client)
        return client

    async def upstreams(self, count: int) -> list[Far]:
        """The connections to the upstream that there were, once nothing more happens: so many."""
        await self.loop.quiet()
        assert len(self.far_upstreams) == count
        return self.far_upstreams

    async def upstream(self) -> Far:
        """The one connection to the upstream that there was."""
        return (await self.upstreams(1))[0]

    async def quiet(self) -> None:
        """Until nothing more happens unless time passes."""
        await self.loop.quiet()

    async def after(self, seconds: float) -> None:
        """Let time pass."""
        await asyncio.sleep(seconds)
        await self.loop.quiet()

    @property
    def unsettled(self) -> list[Exchange]:
        """Exchanges that have not ended."""
        return [exchange for exchange in self.book.exchanges if not exchange.settled]

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.nothing_is_left = True  # or the test fails anyhow, and says more than this could
        if error is None:
            await self.leave()

    async def leave(self) -> None:
        """Everybody goes. What must be left then is nothing: no exchange, count, connection, task or timer."""
        for client in self.clients:
            client.wire.abort()
        await self.loop.quiet()
        await self.check()

    async def check(self) -> None:
        """Nothing is left."""
        assert self.unsettled == []
        # The very objects, once each.
        assert sorted(map(id, self.book.exchanges)) == sorted(map(id, self.book.ended))
        assert self.book.metrics.in_flight == 0
        assert self.server.connections == set()
        assert self.pool.waiting == 0
        assert self.pool.size == self.pool.idle
        self.pool.close()
        await self.loop.quiet()
        assert self.pool.size == 0
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert self.loop.timers == []
