"""Tunnels: WebSocket and raw ones, back-pressure and half-close, and what happens to bytes that come too early."""

from __future__ import annotations

import base64
import hashlib
import os
import socket
from threading import Event, Thread

import pytest

from tests.support.client import Client
from tests.support.processes import GoService, Proxy
from tests.support.upstream import OK, Peer, Seen, Upstream, always
from tests.support.waiting import eventually
from tests.wire.conftest import Start
from tests.wire.raw import Raw

ECHO = ["Connection: Upgrade", "Upgrade: echo"]
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"


class WebSocket:
    """As much of RFC 6455's client as an echo needs."""

    def __init__(self, client: Client) -> None:
        self.client = client
        key = base64.b64encode(os.urandom(16)).decode()
        lines = ["Connection: keep-alive, Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"]
        client.ask("/ws", fields=[*lines, f"Sec-WebSocket-Key: {key}"])
        answer = client.read_head()
        assert answer.status == 101
        assert (answer["Connection"].lower(), answer["Upgrade"].lower()) == ("upgrade", "websocket")
        digest = hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode(), usedforsecurity=False).digest()
        assert answer["Sec-WebSocket-Accept"] == base64.b64encode(digest).decode()

    def send(self, opcode: int, payload: bytes) -> None:
        """Send one final frame, masked."""
        size = len(payload)
        if size < 126:
            head = bytes([0x80 | opcode, 0x80 | size])
        elif size < 65536:
            head = bytes([0x80 | opcode, 0x80 | 126]) + size.to_bytes(2, "big")
        else:
            head = bytes([0x80 | opcode, 0x80 | 127]) + size.to_bytes(8, "big")
        mask = b"\x12\x34\x56\x78"
        masked = bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))
        self.client.send(head + mask + masked)

    def receive(self) -> tuple[int, bytes]:
        """The next frame's opcode and payload."""
        first, second = self.client.take(2)
        size = second & 0x7F
        if size == 126:
            size = int.from_bytes(self.client.take(2), "big")
        elif size == 127:
            size = int.from_bytes(self.client.take(8), "big")
        return first & 0x0F, self.client.take(size)


def test_websocket(client: Client) -> None:
    """WebSocket messages, small, large and pings, pass both ways; the close ends the connection."""
    socket_ = WebSocket(client)
    for payload in (b"hello", b"", b"x" * 300, os.urandom(200_000)):
        socket_.send(2, payload)
        assert socket_.receive() == (2, payload)
    socket_.send(9, b"are you there")
    assert socket_.receive() == (10, b"are you there")
    socket_.send(8, (1000).to_bytes(2, "big"))
    assert socket_.receive() == (8, (1000).to_bytes(2, "big"))
    assert client.end() in ("end", "reset")


def test_websocket_ends_with_its_client(proxy: Proxy, go: GoService, request_id: str) -> None:
    """A client that vanishes takes the upstream's half of the tunnel with it."""
    before = proxy.pool()["connections"]
    client = proxy.client()
    client.ask("/raw-upgrade", fields=[*ECHO, f"X-Request-ID: {request_id}"])
    assert client.read_head().status == 101
    client.reset()
    eventually(lambda: go.record(request_id)[0]["finished"])
    eventually(lambda: proxy.pool()["connections"] <= before)
    assert proxy.access(request_id)["status"] == 101


def test_raw_tunnel_with_half_close(proxy: Proxy, request_id: str) -> None:
    """In a tunnel the client's end is passed on, and what the upstream still says comes back before its own end."""
    with proxy.client() as client:
        client.ask("/raw-upgrade", fields=[*ECHO, f"X-Request-ID: {request_id}"])
        answer = client.read_head()
        assert answer.status == 101
        assert answer["Upgrade"] == "echo"
        client.send(b"first")
        assert client.take(5) == b"first"
        client.send(b"last")
        client.half_close()
        assert client.take(4) == b"last"
        assert client.end() == "end"
    line = proxy.access(request_id)
    assert (line["status"], line["reason"], line["bytes_in"], line["bytes_out"]) == (101, "upstream", 9, 9)


def test_upstream_half_close(raw: Raw) -> None:
    """In a tunnel the upstream's end is passed on, and the client's bytes still get through."""
    got: list[bytes | None] = []

    def script(peer: Peer, seen: Seen) -> None:
        peer.send(SWITCH + b"bye")
        peer.half_close()
        got.append(peer.read_exactly(10))
        peer.wait_gone()

    raw.upstream.script = script
    with raw.client() as client:
        client.ask("/", fields=ECHO)
        assert client.read_head().status == 101
        assert client.take(3) == b"bye"
        assert client.end() == "end"
        client.send(b"0123456789")
        assert eventually(lambda: got) == [b"0123456789"]
        client.half_close()
        assert raw.seen[0].peer.gone.wait(10)
        assert raw.seen[0].peer.how == "end"


def test_tunnels_have_back_pressure(proxy: Proxy) -> None:
    """8 MiB go each way through a tunnel whose client does not read at first, whole and in bounded memory."""
    size = 8 << 20
    data = os.urandom(1 << 20) * 8
    with proxy.client() as client:
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        client.ask("/raw-upgrade", fields=ECHO)
        assert client.read_head().status == 101
        before = proxy.rss()
        writer = Thread(target=client.send, args=(data,))
        writer.start()
        # The writer is blocked: nothing comes back while nobody reads, and so nothing more goes in.
        writer.join(0.5)
        peak = proxy.rss()
        digest = hashlib.sha256()
        left = size
        while left:
            piece = client.sock.recv(min(left, 1 << 18))
            assert piece
            digest.update(piece)
            left -= len(piece)
        writer.join(20)
        assert digest.digest() == hashlib.sha256(data).digest()
        assert max(peak, proxy.rss()) - before < 10 << 20
        client.half_close()
        assert client.end() == "end"


def test_early_bytes_reach_the_tunnel(client: Client) -> None:
    """Bytes that a client sends behind its Upgrade request, before the 101, are the tunnel's first."""
    head = "GET /raw-upgrade HTTP/1.1\r\nHost: x\r\n" + "\r\n".join(ECHO) + "\r\n\r\n"
    client.send(head.encode() + b"early bytes")
    assert client.read_head().status == 101
    assert client.take(11) == b"early bytes"
    client.send(b" and later")
    assert client.take(10) == b" and later"


def test_early_bytes_that_arrive_while_waiting(raw: Raw) -> None:
    """The same for bytes that arrive while the upstream is still thinking."""
    release = Event()
    got: list[bytes | None] = []

    def script(peer: Peer, seen: Seen) -> None:
        release.wait(10)
        peer.send(SWITCH)
        got.append(peer.read_exactly(300_000))
        peer.close()

    raw.upstream.script = script
    with raw.client() as client:
        client.ask("/", fields=ECHO)
        eventually(lambda: raw.seen)
        writer = Thread(target=client.send, args=(b"e" * 300_000,))
        writer.start()
        release.set()
        assert client.read_head().status == 101
        assert eventually(lambda: got) == [b"e" * 300_000]
        writer.join(10)


def test_bytes_behind_the_101_are_the_tunnels(raw: Raw) -> None:
    """Bytes that the upstream sends in one piece with its 101 reach the client."""

    def script(peer: Peer, seen: Seen) -> None:
        peer.send(SWITCH + b"welcome")
        peer.wait_gone()

    raw.upstream.script = script
    with raw.client() as client:
        client.ask("/", fields=ECHO)
        assert client.read_head().status == 101
        assert client.take(7) == b"welcome"


def test_a_declined_upgrade_is_a_request(client: Client) -> None:
    """When the upstream declines, what the client sent behind its wish is read as the next request."""
    client.send(
        b"GET /items/1 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"
        b"GET /items/2 HTTP/1.1\r\nHost: x\r\n\r\n"
    )
    for number in (b'"1"', b'"2"'):
        answer = client.read()
        assert answer.status == 200
        assert number in answer.body


@pytest.mark.parametrize("target", ["/ws", "/raw-upgrade"])
def test_426_passes(client: Client, target: str) -> None:
    """The service's own refusal of a request without Upgrade passes, and the connection stays."""
    answer = client.get(target)
    assert answer.status == 426
    assert client.get("/hello").status == 200


@pytest.mark.parametrize(
    "lines",
    [
        ["Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA"],
        ["Connection: upgrade, http2-settings", "Upgrade: H2C", "HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA"],
        ["Connection: Upgrade", "Upgrade: echo, h2c"],
        ["Connection: Upgrade", "Upgrade: h2c, websocket"],
    ],
)
def test_h2c_is_not_passed_on(raw: Raw, lines: list[str]) -> None:
    """A wish for h2c, which would carry requests past the proxy, does not reach the upstream; the request does."""
    with raw.client() as client:
        assert client.get("/", *lines).status == 200
    assert not raw.seen[0].names & {"upgrade", "http2-settings", "connection"}


def test_h2c_answered_all_the_same(raw: Raw) -> None:
    """An upstream that switches to h2c without having been asked is refused."""
    raw.upstream.script = always(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
    with raw.client() as client:
        answer = client.get("/", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMA")
        assert (answer.status, answer["X-Sidecar-Reason"]) == (502, "bad_response")


@pytest.mark.parametrize(
    ("lines", "version", "body"),
    [
        (["Upgrade: echo"], "1.1", None),
        (["Connection: keep-alive", "Upgrade: echo"], "1.1", None),
        (ECHO, "1.0", None),
        (ECHO, "1.1", b"a body"),
    ],
)
def test_no_tunnel_without_a_whole_wish(raw: Raw, lines: list[str], version: str, body: bytes | None) -> None:
    """Upgrade that Connection does not name, in HTTP/1.0, or with a body, is dropped; the request passes."""
    with raw.client() as client:
        client.ask("/", "POST", lines, body, version=version)
        assert client.read("POST").status == 200
    assert "upgrade" not in raw.seen[0].names


def test_tunnels_are_not_pooled(raw: Raw) -> None:
    """A connection that was a tunnel serves nobody else."""

    def script(peer: Peer, seen: Seen) -> None:
        if seen.get("Upgrade"):
            peer.send(SWITCH)
            peer.wait_gone()
        else:
            peer.send(OK)

    raw.upstream.script = script
    with raw.client() as client, raw.client() as other:
        client.ask("/", fields=ECHO)
        assert client.read_head().status == 101
        assert other.get("/").status == 200
        client.half_close()
        assert client.end() == "end"
        assert other.get("/").status == 200
    assert raw.seen[1].peer is not raw.seen[0].peer
    assert raw.seen[2].peer is not raw.seen[0].peer


def test_an_upstream_that_resets_a_tunnel(raw: Raw) -> None:
    """A tunnel that the upstream resets ends for the client."""
    release = Event()

    def script(peer: Peer, seen: Seen) -> None:
        peer.send(SWITCH)
        release.wait(10)
        peer.reset()

    raw.upstream.script = script
    with raw.client() as client:
        client.ask("/", fields=ECHO)
        assert client.read_head().status == 101
        release.set()
        assert client.end() in ("end", "reset")


def test_tunnels_live_past_the_request_timeouts(start: Start, upstream: Upstream) -> None:
    """A tunnel that idles is not bounded by `--timeout`, `--attempt-timeout` or the pool's idle limit."""

    def script(peer: Peer, seen: Seen) -> None:
        peer.send(SWITCH)
        while (data := peer.read_exactly(4)) is not None:
            peer.send(data)

    upstream.script = script
    proxy = start("--timeout", "200ms", "--attempt-timeout", "200ms", SIDECAR_POOL__IDLE="200ms")
    with proxy.client() as client:
        client.ask("/", fields=ECHO)
        assert client.read_head().status == 101
        assert client.quiet(0.6)
        client.send(b"ping")
        assert client.take(4) == b"ping"
