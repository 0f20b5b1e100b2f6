"""Faults between the proxy and the upstream: what the client is told, what is counted, and that it is over afterwards.

An answer is either whole, by its hash, or not the upstream's, or visibly cut; there is no fourth kind.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from time import monotonic
from typing import NamedTuple

import pytest

from tests.faults.account import Account, new_id
from tests.faults.hop import Act, Fault, Hop
from tests.support.client import Answer, Client, CutError
from tests.support.processes import GoService, Proxy
from tests.support.upstream import OK, Upstream
from tests.support.waiting import eventually
from tests.wire.conftest import PLAIN, Start
from tests.wire.test_bodies import chunk, pattern, pattern_hash
from tests.wire.test_upgrades import WebSocket

SIZE = 300_000
HALF = 100_000  # somewhere in the middle of such a body
LATE = 0.3  # seconds

ENDS = [Act.END, Act.RESET]


class Place(NamedTuple):
    """A proxy whose way to the Go service leads over a hop."""

    proxy: Proxy
    hop: Hop

    def works(self) -> None:
        """The next request is served as if nothing had been, with its body whole, and the next connection's too."""
        with self.proxy.client() as client:
            for _ in range(2):
                answer = client.get(f"/bytes/{SIZE}")
                assert (answer.status, answer.body) == (200, pattern(SIZE))
            assert upload(client) == pattern_hash(SIZE)


@pytest.fixture(scope="module")
def _place(go: GoService) -> Iterator[Place]:
    with Hop(go.address) as hop, Proxy(hop.url, *PLAIN, SIDECAR_HEALTH__INTERVAL="1h") as proxy:
        yield Place(proxy, hop)


@pytest.fixture
def place(_place: Place) -> Iterator[Place]:
    """Without policies: what each failure does by itself. At its end it has happened, and all works again."""
    yield _place
    _place.hop.met()
    _place.works()


def upload(client: Client, size: int = SIZE, chunked: bool = False, *fields: str) -> str:
    """The hash that the service saw of an upload."""
    body = pattern(size)
    if chunked:
        client.ask("/upload", "POST", ["Transfer-Encoding: chunked", *fields])
        for start in range(0, size, 20_000):
            client.send(chunk(body[start : start + 20_000]))
        client.send(b"0\r\n\r\n")
    else:
        client.ask("/upload", "POST", fields, body)
    answer = client.read("POST")
    assert answer.status == 200, answer
    told: dict[str, str] = json.loads(answer.body)
    return told["sha256"]


def told(answer: Answer, status: int, reason: str) -> None:
    """The answer is ours, and says this."""
    assert (answer.status, answer.get("X-Sidecar-Reason")) == (status, reason), answer
    assert json.loads(answer.body)["reason"] == reason


def cut(client: Client, target: str, *fields: str) -> Answer:
    """The head and what came of a body that was visibly cut."""
    client.ask(target, fields=fields)
    with pytest.raises(CutError) as caught:
        client.read()
    assert caught.value.answer is not None
    return caught.value.answer


# ── before the answer


@pytest.mark.parametrize("act", ENDS)
@pytest.mark.parametrize("after", [0, 20], ids=["nothing", "half a head"])
@pytest.mark.parametrize("kept", [False, True], ids=["new", "kept"])
def test_lost_before_the_answer(place: Place, act: Act, after: int, kept: bool) -> None:
    """A connection that ends before the answer's head is 502; half a head is no answer, nor is it sent to anybody."""
    request = new_id()
    if not kept:
        place.hop.arm(Fault(Act.END, "up"))  # whatever connection was kept is used up by this
        with place.proxy.client() as client:
            assert client.post("/upload", b"x").status == 502
    account = Account(place.proxy)
    place.hop.arm(Fault(act, after=after))
    with place.proxy.client() as client:
        # A POST: one that is kept and proves dead may have been seen.
        answer = client.post("/upload", b"x", f"X-Request-ID: {request}")
    reason = "stale_connection" if kept and not after else "connection_lost"
    told(answer, 502, reason)
    account.comes_to({reason: 1}, {reason: 1})
    assert account.line(request) == (502, reason, 1)


@pytest.mark.parametrize("act", ENDS)
def test_a_kept_connection_that_dies_costs_a_get_nothing(place: Place, act: Act) -> None:
    """A GET that met a dead connection is sent again, once, and answered."""
    request = new_id()
    place.works()
    account = Account(place.proxy)
    place.hop.arm(Fault(act, "up"))
    with place.proxy.client() as client:
        answer = client.get("/hello", f"X-Request-ID: {request}")
    assert answer.status == 200
    account.comes_to({"upstream": 1}, {"stale_connection": 1, "2xx": 1})
    assert account.line(request) == (200, "upstream", 2)


@pytest.mark.parametrize(
    "garbage", [b"\x00\xff\x16\x03\x01garbage\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", b"\r\n"]
)
def test_garbage_before_the_answer(place: Place, garbage: bytes) -> None:
    """What is no HTTP is refused, and nothing of what follows on that connection is believed."""
    account = Account(place.proxy)
    place.hop.arm(Fault(Act.INJECT, data=garbage))
    with place.proxy.client() as client:
        told(client.get("/hello"), 502, "bad_response")
    account.comes_to({"bad_response": 1}, {"bad_response": 1})


# ── in the middle of the answer


@pytest.mark.parametrize("act", [*ENDS, Act.HALF_CLOSE])
@pytest.mark.parametrize("target", [f"/bytes/{SIZE}", f"/chunked/{SIZE}", "/sse?n=1000&every=0s"])
def test_lost_in_the_middle(place: Place, target: str, act: Act) -> None:
    """An answer that was cut is cut for the client too, and what it got until then is the beginning of it."""
    request = new_id()
    with place.proxy.client() as client:
        whole = client.get(target).body
    account = Account(place.proxy)
    half = min(HALF, len(whole) // 2)
    place.hop.arm(Fault(act, after=half))
    with place.proxy.client() as client:
        answer = cut(client, target, f"X-Request-ID: {request}")
    assert answer.status == 200
    # A reset may overtake what was sent before it.
    assert len(answer.body) <= half
    assert answer.body or act is Act.RESET
    assert whole.startswith(answer.body)
    account.comes_to({"connection_lost": 1}, {"2xx": 1})
    assert account.line(request) == (200, "connection_lost", 1)


def test_garbage_between_chunks(place: Place) -> None:
    """Framing that breaks in the middle of an answer cuts it: what lies behind cannot be told from its end."""
    account = Account(place.proxy)
    place.hop.arm(Fault(Act.INJECT, after=HALF, data=b"\x00\xff\r\n" * 20_000))
    with place.proxy.client() as client:
        assert cut(client, f"/chunked/{SIZE}").status == 200
    account.comes_to({"bad_response": 1}, {"2xx": 1})


def test_bytes_behind_an_answer(start: Start, upstream: Upstream) -> None:
    """What comes behind an answer belongs to nobody: no later request is given it."""
    forged = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged"
    with Hop(("127.0.0.1", upstream.port)) as hop:
        proxy = start(*PLAIN, url=hop.url)
        account = Account(proxy)
        with proxy.client() as client:
            for _ in range(5):
                hop.arm(Fault(Act.INJECT, after=len(OK), data=forged))
                assert client.get("/hello").body == b"ok"
                eventually(lambda: proxy.pool()["connections"] == 0)
                assert client.get("/hello").body == b"ok"
        account.comes_to({"upstream": 10}, {"2xx": 10})


@pytest.mark.parametrize("act", [Act.SLICE, Act.DELAY])
@pytest.mark.parametrize("target", ["/bytes/3000", "/chunked/3000"])
def test_slow_and_in_pieces(place: Place, target: str, act: Act) -> None:
    """An answer that comes late, or in single bytes from its first one on, is the same answer."""
    account = Account(place.proxy)
    place.hop.arm(Fault(act, seconds=LATE))
    with place.proxy.client() as client:
        began = monotonic()
        assert client.get(target).body == pattern(3000)
        assert monotonic() - began >= LATE if act is Act.DELAY else place.hop.sliced > 3000
    account.comes_to({"upstream": 1}, {"2xx": 1})


# ── in the middle of the request


@pytest.mark.parametrize("act", ENDS)
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_lost_during_an_upload(place: Place, chunked: bool, act: Act) -> None:
    """An upload whose connection is lost is answered 502, though the client is still sending."""
    request = new_id()
    account = Account(place.proxy)
    place.hop.arm(Fault(act, "up", after=HALF))
    with place.proxy.client() as client:
        framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {2 * SIZE}"
        client.ask("/upload", "POST", [framing, f"X-Request-ID: {request}"])
        client.send(chunk(pattern(SIZE)) if chunked else pattern(SIZE))
        answer = client.read("POST")
    assert answer["Connection"] == "close"
    status, reason, attempts = account.line(request)
    assert (status, attempts) == (502, 1)
    # Whether the connection had been used before decides which of the two it is called.
    assert reason in ("connection_lost", "stale_connection")
    told(answer, status, reason)
    account.comes_to({reason: 1}, {reason: 1})


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_an_upload_in_single_bytes(place: Place, chunked: bool) -> None:
    """An upload that reaches the upstream in single bytes is the same upload."""
    place.hop.arm(Fault(Act.SLICE, "up"))
    with place.proxy.client() as client:
        assert upload(client, 3000, chunked) == pattern_hash(3000)
        assert place.hop.sliced > 3000


# ── standing still


def test_an_answer_that_stands_still(start: Start, go: GoService) -> None:
    """An answer that does not begin ends by the deadline, one that stops by the idle limit, cut; others go on."""
    with Hop(go.address) as hop:
        proxy = start(*PLAIN, url=hop.url, SIDECAR_TIMEOUTS__STREAM_IDLE="800ms")
        account = Account(proxy)
        with proxy.client() as client, proxy.client() as other:
            hop.arm(Fault(Act.STALL))
            told(client.get("/hello", "x-request-timeout-ms: 400"), 504, "deadline_exceeded")
            hop.arm(Fault(Act.STALL, after=HALF))
            client.ask(f"/bytes/{SIZE}")
            assert hop.happened.wait(10)
            assert other.get("/hello").status == 200
            with pytest.raises(CutError) as caught:
                client.read()
            answer = caught.value.answer
            assert answer is not None
            assert pattern(SIZE).startswith(answer.body)
        account.comes_to(
            {"deadline_exceeded": 1, "connection_lost": 1, "upstream": 1}, {"deadline_exceeded": 1, "2xx": 2}
        )
        Place(proxy, hop).works()


def test_an_upload_that_is_not_read(start: Start, go: GoService) -> None:
    """An upstream that stops taking an upload fails it, and is named as the one that did."""
    with Hop(go.address) as hop:
        proxy = start(*PLAIN, url=hop.url, SIDECAR_TIMEOUTS__STREAM_IDLE="1s")
        account = Account(proxy)
        request = new_id()
        hop.arm(Fault(Act.STALL, "up", after=HALF))
        with proxy.client() as client:
            client.ask("/upload", "POST", [f"Content-Length: {1 << 30}", f"X-Request-ID: {request}"])
            client.send_until_answered()
            answer = client.read("POST")
        told(answer, 504, "attempt_timeout")
        account.comes_to({"attempt_timeout": 1}, {"attempt_timeout": 1})
        assert account.line(request) == (504, "attempt_timeout", 1)
        hop.release()
        Place(proxy, hop).works()


# ── tunnels


@pytest.mark.parametrize("act", ENDS)
def test_a_tunnel_that_breaks(place: Place, act: Act) -> None:
    """A WebSocket whose upstream half is lost ends for the client, after the bytes that had come."""
    account = Account(place.proxy)
    with place.proxy.client() as client:
        socket = WebSocket(client)
        socket.send(2, b"before")
        assert socket.receive() == (2, b"before")
        place.hop.arm(Fault(act, after=50))
        payload = hashlib.sha512(b"").digest()
        socket.send(2, payload)
        assert client.take(50) == b"\x82" + bytes([len(payload)]) + payload[:48]
        assert client.end() in ("end", "reset")
    account.comes_to({"upstream" if act is Act.END else "connection_lost": 1}, {"1xx": 1})


def test_a_tunnel_in_single_bytes(place: Place) -> None:
    """A WebSocket's handshake and messages may come in single bytes."""
    place.hop.arm(Fault(Act.SLICE))
    with place.proxy.client() as client:
        socket = WebSocket(client)
        socket.send(2, pattern(2000))
        assert socket.receive() == (2, pattern(2000))
        assert place.hop.sliced > 4000


# ── with the policies on


def test_retries_hide_a_lost_connection(start: Start, go: GoService) -> None:
    """With retries on, a GET whose connection is lost before its answer began is answered all the same."""
    with Hop(go.address) as hop:
        proxy = start(url=hop.url)
        account = Account(proxy)
        for fault in (Fault(Act.RESET), Fault(Act.END), Fault(Act.RESET, after=20)):
            request = new_id()
            hop.arm(fault)
            with proxy.client() as client:
                assert client.get(f"/bytes/{SIZE}", f"X-Request-ID: {request}").body == pattern(SIZE)
            assert account.line(request) == (200, "upstream", 2)
        assert account.answers == {"upstream": 3}
