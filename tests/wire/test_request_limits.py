"""Heads and bodies that are too long, too slow, or of another protocol; whoever sends them does not hold up others.

Requests that two readers could read differently are in tests/conformance.
"""

from __future__ import annotations

import json

import pytest

from tests.support.client import Answer
from tests.support.upstream import Upstream
from tests.support.waiting import eventually
from tests.wire.conftest import Start
from tests.wire.raw import Raw

CHUNKED = "Transfer-Encoding: chunked"


def refused(raw: Raw, data: bytes, status: int = 400) -> Answer:
    """The answer to `data`, checked: the sidecar's own, the connection's last, and nothing went upstream."""
    with raw.client() as client:
        client.send(data)
        answer = client.read()
        assert answer.status == status, answer
        assert answer["Content-Type"] == "application/problem+json"
        assert answer["Connection"] == "close"
        assert answer["X-Sidecar-Reason"]
        assert client.end() == "end"
    assert raw.bytes_seen() == b""
    # Nothing was on its way either: a sentinel behind it is the first thing that the upstream sees.
    with raw.client() as client:
        assert client.get("/sentinel").status == 200
    assert [seen.target for seen in raw.seen] == ["/sentinel"]
    return answer


def with_fields(*lines: str, body: bytes = b"", method: str = "POST") -> bytes:
    """A request that has these lines beside Host."""
    head = [f"{method} /bad HTTP/1.1", "Host: service.test", *lines, "", ""]
    return "\r\n".join(head).encode("latin-1") + body


# ── limits


def test_head_size(raw: Raw) -> None:
    """A head of 60 KiB passes; one byte more is answered 431."""
    for extra, status in ((0, 200), (1, 431)):
        head = b"GET / HTTP/1.1\r\nHost: x\r\nX-Fill: "
        data = head + b"f" * (61440 - len(head) - 4 + extra) + b"\r\n\r\n"
        if status == 200:
            with raw.client() as client:
                client.send(data)
                assert client.read().status == 200
            raw.forget()
        else:
            problem = json.loads(refused(raw, data, 431).body)
            assert problem["reason"] == "headers_too_large"
            assert problem["limit"] == 61440


def test_endless_heads(raw: Raw) -> None:
    """A head without an end is answered 431 as soon as it is too large, however long the client goes on."""
    with raw.client() as client:
        try:
            for _ in range(100):
                client.send(b"GET /" + b"a" * 65536)
        except OSError:
            pass
        assert client.read().status == 431


def test_header_count(raw: Raw) -> None:
    """100 header lines pass; 101 are answered 431."""
    lines = [f"X-{number}: {number}" for number in range(99)]
    with raw.client() as client:
        assert client.get("/", *lines).status == 200
    raw.forget()
    answer = refused(raw, with_fields(*lines, "X-Last: 1", method="GET"), 431)
    assert json.loads(answer.body)["reason"] == "headers_too_large"


def test_limits_are_settings(start: Start, upstream: Upstream) -> None:
    """`http.max_header_bytes` and `http.max_headers` move the limits."""
    proxy = start(SIDECAR_HTTP__MAX_HEADER_BYTES="1KiB", SIDECAR_HTTP__MAX_HEADERS="3")
    with proxy.client() as client:
        assert client.get("/", "X-A: a", "X-B: b").status == 200
        assert client.get("/", "X-A: a", "X-B: b", "X-C: c").status == 431
    with proxy.client() as client:
        assert client.get("/", "X-A: " + "a" * 1024).status == 431
    assert len(upstream.seen) == 1


# ── bodies that are broken from their beginning


@pytest.mark.parametrize("ended", [False, True], ids=["goes on", "half-closes"])
def test_a_body_that_is_broken_in_one_piece_with_its_head(raw: Raw, ended: bool) -> None:
    """It is refused before anything is sent, also where a connection to the upstream is at hand."""
    with raw.client() as client:
        assert client.get("/first").status == 200
        client.send(with_fields(CHUNKED, body=b"5\r\nhello\r\nzz\r\n"))
        if ended:
            client.half_close()
        assert client.read().status == 400
        assert client.end() == "end"
    with raw.client() as client:
        assert client.get("/last").status == 200
    assert [seen.target for seen in raw.seen] == ["/first", "/last"]
    assert b"/bad" not in raw.bytes_seen()
    assert sum(bool(peer.received) for peer in raw.upstream.peers) == 1  # others are probes


def test_a_body_that_breaks_as_its_client_half_closes(start: Start, upstream: Upstream) -> None:
    """The end comes at once behind the fault, on its own; the client is told all the same, and then closed on."""
    proxy = start()
    for _ in range(20):
        with proxy.client() as client:
            client.send(with_fields(CHUNKED, body=b"5\r\nhello\r\n"))
            eventually(lambda: any(peer.received.endswith(b"hello\r\n") for peer in upstream.peers))
            client.send(b"zz\r\n")
            client.half_close()
            assert client.read().status == 400
            assert client.end() == "end"
        assert upstream.seen == []  # it was not whole
        upstream.forget()


# ── clients that speak something else


def test_http_2_is_told(raw: Raw) -> None:
    """An HTTP/2 preface gets 400, in words that name gRPC."""
    answer = refused(raw, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
    assert "gRPC" in json.loads(answer.body)["detail"]


def test_tls_is_told(raw: Raw) -> None:
    """A TLS hello gets 400, in words that name TLS."""
    hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)) * 2
    answer = refused(raw, hello)
    assert "TLS" in json.loads(answer.body)["detail"]


# ── slow clients


def test_slow_heads(start: Start, upstream: Upstream) -> None:
    """A head that takes longer than the head timeout is answered 408, and so is one that trickles in."""
    proxy = start(SIDECAR_TIMEOUTS__HEAD="300ms")
    with proxy.client() as stuck, proxy.client() as trickling:
        stuck.send(b"GET / HTTP/1.1\r\nHost: x\r\n")
        trickling.send(b"GET / HTTP/1.1\r\nHost: x\r\n")
        while trickling.quiet(0.05):
            trickling.send(b"X-A: b\r\n")
        for client in (stuck, trickling):
            answer = client.read()
            assert (answer.status, answer["X-Sidecar-Reason"]) == (408, "request_timeout")
            assert answer["Connection"] == "close"
            assert client.end() == "end"
    assert upstream.speaking == []


def test_the_head_timeout_is_for_each_head(start: Start) -> None:
    """The time between two requests is not the second head's."""
    proxy = start(SIDECAR_TIMEOUTS__HEAD="300ms")
    with proxy.client() as client:
        assert client.get("/").status == 200
        assert client.quiet(0.5)
        assert client.get("/").status == 200


@pytest.mark.parametrize("framing", ["Content-Length: 10", CHUNKED])
def test_stalled_bodies(start: Start, upstream: Upstream, framing: str) -> None:
    """A request body that stops moving is answered 408, and the upstream sees it cut."""
    proxy = start(SIDECAR_TIMEOUTS__STREAM_IDLE="300ms")
    with proxy.client() as client:
        client.send(with_fields(framing, body=b"3\r\nabc\r\n" if framing == CHUNKED else b"abc"))
        answer = client.read()
        assert (answer.status, answer["X-Sidecar-Reason"]) == (408, "request_timeout")
        assert client.end() == "end"
    for peer in upstream.speaking:
        assert peer.gone.wait(10)
    assert upstream.seen == []


def test_slow_bodies_that_move_live(start: Start, upstream: Upstream) -> None:
    """A body that trickles in for longer than any timeout arrives, as long as it moves."""
    proxy = start("--timeout", "400ms", SIDECAR_TIMEOUTS__STREAM_IDLE="400ms", SIDECAR_TIMEOUTS__HEAD="400ms")
    with proxy.client() as client:
        client.send(with_fields("Content-Length: 10"))
        for _ in range(10):
            assert client.quiet(0.1)
            client.send(b"x")
        assert client.read().status == 200
    assert upstream.seen[0].body == b"x" * 10


def test_refusals_reach_clients_that_are_still_sending(raw: Raw) -> None:
    """A refusal is not lost to a reset while the client sends on."""
    with raw.client() as client:
        client.send(with_fields("Content-Length: 3", "Content-Length: 4"))
        try:
            for _ in range(64):
                client.send(b"x" * 65536)
        except OSError:
            pytest.fail("the connection was cut before the client had read its answer")
        assert client.read().status == 400


def test_one_client_cannot_hold_up_another(raw: Raw) -> None:
    """A client that sends half a head leaves the others alone."""
    with raw.client() as half, raw.client() as other:
        half.send(b"GET / HTT")
        assert other.get("/").status == 200
        half.send(b"P/1.1\r\nHost: x\r\n\r\n")
        assert half.read().status == 200
