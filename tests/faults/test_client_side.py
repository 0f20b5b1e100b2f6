"""Faults between the client and the proxy: what the upstream sees of it, what is counted, and that it is over then.

Half a request reaches no handler as a whole one, and a client that was cut off takes its upstream request with it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from typing import NamedTuple

import pytest

from tests.faults.account import Account, new_id
from tests.faults.hop import Act, Fault, Hop
from tests.support.client import Client, CutError
from tests.support.processes import GoService, Proxy
from tests.support.waiting import eventually
from tests.wire.conftest import PLAIN, Start
from tests.wire.test_bodies import chunk, pattern, pattern_hash
from tests.wire.test_upgrades import WebSocket

SIZE = 300_000
HALF = 100_000
LATE = 0.3  # seconds

ENDS = [Act.END, Act.RESET, Act.HALF_CLOSE]


class Place(NamedTuple):
    """A proxy in front of the Go service, whose clients come over a hop."""

    proxy: Proxy
    hop: Hop
    go: GoService

    def client(self) -> Client:
        """A client behind the hop."""
        return Client(self.hop.address)

    @contextmanager
    def broken(self) -> Iterator[Client]:
        """One whose connection may break under it while it sends."""
        with self.client() as client:
            try:
                yield client
            except (OSError, CutError):
                pass

    def works(self) -> None:
        """The next connection is served as if nothing had been, with bodies whole, and nothing is left over."""
        with self.client() as client:
            assert client.get(f"/bytes/{SIZE}").body == pattern(SIZE)
            assert json.loads(client.post("/upload", pattern(SIZE)).body)["sha256"] == pattern_hash(SIZE)
        eventually(lambda: self.proxy.status()["connections"] == 0, "all connections to end")


@pytest.fixture(scope="module")
def _place(go: GoService) -> Iterator[Place]:
    with Proxy(go.url, *PLAIN, SIDECAR_HEALTH__INTERVAL="1h") as proxy, Hop(proxy.address) as hop:
        yield Place(proxy, hop, go)


@pytest.fixture
def place(_place: Place) -> Iterator[Place]:
    """What was armed has happened when the test is over, and it works again."""
    yield _place
    _place.hop.met()
    _place.works()


# ── in the middle of the request


@pytest.mark.parametrize("act", ENDS)
def test_lost_in_the_middle_of_a_head(place: Place, act: Act) -> None:
    """Half a head is no request: it reaches nobody, and is not counted as one."""
    account = Account(place.proxy)
    place.hop.arm(Fault(act, "up", after=30))
    with place.broken() as client:
        client.ask("/hello", fields=["X-Padding: " + "x" * 100])
        client.end()
    eventually(lambda: place.proxy.status()["connections"] == 0)
    account.comes_to({}, {})


@pytest.mark.parametrize("act", ENDS)
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_lost_during_an_upload(place: Place, chunked: bool, act: Act) -> None:
    """Half an upload ends at the upstream as half a one, and is client_gone here."""
    request = new_id()
    account = Account(place.proxy)
    place.hop.arm(Fault(act, "up", after=HALF))
    with place.broken() as client:
        framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {SIZE}"
        client.ask("/upload", "POST", [framing, f"X-Request-ID: {request}"])
        client.send(chunk(pattern(SIZE)) + b"0\r\n\r\n" if chunked else pattern(SIZE))
        client.end()
    assert account.line(request) == (499, "client_gone", 1)
    account.comes_to({"client_gone": 1}, {"client_gone": 1})
    place.go.context_ended(request)


@pytest.mark.parametrize("garbage", [b"\x16\x03\x01\x02\x00\x01\xfc\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n"])
def test_garbage_instead_of_a_request(place: Place, garbage: bytes) -> None:
    """What is no HTTP is 400, and what follows on that connection is not read as a request."""
    account = Account(place.proxy)
    place.hop.arm(Fault(Act.INJECT, "up", data=garbage))
    with place.client() as client:
        client.ask("/hello")
        answer = client.read()
        assert (answer.status, answer["X-Sidecar-Reason"]) == (400, "bad_request")
        assert client.end() in ("end", "reset")
    account.comes_to({"bad_request": 1}, {})


def test_garbage_between_chunks(place: Place) -> None:
    """Framing that breaks in the middle of an upload ends it, for the upstream too."""
    request = new_id()
    account = Account(place.proxy)
    place.hop.arm(Fault(Act.INJECT, "up", after=HALF, data=b"\x00\xff\r\n" * 3000))
    with place.client() as client:
        client.ask("/upload", "POST", ["Transfer-Encoding: chunked", f"X-Request-ID: {request}"])
        client.send(chunk(pattern(10_000)))
        place.go.running(request)
        client.send(b"".join(chunk(pattern(10_000)) for _ in range(29)))
        answer = client.read("POST")
        assert (answer.status, answer["X-Sidecar-Reason"]) == (400, "bad_request")
    account.comes_to({"bad_request": 1}, {"bad_request": 1})
    place.go.context_ended(request)


@pytest.mark.parametrize("act", [Act.SLICE, Act.DELAY])
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_slow_and_in_pieces(place: Place, chunked: bool, act: Act) -> None:
    """A request that comes late, or in single bytes from its first one on, is the same request."""
    account = Account(place.proxy)
    place.hop.arm(Fault(act, "up", seconds=LATE))
    body = pattern(3000)
    with place.client() as client:
        began = monotonic()
        if chunked:
            client.ask("/upload", "POST", ["Transfer-Encoding: chunked"])
            client.send(chunk(body[:999]) + chunk(body[999:]) + b"0\r\n\r\n")
        else:
            client.ask("/upload", "POST", body=body)
        assert json.loads(client.read("POST").body)["sha256"] == pattern_hash(3000)
        assert monotonic() - began >= LATE if act is Act.DELAY else place.hop.sliced > 3000
    account.comes_to({"upstream": 1}, {"2xx": 1})


# ── in the middle of the answer


@pytest.mark.parametrize("act", [Act.END, Act.RESET])
@pytest.mark.parametrize("target", ["/slow-bytes/1000000?chunk=10000&every=5ms", "/sse?n=100000&every=1ms", "/hang"])
def test_lost_in_the_middle_of_the_answer(place: Place, target: str, act: Act) -> None:
    """A client that is cut off while it waits or reads takes the upstream's request with it."""
    request = new_id()
    account = Account(place.proxy)
    waits = target == "/hang"
    place.hop.arm(Fault(act, "up", after=200) if waits else Fault(act, after=20_000))
    with place.broken() as client:
        client.ask(target, fields=[f"X-Request-ID: {request}", f"X-Padding: {'x' * 100}"])
        if waits:
            place.go.running(request)
            client.send(b"GET / HTTP/1.1\r\n" + b"x" * 100)  # over the mark
        client.read()
    assert account.line(request) == (499 if waits else 200, "client_gone", 1)
    account.comes_to({"client_gone": 1}, {"client_gone": 1} if waits else {"2xx": 1})
    place.go.context_ended(request)


def test_an_answer_that_is_not_taken(start: Start, go: GoService) -> None:
    """An answer that the client's side stops taking is given up by the idle limit, upstream too; others go on."""
    proxy = start(*PLAIN, url=go.url, SIDECAR_TIMEOUTS__STREAM_IDLE="600ms")
    request = new_id()
    account = Account(proxy)
    with Hop(proxy.address) as hop:
        hop.arm(Fault(Act.STALL, after=HALF))
        with Client(hop.address) as client, Client(hop.address) as other:
            client.ask(f"/bytes/{1 << 30}", fields=[f"X-Request-ID: {request}"])
            assert hop.happened.wait(10)
            assert other.get("/hello").status == 200
            assert account.line(request) == (200, "client_gone", 1)
            hop.release()
            with pytest.raises(CutError):
                client.read()
        account.comes_to({"client_gone": 1, "upstream": 1}, {"2xx": 2})
        go.context_ended(request)


# ── tunnels


@pytest.mark.parametrize("act", [Act.END, Act.RESET])
def test_a_tunnel_that_breaks(place: Place, act: Act) -> None:
    """A WebSocket whose client half is lost ends for the upstream."""
    connections = place.proxy.pool()["connections"] - place.proxy.pool()["idle"]
    with place.broken() as client:
        socket = WebSocket(client)
        socket.send(2, b"before")
        assert socket.receive() == (2, b"before")
        place.hop.arm(Fault(act, "up", after=20))
        socket.send(2, b"x" * 100)
        socket.receive()
    eventually(lambda: place.proxy.pool()["connections"] - place.proxy.pool()["idle"] == connections)
    eventually(lambda: place.proxy.status()["in_flight"] == 0)


def test_a_tunnel_in_single_bytes(place: Place) -> None:
    """A WebSocket's handshake and messages may come in single bytes."""
    place.hop.arm(Fault(Act.SLICE, "up"))
    with place.client() as client:
        socket = WebSocket(client)
        socket.send(2, pattern(2000))
        assert socket.receive() == (2, pattern(2000))
        assert place.hop.sliced > 4000
