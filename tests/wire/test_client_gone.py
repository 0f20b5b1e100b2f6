"""Clients that leave: the service's work for them ends at once, and the log says who left."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event

import pytest

from tests.support.client import Client
from tests.support.processes import GoService, Proxy
from tests.support.upstream import Peer, Seen, Upstream, always
from tests.support.waiting import eventually
from tests.wire.conftest import Start
from tests.wire.raw import Raw

WAYS: dict[str, Callable[[Client], None]] = {
    "closes": Client.close,
    "resets": Client.reset,
    "half-closes": Client.half_close,
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("target", ["/hang", "/sleep/60s"])
def test_waiting_for_an_answer(proxy: Proxy, go: GoService, request_id: str, way: str, target: str) -> None:
    """A client that leaves before the answer ends the handler's context; the log says 499 client_gone."""
    with proxy.client() as client:
        client.ask(target, fields=[f"X-Request-ID: {request_id}"])
        go.running(request_id)
        WAYS[way](client)
        go.context_ended(request_id)
        line = proxy.access(request_id)
    assert (line["status"], line["reason"], line["attempts"]) == (499, "client_gone", 1)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("target", ["/sse?n=0&every=10ms", "/slow-bytes/100000?chunk=1&every=10ms"])
def test_during_a_download(proxy: Proxy, go: GoService, request_id: str, way: str, target: str) -> None:
    """A client that leaves in the middle of a body ends the handler's context; the status stays what it was told."""
    with proxy.client() as client:
        client.ask(target, fields=[f"X-Request-ID: {request_id}"])
        assert client.read_head().status == 200
        client.take(1)
        WAYS[way](client)
        go.context_ended(request_id)
        line = proxy.access(request_id)
    assert (line["status"], line["reason"]) == (200, "client_gone")
    assert line["bytes_out"] >= 1


@pytest.mark.parametrize("way", ["closes", "resets"])
def test_while_a_download_is_stuck(proxy: Proxy, go: GoService, request_id: str, way: str) -> None:
    """The same for a client that had stopped reading before it left."""
    with proxy.client() as client:
        client.ask("/bytes/100000000", fields=[f"X-Request-ID: {request_id}"])
        client.read_head()
        eventually(lambda: proxy.status()["in_flight"] >= 1)
        WAYS[way](client)
        eventually(lambda: go.record(request_id)[0]["finished"])
        assert proxy.access(request_id)["reason"] == "client_gone"


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("framing", ["Content-Length: 1000000", "Transfer-Encoding: chunked"])
def test_during_an_upload(proxy: Proxy, go: GoService, request_id: str, way: str, framing: str) -> None:
    """A client that leaves in the middle of its upload ends the handler, and the upload never looks whole."""
    with proxy.client() as client:
        client.ask("/upload", "POST", [framing, f"X-Request-ID: {request_id}"])
        client.send(b"4\r\nabcd\r\n" if "chunked" in framing else b"abcd")
        go.running(request_id)
        WAYS[way](client)
        visit = eventually(lambda: [v for v in go.record(request_id) if v["finished"]])[0]
        line = proxy.access(request_id)
    assert visit["bytes_in"] == 4
    assert (line["status"], line["reason"], line["bytes_in"]) == (499, "client_gone", 4)


def test_while_an_upload_is_stuck(start: Start, upstream: Upstream, request_id: str) -> None:
    """The same where the upstream does not read: the proxy has stopped reading then, but must see a reset.

    (A mere close cannot be seen: its FIN waits behind the bytes for which there is no window.)
    """
    release = Event()

    def on_head(peer: Peer, seen: Seen) -> None:
        release.wait(20)

    upstream.on_head = on_head
    proxy = start()
    with proxy.client() as client:
        client.ask("/", "POST", ["Content-Length: 100000000", f"X-Request-ID: {request_id}"])
        client.sock.settimeout(0.3)
        with pytest.raises(TimeoutError):
            client.send(b"x" * 100_000_000)
        client.reset()
        eventually(lambda: proxy.status()["in_flight"] == 0, timeout=5)
        release.set()
    assert proxy.access(request_id)["reason"] == "client_gone"


def test_before_a_connection_is_made(start: Start, upstream: Upstream, request_id: str) -> None:
    """A client that leaves before the upstream is reached never gets there."""
    url = upstream.url
    upstream.close()
    proxy = start(url=url, SIDECAR_TIMEOUTS__STARTUP="20s")
    with proxy.client() as client:
        client.ask("/", fields=[f"X-Request-ID: {request_id}"])
        proxy.wait_event("waiting for the upstream to listen")
        client.close()
        line = proxy.access(request_id)
    assert (line["status"], line["reason"]) == (499, "client_gone")


def test_between_requests(proxy: Proxy) -> None:
    """A client that leaves between two requests is nobody's loss, and leaves no line."""
    with proxy.client() as client:
        answer = client.get("/hello")
        client.close()
    line = proxy.access(answer["X-Request-ID"])
    assert (line["status"], line["reason"]) == (200, "upstream")


def test_in_the_middle_of_a_head(raw: Raw) -> None:
    """A client that leaves in the middle of a head leaves no request behind."""
    with raw.client() as client:
        client.send(b"GET / HTTP/1.1\r\nHost:")
    with raw.client() as client:
        assert client.get("/").status == 200
    assert len(raw.seen) == 1
    eventually(lambda: raw.proxy.status()["connections"] == 0)


def test_pipelined_requests_of_a_client_that_left(raw: Raw) -> None:
    """Requests that a departed client had pipelined do not reach the upstream."""
    waiting: list[Peer] = []
    raw.upstream.script = lambda peer, seen: waiting.append(peer)
    with raw.client() as client:
        client.send(b"GET /1 HTTP/1.1\r\nHost: x\r\n\r\n" + b"POST /2 HTTP/1.1\r\nHost: x\r\n\r\n")
        eventually(lambda: waiting)
    assert waiting[0].gone.wait(10)
    raw.upstream.script = always(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    with raw.client() as client:
        client.get("/3")
    assert [seen.target for seen in raw.seen] == ["/1", "/3"]


def test_a_client_that_reads_all_and_leaves(raw: Raw, request_id: str) -> None:
    """A client that half-closes once it has its answer has lost nothing, and nobody says that it left."""

    def script(peer: Peer, seen: Seen) -> None:
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone")

    raw.upstream.script = script
    with raw.client() as client:
        assert client.get("/", f"X-Request-ID: {request_id}").body == b"done"
        client.half_close()
        assert client.end() == "end"
    line = raw.proxy.access(request_id)
    assert (line["status"], line["reason"]) == (200, "upstream")
