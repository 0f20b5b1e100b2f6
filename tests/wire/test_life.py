"""The process's life: starting whole or not at all, and leaving without losing a request."""

from __future__ import annotations

import json
import signal
import socket
from collections import Counter
from threading import Event, Thread
from time import monotonic

import pytest

from tests.support.client import Client, CutError
from tests.support.processes import GoService, Proxy, spawn
from tests.support.upstream import OK, Peer, Seen, Upstream, always
from tests.support.waiting import PATIENCE, eventually
from tests.wire.conftest import Start


def drained(proxy: Proxy) -> dict[str, object]:
    """The drain report of a proxy that has exited."""
    (report,) = proxy.events("drained")
    return report


def test_the_started_line(start: Start, upstream: Upstream) -> None:
    """The first line on stderr names both ports that were chosen, and the upstream."""
    proxy = start()
    first = proxy.err.json()[0]
    assert first["event"] == "started"
    assert first["upstream"] == upstream.url
    assert not first["listen"].endswith(":0")
    assert not first["admin"].endswith(":0")


@pytest.mark.parametrize("which", ["--listen", "--admin"])
def test_a_port_in_use(upstream: Upstream, which: str) -> None:
    """A port in use ends the start with exit code 1 and one clear line; the other port is not left listening."""
    with socket.create_server(("127.0.0.1", 0)) as taken, socket.create_server(("127.0.0.1", 0)) as reserved:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        free = reserved.getsockname()
        reserved.close()
        other = "--admin" if which == "--listen" else "--listen"
        process = spawn("--upstream", upstream.url, which, address, other, f"127.0.0.1:{free[1]}")
        out, err = process.communicate(timeout=PATIENCE)
        assert process.returncode == 1
        assert out == b""
        assert err.count(b"\n") == 1
        assert f"cannot listen on {address}: it is in use".encode() in err
        with pytest.raises(ConnectionRefusedError):
            Client(free)
    assert upstream.peers == []


def test_sigterm_while_idle(start: Start) -> None:
    """An idle proxy leaves at once on SIGTERM, with exit code 0 and a report of nothing."""
    proxy = start()
    began = monotonic()
    proxy.signal()
    assert proxy.wait() == 0
    assert monotonic() - began < 5
    report = drained(proxy)
    assert (report["in_flight_at_start"], report["finished"], report["cut"]) == (0, 0, 0)


def test_sigint(start: Start) -> None:
    """Ctrl-C leaves in the same way."""
    proxy = start()
    proxy.signal(signal.SIGINT)
    assert proxy.wait() == 0
    assert drained(proxy)


def test_sigterm_right_after_the_start(upstream: Upstream) -> None:
    """A signal that comes as soon as the proxy has said that it started ends it cleanly."""
    for _ in range(3):
        proxy = Proxy(upstream.url)
        proxy.signal()
        assert proxy.wait() == 0


def test_a_slow_request_is_finished(start: Start, go: GoService) -> None:
    """A request in flight at SIGTERM is answered, told that it was the last, and the proxy then leaves at once."""
    proxy = start(url=go.url)
    assert proxy.status()["in_flight"] == 0  # the admin port is up: that may take longer than the request
    with proxy.client() as client:
        client.ask("/sleep/800ms")
        eventually(lambda: proxy.status()["in_flight"] == 1)
        proxy.signal()
        answer = client.read()
        assert (answer.status, answer["Connection"]) == (200, "close")
        assert client.end() == "end"
        began = monotonic()
        assert proxy.wait() == 0
        assert monotonic() - began < 3
    report = drained(proxy)
    assert (report["in_flight_at_start"], report["finished"], report["cut"]) == (1, 1, 0)


def test_a_stream_runs_on_and_is_cut_at_the_limit(start: Start, go: GoService, request_id: str) -> None:
    """Streams and tunnels run until `--drain-timeout`; then they are cut, and the report counts them."""
    proxy = start("--drain-timeout", "700ms", url=go.url)
    with proxy.client() as stream, proxy.client() as tunnel, proxy.client() as waiting:
        stream.ask("/sse?n=0&every=20ms")
        stream.read_head()
        tunnel.ask("/raw-upgrade", fields=["Connection: Upgrade", "Upgrade: echo"])
        assert tunnel.read_head().status == 101
        waiting.ask("/hang", fields=[f"X-Request-ID: {request_id}"])
        eventually(lambda: proxy.status()["in_flight"] == 3)
        began = monotonic()
        proxy.signal()
        while monotonic() - began < 0.5:
            assert stream.read_chunk()
        with pytest.raises(CutError):
            _read_on(stream)
        assert tunnel.end() in ("end", "reset")
        with pytest.raises(CutError):
            waiting.read()
        assert proxy.wait() == 0
        assert 0.6 < monotonic() - began < 5
    go.context_ended(request_id)
    report = drained(proxy)
    assert (report["in_flight_at_start"], report["cut"]) == (3, 3)
    assert len(proxy.out.json()) == 3


def _read_on(stream: Client) -> None:
    while True:
        stream.read_chunk()


def test_idle_connections_are_closed_after_a_quiet_moment(start: Start) -> None:
    """An idle keep-alive connection is closed within a second or so, and a request that comes before is served."""
    proxy = start()
    with proxy.client() as idle, proxy.client() as late:
        assert idle.get("/").status == 200
        assert late.get("/").status == 200
        proxy.signal()
        proxy.wait_event("draining")
        assert late.quiet(0.3)
        answer = late.get("/late")
        assert (answer.status, answer["Connection"]) == (200, "close")
        assert idle.end() == "end"
        assert proxy.wait() == 0


def test_a_second_signal_ends_it_at_once(start: Start, go: GoService) -> None:
    """A second signal does not wait for what is in flight."""
    proxy = start(url=go.url)
    with proxy.client() as client:
        client.ask("/hang")
        eventually(lambda: proxy.status()["in_flight"] == 1)
        proxy.signal()
        proxy.wait_event("draining")
        assert client.quiet(0.2)
        began = monotonic()
        proxy.signal()
        code = proxy.wait()
        assert monotonic() - began < 3
        assert code == 0
        assert client.end() in ("end", "reset")
    assert drained(proxy)["cut"] == 1


def test_a_second_signal_during_the_delay(start: Start) -> None:
    """The same while the proxy still waits for its `--drain-delay`."""
    proxy = start("--drain-delay", "60s")
    proxy.signal()
    proxy.wait_event("draining")
    proxy.signal()
    assert proxy.wait() == 0


def test_the_delay_keeps_accepting(start: Start) -> None:
    """For `--drain-delay` after the signal new connections are served, while /readyz says 503 and /livez 200."""
    proxy = start("--drain-delay", "1s")
    eventually(lambda: proxy.page("/readyz")[0] == 200)
    proxy.signal()
    proxy.wait_event("draining")
    code, body = proxy.page("/readyz")
    assert (code, json.loads(body)["cause"]) == (503, "draining")
    assert proxy.page("/livez")[0] == 200
    with proxy.client() as client:
        answer = client.get("/")
        assert (answer.status, answer["Connection"]) == (200, "close")
        assert client.end() == "end"
    assert proxy.metrics()["sidecar_draining"] == 1
    assert proxy.wait() == 0
    with pytest.raises(ConnectionRefusedError):
        proxy.client()


def test_post_drain_begins(start: Start) -> None:
    """POST /drain makes the proxy not ready and each answer its connection's last; it accepts on until SIGTERM."""
    proxy = start()
    with proxy.client() as kept:
        assert "Connection" not in kept.get("/")
        code, _ = proxy.page("/drain", "POST")
        assert code == 202
        assert proxy.page("/readyz")[0] == 503
        assert proxy.page("/drain", "POST")[0] == 202
        assert kept.get("/")["Connection"] == "close"
    for _ in range(3):
        with proxy.client() as client:
            assert client.get("/")["Connection"] == "close"
    assert proxy.process.poll() is None
    proxy.signal()
    assert proxy.wait() == 0
    assert len(proxy.events("draining")) == 1
    assert drained(proxy)["finished"] == 4


def test_post_drain_closes_what_stays_idle(start: Start) -> None:
    """After POST /drain and the delay, idle connections are closed, as nothing may use them once the service has gone;
    the listener stays open."""
    proxy = start("--drain-delay", "1s")
    with proxy.client() as idle, proxy.client() as late:
        assert idle.get("/").status == late.get("/").status == 200
        began = monotonic()
        proxy.page("/drain", "POST")
        assert late.quiet(0.8)
        assert late.get("/late")["Connection"] == "close"
        assert idle.end() == "end"
        assert 1.9 < monotonic() - began < PATIENCE
    with proxy.client() as client:
        assert client.get("/")["Connection"] == "close"
    assert proxy.process.poll() is None
    proxy.signal()
    assert proxy.wait() == 0


def test_the_upstream_that_stops_first_is_no_outage(start: Start, upstream: Upstream) -> None:
    """A refused upstream during a drain is answered 503 draining, not 502."""
    proxy = start()
    upstream.script = always(OK, close=True)
    with proxy.client() as client:
        assert client.get("/").status == 200
        upstream.close()
        proxy.page("/drain", "POST")
        answer = client.get("/")
        assert (answer.status, answer["X-Sidecar-Reason"]) == (503, "draining")
        assert answer["Connection"] == "close"
        assert "Retry-After" in answer


def test_the_backlog_is_served(start: Start, upstream: Upstream) -> None:
    """Connections that the kernel had accepted when the listener closed are served, requests and all."""
    served = 0
    for _ in range(3):
        proxy = start()
        with proxy.client() as first:
            first.get("/")
        # Stopped, the process accepts nothing: what connects now waits in the backlog.
        proxy.signal(signal.SIGSTOP)
        clients = [proxy.client() for _ in range(20)]
        for client in clients:
            client.ask("/waiting")
        proxy.signal()
        proxy.signal(signal.SIGCONT)
        for client in clients:
            answer = client.read()
            served += answer.status == 200
            assert answer["Connection"] == "close"
            client.close()
        assert proxy.wait() == 0
    assert served == 60


class Load(Thread):
    """A keep-alive client that never retries: it reconnects only when it was told `Connection: close`."""

    def __init__(self, proxy: Proxy, stop: Event, closing: Event) -> None:
        super().__init__()
        self._proxy = proxy
        self._stop_asked = stop
        self._closing = closing
        self.outcomes: Counter[str] = Counter()

    def run(self) -> None:
        """Ask until stopped, or until told to part while the listener is closing."""
        while not self._stop_asked.is_set():
            try:
                client = self._proxy.client()
            except OSError as error:
                self.outcomes[f"connect: {error!r}"] += 1
                return
            with client:
                if not self._ask(client):
                    return

    def _ask(self, client: Client) -> bool:
        while not self._stop_asked.is_set():
            try:
                answer = client.get("/sleep/5ms")
            except (CutError, OSError) as error:
                self.outcomes[f"failed: {error!r}"] += 1
                return False
            self.outcomes[str(answer.status)] += 1
            if answer.get("Connection") == "close":
                return not self._closing.is_set()
        return False


@pytest.mark.parametrize("delay", ["1s", "0s"])
def test_a_drain_under_load_loses_nothing(start: Start, go: GoService, delay: str) -> None:
    """Clients that never retry lose no request to a drain, as long as they stop connecting before the listener goes."""
    proxy = start("--drain-delay", delay, url=go.url)
    stop, closing = Event(), Event()
    loads = [Load(proxy, stop, closing) for _ in range(16)]
    for load in loads:
        load.start()
    eventually(lambda: all(load.outcomes["200"] > 5 for load in loads))
    if delay == "0s":
        closing.set()  # no time to connect anew: each client stops at its `Connection: close`
    proxy.signal()
    closing.wait(0.4)  # a part of the delay, during which clients connect anew after each `Connection: close`
    closing.set()
    code = proxy.wait()
    stop.set()
    for load in loads:
        load.join(PATIENCE)
    outcomes = sum((load.outcomes for load in loads), Counter[str]())
    assert code == 0
    assert set(outcomes) == {"200"}, outcomes
    assert drained(proxy)["cut"] == 0
    assert len(proxy.out.json()) == outcomes["200"]


def test_uploads_in_flight_are_finished(start: Start, upstream: Upstream) -> None:
    """An upload whose client is still sending at the signal is taken in whole and answered."""
    proxy = start()
    with proxy.client() as client:
        client.ask("/", "POST", ["Content-Length: 10"])
        client.send(b"01234")
        eventually(lambda: proxy.status()["in_flight"] == 1)
        proxy.signal()
        proxy.wait_event("draining")
        assert client.quiet(0.3)
        client.send(b"56789")
        assert client.read().status == 200
        assert proxy.wait() == 0
    assert upstream.seen[0].body == b"0123456789"


def test_pipelined_requests_at_a_drain(start: Start, upstream: Upstream) -> None:
    """Of pipelined requests the one in hand is the last; the others never reach the upstream."""
    release = Event()

    def script(peer: Peer, seen: Seen) -> None:
        release.wait(10)
        peer.send(OK)

    upstream.script = script
    proxy = start()
    with proxy.client() as client:
        client.send(b"GET /1 HTTP/1.1\r\nHost: x\r\n\r\n" + b"POST /2 HTTP/1.1\r\nHost: x\r\n\r\n")
        eventually(lambda: upstream.seen)
        proxy.signal()
        proxy.wait_event("draining")
        release.set()
        assert client.read()["Connection"] == "close"
        assert client.end() in ("end", "reset")
        assert proxy.wait() == 0
    assert [seen.target for seen in upstream.seen] == ["/1"]


def test_a_slow_head_at_a_drain(start: Start) -> None:
    """A client that is in the middle of its head when the listener closes has its request served."""
    proxy = start()
    with proxy.client() as client:
        client.get("/")
        client.send(b"GET /slow HTTP/1.1\r\n")
        eventually(lambda: proxy.status()["connections"] == 1)
        proxy.signal()
        proxy.wait_event("draining")
        assert client.quiet(0.5)
        client.send(b"Host: x\r\n\r\n")
        answer = client.read()
        assert (answer.status, answer["Connection"]) == (200, "close")
        assert proxy.wait() == 0


def test_a_blocked_stdout_does_not_hold_up_the_exit(upstream: Upstream) -> None:
    """A reader of the access log that stopped reading does not keep the proxy from serving or leaving."""
    process = spawn("--upstream", upstream.url, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0")
    assert process.stdout is not None
    assert process.stderr is not None
    started = json.loads(process.stderr.readline())
    host, _, port = started["listen"].rpartition(":")
    with Client((host, int(port))) as client:
        for _ in range(300):
            assert client.get("/" + "p" * 1500).status == 200
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE) == 0
    process.stdout.close()
    process.stderr.close()
