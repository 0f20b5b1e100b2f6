"""What a client may do on one connection: keep it, pipeline, speak HTTP/1.0, wait for 100, ask for heads only."""

from __future__ import annotations

import json

import pytest

from tests.support.client import Client, CutError
from tests.support.processes import GoService, Proxy
from tests.support.upstream import OK, Peer, Seen, always
from tests.support.waiting import eventually
from tests.wire.raw import Raw

UPLOAD = b"POST /upload HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


def test_keep_alive_serves_many_requests(client: Client) -> None:
    """One connection serves request after request."""
    for number in range(20):
        answer = client.get(f"/items/{number}")
        assert answer.status == 200
        assert json.loads(answer.body)["id"] == str(number)
        assert "Connection" not in answer


def test_connection_close_is_honoured(client: Client) -> None:
    """A client that says `Connection: close` is answered so, and its connection is closed."""
    answer = client.get("/hello", "Connection: close")
    assert answer["Connection"] == "close"
    assert client.end() == "end"


def test_pipelined_requests_are_answered_in_order(client: Client) -> None:
    """Ten requests in one write, a POST among them, are answered in their order."""
    body = b"0123456789" * 1000
    parts = []
    for number in range(10):
        if number == 4:
            parts.append(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        elif number == 7:
            parts.append(UPLOAD + b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
        else:
            parts.append(b"GET /items/%d HTTP/1.1\r\nHost: x\r\n\r\n" % number)
    client.send(b"".join(parts))
    for number in range(10):
        answer = client.read()
        assert answer.status == 200
        if number == 4:
            assert answer.body == body
        elif number == 7:
            assert json.loads(answer.body)["bytes"] == 5
        else:
            assert json.loads(answer.body)["id"] == str(number)
    assert client.quiet(0.05)


def test_pipelined_requests_go_upstream_one_by_one(raw: Raw) -> None:
    """The next pipelined request reaches the upstream only when the one before it has been answered."""
    waiting: list[Peer] = []
    raw.upstream.script = lambda peer, seen: waiting.append(peer)
    with raw.client() as client:
        client.send(b"GET /1 HTTP/1.1\r\nHost: x\r\n\r\nGET /2 HTTP/1.1\r\nHost: x\r\n\r\n")
        eventually(lambda: waiting)
        assert client.quiet(0.1)
        assert [seen.target for seen in raw.seen] == ["/1"]
        waiting[0].send(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1")
        assert client.read().body == b"1"
        eventually(lambda: len(waiting) == 2)
        waiting[1].send(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n2")
        assert client.read().body == b"2"


def test_much_pipelining_is_bounded_and_complete(client: Client) -> None:
    """Two thousand pipelined requests, more than the buffer for them, are all answered."""
    client.sock.settimeout(60)
    one = b"GET /status/204 HTTP/1.1\r\nHost: x\r\nX-Filler: " + b"f" * 60 + b"\r\n\r\n"
    client.send(one * 2000)
    for _ in range(2000):
        assert client.read().status == 204


def test_requests_may_arrive_byte_by_byte(client: Client) -> None:
    """A request that comes in single bytes is read like any other."""
    for (
        byte
    ) in b"POST /upload HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-T: 1\r\n\r\n":
        client.send(bytes([byte]))
    assert json.loads(client.read().body)["bytes"] == 3
    assert client.get("/hello").status == 200


# ── 100-continue and other interim answers


def test_100_continue_comes_because_the_handler_reads(client: Client) -> None:
    """`100 Continue` is the service's own: it comes when the handler reads, and the body follows."""
    client.ask("/continue", "POST", ["Expect: 100-continue", "Content-Length: 5"])
    assert client.read_head().status == 100
    client.send(b"hello")
    answer = client.read()
    assert json.loads(answer.body) == {"bytes": 5, "expect": "100-continue"}
    assert client.get("/hello").status == 200


def test_the_proxy_sends_no_100_of_its_own(raw: Raw) -> None:
    """An upstream that does not say 100 leaves the client waiting, as without a proxy."""

    def on_head(peer: Peer, seen: Seen) -> None:
        peer.read_body(seen)
        peer.send(OK)

    raw.upstream.on_head = on_head
    with raw.client() as client:
        client.ask("/", "POST", ["Expect: 100-continue", "Content-Length: 5"])
        eventually(lambda: raw.seen)
        assert client.quiet(0.1)
        client.send(b"hello")
        assert client.read().status == 200
    assert raw.seen[0].get("Expect") == "100-continue"


def test_a_refusal_instead_of_100(raw: Raw) -> None:
    """A final answer instead of 100 reaches a client that has not sent its body, and ends the connection."""

    def on_head(peer: Peer, seen: Seen) -> None:
        peer.send(b"HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        peer.wait_gone()

    raw.upstream.on_head = on_head
    with raw.client() as client:
        client.ask("/", "POST", ["Expect: 100-continue", "Content-Length: 500000"])
        answer = client.read()
        assert answer.status == 417
        assert answer["Connection"] == "close"


def test_103_is_passed_on(client: Client) -> None:
    """`103 Early Hints` reaches the client before the answer, with its fields."""
    answer = client.get("/early-hints")
    assert [interim.status for interim in answer.interim] == [103]
    assert "style.css" in answer.interim[0]["Link"]
    assert answer.status == 200


def test_interim_answers_come_at_once(raw: Raw) -> None:
    """An interim answer is passed on before the final one exists."""
    peers: list[Peer] = []

    def script(peer: Peer, seen: Seen) -> None:
        peers.append(peer)
        peer.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nX-Sidecar-Reason: forged\r\n\r\n")

    raw.upstream.script = script
    with raw.client() as client:
        client.ask("/")
        hints = client.read_head()
        assert (hints.status, hints["Link"]) == (103, "</a>")
        assert "X-Sidecar-Reason" not in hints
        peers[0].send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        assert client.read().body == b"ok"


def test_http_1_0_gets_no_interim_answer(client: Client) -> None:
    """An HTTP/1.0 client knows no 1xx and gets none."""
    client.ask("/early-hints", version="1.0")
    answer = client.read()
    assert (answer.status, answer.interim) == (200, [])


# ── HTTP/1.0


def test_http_1_0_is_closed_after_the_answer(client: Client) -> None:
    """An HTTP/1.0 client that does not ask to keep the connection has it closed."""
    client.ask("/hello", version="1.0")
    answer = client.read()
    assert answer["Connection"] == "close"
    assert answer.framed == "length"
    assert client.end() == "end"


def test_http_1_0_keep_alive(client: Client) -> None:
    """An HTTP/1.0 client that asks for keep-alive gets it, and is told so."""
    for _ in range(3):
        client.ask("/hello", fields=["Connection: keep-alive"], version="1.0")
        answer = client.read()
        assert answer["Connection"] == "keep-alive"
        assert answer.status == 200


def test_http_1_0_never_gets_chunks(client: Client) -> None:
    """A chunked answer reaches an HTTP/1.0 client unchunked, ended by the close, even where it asked for keep-alive."""
    client.ask("/chunked/100000", fields=["Connection: keep-alive"], version="1.0")
    answer = client.read()
    assert answer.framed == "close"
    assert answer["Connection"] == "close"
    assert answer.body == bytes(i % 251 for i in range(100000))


def test_http_1_0_without_host(client: Client) -> None:
    """An HTTP/1.0 request without Host, as old health checkers send it, is answered by the service."""
    client.ask("/hello", version="1.0", host=None)
    assert client.read().status == 200


def test_http_1_0_post_with_length(client: Client) -> None:
    """An HTTP/1.0 upload with Content-Length arrives whole."""
    client.ask("/upload", "POST", body=b"x" * 5000, version="1.0")
    assert json.loads(client.read().body)["bytes"] == 5000


# ── answers without a body


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("HEAD", "/hello", 200),
        ("HEAD", "/bytes/1000000", 200),
        ("HEAD", "/chunked/1000", 200),
        ("GET", "/status/204", 204),
        ("GET", "/status/304", 304),
        ("HEAD", "/status/404", 404),
        ("HEAD", "/status/204", 204),
    ],
)
def test_bodiless_answers_leave_the_connection_usable(client: Client, method: str, target: str, status: int) -> None:
    """HEAD, 204 and 304 bring no body byte, and the next answer on the connection is read right."""
    client.ask(target, method)
    answer = client.read(method)
    assert answer.status == status
    assert client.get("/items/after").status == 200


def test_head_keeps_the_length(client: Client) -> None:
    """HEAD tells the Content-Length that GET would have."""
    client.ask("/bytes/1000000", "HEAD")
    assert client.read("HEAD")["Content-Length"] == "1000000"


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ],
)
def test_upstream_answers_without_body(raw: Raw, head: bytes) -> None:
    """Whatever framing an empty answer announces, it ends at its head, and both connections stay usable."""
    raw.upstream.script = always(head)
    with raw.client() as client:
        for _ in range(3):
            answer = client.get("/")
            assert answer.body == b""
            if answer.status == 204:
                assert "Content-Length" not in answer
    assert len(raw.upstream.speaking) == 1


@pytest.mark.parametrize("framing", ["Content-Length: 5", "Transfer-Encoding: chunked"])
def test_head_answers_announce_a_body_that_does_not_come(raw: Raw, framing: str) -> None:
    """The answer to HEAD ends at its head, whatever body it announces."""
    raw.upstream.script = always(f"HTTP/1.1 200 OK\r\n{framing}\r\n\r\n".encode())
    with raw.client() as client:
        for _ in range(3):
            client.ask("/", "HEAD")
            assert client.read("HEAD").status == 200
    assert len(raw.upstream.speaking) == 1


# ── answers that end with the connection


def test_close_delimited_answers_are_chunked_for_1_1(raw: Raw) -> None:
    """An answer that the upstream ends by closing reaches an HTTP/1.1 client chunked, on a connection that stays."""
    raw.upstream.script = always(b"HTTP/1.1 200 OK\r\n\r\n" + b"z" * 100_000, close=True)
    with raw.client() as client:
        for _ in range(2):
            answer = client.get("/")
            assert answer.framed == "chunked"
            assert answer.body == b"z" * 100_000


def test_close_delimited_answers_close_for_1_0(raw: Raw) -> None:
    """The same for an HTTP/1.0 client ends by the close."""
    raw.upstream.script = always(b"HTTP/1.0 200 OK\r\n\r\n" + b"z" * 100_000, close=True)
    with raw.client() as client:
        client.ask("/", version="1.0")
        answer = client.read()
        assert answer.framed == "close"
        assert answer.body == b"z" * 100_000


def test_http_1_0_upstream_with_length(raw: Raw) -> None:
    """An HTTP/1.0 upstream's connection is not used again unless it says keep-alive."""
    raw.upstream.script = always(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok")
    with raw.client() as client:
        client.get("/")
        first = raw.seen[0].peer
        client.get("/")
        assert raw.seen[1].peer is not first
        raw.upstream.script = always(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nok")
        client.get("/")
        client.get("/")
        assert raw.seen[3].peer is raw.seen[2].peer


def test_sse_flows_event_by_event(raw: Raw) -> None:
    """Each server-sent event is with the client before the next one is made."""
    peers: list[Peer] = []

    def script(peer: Peer, seen: Seen) -> None:
        peers.append(peer)  # first: the test goes on as soon as the head has arrived
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")

    raw.upstream.script = script
    with raw.client() as client:
        client.ask("/sse")
        answer = client.read_head()
        assert answer["Content-Type"] == "text/event-stream"
        for number in range(20):
            event = b"id: %d\ndata: x\n\n" % number
            peers[0].send(b"%x\r\n%b\r\n" % (len(event), event))
            assert client.read_chunk(answer) == event
        peers[0].send(b"0\r\n\r\n")
        assert client.read_chunk(answer) == b""


def test_sse_of_the_go_service(client: Client) -> None:
    """The service's own events arrive as they are flushed, one chunk each."""
    client.ask("/sse?n=5&every=20ms")
    answer = client.read_head()
    for number in range(1, 6):
        assert client.read_chunk(answer).startswith(b"id: %d\n" % number)
    assert client.read_chunk(answer) == b""


# ── idle clients


def test_idle_clients_are_closed(go: GoService) -> None:
    """A connection that idles longer than `timeouts.keep_alive` is closed, whether it ever asked something or not."""
    with Proxy(go.url, SIDECAR_TIMEOUTS__KEEP_ALIVE="200ms") as short:
        with short.client() as fresh:
            assert fresh.end() == "end"
        with short.client() as used:
            assert used.get("/hello").status == 200
            assert used.end() == "end"


def test_a_client_cut_off_reads_nothing_twice(client: Client) -> None:
    """An answer is sent once: behind it the connection is silent."""
    client.get("/hello")
    assert client.quiet(0.05)
    client.half_close()
    with pytest.raises(CutError):
        client.read()
