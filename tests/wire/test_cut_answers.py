"""Answers that do not come, that were cut, or that nobody asked for: none of them only looks whole.

The upstream plays its worst; the service in Go can do some of it too. Answers that cannot be believed are in
tests/conformance.
"""

from __future__ import annotations

from threading import Event

import pytest

from tests.support.client import CutError
from tests.support.processes import Proxy
from tests.support.upstream import OK, Peer, Seen, always, in_turn
from tests.wire.raw import Raw

CHUNKED = b"Transfer-Encoding: chunked\r\n"


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
@pytest.mark.parametrize("data", [pytest.param(data, id=name.replace(" ", "-")) for name, data in CUTS.items()])
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


def test_an_answer_that_is_broken_in_one_piece_with_its_head(raw: Raw) -> None:
    """Its head is not believed either: nothing of it is passed on."""
    raw.upstream.script = always(CUTS["broken chunk size"])
    with raw.client() as client:
        for _ in range(5):
            answer = client.get("/")
            assert (answer.status, answer["X-Sidecar-Reason"]) == (502, "bad_response")


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


def test_surplus_bytes_that_come_later(raw: Raw) -> None:
    """An upstream that speaks unasked on an idle connection loses it, and nobody sees what it said."""
    with raw.client() as client:
        for _ in range(50):
            assert client.get("/").body == b"ok"
            spoken_on = raw.seen[-1].peer
            spoken_on.send(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nunasked")
            assert client.get("/").body == b"ok"
            assert raw.seen[-1].peer is not spoken_on
