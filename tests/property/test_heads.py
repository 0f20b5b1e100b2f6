"""Whatever we believe of a head, another strict reader believes too, and reads the same."""

from __future__ import annotations

import re

import h11
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sidecar.headers import index
from sidecar.http1.heads import HeadError
from tests.http1.reading import Asked, Told, asked, told

# We are looser than h11, knowingly:
#   - h11 wants a Host in HTTP/1.1 and refuses two; so do we. It does not look into it; we do (stricter).
#   - h11 refuses no fragment, authority form or foreign absolute form; we do (stricter).
#   - h11 accepts Content-Length twice if alike, `5, 5`, `05`; with Transfer-Encoding, too; we do not (stricter).
#   - h11 accepts any token as a method; llhttp knows a list (stricter).
#   - h11 accepts `Transfer-Encoding` in HTTP/1.0 and status lines without a blank behind the digits (stricter, same).
#   - obs-fold and a bare LF as line end: h11 accepts both, we neither (stricter).
#   - h11 knows no response status above 599 (`999`): we pass it on (looser).
#   - h11 refuses a blank within a reason phrase's control set only; both take obs-text.
LOOSER_STATUS = range(600, 1000)

TOKENS = st.sampled_from(
    [
        *(b"GET", b"POST", b"HEAD", b"OPTIONS", b"CONNECT", b"get", b"PROPFIND"),
        *(b" ", b"  ", b"\t", b"\r\n", b"\n", b"\r", b":", b": ", b" :", b",", b", ", b";", b"\x00", b"\xff", b"\x0b"),
        *(b"/", b"*", b"http://a", b"/a?b", b"#", b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0", b"HTTP/1.1 200 OK"),
        *(
            b"Host",
            b"a",
            b"b",
            b"a:80",
            b"Content-Length",
            b"Content_Length",
            b"0",
            b"5",
            b"+5",
            b"05",
            b"18446744073709551616",
        ),
        *(b"Transfer-Encoding", b"transfer_encoding", b"chunked", b"Chunked", b"gzip", b"identity"),
        *(b"Connection", b"close", b"keep-alive", b"upgrade", b"Upgrade", b"websocket", b"TE", b"trailers"),
        *(b"X-A", b"X-Sidecar-A", b"X-Forwarded-For", b"Expect", b"100-continue", b"200", b"204", b"304", b"999"),
    ]
)
SOUP = st.lists(TOKENS, max_size=14).map(b"".join)
NAMES = st.sampled_from(
    [
        b"Host",
        b"Content-Length",
        b"Transfer-Encoding",
        b"Connection",
        b"Upgrade",
        b"X-A",
        b"TE",
        b"Expect",
        b"content_length",
        b"X-Sidecar-A",
    ]
)
VALUES = st.sampled_from(
    [
        b"a",
        b"5",
        b"0",
        b"05",
        b"5, 5",
        b"chunked",
        b"gzip, chunked",
        b"close",
        b"x-a, close",
        b"host",
        b"upgrade",
        b"websocket",
        b"",
    ]
)
GOOD = [b"Content-Length: 5", b"Transfer-Encoding: chunked", b"Connection: close", b"X-A: 1", b"x-a:", b"Upgrade: x"]
FIELDS = st.tuples(NAMES, st.sampled_from([b":", b": ", b":\t", b" :"]), VALUES).map(b"".join)
LINES = st.lists(st.sampled_from(GOOD) | st.sampled_from(GOOD) | FIELDS | SOUP, max_size=5)


def first_head(data: bytes) -> bytes:
    """As the connection does: a head ends with its first empty line."""
    data += b"\r\n\r\n"
    return data[: data.find(b"\r\n\r\n") + 4]


@st.composite
def heads(draw: st.DrawFn, first: list[bytes]) -> bytes:
    """Something between a head and noise, with one empty line at its end."""
    line = draw(st.sampled_from(first) | st.sampled_from(first) | SOUP)
    lines = [line, *draw(LINES)]
    if draw(st.integers(0, 4)):
        lines.insert(1, b"Host: a")
    data = b"\r\n".join([*lines, b"", b""])
    if draw(st.integers(0, 3)) == 0:
        position = draw(st.integers(0, len(data)))
        data = data[:position] + draw(st.binary(min_size=0, max_size=2)) + data[position + draw(st.integers(0, 2)) :]
    return first_head(data)


REQUEST_LINES = [
    b"GET / HTTP/1.1",
    b"POST /a?b HTTP/1.1",
    b"GET / HTTP/1.0",
    b"OPTIONS * HTTP/1.1",
    b"GET http://a/ HTTP/1.1",
]
STATUS_LINES = [b"HTTP/1.1 200 OK", b"HTTP/1.0 200", b"HTTP/1.1 204 No Content", b"HTTP/1.1 304 ", b"HTTP/1.1 999 \xff"]


def believed_request(head: bytes) -> Asked | None:
    """What we make of it."""
    try:
        return asked(head)
    except HeadError:
        return None


def believed_response(head: bytes) -> Told | None:
    """What we make of it."""
    try:
        return told(head)
    except HeadError:
        return None


@settings(max_examples=600)
@given(heads(REQUEST_LINES))
@example(b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n")
@example(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n")
def test_a_request_we_believe_is_believed_by_others(head: bytes) -> None:
    """Same method, target, framing, and the same fields but those that end here."""
    ours = believed_request(head)
    if ours is None:
        return
    server = h11.Connection(h11.SERVER)
    server.receive_data(head)
    theirs = server.next_event()

    assert isinstance(theirs, h11.Request)
    assert theirs.method.decode() == ours.method
    assert ours.target in (theirs.target, b"/", b"*") or theirs.target.endswith(ours.target)
    assert theirs.http_version == b"1.%d" % ours.minor
    lengths = [int(value) for name, value in theirs.headers if name == b"content-length"]
    codings = [value for name, value in theirs.headers if name == b"transfer-encoding"]
    assert ours.chunked is (codings == [b"chunked"])
    assert [ours.length] == (lengths or [0])
    fields = list(theirs.headers)
    for name, value in index(ours.block).items():
        given_values = [found for other, found in fields if other == name]
        assert value == b", ".join(given_values)
    # And what we send on is again such a head.
    onward = h11.Connection(h11.SERVER)
    onward.receive_data(b"%b %b HTTP/1.1\r\n%b\r\n" % (ours.method.encode(), ours.target, _with_host(ours)))
    assert isinstance(onward.next_event(), h11.Request)


def _with_host(ours: Asked) -> bytes:
    return ours.block if b"host" in ours.known else b"Host: a\r\n" + ours.block


@settings(max_examples=600)
@given(heads(STATUS_LINES))
@example(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
def test_a_response_we_believe_is_believed_by_others(head: bytes) -> None:
    """Same status, framing, and the same fields but those that end here."""
    ours = believed_response(head)
    if ours is None or ours.status in LOOSER_STATUS:
        return
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method="GET", target="/", headers=[("Host", "a")]))
    client.send(h11.EndOfMessage())
    client.receive_data(head)
    theirs = client.next_event()

    assert isinstance(theirs, h11.Response | h11.InformationalResponse)
    assert theirs.status_code == ours.status
    if not ours.bodiless:
        lengths = [int(value) for name, value in theirs.headers if name == b"content-length"]
        assert ([] if ours.length is None else [ours.length]) == lengths
        assert ours.chunked is any(name == b"transfer-encoding" for name, _ in theirs.headers)
    for name, value in index(ours.block).items():
        assert value == b", ".join(found for other, found in theirs.headers if other == name)


FRAMING = re.compile(
    rb"(?i)^(content.length|transfer.encoding|connection|x.sidecar.[^:]*|te|upgrade)[ \t]*:", re.MULTILINE
)


@settings(max_examples=600)
@given(heads(REQUEST_LINES))
def test_nothing_of_the_hop_is_left_in_what_goes_on(head: bytes) -> None:
    """But a Content-Length that we have believed."""
    ours = believed_request(head)
    if ours is None:
        return
    left = {name.lower() for name in FRAMING.findall(ours.block)}

    assert left <= {b"content-length"}
    assert b"content-length" not in left or not ours.chunked
    assert ours.block.count(b"\n") == ours.block.count(b"\r\n") == ours.block.count(b"\r")
    assert b"\r\n\r\n" not in ours.block


@given(st.binary(max_size=200))
def test_noise_never_breaks_the_reader(noise: bytes) -> None:
    """It is refused or believed; there is no third."""
    believed_request(first_head(noise))
    believed_response(first_head(noise))
