"""A body that goes out behind its head."""

from __future__ import annotations

import pytest

from sidecar.errors import CONNECTION_LOST, SidecarError
from sidecar.http1.outflow import Outflow
from tests.http1.support import Written

HEAD = b"HTTP/1.1 200 OK\r\n\r\n"
LOST = SidecarError(CONNECTION_LOST, "lost")


def outflow(*, chunked: bool = False, half_close: bool = False) -> tuple[Outflow, Written, list[SidecarError | None]]:
    """A message, what was written of it, and how it ended."""
    transport, ends = Written(), list[SidecarError | None]()
    return Outflow(transport, HEAD, chunked=chunked, half_close=half_close, on_end=ends.append), transport, ends


@pytest.mark.parametrize("chunked", [True, False])
def test_head_and_body_that_are_there_go_out_in_one_write(chunked: bool) -> None:
    """One system call, one segment."""
    out, transport, ends = outflow(chunked=chunked)
    out.data(b"hello", None)
    assert transport.writes == []
    out.end(b"")

    assert transport.writes == [HEAD + (b"5\r\nhello\r\n0\r\n\r\n" if chunked else b"hello")]
    assert (ends, out.ended, out.sent) == ([None], True, 5)


def test_after_the_cork_each_piece_goes_out_as_it_comes() -> None:
    """The head goes out even with nothing behind it."""
    out, transport, ends = outflow()
    out.uncork()
    out.data(b"a", None)
    out.data(b"b", None)
    out.uncork()
    out.end(b"")

    assert transport.writes == [HEAD, b"a", b"b"]
    assert ends == [None]


def test_a_large_piece_is_not_copied_to_be_joined() -> None:
    """It follows its head all the same."""
    out, transport, _ = outflow()
    out.data(b"x" * 100_000, None)
    out.uncork()

    assert transport.bytes == HEAD + b"x" * 100_000


def test_raw_pieces_go_out_raw_where_the_framing_is_chunked() -> None:
    """And others are framed; what is sent is counted in payload."""
    out, transport, _ = outflow(chunked=True)
    out.uncork()
    out.data(b"", b"5\r\n")
    out.data(b"hello", b"hello\r\n")
    out.data(b"ab", None)
    out.end(b"")

    assert transport.bytes == HEAD + b"5\r\nhello\r\n2\r\nab\r\n0\r\n\r\n"
    assert out.sent == 7


def test_raw_pieces_go_out_as_payload_where_it_is_not() -> None:
    """Nothing of the chunked coding reaches a reader who was not told of it."""
    out, transport, _ = outflow()
    out.uncork()
    out.data(b"", b"5\r\n")
    out.data(b"hello", b"hello\r\n")
    out.data(b"", b"\r\n")
    out.end(b"X: 1\r\n")

    assert transport.bytes == HEAD + b"hello"


def test_an_empty_piece_is_not_the_last_chunk() -> None:
    """A chunk of no bytes would end the body."""
    out, transport, _ = outflow(chunked=True)
    out.uncork()
    out.data(b"", None)
    assert transport.writes == [HEAD]
    out.data(b"a", None)
    out.end(b"")

    assert transport.bytes == HEAD + b"1\r\na\r\n0\r\n\r\n"


@pytest.mark.parametrize("corked", [True, False])
def test_trailers_follow_the_last_chunk(corked: bool) -> None:
    """As lines."""
    out, transport, _ = outflow(chunked=True)
    if not corked:
        out.uncork()
    out.end(b"Grpc-Status: 0\r\n")

    assert transport.bytes == HEAD + b"0\r\nGrpc-Status: 0\r\n\r\n"


@pytest.mark.parametrize("chunked", [True, False])
def test_a_cut_does_not_look_like_an_end(chunked: bool) -> None:
    """What came is written, without a last chunk; who owns the connection is told why."""
    out, transport, ends = outflow(chunked=chunked)
    out.uncork()
    out.data(b"hel", None)
    out.abort(LOST)

    assert transport.bytes == HEAD + (b"3\r\nhel\r\n" if chunked else b"hel")
    assert (ends, out.ended) == ([LOST], True)


def test_a_message_that_is_cut_before_it_was_begun_is_not_begun() -> None:
    """Whoever it is for can still be told something better."""
    out, transport, ends = outflow()
    out.data(b"hel", None)
    out.abort(LOST)
    out.uncork()

    assert transport.writes == []
    assert (ends, out.ended) == ([LOST], True)


@pytest.mark.parametrize(
    ("half_close", "closing", "ended"), [(True, False, True), (True, True, False), (False, False, False)]
)
def test_a_tunnels_half_ends_with_its_stream(half_close: bool, closing: bool, ended: bool) -> None:
    """Unless all of it is going away."""
    out, transport, ends = outflow(half_close=half_close)
    out.uncork()
    transport.closing = closing
    out.end(b"")

    assert transport.ended is ended
    assert ends == [None]
