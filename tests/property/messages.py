"""Messages in all their legal forms, and the pieces they may arrive in."""

from __future__ import annotations

from typing import NamedTuple

from hypothesis import strategies as st

PAYLOADS = st.binary(max_size=300) | st.integers(0, 200_000).map(lambda size: b"payload " * (size // 8))

# Where a chunked body is cut into chunks, and which of them carry an extension.
CHUNK_SIZES = st.lists(st.integers(1, 40) | st.integers(1, 70_000), min_size=1, max_size=8)
EXTENSIONS = st.sampled_from([b"", b"", b"", b";a", b";a=b", b' ; a="b;c"'])
TRAILERS = st.sampled_from([b"", b"", b"X-Sum: 1\r\n", b"Grpc-Status: 0\r\nX:\r\n", b"Host: evil\r\nX: 1\r\n"])


@st.composite
def chunked(draw: st.DrawFn, payload: bytes) -> bytes:
    """A chunked body of this payload, in any legal form."""
    sizes, body = draw(CHUNK_SIZES), b""
    number = 0
    while payload:
        size = sizes[number % len(sizes)] if number < 30 else len(payload)
        part, payload = payload[:size], payload[size:]
        number += 1
        line = draw(st.sampled_from([b"%x", b"%X", b"0%x"])) % len(part)
        body += line + draw(EXTENSIONS) + b"\r\n" + part + b"\r\n"
    return body + draw(st.sampled_from([b"0", b"00", b"0;last"])) + b"\r\n" + draw(TRAILERS) + b"\r\n"


class Message(NamedTuple):
    """A request or a response: its bytes, what its body means, and its method."""

    wire: bytes
    payload: bytes
    method: str
    to_the_close: bool = False


@st.composite
def requests(draw: st.DrawFn) -> Message:
    """A legal request."""
    method = draw(st.sampled_from(["GET", "POST", "PUT", "HEAD"]))
    lines = [f"{method} /{draw(st.sampled_from(['', 'a?b', 'a/../b']))} HTTP/1.1".encode(), b"Host: a"]
    lines += draw(
        st.lists(st.sampled_from([b"X-A: 1", b"Connection: x-a", b"TE: trailers", b"Cookie: a=1"]), max_size=3)
    )
    framing = draw(st.sampled_from(["none", "length", "chunked"])) if method in ("POST", "PUT") else "none"
    if framing == "none":
        return Message(b"\r\n".join([*lines, b"", b""]), b"", method)
    payload = draw(PAYLOADS)
    if framing == "length":
        return Message(b"\r\n".join([*lines, b"Content-Length: %d" % len(payload), b"", payload]), payload, method)
    head = b"\r\n".join([*lines, b"Transfer-Encoding: chunked", b"", b""])
    return Message(head + draw(chunked(payload)), payload, method)


@st.composite
def responses(draw: st.DrawFn, method: str) -> Message:
    """A legal response to a `method` request, interim ones before it."""
    interim = draw(
        st.sampled_from([b"", b"", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Hi\r\nLink: </a>\r\n\r\n"])
    )
    status = draw(st.sampled_from([b"200 OK", b"404 Not Found", b"500", b"204 No Content", b"304 Not Modified"]))
    if method == "HEAD" or status[:3] in (b"204", b"304"):
        return Message(interim + b"HTTP/1.1 " + status + b"\r\nX-B: 2\r\n\r\n", b"", method)
    framing = draw(st.sampled_from(["length", "chunked", "close"]))
    payload = draw(PAYLOADS)
    head = interim + b"HTTP/1.1 " + status + b"\r\nX-B: 2\r\n"
    if framing == "length":
        return Message(head + b"Content-Length: %d\r\n\r\n" % len(payload) + payload, payload, method)
    if framing == "chunked":
        return Message(head + b"Transfer-Encoding: chunked\r\n\r\n" + draw(chunked(payload)), payload, method)
    return Message(head + b"\r\n" + payload, payload, method, to_the_close=True)


def cuts() -> st.SearchStrategy[list[int]]:
    """Sizes of the pieces in which bytes arrive, taken in turn and again from the first."""
    return st.lists(st.integers(1, 3) | st.integers(1, 100) | st.integers(1, 300_000), min_size=1, max_size=12)


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    """The bytes in pieces of these sizes, the first hundred of them; the rest in one."""
    pieces = []
    for number in range(100):
        size = sizes[number % len(sizes)]
        pieces.append(data[:size])
        data = data[size:]
        if not data:
            break
    return [piece for piece in (*pieces, data) if piece]
