"""Connections to the upstream: used again, closed in time, not used when they may be dead, never too many."""

from __future__ import annotations

import json
import select
from collections.abc import Callable
from threading import Event, Semaphore
from time import monotonic

import pytest

from tests.support.client import Client
from tests.support.processes import Proxy
from tests.support.upstream import OK, Peer, Seen, Upstream, always, in_turn
from tests.support.waiting import PATIENCE, eventually
from tests.wire.conftest import Start
from tests.wire.raw import Raw


def test_sequential_requests_use_one_connection(raw: Raw) -> None:
    """Requests one after another, of different clients, go over one upstream connection."""
    for _ in range(5):
        with raw.client() as client:
            for _ in range(5):
                assert client.get("/").status == 200
    assert len(raw.upstream.speaking) == 1


def test_the_last_used_connection_comes_first(raw: Raw) -> None:
    """Of several idle connections the one used last is used next, so that the others can time out."""
    waiting: dict[str, Peer] = {}

    def script(peer: Peer, seen: Seen) -> None:
        waiting[seen.target] = peer

    raw.upstream.script = script
    clients = {f"/{number}": raw.client() for number in range(3)}
    for target, client in clients.items():
        client.ask(target)
    eventually(lambda: len(waiting) == 3)
    for target in ("/1", "/2", "/0"):
        # One by one, so that it is known which was released last.
        waiting[target].send(OK)
        assert clients[target].read().status == 200
    raw.upstream.script = always(OK)
    for _ in range(5):
        clients["/2"].get("/last")
    for client in clients.values():
        client.close()
    assert {id(seen.peer) for seen in raw.seen if seen.target == "/last"} == {id(waiting["/0"])}


def test_idle_connections_are_closed(start: Start, upstream: Upstream) -> None:
    """A connection that idles for `pool.idle` is closed by the proxy, and not before; the next opens another."""
    proxy = start(SIDECAR_POOL__IDLE="300ms")
    with proxy.client() as client:
        client.get("/")
        first = upstream.seen[0].peer
        began = monotonic()
        assert first.gone.wait(10)
        assert 0.2 < monotonic() - began < 5
        assert first.how == "end"
        assert client.get("/").status == 200
    assert upstream.seen[1].peer is not first


def test_keep_alive_field_is_believed(start: Start, upstream: Upstream) -> None:
    """`Keep-Alive: timeout=2` of the upstream shortens the idle limit, and /status says where it comes from."""
    upstream.script = always(b"HTTP/1.1 200 OK\r\nKeep-Alive: timeout=2, max=100\r\nContent-Length: 2\r\n\r\nok")
    proxy = start()
    assert proxy.pool()["idle_limit_source"] == "configured"
    with proxy.client() as client:
        answer = client.get("/")
        assert "Keep-Alive" not in answer
    pool = proxy.pool()
    assert pool["idle_limit_source"] == "keep-alive field"
    assert 1 <= pool["idle_limit_seconds"] < 2


def closing_after(upstream: Upstream, idle: float, turns: Semaphore) -> Callable[[Peer], None]:
    """A connection's life at a server with an idle timeout; each answer waits for its turn."""

    def on_accept(peer: Peer) -> None:
        while (seen := peer.read_head()) is not None:
            upstream.seen.append(seen)
            turns.acquire(timeout=PATIENCE)
            peer.send(OK)
            if not select.select([peer.sock], [], [], idle)[0]:
                return

    return on_accept


def three_connections(proxy: Proxy, upstream: Upstream, turns: Semaphore, apart: float) -> None:
    """Make three upstream connections at once, and let them fall idle so many seconds apart."""
    clients = [proxy.client() for _ in range(3)]
    for client in clients:
        client.ask("/")
    eventually(lambda: len(upstream.seen) == 3)
    turns.release()
    for number in range(3):
        # Whose turn it is nobody knows; but one more answer has come.
        done = eventually(lambda: select.select([client.sock for client in clients], [], [], 0)[0])
        client = next(client for client in clients if client.sock in done)
        assert client.read().status == 200
        clients.remove(client)
        client.close()
        if number < 2:
            Event().wait(apart)
            turns.release()


def test_the_idle_limit_is_learned(start: Start, upstream: Upstream) -> None:
    """Three closes at like ages teach the proxy to stay below; it says so once, and /status says from what."""
    turns = Semaphore(0)
    upstream.on_accept = closing_after(upstream, 1.3, turns)
    proxy = start()
    three_connections(proxy, upstream, turns, 1.1)
    eventually(lambda: proxy.pool()["idle_limit_source"] != "configured")
    pool = proxy.pool()
    assert pool["idle_limit_source"] == "observed closes"
    assert 1.0 <= pool["idle_limit_seconds"] < 1.3
    proxy.wait_event("learned how long the upstream keeps idle connections")
    proxy.stop()
    assert len(proxy.events("learned how long the upstream keeps idle connections")) == 1


def test_an_upstream_that_stops_teaches_nothing(start: Start, upstream: Upstream) -> None:
    """Many connections closed at one time are one event, such as a restart, and tell of no idle limit."""
    turns = Semaphore(0)
    upstream.on_accept = closing_after(upstream, 0.3, turns)
    proxy = start()
    three_connections(proxy, upstream, turns, 0.0)
    eventually(lambda: proxy.pool()["connections"] == 0)
    assert proxy.pool()["idle_limit_source"] == "configured"


def test_a_connection_that_the_upstream_closed_is_not_used(start: Start, upstream: Upstream) -> None:
    """A POST after the upstream has closed its idle connection goes over a new one, and nobody notices."""
    proxy = start()
    closed = Event()

    def script(peer: Peer, seen: Seen) -> None:
        peer.send(OK)
        peer.close()
        closed.set()

    upstream.script = script
    with proxy.client() as client:
        for _ in range(30):
            closed.clear()
            answer = client.post("/", b"once")
            assert answer.status == 200, answer
            assert closed.wait(10)
    assert len(upstream.seen) == 30
    assert len(upstream.speaking) == 30


def test_a_connection_that_closes_behind_its_answer_is_not_used(start: Start, upstream: Upstream) -> None:
    """`Connection: close` of the upstream is honoured, even when it leaves the connection open."""
    upstream.script = always(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")
    proxy = start()
    with proxy.client() as client:
        for _ in range(3):
            answer = client.get("/")
            assert answer.status == 200
            assert "Connection" not in answer
    assert len({id(seen.peer) for seen in upstream.seen}) == 3


def resets_the_second(raw: Raw) -> Callable[[Peer, Seen], None]:
    """Answers a connection's first request; reads the second, and resets before a byte of its answer."""

    def script(peer: Peer, seen: Seen) -> None:
        if sum(other.peer is peer for other in raw.seen) == 1:
            peer.send(OK)
        else:
            peer.reset()

    return script


def test_stale_get_is_sent_again(raw: Raw, request_id: str) -> None:
    """A GET that a kept connection swallowed is sent once more, on a new connection, and succeeds."""
    raw.upstream.script = resets_the_second(raw)
    with raw.client() as client:
        assert client.get("/first").status == 200
        answer = client.get("/second", f"X-Request-ID: {request_id}")
        assert answer.status == 200
    targets = [seen.target for seen in raw.seen]
    assert targets == ["/first", "/second", "/second"]
    assert raw.seen[2].peer is not raw.seen[1].peer
    assert [seen.get("X-Request-ID") for seen in raw.seen[1:]] == [request_id] * 2
    line = raw.proxy.access(request_id)
    assert (line["status"], line["attempts"], line["reason"]) == (200, 2, "upstream")


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "DELETE", "PUT"])
def test_stale_idempotent_methods_are_sent_again(raw: Raw, method: str) -> None:
    """The same for the other idempotent methods, as long as they have no body."""
    raw.upstream.script = resets_the_second(raw)
    with raw.client() as client:
        assert client.get("/first").status == 200
        client.ask("/second", method)
        assert client.read(method).status == 200
    assert len(raw.seen) == 3


@pytest.mark.parametrize("body", [b"", b"body"])
def test_stale_post_is_sent_once(raw: Raw, body: bytes) -> None:
    """A POST that a kept connection swallowed reached the upstream once, and is answered 502 stale_connection."""
    raw.upstream.script = resets_the_second(raw)
    with raw.client() as client:
        assert client.get("/first").status == 200
        answer = client.post("/second", body)
        assert (answer.status, answer["X-Sidecar-Reason"]) == (502, "stale_connection")
        assert client.get("/third").status == 200
    assert [seen.target for seen in raw.seen] == ["/first", "/second", "/third"]


def test_stale_post_with_a_key_is_sent_again(raw: Raw) -> None:
    """An empty POST with an Idempotency-Key may be sent again."""
    raw.upstream.script = resets_the_second(raw)
    with raw.client() as client:
        assert client.get("/first").status == 200
        assert client.post("/second", b"", "Idempotency-Key: 1").status == 200
    assert [seen.target for seen in raw.seen] == ["/first", "/second", "/second"]


def test_a_get_is_sent_again_only_once(raw: Raw) -> None:
    """An upstream that swallows every request sees a GET twice, no more, and the client gets 502."""
    raw.upstream.script = in_turn(always(OK), lambda peer, seen: peer.reset())
    with raw.client() as client:
        client.get("/first")
        assert client.get("/second").status == 502
    assert len(raw.seen) == 3


def test_a_new_connection_that_dies_is_no_stale_one(raw: Raw) -> None:
    """On a new connection the upstream has seen the request: a GET that dies there is not sent again."""
    raw.upstream.script = in_turn(always(OK, close=True), lambda peer, seen: peer.reset())
    with raw.client() as client:
        client.get("/first")
        answer = client.get("/second")
        assert (answer.status, answer["X-Sidecar-Reason"]) == (502, "connection_lost")
    assert len(raw.seen) == 2


def test_a_half_answered_request_is_not_sent_again(raw: Raw) -> None:
    """One byte of an answer is an answer: a GET on a kept connection that dies behind it is not sent again."""

    def script(peer: Peer, seen: Seen) -> None:
        peer.send(b"H")
        peer.close()

    raw.upstream.script = in_turn(always(OK), script)
    with raw.client() as client:
        client.get("/first")
        answer = client.get("/second")
        assert (answer.status, answer["X-Sidecar-Reason"]) == (502, "connection_lost")
    assert len(raw.seen) == 2


# ── the cap


def test_the_cap_and_the_queue(start: Start, upstream: Upstream) -> None:
    """Two connections and two waiting requests are all there is: the fifth is refused, the waiting ones are served."""
    proxy = start(SIDECAR_POOL__MAX_CONNECTIONS="2", SIDECAR_POOL__MAX_PENDING="2", SIDECAR_TIMEOUTS__CONNECT="10s")
    waiting: list[Peer] = []
    upstream.script = lambda peer, seen: waiting.append(peer)
    clients: list[Client] = []
    for number in range(4):
        clients.append(proxy.client())
        clients[-1].ask(f"/{number}")
        eventually(lambda: len(waiting) + int(proxy.pool()["waiting"]) == len(clients))
    with proxy.client() as fifth:
        answer = fifth.get("/5")
        assert (answer.status, answer["X-Sidecar-Reason"]) == (503, "overloaded")
        assert int(answer["Retry-After"]) >= 1
        problem = json.loads(answer.body)
        assert (problem["limit"], problem["waiting"]) == (2, 2)
        assert proxy.pool()["connections"] == 2
        upstream.script = always(OK)
        for peer in waiting:
            peer.send(OK)
        for client in clients:
            assert client.read().status == 200
            client.close()
        assert fifth.get("/again").status == 200
    assert len(upstream.speaking) == 2
    assert sorted(seen.target for seen in upstream.seen) == ["/0", "/1", "/2", "/3", "/again"]


def test_queue_timeout(start: Start, upstream: Upstream) -> None:
    """A request that finds no free connection in time is answered 503 queue_timeout."""
    proxy = start("--connect-timeout", "300ms", SIDECAR_POOL__MAX_CONNECTIONS="1")
    waiting: list[Peer] = []
    upstream.script = lambda peer, seen: waiting.append(peer)
    with proxy.client() as busy, proxy.client() as queued:
        busy.ask("/busy")
        eventually(lambda: waiting)
        answer = queued.get("/queued")
        assert (answer.status, answer["X-Sidecar-Reason"]) == (503, "queue_timeout")
        assert "Retry-After" in answer
        waiting[0].send(OK)
        assert busy.read().status == 200
        upstream.script = always(OK)
        assert queued.get("/then").status == 200
    assert [seen.target for seen in upstream.seen] == ["/busy", "/then"]


def test_a_place_comes_free_when_its_connection_dies(start: Start, upstream: Upstream) -> None:
    """A waiting request gets the place of a connection that the upstream closed."""
    proxy = start(SIDECAR_POOL__MAX_CONNECTIONS="1", SIDECAR_TIMEOUTS__CONNECT="10s")
    die = Event()

    def script(peer: Peer, seen: Seen) -> None:
        die.wait(10)
        peer.reset()

    upstream.script = in_turn(script, always(OK))
    with proxy.client() as busy, proxy.client() as queued:
        busy.ask("/busy", "POST", body=b"x")
        eventually(lambda: upstream.seen)
        queued.ask("/queued")
        eventually(lambda: proxy.pool()["waiting"] == 1)
        die.set()
        assert busy.read().status == 502
        assert queued.read().status == 200


def test_waiting_clients_that_leave_give_their_places_up(start: Start, upstream: Upstream) -> None:
    """Clients that leave while they wait for a connection leave nothing behind, and never reach the upstream."""
    proxy = start(SIDECAR_POOL__MAX_CONNECTIONS="1", SIDECAR_TIMEOUTS__CONNECT="10s")
    waiting: list[Peer] = []
    upstream.script = lambda peer, seen: waiting.append(peer)
    with proxy.client() as busy:
        busy.ask("/busy")
        eventually(lambda: waiting)
        leaving = [proxy.client() for _ in range(5)]
        for client in leaving:
            client.ask("/left")
        eventually(lambda: proxy.pool()["waiting"] == 5)
        for client in leaving:
            client.close()
        eventually(lambda: proxy.pool()["waiting"] == 0)
        upstream.script = always(OK)
        waiting[0].send(OK)
        assert busy.read().status == 200
        assert busy.get("/next").status == 200
    assert [seen.target for seen in upstream.seen] == ["/busy", "/next"]


def test_clients_that_leave_give_their_connections_up(start: Start, upstream: Upstream) -> None:
    """A hundred clients that leave in the middle leave no upstream connection and no place taken behind."""
    proxy = start(SIDECAR_POOL__MAX_CONNECTIONS="100")
    upstream.script = lambda peer, seen: None
    clients = [proxy.client() for _ in range(100)]
    for client in clients:
        client.ask("/")
    eventually(lambda: len(upstream.seen) == 100)
    for client in clients:
        client.reset()
    eventually(lambda: (s := proxy.status())["in_flight"] == 0 and s["pool"]["connections"] == 0)
    for peer in upstream.speaking:
        assert peer.gone.wait(10)
    upstream.script = always(OK)
    with proxy.client() as client:
        assert client.get("/").status == 200
