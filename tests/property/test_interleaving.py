"""Whatever happens in whichever order, every exchange ends once, nothing is left, and no cut looks like an end."""

from __future__ import annotations

import re
from typing import NamedTuple

import h11
from hypothesis import given
from hypothesis import strategies as st

from sidecar.settings import Http, Pool, Timeouts
from tests.flow.scene import Client, Far, Scene, read_answers
from tests.flow.virtual import travel

NUMBER = re.compile(rb"\r\nX-N: ([0-9]+)\r\n")
SIZES = st.integers(1, 30) | st.sampled_from([200, 3000, 100_000])


class Asking(NamedTuple):
    """A request: its bytes but the number, its method, and the payload."""

    method: str
    framing: str
    payload: bytes

    def wire(self, number: int) -> bytes:
        """The bytes, with the number by which it is known."""
        head = b"%b / HTTP/1.1\r\nHost: a\r\nX-N: %d\r\n" % (self.method.encode(), number)
        return head + framed(self.framing, self.payload)


class Answering(NamedTuple):
    """A response: how it is framed, and the payload."""

    framing: str
    payload: bytes

    def wire(self, number: int) -> bytes:
        """The bytes, with the number by which it is known."""
        head = b"HTTP/1.1 200 OK\r\nX-N: %d\r\n" % number
        return head + (framed(self.framing, self.payload) if self.framing != "close" else b"\r\n" + self.payload)


def framed(framing: str, payload: bytes) -> bytes:
    """Framing fields, the head's end, and the body."""
    if framing == "none":
        return b"\r\n"
    if framing == "length":
        return b"Content-Length: %d\r\n\r\n" % len(payload) + payload
    body = b"%x\r\n%b\r\n" % (len(payload), payload) if payload else b""
    if framing == "extended":
        body = body.replace(b"\r\n", b";x\r\n", 1)
    return b"Transfer-Encoding: chunked\r\n\r\n" + body + b"0\r\n\r\n"


PAYLOADS = st.sampled_from([b"", b"hello", b"0\r\n\r\n", b"x" * 3000, b"y" * 150_000, b"z" * 400_000])
ASKING = st.builds(Asking, st.just("GET"), st.just("none"), st.just(b"")) | st.builds(
    Asking, st.sampled_from(["POST", "PUT"]), st.sampled_from(["length", "chunked", "extended"]), PAYLOADS
)
ANSWERING = st.builds(Answering, st.sampled_from(["length", "chunked", "extended", "close"]), PAYLOADS)

ACTIONS = st.one_of(
    st.tuples(st.sampled_from(["ask", "answer"]), SIZES),
    st.tuples(st.sampled_from(["ask all", "answer all", "quiet", "exchange", "exchange"]), st.just(0)),
    st.tuples(
        st.sampled_from(
            [
                *("client closes", "client half-closes", "client resets", "upstream closes", "upstream resets"),
                *("client pauses", "client resumes", "upstream pauses", "upstream resumes"),
                *("dials hang", "dials go on", "dials fail", "drain", "new client"),
            ]
        ),
        st.just(0),
    ),
    st.tuples(st.just("wait"), st.sampled_from([0, 1, 10, 30, 60, 110])),
)


class Play:
    """One run of actions."""

    def __init__(self, scene: Scene, asking: list[Asking], answering: list[Answering]) -> None:
        self.scene = scene
        self.asking = asking
        self.answering = answering
        self.told = 0  # responses begun
        self.left: dict[Client, bytes] = {}  # what is yet to be sent
        self.answers: dict[Far, bytes] = {}
        self.asked: dict[Far, int] = {}  # requests seen when it last began an answer
        self.seen: dict[Far, bytes] = {}  # all that an upstream got
        self.closed_early = False  # an upstream connection, in an orderly way
        self.begin()

    def begin(self) -> None:
        """A new client, which asks everything."""
        client = self.client = self.scene.client()
        base = len(self.left) * len(self.asking)
        client.sent = [each.method for each in self.asking]
        self.left[client] = b"".join(each.wire(base + number) for number, each in enumerate(self.asking))

    @property
    def upstream(self) -> Far | None:
        """The upstream connection that was asked last and lives."""
        living = [far for far in self.scene.far_upstreams if not far.lost]
        return living[-1] if living else None

    def ask(self, size: int) -> None:
        """The client sends so many more bytes."""
        left = self.left[self.client]
        if not self.client.lost and not self.client.wire.is_closing() and left:
            self.client.send(left[:size])
            self.left[self.client] = left[size:]

    def answer(self, size: int) -> None:
        """The upstream sends so many more bytes, to whoever has asked."""
        far = self.upstream
        if far is None or far.wire.is_closing():
            return
        if not self.answers.get(far):
            asked = far.got.count(b"\r\nX-N: ")
            if asked == self.asked.get(far, 0):
                return
            self.asked[far] = asked
            answering = self.answering[self.told % len(self.answering)]
            self.answers[far] = answering.wire(self.told)
            self.told += 1
            self.ends = answering.framing == "close"
        data = self.answers[far]
        far.send(data[:size])
        self.answers[far] = data[size:]
        if not data[size:] and self.ends:
            far.wire.close()

    async def act(self, action: str, size: int) -> None:
        """Do it. Some turns of the loop may pass, or none."""
        client, far, scene = self.client, self.upstream, self.scene
        wires = {"client": client.wire, "upstream": far.wire if far is not None else None}
        who, _, what = action.partition(" ")
        wire = wires.get(who)
        if action == "wait":
            await scene.after(size / 10)
        elif who == "ask":
            self.ask(size or 10**9)
        elif who == "answer":
            self.answer(size or 10**9)
        elif action == "new client":
            if len(self.left) < 3:
                self.begin()
        elif who == "dials":
            scene.refuses = what == "fail"
            scene.accepts.clear() if what == "hang" else scene.accepts.set()
        elif action == "drain":
            scene.server.begin_drain()
        elif action == "quiet":
            await scene.quiet()
        elif action == "exchange":
            for part in ("ask", "answer"):
                await self.act(f"{part} all", 0)
                await scene.quiet()
        elif wire is not None and not wire.lost:
            _handle(wire, what)
            client.stays = client.stays or what == "half-closes"
            self.closed_early = self.closed_early or action == "upstream closes"


def _handle(wire: object, what: str) -> None:
    from tests.flow.virtual import Wire

    assert isinstance(wire, Wire)
    if what == "resets":
        wire.linger = False
        wire.abort()
    elif what == "half-closes":
        wire.write_eof()
        wire.write = lambda data: None  # type: ignore[method-assign]  # it has said all
    else:
        {"closes": wire.close, "pauses": wire.pause_reading, "resumes": wire.resume_reading}[what]()


async def play(
    asking: list[Asking], answering: list[Answering], actions: list[tuple[str, int]], kernel: int, most: int, turns: int
) -> None:
    """Do all that, let everybody go, and look at what is left and what was seen."""
    timeouts = Timeouts(request=3.0, connect=1.0, head=2.0, stream_idle=5.0, keep_alive=10.0, startup=0.2)
    async with Scene(
        timeouts=timeouts, kernel=kernel, pool=Pool(max_connections=most), http=Http(max_body=200_000)
    ) as scene:
        acts = Play(scene, asking, answering)
        for action, size in actions:
            await acts.act(action, size)
            for _ in range(turns):
                await acts.scene.loop.create_task(_nothing())
        scene.accepts.set()
        for client in scene.clients:
            client.wire.resume_reading()
        await scene.after(1.0)
        for client in scene.clients:
            client.wire.close()
        # Who is not read from is not seen leaving: then the limits end it.
        await scene.after(60.0)
        await scene.leave()
        for client in scene.clients:
            look_at_answers(acts, client)
        look_at_requests(acts)


async def _nothing() -> None:
    """One turn of the loop."""


def look_at_answers(acts: Play, client: Client) -> None:
    """What looks complete to a client is the whole of what the upstream had to say."""
    for answer in read_answers(client.got, client.sent, ended=client.ended and not client.reset):
        number = answer.headers.get(b"x-n")
        if number is None:
            assert answer.reason
        elif answer.complete:
            answering = acts.answering[int(number) % len(acts.answering)]
            if answering.framing == "close" and acts.closed_early:
                # The upstream itself ended it there: nobody can see that more was meant.
                assert answering.payload.startswith(answer.body)
            else:
                assert answer.body == answering.payload


def look_at_requests(acts: Play) -> None:
    """What looks complete to an upstream is whole, and what could do harm twice came once at most."""
    came: dict[int, int] = {}
    for far in acts.scene.far_upstreams:
        for number, body, complete in requests_in(far.got):
            came[number] = came.get(number, 0) + 1
            asked = acts.asking[number % len(acts.asking)]
            assert not complete or body == asked.payload
    for number, times in came.items():
        assert times <= (1 if acts.asking[number % len(acts.asking)].method == "POST" else 2)


def requests_in(data: bytes) -> list[tuple[int, bytes, bool]]:
    """The requests in an upstream's bytes: number, payload so far, whether it is complete."""
    found = []
    while NUMBER.search(data) and b"\r\n\r\n" in data:
        server = h11.Connection(h11.SERVER)
        server.receive_data(data)
        head = server.next_event()
        assert isinstance(head, h11.Request)
        number, body = int(dict(head.headers)[b"x-n"]), b""
        while isinstance(event := server.next_event(), h11.Data):
            body += event.data
        found.append((number, body, isinstance(event, h11.EndOfMessage)))
        if not isinstance(event, h11.EndOfMessage):
            break
        data = server.trailing_data[0]
    return found


@given(
    st.lists(ASKING, min_size=1, max_size=3),
    st.lists(ANSWERING, min_size=1, max_size=3),
    st.lists(ACTIONS, min_size=2, max_size=25),
    st.sampled_from([1000, 64 * 1024]),
    st.integers(1, 2),
    st.integers(0, 3),
)
def test_everything_ends_once_and_nothing_cut_looks_whole(
    asking: list[Asking],
    answering: list[Answering],
    actions: list[tuple[str, int]],
    kernel: int,
    most: int,
    turns: int,
) -> None:
    """Bytes and ends of both sides, pauses, dials that hang or fail, limits, a drain: in any order."""
    travel(lambda: play(asking, answering, actions, kernel, most, turns))
