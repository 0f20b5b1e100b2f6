"""Answers that cannot be believed, or that were cut: the client never gets something that only looks whole.

The upstream plays its worst; the service in Go can do some of it too.
"""

from __future__ import annotations

import json
from threading import Event

import pytest

from tests.support.client import CutError
from tests.support.processes import Proxy
from tests.support.upstream import OK, Peer, Seen, always, in_turn
from tests.wire.raw import Raw

CL2 = b"Content-Length: 2\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"


def ok(*lines: bytes, body: bytes = b"ok") -> bytes:
    """A 200 with these lines."""
    return b"HTTP/1.1 200 OK\r\n" + b"".join(lines) + b"\r\n" + body


BAD = {
    "CL and TE": ok(CL2, CHUNKED, body=b"2\r\nok\r\n0\r\n\r\n"),
    "TE and CL": ok(CHUNKED, CL2, body=b"2\r\nok\r\n0\r\n\r\n"),
    "different CL": ok(CL2, b"Content-Length: 3\r\n", body=b"okk"),
    "equal CL": ok(CL2, CL2),
    "CL list": ok(b"Content-Length: 2, 2\r\n"),
    "CL plus": ok(b"Content-Length: +2\r\n"),
    "CL negative": ok(b"Content-Length: -2\r\n"),
    "CL hex": ok(b"Content-Length: 0x2\r\n"),
    "CL underscore": ok(b"Content-Length: 0_2\r\n"),
    "CL empty": ok(b"Content-Length:\r\n"),
    "CL too large": ok(b"Content-Length: 18446744073709551618\r\n"),
    "TE gzip": ok(b"Transfer-Encoding: gzip\r\n"),
    "TE gzip chunked": ok(b"Transfer-Encoding: gzip, chunked\r\n", body=b"0\r\n\r\n"),
    "TE twice": ok(CHUNKED, CHUNKED, body=b"0\r\n\r\n"),
    "TE xchunked": ok(b"Transfer-Encoding: xchunked\r\n", body=b"0\r\n\r\n"),
    "TE in 1.0": b"HTTP/1.0 200 OK\r\n" + CHUNKED + b"\r\n0\r\n\r\n",
    "TE space colon": ok(b"Transfer-Encoding : chunked\r\n", body=b"0\r\n\r\n"),
    "204 with a length": b"HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\nok",
    "204 chunked": b"HTTP/1.1 204 No Content\r\n" + CHUNKED + b"\r\n0\r\n\r\n",
    "103 with a length": b"HTTP/1.1 103 Early Hints\r\nContent-Length: 2\r\n\r\nok",
    "two digits": b"HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n",
    "four digits": b"HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n",
    "099": b"HTTP/1.1 099 OK\r\nContent-Length: 0\r\n\r\n",
    "no digits": b"HTTP/1.1 OK\r\nContent-Length: 0\r\n\r\n",
    "signed": b"HTTP/1.1 +20 OK\r\nContent-Length: 0\r\n\r\n",
    "no version": b"200 OK\r\nContent-Length: 0\r\n\r\n",
    "HTTP/2.0": b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    "HTTP/1.2": b"HTTP/1.2 200 OK\r\nContent-Length: 0\r\n\r\n",
    "HTTP/0.9": b"HTTP/0.9 200 OK\r\nContent-Length: 0\r\n\r\n",
    "ICY": b"ICY 200 OK\r\nContent-Length: 0\r\n\r\n",
    "RTSP": b"RTSP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    "two spaces": b"HTTP/1.1  200 OK\r\nContent-Length: 0\r\n\r\n",
    "control byte in the phrase": b"HTTP/1.1 200 O\x01K\r\nContent-Length: 0\r\n\r\n",
    "garbage": b"\x00\xff\x00\xff\r\n\r\n",
    "html": b"<html><body>hello</body></html>\r\n\r\n",
    "a request": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "an empty head": b"\r\n\r\n",
    "obs-fold": ok(CL2, b"X-A: b\r\n c\r\n"),
    "bare LF": ok(CL2, b"X-A: b\nX-C: d\r\n"),
    "bare CR": ok(CL2, b"X-A: b\rc\r\n"),
    "NUL": ok(CL2, b"X-A: \0\r\n"),
    "control byte": ok(CL2, b"X-A: \x01\r\n"),
    "space before the colon": ok(CL2, b"X-A : b\r\n"),
    "no colon": ok(CL2, b"X-A\r\n"),
    "empty name": ok(CL2, b": b\r\n"),
    "too large": ok(CL2, b"X-A: " + b"a" * 70_000 + b"\r\n"),
    "too large without end": b"HTTP/1.1 200 OK\r\nX-A: " + b"a" * 200_000,
    "too many fields": ok(CL2, b"X-A: b\r\n" * 101),
    "Connection names Content-Length": ok(CL2, b"Connection: content-length\r\n"),
    "101 not asked for": b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    "eleven interim answers": b"HTTP/1.1 103 Early Hints\r\n\r\n" * 11 + OK,
    "endless interim answers": b"HTTP/1.1 100 Continue\r\n\r\n" * 10_000,
}


def _cases(table: dict[str, bytes]) -> list[object]:
    return [pytest.param(data, id=name.replace(" ", "-")) for name, data in table.items()]


@pytest.mark.parametrize("answer", _cases(BAD))
def test_bad_answers(raw: Raw, answer: bytes) -> None:
    """An answer that cannot be believed becomes 502 bad_response; its connection is not used again."""

    def script(peer: Peer, seen: Seen) -> None:
        peer.send(answer)
        peer.wait_gone()

    raw.upstream.script = in_turn(script, always(OK))
    with raw.client() as client:
        got = client.get("/bad")
        assert (got.status, got["X-Sidecar-Reason"]) == (502, "bad_response"), got
        assert json.loads(got.body)["detail"]
        bad = raw.seen[0].peer
        assert bad.gone.wait(10)
        # The client's own connection is fine, and what lies behind the bad answer reaches nobody.
        assert client.get("/next").body == b"ok"
    assert len(raw.seen) == 2
    assert raw.seen[1].peer is not bad


@pytest.mark.parametrize("size", [1, 7])
@pytest.mark.parametrize("name", ["CL and TE", "different CL", "garbage", "bare LF", "two digits"])
def test_bad_answers_in_pieces(raw: Raw, name: str, size: int) -> None:
    """How its bytes arrive changes nothing about a bad answer."""

    def script(peer: Peer, seen: Seen) -> None:
        for position in range(0, len(BAD[name]), size):
            peer.send(BAD[name][position : position + size])
        peer.wait_gone()

    raw.upstream.script = script
    with raw.client() as client:
        assert client.get("/bad")["X-Sidecar-Reason"] == "bad_response"


def test_ten_interim_answers_pass(raw: Raw) -> None:
    """Ten interim answers are passed on."""
    raw.upstream.script = always(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 10 + OK)
    with raw.client() as client:
        answer = client.get("/")
        assert (answer.status, len(answer.interim)) == (200, 10)


def test_an_interim_answer_is_never_the_last(raw: Raw) -> None:
    """An upstream that says 100 and closes has not answered: 502."""
    raw.upstream.script = always(b"HTTP/1.1 100 Continue\r\n\r\n", close=True)
    with raw.client() as client:
        client.ask("/")
        answer = client.read()
        assert [interim.status for interim in answer.interim] == [100]
        assert (answer.status, answer["X-Sidecar-Reason"]) == (502, "connection_lost")


@pytest.mark.parametrize("wish", ["Upgrade: echo", "Upgrade: websocket"])
def test_101_to_another_protocol(raw: Raw, wish: str) -> None:
    """A 101 to a protocol that the client did not name is refused."""
    raw.upstream.script = always(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: other\r\n\r\n")
    with raw.client() as client:
        answer = client.get("/", "Connection: Upgrade", wish)
        assert (answer.status, answer["X-Sidecar-Reason"]) == (502, "bad_response")


# ── no answer at all


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("start", [b"", b"HTT", b"HTTP/1.1 200 OK\r\nContent-Le"])
def test_no_answer(raw: Raw, how: str, start: bytes) -> None:
    """An upstream that goes away before its answer's head is whole: 502 connection_lost, the client can go on."""

    def script(peer: Peer, seen: Seen) -> None:
        if start:
            peer.send(start)
        getattr(peer, how)()

    raw.upstream.script = in_turn(always(OK, close=True), script)
    with raw.client() as client:
        client.get("/")  # so that the connection that matters is new, not kept
        answer = client.get("/")
        assert answer.status == 502
        assert answer["X-Sidecar-Reason"] == "connection_lost"
        assert answer["Proxy-Status"].startswith("sidecar; error=connection_terminated")
        raw.upstream.script = always(OK)
        assert client.get("/").status == 200


# ── cut answers

CUTS = {
    "CL": b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b"x" * 50_000,
    "CL without a byte": b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n",
    "chunked in a chunk": b"HTTP/1.1 200 OK\r\n" + CHUNKED + b"\r\n10\r\n0123456",
    "chunked behind a chunk": b"HTTP/1.1 200 OK\r\n" + CHUNKED + b"\r\n5\r\nabcde\r\n",
    "chunked in a size": b"HTTP/1.1 200 OK\r\n" + CHUNKED + b"\r\n5\r\nabcde\r\n1",
    "chunked behind the last size": b"HTTP/1.1 200 OK\r\n" + CHUNKED + b"\r\n5\r\nabcde\r\n0\r\n",
    "chunked in the trailers": b"HTTP/1.1 200 OK\r\n" + CHUNKED + b"\r\n5\r\nabcde\r\n0\r\nX-A: b\r\n",
    "chunked without a byte": b"HTTP/1.1 200 OK\r\n" + CHUNKED + b"\r\n",
    "broken chunk size": b"HTTP/1.1 200 OK\r\n" + CHUNKED + b"\r\n5\r\nabcde\r\nxyz\r\n0\r\n\r\n",
    "chunk longer than said": b"HTTP/1.1 200 OK\r\n" + CHUNKED + b"\r\n5\r\nabcdefgh\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("version", ["1.1", "1.0"])
@pytest.mark.parametrize("data", _cases(CUTS))
def test_cut_answers(raw: Raw, data: bytes, version: str, how: str) -> None:
    """A cut answer is visibly cut: too short, without its last chunk, or (HTTP/1.0 without a length) reset."""

    def script(peer: Peer, seen: Seen) -> None:
        peer.send(data)
        getattr(peer, how)()

    raw.upstream.script = script
    with raw.client() as client:
        client.ask("/", version=version)
        how_it_ended = ""
        try:
            answer = client.read()
        except CutError as cut:
            how_it_ended = cut.how
        else:
            # What was wrong was known before a byte had been passed on, or a reset had overtaken the head.
            assert answer.status == 502, answer
            assert how == "reset" or answer["X-Sidecar-Reason"] == "bad_response"
        if how_it_ended and version == "1.0" and b"Content-Length" not in data:
            assert how_it_ended == "reset"
        raw.upstream.script = always(OK)
    with raw.client() as client:
        assert client.get("/").status == 200


def test_a_close_delimited_answer_that_was_reset(raw: Raw) -> None:
    """An answer that only the close would end, and that a reset ended, is visibly cut for both versions."""

    for version in ("1.1", "1.0"):
        read = Event()

        def script(peer: Peer, seen: Seen, read: Event = read) -> None:
            peer.send(b"HTTP/1.1 200 OK\r\n\r\nhello")
            read.wait(10)
            peer.reset()

        raw.upstream.script = script
        with raw.client() as client:
            client.ask("/", version=version)
            client.read_head()
            assert (client.read_chunk() if version == "1.1" else client.take(5)) == b"hello"
            read.set()
            assert client.end() in (("end", "reset") if version == "1.1" else ("reset",))


@pytest.mark.parametrize("target", ["/abort?after=100000", "/abort-chunked?after=100000"])
def test_cut_answers_of_the_go_service(proxy: Proxy, target: str, request_id: str) -> None:
    """A Go handler that panics in its body is seen by the client as a cut, and by the log as connection_lost."""
    with proxy.client() as client:
        client.ask(target, fields=[f"X-Request-ID: {request_id}"])
        with pytest.raises(CutError) as cut:
            client.read()
        assert cut.value.answer is not None
        assert cut.value.answer.status == 200
        assert cut.value.answer.length <= 100_000
    line = proxy.access(request_id)
    assert (line["status"], line["reason"]) == (200, "connection_lost")


# ── more than was asked for


@pytest.mark.parametrize(
    "data",
    [
        OK + b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nsplit!!",
        OK + b"x",
        OK + b"\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n" + OK,
        b"HTTP/1.1 304 Not Modified\r\n\r\n" + OK,
        b"HTTP/1.1 204 No Content\r\n\r\n" + OK,
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\nsplit!!",
    ],
)
def test_surplus_bytes_reach_nobody(raw: Raw, data: bytes) -> None:
    """Bytes behind an answer are dropped with their connection, and never become another client's answer."""
    first: list[Peer] = []

    def script(peer: Peer, seen: Seen) -> None:
        first.append(peer)
        peer.send(data)

    raw.upstream.script = in_turn(script, always(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nmine"))
    with raw.client() as one, raw.client() as other:
        assert one.get("/").body in (b"ok", b"")
        assert other.get("/").body == b"mine"
        assert one.get("/").body == b"mine"
        assert one.quiet(0.02)
        assert other.quiet(0.02)
    assert all(seen.peer is not first[0] for seen in raw.seen[1:])


def test_surplus_bytes_that_come_later(raw: Raw) -> None:
    """An upstream that speaks unasked on an idle connection loses it, and nobody sees what it said."""
    with raw.client() as client:
        for _ in range(50):
            assert client.get("/").body == b"ok"
            spoken_on = raw.seen[-1].peer
            spoken_on.send(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nunasked")
            assert client.get("/").body == b"ok"
            assert raw.seen[-1].peer is not spoken_on


def test_a_body_behind_head(raw: Raw) -> None:
    """An upstream that sends a body to HEAD does not reach the next client with it."""
    raw.upstream.script = in_turn(always(OK), always(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nmine"))
    with raw.client() as client:
        client.ask("/", "HEAD")
        assert client.read("HEAD").status == 200
        assert client.get("/").body == b"mine"


FINE = {
    "no phrase": b"HTTP/1.1 200 \r\nContent-Length: 2\r\n\r\nok",
    "no phrase nor space": b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok",
    "odd phrase": b"HTTP/1.1 200 Alles g\xc3\xbct, ja\r\nContent-Length: 2\r\n\r\nok",
    "unregistered status": b"HTTP/1.1 299 Mine\r\nContent-Length: 2\r\n\r\nok",
    "status 999": b"HTTP/1.1 999 Mine\r\nContent-Length: 2\r\n\r\nok",
    "bytes outside ASCII": ok(CL2, b"X-A: \xe4\xff\r\n"),
    "no space behind the colon": b"HTTP/1.1 200 OK\r\nContent-Length:2\r\n\r\nok",
    "spaces around values": b"HTTP/1.1 200 OK\r\nContent-Length: \t2 \r\n\r\nok",
    "lower case": b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
    "Chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "100 fields": ok(CL2, b"X-A: b\r\n" * 99),
    "chunk extensions": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;a=b\r\no\r\n1\r\nk\r\n0;x\r\n\r\n",
}


@pytest.mark.parametrize("data", _cases(FINE))
def test_unusual_answers_pass(raw: Raw, data: bytes) -> None:
    """What is odd but has one reading passes, in one piece and byte by byte."""

    def script(peer: Peer, seen: Seen) -> None:
        for byte in data:
            peer.send(bytes([byte]))

    raw.upstream.script = in_turn(always(data), script)
    with raw.client() as client:
        for _ in range(2):
            answer = client.get("/")
            assert answer.status in (200, 299, 999)
            assert answer.body == b"ok"
    assert raw.seen[0].peer is raw.seen[1].peer
