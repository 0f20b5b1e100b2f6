"""Response heads: what is believed of an upstream, and what its clients see of it."""

from __future__ import annotations

import h11
import pytest

from sidecar.exchange import Response
from sidecar.headers import HOP_BY_HOP, Headers, index
from sidecar.http1.answer_head import answer_head, interim_head
from sidecar.http1.heads import HeadError
from tests.http1.reading import response_head, told


@pytest.mark.parametrize(
    ("first", "status", "phrase"),
    [
        (b"HTTP/1.1 200 OK", 200, b"OK"),
        (b"HTTP/1.0 404 Not Found", 404, b"Not Found"),
        (b"HTTP/1.1 200 ", 200, b""),
        (b"HTTP/1.1 200", 200, b""),
        (b"HTTP/1.1 299 Any\tthing \xe9", 299, b"Any\tthing \xe9"),
        (b"HTTP/1.1 999 Odd", 999, b"Odd"),
        (b"HTTP/1.1 200 " + b"p" * 80, 200, b"p" * 80),
        (b"HTTP/1.1 200 " + b"p" * 81, 200, b""),
    ],
)
def test_status_lines_that_are_believed(first: bytes, status: int, phrase: bytes) -> None:
    """Any number of three digits, any phrase or none; one that is too long to be a phrase is left out."""
    read = told(response_head(first=first))

    assert (status, phrase) == (read.status, read.phrase)


@pytest.mark.parametrize(
    "first",
    [
        b"",
        b"HTTP/1.1",
        b"HTTP/1.1 ",
        b"HTTP/1.1 20 OK",
        b"HTTP/1.1 2000 OK",
        b"HTTP/1.1 099 Low",
        b"HTTP/1.1 000 Low",
        b"HTTP/1.1  200 OK",
        b"HTTP/1.1\t200 OK",
        b"HTTP/1.1 +20 OK",
        b"HTTP/1.1 2x0 OK",
        b"HTTP/1.1 200OK",
        b"HTTP/1.2 200 OK",
        b"HTTP/2.0 200 OK",
        b"HTTP/0.9 200 OK",
        b"http/1.1 200 OK",
        b"ICY 200 OK",
        b"RTSP/1.0 200 OK",
        b" HTTP/1.1 200 OK",
        b"HTTP/1.1 200 \x00",
        b"HTTP/1.1 200 a\rb",
        b"HTTP/1.1 200 OK\nX: y",
    ],
)
def test_status_lines_that_are_refused(first: bytes) -> None:
    """HTTP/1.0 or 1.1, one blank, three digits."""
    with pytest.raises(HeadError):
        told(response_head(first=first))


@pytest.mark.parametrize(
    ("lines", "length", "chunked"),
    [
        ([], None, False),
        ([b"Content-Length: 0"], 0, False),
        ([b"Content-Length: 5"], 5, False),
        ([b"Transfer-Encoding: chunked"], None, True),
        ([b"transfer-encoding: Chunked"], None, True),
    ],
)
def test_framing_that_is_believed(lines: list[bytes], length: int | None, chunked: bool) -> None:
    """By length, by chunks, or by the close."""
    read = told(response_head(*lines))

    assert (length, chunked, False) == (read.length, read.chunked, read.bodiless)


@pytest.mark.parametrize(
    "lines",
    [
        [b"Content-Length: 5", b"Transfer-Encoding: chunked"],
        [b"Content-Length: 5", b"Content-Length: 5"],
        [b"Content-Length: 5, 5"],
        [b"Content-Length: +5"],
        [b"Content-Length: 05"],
        [b"Content-Length:"],
        [b"Transfer-Encoding: gzip, chunked"],
        [b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"],
        [b"Transfer-Encoding: identity"],
        [b"X: a\r\n b"],
        [b"X : a"],
        [b"X: \x00"],
        [b"Connection: content-length", b"Content-Length: 5"],
    ],
    ids=lambda lines: repr(b" | ".join(lines)),
)
def test_heads_with_two_readings_are_refused(lines: list[bytes]) -> None:
    """An upstream that is misread would be answered for."""
    with pytest.raises(HeadError):
        told(response_head(*lines))


def test_chunks_in_http_1_0_are_refused() -> None:
    """It has none."""
    with pytest.raises(HeadError, match=r"1\.0"):
        told(response_head(b"Transfer-Encoding: chunked", first=b"HTTP/1.0 200 OK"))


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 304), ("HEAD", 404)])
def test_some_answers_have_no_body_whatever_they_announce(method: str, status: int) -> None:
    """Their length is that of another answer, and passes."""
    read = told(response_head(b"Content-Length: 5", first=b"HTTP/1.1 %d X" % status), method)

    assert read.bodiless
    assert read.block == b"Content-Length: 5\r\n"
    assert told(response_head(b"Transfer-Encoding: chunked", first=b"HTTP/1.1 %d X" % status), method).bodiless


@pytest.mark.parametrize("status", [100, 101, 103, 199, 204])
def test_some_answers_may_not_announce_one(status: int) -> None:
    """Zero is tolerated, but not passed on (RFC 9110 section 8.6)."""
    first = b"HTTP/1.1 %d X" % status
    switch = [b"Connection: upgrade", b"Upgrade: x"] if status == 101 else []
    assert told(response_head(*switch, first=first)).bodiless
    assert told(response_head(*switch, b"Content-Length: 0", b"A: 1", first=first)).block == b"A: 1\r\n"
    for line in (b"Content-Length: 5", b"Transfer-Encoding: chunked"):
        with pytest.raises(HeadError, match=f"a {status} answer"):
            told(response_head(*switch, line, first=first))


def test_a_switch_to_nothing_is_refused() -> None:
    """101 names a protocol."""
    with pytest.raises(HeadError):
        told(response_head(first=b"HTTP/1.1 101 Switching Protocols"))


@pytest.mark.parametrize(
    ("minor", "connection", "keep_alive"),
    [
        (1, None, True),
        (1, b"Close", False),
        (1, b"x, close", False),
        (0, None, False),
        (0, b"Keep-Alive", True),
        (0, b"close", False),
    ],
)
def test_the_upstream_may_keep_its_connection(minor: int, connection: bytes | None, keep_alive: bool) -> None:
    """In 1.1 unless it says otherwise, in 1.0 if it says so."""
    lines = [] if connection is None else [b"Connection: " + connection]

    assert told(response_head(*lines, first=b"HTTP/1.%d 200 OK" % minor)).keep_alive is keep_alive


@pytest.mark.parametrize(
    "name",
    [
        *sorted(HOP_BY_HOP - {b"transfer-encoding", b"connection"}),
        b"X-Request-Id",
        b"X-Sidecar-A",
        b"x_sidecar_a",
        b"content_length",
    ],
)
def test_the_hops_fields_and_ours_end_here(name: bytes) -> None:
    """Nobody but the sidecar says why it answered, nor under which ID."""
    assert told(response_head(b"A: 1", name + b": x", b"B: 2")).block == b"A: 1\r\nB: 2\r\n"


def test_what_connection_names_ends_here() -> None:
    """In answers too."""
    assert told(response_head(b"X-A: 1", b"Connection: x-a, close", b"X-B: 2")).block == b"X-B: 2\r\n"


def test_everything_else_passes_byte_for_byte() -> None:
    """Cookies above all, which must not be joined; fields of a request mean nothing here."""
    lines = [b"Set-Cookie: a=1", b"set-cookie: b=2", b"X-Forwarded-For: x", b"Host: y", b"Server:", b"Date:  now "]

    assert told(response_head(*lines)).block == b"".join(line + b"\r\n" for line in lines)


def test_announced_trailers_are_passed_on_with_chunks() -> None:
    """As in requests."""
    assert told(response_head(b"Trailer: X", b"Transfer-Encoding: chunked")).block == b"Trailer: X\r\n"
    assert told(response_head(b"Trailer: X", b"Content-Length: 1")).block == b"Content-Length: 1\r\n"


def test_the_keep_alive_field_is_known() -> None:
    """It teaches the pool."""
    assert told(response_head(b"Keep-Alive: timeout=5")).known[b"keep-alive"] == b"timeout=5"


def test_too_many_fields_are_refused() -> None:
    """As many as a request may have."""
    with pytest.raises(HeadError, match="11 header fields"):
        told(response_head(*[b"X: y"] * 11), max_headers=10)


@pytest.mark.parametrize("chunked", [True, False])
@pytest.mark.parametrize("close", [True, False])
@pytest.mark.parametrize("minor", [1, 0])
def test_an_answers_head_says_how_it_is_framed(chunked: bool, close: bool, minor: int) -> None:
    """And whether it is the last; to a 1.0 client, that it is not."""
    response = Response(404, b"Not Found", Headers(b"A: 1\r\n" if chunked else b"A: 1\r\nContent-Length: 0\r\n"))
    head = answer_head(response, b"id-1", chunked=chunked, close=close, minor=minor)
    line, _, block = head.partition(b"\r\n")
    found = index(block)

    assert line == b"HTTP/1.1 404 Not Found"
    assert head.endswith(b"\r\n\r\n")
    assert (found[b"a"], found[b"x-request-id"]) == (b"1", b"id-1")
    assert (b"chunked" if chunked else None) == found.get(b"transfer-encoding")
    if close:
        assert found[b"connection"] == b"close"
    elif not chunked:
        assert (None if minor else b"keep-alive") == found.get(b"connection")


def test_a_tunnels_head_says_which_protocol() -> None:
    """As the upstream named it."""
    response = Response(101, b"Switching Protocols", Headers(b"A: 1\r\n", {b"upgrade": b"websocket"}))

    class Tunnel:
        source = None

        def data(self, data: bytes | memoryview, raw: bytes | None) -> None: ...
        def end(self, trailers: bytes) -> None: ...
        def abort(self, error: Exception) -> None: ...

    response.tunnel = Tunnel()  # type: ignore[assignment]
    found = index(answer_head(response, b"id", chunked=False, close=True, minor=1).partition(b"\r\n")[2])
    assert found == {b"a": b"1", b"x-request-id": b"id", b"connection": b"Upgrade", b"upgrade": b"websocket"}


def test_an_interim_answer_is_only_itself() -> None:
    """No ID, no framing, and a client takes it as what it is."""
    head = interim_head(Response(103, b"Early Hints", Headers(b"Link: </a>\r\n")))
    assert head == b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"

    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method="GET", target="/", headers=[("Host", "a")]))
    client.send(h11.EndOfMessage())
    client.receive_data(head)
    assert isinstance(client.next_event(), h11.InformationalResponse)
