"""Request heads: what is believed, what is refused, what becomes of each field."""

from __future__ import annotations

import pytest

from sidecar.headers import HOP_BY_HOP
from sidecar.http1.heads import HeadError, HeadReader
from tests.http1.reading import asked, request_head

GET = b"GET / HTTP/1.1"


@pytest.mark.parametrize(
    ("first", "method", "target", "minor"),
    [
        (b"GET / HTTP/1.1", "GET", b"/", 1),
        (b"\r\nGET / HTTP/1.1", "GET", b"/", 1),
        (b"GET /a?b=c%20&d HTTP/1.1", "GET", b"/a?b=c%20&d", 1),
        (b"POST //a/../b;c HTTP/1.0", "POST", b"//a/../b;c", 0),
        (b"OPTIONS * HTTP/1.1", "OPTIONS", b"*", 1),
        (b"PROPFIND / HTTP/1.1", "PROPFIND", b"/", 1),
        (b"M-SEARCH / HTTP/1.1", "M-SEARCH", b"/", 1),
        (b'GET /|{}"<>^`\\ HTTP/1.1', "GET", b'/|{}"<>^`\\', 1),
        (b"GET http://a/b?c HTTP/1.1", "GET", b"/b?c", 1),
        (b"GET http://A HTTP/1.1", "GET", b"/", 1),
        (b"GET HTTP://a?c HTTP/1.1", "GET", b"/?c", 1),
        (b"GET https://a/ HTTP/1.1", "GET", b"/", 1),
        (b"OPTIONS http://a HTTP/1.1", "OPTIONS", b"*", 1),
        (b"OPTIONS http://a/ HTTP/1.1", "OPTIONS", b"/", 1),
    ],
)
def test_request_lines_that_are_believed(first: bytes, method: str, target: bytes, minor: int) -> None:
    """The target as it came; of a URL, what is behind its host."""
    read = asked(request_head(first=first))

    assert (method, target, minor) == (read.method, read.target, read.minor)


@pytest.mark.parametrize(
    "first",
    [
        b"",
        b"GET",
        b"GET /",
        b"GET  / HTTP/1.1",
        b"GET /  HTTP/1.1",
        b"GET / HTTP/1.1 ",
        b" GET / HTTP/1.1",
        b"\r\n\r\nGET / HTTP/1.1",
        b"\n\nGET / HTTP/1.1",
        b"GET\t/ HTTP/1.1",
        b"GET /a b HTTP/1.1",
        b"GET / HTTP/0.9",
        b"GET / HTTP/1.2",
        b"GET / HTTP/2.0",
        b"GET / HTTP/1.10",
        b"GET / HTTP/11",
        b"GET / http/1.1",
        b"GET / RTSP/1.0",
        b"DESCRIBE / RTSP/1.0",
        b"SOURCE / ICE/1.0",
        b"PRI * HTTP/2.0",
        b"get / HTTP/1.1",
        b"NONSENSE / HTTP/1.1",
        b"G(T / HTTP/1.1",
        b"G\xc9T / HTTP/1.1",
        b"GET /\x00 HTTP/1.1",
        b"GET /\x7f HTTP/1.1",
        b"GET /\xc3\xa9 HTTP/1.1",
        b"GET /a#b HTTP/1.1",
        b"GET a HTTP/1.1",
        b"GET a:80 HTTP/1.1",
        b"GET * HTTP/1.1",
        b"GET http:///a HTTP/1.1",
        b"GET http://b/ HTTP/1.1",
        b"GET http://a:80/ HTTP/1.1",
        b"GET http://u@a/ HTTP/1.1",
        b"GET http://a/#b HTTP/1.1",
        b"GET ftp://a/ HTTP/1.1",
        b"CONNECT a:80 HTTP/1.1",
        b"CONNECT / HTTP/1.1",
        b"CONNECT http://a/ HTTP/1.1",
        b"GET / HTTP/1.1\nX: y",
        b"GET / HTTP/1.1\rX: y",
    ],
)
def test_request_lines_that_are_refused(first: bytes) -> None:
    """One method, one blank, one target, one blank, HTTP/1.0 or 1.1; this is no forward proxy."""
    with pytest.raises(HeadError) as caught:
        asked(request_head(first=first))
    assert not caught.value.too_large
    assert caught.value.detail


@pytest.mark.parametrize(
    "host", [b"a", b"a.example:80", b"A-b_c", b"[::1]", b"[2001:db8::1]:80", b"127.0.0.1:", b"", b"a%41", b"xn--a.b."]
)
def test_hosts_that_are_believed(host: bytes) -> None:
    """A name or an address, a port maybe; an empty one is allowed (RFC 9112 section 3.2)."""
    read = asked(request_head(host=host))

    assert read.known[b"host"] == host
    assert read.block == b"Host: " + host + b"\r\n"


@pytest.mark.parametrize(
    "host",
    [
        b"a b",
        b"a,b",
        b"a/b",
        b"u@a",
        b"a:80:80",
        b"a:8o",
        b"a:123456",
        b"[::1",
        b"::1",
        b"[x]",
        b'a"b',
        b"a#",
        b"a?b",
        b"\xff",
    ],
)
def test_hosts_that_are_refused(host: bytes) -> None:
    """What another reader might route elsewhere."""
    with pytest.raises(HeadError, match="Host"):
        asked(request_head(host=host))


def test_a_host_that_was_good_does_not_vouch_for_another() -> None:
    """A reader serves many heads."""
    reader = HeadReader(100)
    reader.request(request_head(host=b"a"))
    with pytest.raises(HeadError, match="Host"):
        reader.request(request_head(host=b"a b"))
    with pytest.raises(HeadError, match="Host"):
        reader.request(request_head(host=None))


def test_only_http_1_0_may_leave_host_out() -> None:
    """1.1 may not."""
    assert b"host" not in asked(request_head(first=b"GET / HTTP/1.0", host=None)).known
    with pytest.raises(HeadError, match="Host is missing"):
        asked(request_head(host=None))


@pytest.mark.parametrize("line", [b"Host: a", b"Host: b", b"hOST:b"])
def test_two_hosts_are_refused(line: bytes) -> None:
    """Even the same one twice."""
    with pytest.raises(HeadError, match="host is there twice"):
        asked(request_head(line))


@pytest.mark.parametrize(
    ("lines", "length", "chunked"),
    [
        ([], 0, False),
        ([b"Content-Length: 0"], 0, False),
        ([b"Content-Length: 5"], 5, False),
        ([b"content-length:\t5 "], 5, False),
        ([b"Content-Length: 999999999999999999"], 999999999999999999, False),
        ([b"Transfer-Encoding: chunked"], 0, True),
        ([b"TRANSFER-ENCODING:CHUNKED"], 0, True),
    ],
)
def test_framing_that_is_believed(lines: list[bytes], length: int, chunked: bool) -> None:
    """By one field, with one reading."""
    read = asked(request_head(*lines, first=b"POST / HTTP/1.1"))

    assert (length, chunked) == (read.length, read.chunked)


@pytest.mark.parametrize(
    "lines",
    [
        [b"Content-Length: 5", b"Transfer-Encoding: chunked"],
        [b"Transfer-Encoding: chunked", b"Content-Length: 5"],
        [b"Transfer-Encoding: chunked", b"Content-Length: 0"],
        [b"Content-Length: 5", b"Content-Length: 5"],
        [b"Content-Length: 5", b"Content-Length: 6"],
        [b"Content-Length: 5, 5"],
        [b"Content-Length:"],
        [b"Content-Length: +5"],
        [b"Content-Length: -5"],
        [b"Content-Length: 05"],
        [b"Content-Length: 5_0"],
        [b"Content-Length: 0x5"],
        [b"Content-Length: 5.0"],
        [b"Content-Length: 5 5"],
        [b"Content-Length: \xd9\xa5"],
        [b"Content-Length: 5\x0b"],
        [b"Content-Length: 1000000000000000000"],
        [b"Content-Length: 18446744073709551617"],
        [b"Content-Length : 5"],
        [b"Content-Length\t: 5"],
        [b" Content-Length: 5"],
        [b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"],
        [b"Transfer-Encoding: chunked, chunked"],
        [b"Transfer-Encoding: gzip, chunked"],
        [b"Transfer-Encoding: gzip"],
        [b"Transfer-Encoding: identity"],
        [b"Transfer-Encoding:"],
        [b"Transfer-Encoding: chunked,"],
        [b"Transfer-Encoding: chunked;a=b"],
        [b"Transfer-Encoding: xchunked"],
        [b"Transfer-Encoding: \x0bchunked"],
        [b"Transfer-Encoding:\r\n chunked"],
        [b"Transfer-Encoding : chunked"],
    ],
    ids=lambda lines: repr(b" | ".join(lines)),
)
def test_framing_that_is_refused(lines: list[bytes]) -> None:
    """Two fields, two values, or a value that somebody could read otherwise."""
    with pytest.raises(HeadError):
        asked(request_head(*lines, first=b"POST / HTTP/1.1"))


@pytest.mark.parametrize("line", [b"Transfer-Encoding: chunked"])
def test_http_1_0_knows_no_chunks(line: bytes) -> None:
    """An old hop between would not have read them."""
    with pytest.raises(HeadError, match=r"1\.0"):
        asked(request_head(line, first=b"POST / HTTP/1.0"))


@pytest.mark.parametrize("name", [b"transfer_encoding", b"content_length"])
def test_framing_in_disguise_is_neither_read_nor_passed_on(name: bytes) -> None:
    """Frameworks that read an underscore as a hyphen would be framed by it."""
    read = asked(request_head(name + b": 5", b"Content-Length: 3", first=b"POST / HTTP/1.1"))

    assert (read.length, read.chunked) == (3, False)
    assert read.block == b"Host: a\r\nContent-Length: 3\r\n"


@pytest.mark.parametrize(
    "line",
    [
        b"X",
        b": x",
        b"X : y",
        b"X\t: y",
        b" X: y",
        b"X: a\r\n b",
        b"X: a\r\n\tb",
        b"X: a\nY: b",
        b"X: a\rY: b",
        b"X: \x00",
        b"X: \x01",
        b"X: \x7f",
        b"X\x00: y",
        b"X\xff: y",
        b"X(: y",
        b'X": y',
        b"X;: y",
    ],
)
def test_fields_that_are_refused(line: bytes) -> None:
    """Folded lines, blanks before the colon, control bytes, line ends of another kind."""
    with pytest.raises(HeadError):
        asked(request_head(line))


def test_fields_that_concern_nobody_here_pass_byte_for_byte() -> None:
    """In order, as they were spelt; values may be empty or hold any high byte."""
    lines = [b"aCCept:x", b"X-Empty:", b"X-High: \xff\xe9", b"X:  y  ", b"Cookie: a=1", b"cookie: b=2", b"X-A: tab\tin"]

    assert asked(request_head(*lines)).block == b"Host: a\r\n" + b"".join(line + b"\r\n" for line in lines)


REWRITTEN = [
    b"Forwarded",
    b"X-Forwarded-For",
    b"X-Forwarded-Host",
    b"X-Forwarded-Proto",
    b"X-Request-ID",
    b"X-Request-Timeout-Ms",
    b"X-Envoy-Expected-Rq-Timeout-Ms",
]


@pytest.mark.parametrize("name", REWRITTEN)
def test_what_is_written_anew_is_taken_out_and_known(name: bytes) -> None:
    """In either spelling; only the proper one is believed."""
    read = asked(request_head(b"A: 1", name + b": x", b"B: 2"))
    assert read.block == b"Host: a\r\nA: 1\r\nB: 2\r\n"
    assert read.known[name.lower()] == b"x"

    disguised = asked(request_head(b"A: 1", name.replace(b"-", b"_") + b": x"))
    assert disguised.block == b"Host: a\r\nA: 1\r\n"
    if b"-" in name:
        assert name.lower() not in disguised.known


@pytest.mark.parametrize("name", sorted(HOP_BY_HOP - {b"transfer-encoding"}))
def test_the_hops_own_fields_end_here(name: bytes) -> None:
    """Whatever the spelling."""
    assert asked(request_head(b"A: 1", name.title() + b": x", b"B: 2")).block == b"Host: a\r\nA: 1\r\nB: 2\r\n"


@pytest.mark.parametrize("name", [b"X-Sidecar-Reason", b"x_sidecar_id", b"X-SIDECAR-"])
def test_our_own_fields_are_nobody_elses(name: bytes) -> None:
    """Clients cannot set them."""
    assert asked(request_head(name + b": x")).block == b"Host: a\r\n"


@pytest.mark.parametrize(
    "line", [b"X-Sidecars: x", b"My-X-Sidecar-A: x", b"X: X-Sidecar-A: x", b"Te-X: y", b"Hosts: b"]
)
def test_names_that_only_look_alike_pass(line: bytes) -> None:
    """A name is compared whole."""
    assert asked(request_head(line)).block == b"Host: a\r\n" + line + b"\r\n"


@pytest.mark.parametrize("name", [b"Expect", b"Idempotency-Key", b"Grpc-Timeout", b"Connect-Timeout-Ms"])
def test_what_is_read_here_goes_on(name: bytes) -> None:
    """It is meant for the upstream too."""
    read = asked(request_head(name + b":  x "))

    assert read.known[name.lower()] == b"x"
    assert read.block == b"Host: a\r\n" + name + b":  x \r\n"


def test_repeated_fields_are_joined() -> None:
    """Where one may repeat."""
    assert asked(request_head(b"X-Forwarded-For: a", b"x-forwarded-for: b")).known[b"x-forwarded-for"] == b"a, b"
    with pytest.raises(HeadError, match="expect is there twice"):
        asked(request_head(b"Expect: 100-continue", b"Expect: 100-continue"))


@pytest.mark.parametrize(
    ("connection", "block"),
    [
        (b"x-a", b"Host: a\r\nX-B: 2\r\n"),
        (b"X-A, close, X-b", b"Host: a\r\n"),
        (b"x-a\r\nConnection: x-b", b"Host: a\r\n"),
        (b"x-absent", b"Host: a\r\nX-A: 1\r\nX-B: 2\r\n"),
        (b", ,x-a,", b"Host: a\r\nX-B: 2\r\n"),
    ],
)
def test_what_connection_names_ends_here(connection: bytes, block: bytes) -> None:
    """However often and however it is spelt."""
    assert asked(request_head(b"X-A: 1", b"Connection: " + connection, b"X-B: 2")).block == block


def test_what_connection_names_is_not_known_either() -> None:
    """A field that was meant for this hop is not meant for our decisions on the next."""
    read = asked(
        request_head(
            b"X-Forwarded-For: 192.0.2.1", b"Idempotency-Key: k", b"Connection: x-forwarded-for, idempotency-key"
        )
    )

    assert b"x-forwarded-for" not in read.known
    assert b"idempotency-key" not in read.known
    assert read.block == b"Host: a\r\n"


@pytest.mark.parametrize("name", [b"host", b"Content-Length"])
def test_connection_cannot_take_framing_or_routing_away(name: bytes) -> None:
    """The next hop would read another message than this one."""
    with pytest.raises(HeadError, match="Connection"):
        asked(request_head(b"Content-Length: 5", b"Connection: close, " + name, first=b"POST / HTTP/1.1"))


@pytest.mark.parametrize(
    ("minor", "connection", "keep_alive"),
    [
        (1, None, True),
        (1, b"close", False),
        (1, b"Close", False),
        (1, b"keep-alive, close", False),
        (1, b"keep-alive", True),
        (1, b"closed", True),
        (0, None, False),
        (0, b"Keep-Alive", True),
        (0, b"keep-alive, close", False),
        (0, b"close", False),
    ],
)
def test_the_client_may_keep_its_connection(minor: int, connection: bytes | None, keep_alive: bool) -> None:
    """In 1.1 unless it says otherwise, in 1.0 if it says so."""
    lines = [] if connection is None else [b"Connection: " + connection]

    assert asked(request_head(*lines, first=b"GET / HTTP/1.%d" % minor)).keep_alive is keep_alive


@pytest.mark.parametrize(
    ("lines", "upgrade"),
    [
        ([b"Connection: Upgrade", b"Upgrade: websocket"], b"websocket"),
        ([b"Connection: keep-alive, upgrade", b"Upgrade: WebSocket"], b"WebSocket"),
        ([b"Upgrade: websocket"], b""),
        ([b"Connection: Upgrade"], b""),
        ([b"Connection: Upgrade", b"Upgrade: websocket", b"Content-Length: 5"], b""),
        ([b"Connection: Upgrade", b"Upgrade: websocket", b"Transfer-Encoding: chunked"], b""),
        ([b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: x"], b""),
        ([b"Connection: Upgrade", b"Upgrade: websocket, H2C"], b""),
    ],
    ids=lambda value: repr(value),
)
def test_a_tunnel_has_to_be_asked_for_properly(lines: list[bytes], upgrade: bytes) -> None:
    """Named in both fields, with no body; h2c would carry requests past all that is decided here."""
    assert asked(request_head(*lines)).upgrade == upgrade
    assert asked(request_head(*lines)).block.count(b"pgrade") == 0


def test_http_1_0_gets_no_tunnel() -> None:
    """It has none."""
    read = asked(request_head(b"Connection: Upgrade", b"Upgrade: websocket", first=b"GET / HTTP/1.0"))

    assert read.upgrade == b""


@pytest.mark.parametrize(
    ("lines", "accepts"),
    [
        ([b"TE: trailers", b"Connection: TE"], True),
        ([b"TE: gzip, Trailers", b"Connection: te"], True),
        ([b"TE: gzip", b"Connection: TE"], False),
        ([], False),
    ],
    ids=lambda value: repr(value),
)
def test_whoever_takes_trailers_says_so(lines: list[bytes], accepts: bool) -> None:
    """TE itself is the hop's."""
    read = asked(request_head(*lines))

    assert read.accepts_trailers is accepts
    assert read.block == b"Host: a\r\n"


def test_announced_trailers_are_passed_on_with_chunks_only() -> None:
    """Without them there is nothing that could bring trailers."""
    chunked = asked(request_head(b"Trailer: X-Sum", b"Transfer-Encoding: chunked", first=b"POST / HTTP/1.1"))
    counted = asked(request_head(b"Trailer: X-Sum", b"Content-Length: 5", first=b"POST / HTTP/1.1"))

    assert chunked.block == b"Host: a\r\nTrailer: X-Sum\r\n"
    assert counted.block == b"Host: a\r\nContent-Length: 5\r\n"


def test_too_many_fields_are_said_to_be_too_many() -> None:
    """It is a limit that was broken, not a rule: 431, not 400."""
    assert asked(request_head(*[b"X: y"] * 9), max_headers=10).block.count(b"\r\n") == 10
    with pytest.raises(HeadError, match="11 header fields, 10 are allowed") as caught:
        asked(request_head(*[b"X: y"] * 10), max_headers=10)
    assert caught.value.too_large
