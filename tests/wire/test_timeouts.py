"""Time: what bounds the wait for an answer, what does not bound a body, and what the upstream is told of it."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from threading import Event
from time import monotonic

import pytest

from tests.support.client import CutError
from tests.support.processes import GoService
from tests.support.upstream import OK, Peer, Seen, Upstream, always
from tests.support.waiting import eventually
from tests.wire.conftest import Start
from tests.wire.raw import Raw


def silent(peer: Peer, seen: Seen) -> None:
    """Never answer."""


def test_overall_timeout(start: Start, upstream: Upstream, request_id: str) -> None:
    """No head within `--timeout`: 504 deadline_exceeded, in time, and the upstream's connection is closed."""
    upstream.script = silent
    proxy = start("--timeout", "300ms")
    with proxy.client() as client:
        began = monotonic()
        answer = client.get("/", f"X-Request-ID: {request_id}")
        assert 0.25 < monotonic() - began < 5
        assert (answer.status, answer["X-Sidecar-Reason"]) == (504, "deadline_exceeded")
        assert answer["Proxy-Status"] == "sidecar; error=http_response_timeout"
        assert upstream.seen[0].peer.gone.wait(10)
        upstream.script = always(OK)
        assert client.get("/").status == 200
    line = proxy.access(request_id)
    assert (line["status"], line["reason"], line["attempts"]) == (504, "deadline_exceeded", 1)
    assert line["upstream_ms"] >= 250


def test_the_upstream_is_told_the_overall_timeout(start: Start, upstream: Upstream) -> None:
    """Without a client's deadline the upstream is told what `--timeout` leaves it."""
    proxy = start("--timeout", "5s", "--attempt-timeout", "2s")
    with proxy.client() as client:
        client.get("/")
    for name in ("x-request-timeout-ms", "x-envoy-expected-rq-timeout-ms"):
        assert 1500 < int(upstream.seen[0].get(name) or 0) <= 2000


def test_no_timeout_no_header(start: Start, upstream: Upstream) -> None:
    """With `--timeout 0s` nothing bounds the wait, and the upstream is told nothing."""
    proxy = start("--timeout", "0s")
    with proxy.client() as client:
        client.get("/")
    assert "x-request-timeout-ms" not in upstream.seen[0].names


DEADLINES = [
    (["x-request-timeout-ms: 400"], 400),
    (["x-envoy-expected-rq-timeout-ms: 400"], 400),
    (["connect-timeout-ms: 400"], 400),
    (["grpc-timeout: 400m"], 400),
    (["grpc-timeout: 400000u"], 400),
    (["x-request-timeout-ms: 60000", "grpc-timeout: 400m", "connect-timeout-ms: 30000"], 400),
    (["X-Request-Timeout-Ms: 400", "x-envoy-expected-rq-timeout-ms: 900"], 400),
]


@pytest.mark.parametrize(("lines", "limit"), DEADLINES)
def test_client_deadlines(raw: Raw, lines: list[str], limit: int) -> None:
    """A client's own deadline, the smallest it names, is answered before it passes; the upstream hears what is left."""
    raw.upstream.script = silent
    with raw.client() as client:
        began = monotonic()
        answer = client.get("/", *lines)
        took = (monotonic() - began) * 1000
    assert (answer.status, answer["X-Sidecar-Reason"]) == (504, "deadline_exceeded")
    assert took > limit - 50
    seen = raw.seen[0]
    for name in ("x-request-timeout-ms", "x-envoy-expected-rq-timeout-ms"):
        assert limit - 200 < int(seen.get(name) or 0) < limit
    assert seen.peer.gone.wait(10)


def test_client_deadlines_are_answered_in_time(raw: Raw) -> None:
    """Most answers to a deadline arrive before it, by the clock of the client."""
    raw.upstream.script = silent
    early = 0
    with raw.client() as client:
        for _ in range(10):
            began = monotonic()
            assert client.get("/", "x-request-timeout-ms: 200").status == 504
            early += monotonic() - began < 0.2
    assert early >= 5


@pytest.mark.parametrize("value", ["", "abc", "-5", "+5", "1_0", "5.5", "99999999999", "5 ms", "0x5"])
def test_malformed_deadlines_do_not_count(raw: Raw, value: str) -> None:
    """A deadline that is no plain number bounds nothing, and is not passed on."""
    with raw.client() as client:
        assert client.get("/", f"x-request-timeout-ms: {value}").status == 200
    assert 10_000 < int(raw.seen[0].get("x-request-timeout-ms") or 0) <= 15_000


def test_a_deadline_of_nothing(raw: Raw) -> None:
    """A deadline that has passed is answered at once, and does not reach the upstream."""
    with raw.client() as client:
        answer = client.get("/", "x-request-timeout-ms: 0")
        assert (answer.status, answer["X-Sidecar-Reason"]) == (504, "deadline_exceeded")
    assert raw.seen == []


def test_a_client_deadline_longer_than_ours(start: Start, upstream: Upstream) -> None:
    """A client cannot make the wait longer than `--timeout`."""
    upstream.script = silent
    proxy = start("--timeout", "300ms")
    with proxy.client() as client:
        assert client.get("/", "x-request-timeout-ms: 60000").status == 504
    assert int(upstream.seen[0].get("x-request-timeout-ms") or 0) <= 300


def test_a_client_deadline_bounds_the_body(raw: Raw) -> None:
    """A client's own deadline cuts a body that is still coming when it passes."""
    raw.upstream.script = always(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
    with raw.client() as client:
        client.ask("/", fields=["x-request-timeout-ms: 300"])
        with pytest.raises(CutError):
            client.read()
    assert raw.seen[0].peer.gone.wait(10)


def test_attempt_timeout(start: Start, upstream: Upstream) -> None:
    """No head within `--attempt-timeout`: 504 attempt_timeout, and the connection is not used again."""
    upstream.script = silent
    proxy = start("--attempt-timeout", "300ms")
    with proxy.client() as client:
        answer = client.post("/", b"x")
        assert (answer.status, answer["X-Sidecar-Reason"]) == (504, "attempt_timeout")
        assert upstream.seen[0].peer.gone.wait(10)
        upstream.script = always(OK)
        assert client.get("/").status == 200
    assert len(upstream.speaking) == 2


def test_the_timeout_counts_from_the_whole_request(start: Start, upstream: Upstream) -> None:
    """Slow uploads do not use up `--timeout` nor `--attempt-timeout`; they count from the request's last byte."""
    proxy = start("--timeout", "500ms", "--attempt-timeout", "400ms")
    with proxy.client() as client:
        client.ask("/", "POST", ["Content-Length: 8"])
        for _ in range(8):
            assert client.quiet(0.1)
            client.send(b"x")
        assert client.read().status == 200
        upstream.script = silent
        assert client.post("/", b"x")["X-Sidecar-Reason"] == "attempt_timeout"


def test_timeouts_do_not_bound_bodies(start: Start, go: GoService) -> None:
    """Events that go on for longer than every timeout but the idle one are not cut."""
    proxy = start("--timeout", "300ms", "--attempt-timeout", "300ms", url=go.url, SIDECAR_TIMEOUTS__STREAM_IDLE="2s")
    with proxy.client() as client:
        assert client.get("/sse?n=10&every=100ms").body.count(b"data:") == 10
        assert client.get("/slow-bytes/10?chunk=1&every=100ms").length == 10


def test_a_stalled_answer_is_cut(start: Start, upstream: Upstream, request_id: str) -> None:
    """An answer's body that stops moving for `timeouts.stream_idle` is cut, on both sides."""
    upstream.script = always(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n")
    proxy = start(SIDECAR_TIMEOUTS__STREAM_IDLE="300ms")
    with proxy.client() as client:
        client.ask("/", fields=[f"X-Request-ID: {request_id}"])
        with pytest.raises(CutError):
            client.read()
    assert upstream.seen[0].peer.gone.wait(10)
    assert proxy.access(request_id)["reason"] == "connection_lost"


def test_a_client_that_does_not_read_is_cut(start: Start, upstream: Upstream, request_id: str) -> None:
    """A client that takes nothing for `timeouts.stream_idle` loses its answer, and the upstream's place comes free."""

    def script(peer: Peer, seen: Seen) -> None:
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n" + b"x" * 100_000_000)

    upstream.script = script
    proxy = start(SIDECAR_TIMEOUTS__STREAM_IDLE="500ms")
    with proxy.client() as client:
        client.ask("/", fields=[f"X-Request-ID: {request_id}"])
        line = proxy.access(request_id)
        assert (line["status"], line["reason"]) == (200, "client_gone")
        eventually(lambda: proxy.status()["in_flight"] == 0)
        eventually(lambda: proxy.pool()["connections"] == 0)


def test_an_idle_tunnel_is_cut(start: Start, go: GoService) -> None:
    """A tunnel on which nothing moves for `timeouts.stream_idle` is closed; one that moves either way lives."""
    proxy = start(url=go.url, SIDECAR_TIMEOUTS__STREAM_IDLE="500ms")
    with proxy.client() as client:
        client.ask("/raw-upgrade", fields=["Connection: Upgrade", "Upgrade: echo"])
        assert client.read_head().status == 101
        for _ in range(8):
            client.send(b"ping")
            assert client.take(4) == b"ping"
            assert client.quiet(0.1)
        assert client.end() in ("end", "reset")


# ── connecting


@pytest.fixture
def full() -> Iterator[socket.socket]:
    """A listening socket whose backlog is full, so that connects hang."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=0)
    fillers = []
    for _ in range(4):
        filler = socket.socket()
        filler.setblocking(False)
        filler.connect_ex(listener.getsockname())
        fillers.append(filler)
    yield listener
    for filler in fillers:
        filler.close()
    listener.close()


def test_connect_timeout(start: Start, full: socket.socket) -> None:
    """An upstream that does not accept in `--connect-timeout`: 504 connect_timeout."""
    url = f"http://127.0.0.1:{full.getsockname()[1]}"
    proxy = start("--connect-timeout", "300ms", url=url)
    with proxy.client() as client:
        began = monotonic()
        answer = client.get("/")
        assert (answer.status, answer["X-Sidecar-Reason"]) == (504, "connect_timeout")
        assert 0.25 < monotonic() - began < 5


def test_connect_timeout_within_the_client_deadline(start: Start, full: socket.socket) -> None:
    """Waiting to connect spends the client's deadline, too."""
    url = f"http://127.0.0.1:{full.getsockname()[1]}"
    proxy = start("--connect-timeout", "10s", url=url)
    with proxy.client() as client:
        answer = client.get("/", "x-request-timeout-ms: 300")
        assert (answer.status, answer["X-Sidecar-Reason"]) == (504, "deadline_exceeded")


def test_refused_after_an_answer(start: Start, upstream: Upstream) -> None:
    """Once the upstream has answered, a refused connection is told at once: 502 connect_failed."""
    proxy = start()
    with proxy.client() as client:
        upstream.script = always(OK, close=True)
        assert client.get("/").status == 200
        upstream.close()
        eventually(lambda: proxy.pool()["connections"] == 0)
        began = monotonic()
        answer = client.get("/")
        assert monotonic() - began < 0.8
        assert (answer.status, answer["X-Sidecar-Reason"]) == (502, "connect_failed")
        assert answer["Proxy-Status"] == "sidecar; error=connection_refused"
        assert client.post("/", b"x")["X-Sidecar-Reason"] == "connect_failed"
    assert proxy.events("waiting for the upstream to listen") == []


def test_an_upstream_that_starts_beside_us(start: Start) -> None:
    """While the upstream has never answered, refused connections are tried again for a while; this is logged once."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        proxy = start(url=f"http://127.0.0.1:{reserved.getsockname()[1]}", SIDECAR_TIMEOUTS__STARTUP="10s")
        clients = [proxy.client() for _ in range(3)]
        for client in clients:
            client.ask("/")
        proxy.wait_event("waiting for the upstream to listen")
        reserved.listen()
        with Upstream(sock=reserved) as late:
            for client in clients:
                assert client.read().status == 200
                client.close()
            assert len(late.seen) == 3
    assert len(proxy.events("waiting for the upstream to listen")) == 1


def test_an_upstream_that_never_starts(start: Start) -> None:
    """After `timeouts.startup`, a second by default, the client is told: 502 connect_failed."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        proxy = start(url=f"http://127.0.0.1:{reserved.getsockname()[1]}")
        with proxy.client() as client:
            began = monotonic()
            answer = client.get("/")
            assert 0.7 < monotonic() - began < 5
            assert (answer.status, answer["X-Sidecar-Reason"]) == (502, "connect_failed")


def test_an_upstream_that_accepts_and_closes(start: Start, upstream: Upstream) -> None:
    """An upstream that closes each connection at once gets 502 for the client, quickly, whichever of both sees it."""
    proxy = start(SIDECAR_TIMEOUTS__STARTUP="0s")
    upstream.on_accept = lambda peer: peer.close()
    with proxy.client() as client:
        for _ in range(10):
            answer = client.get("/")
            assert answer.status == 502
            assert answer["X-Sidecar-Reason"] in ("connect_failed", "connection_lost")
        upstream.on_accept = None
        assert client.get("/").status == 200


def test_an_upstream_that_never_reads(start: Start, upstream: Upstream) -> None:
    """An upload that the upstream does not read ends by `timeouts.stream_idle`; the answer blames the upstream."""
    release = Event()

    def on_head(peer: Peer, seen: Seen) -> None:
        release.wait(20)

    upstream.on_head = on_head
    proxy = start(SIDECAR_TIMEOUTS__STREAM_IDLE="1s")
    with proxy.client() as client:
        client.ask("/", "POST", ["Content-Length: 100000000"])
        client.sock.settimeout(0.2)
        with pytest.raises(TimeoutError):
            client.send(b"x" * 100_000_000)
        client.sock.settimeout(20)
        answer = client.read()
        # Not 408: the client did send.
        assert (answer.status, json.loads(answer.body)["reason"]) == (504, "attempt_timeout")
    eventually(lambda: proxy.pool()["connections"] == 0)
    release.set()
