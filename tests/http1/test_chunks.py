"""Chunked bodies: every legal form, every malformed one, however the bytes arrive."""

from __future__ import annotations

import gc

import pytest

from sidecar.http1.chunks import ChunkError, ChunkScanner
from tests.http1.support import chunked_again, one_by_one, scan, unchunked

LEGAL = {
    "empty": (b"0\r\n\r\n", b""),
    "empty in many digits": (b"000\r\n\r\n", b""),
    "one": (b"5\r\nhello\r\n0\r\n\r\n", b"hello"),
    "two": (b"5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n", b"hello!"),
    "upper case": (b"A\r\n0123456789\r\n0\r\n\r\n", b"0123456789"),
    "lower case": (b"a\r\n0123456789\r\n0\r\n\r\n", b"0123456789"),
    "leading zeros": (b"0005\r\nhello\r\n0\r\n\r\n", b"hello"),
    "line ends within": (b"6\r\n\r\n0\r\n\r\r\n0\r\n\r\n", b"\r\n0\r\n\r"),
    "extension": (b"5;a=b\r\nhello\r\n0\r\n\r\n", b"hello"),
    "extension without a value": (b"5;a\r\nhello\r\n0\r\n\r\n", b"hello"),
    "blanks before an extension": (b"5 \t; a = b\r\nhello\r\n0\r\n\r\n", b"hello"),
    "quoted extension": (b'5;a="b;c"\r\nhello\r\n0\r\n\r\n', b"hello"),
    "extension at the end": (b"5\r\nhello\r\n0;last\r\n\r\n", b"hello"),
    "extension among bare ones": (b"1\r\na\r\n1;x\r\nb\r\n1\r\nc\r\n0\r\n\r\n", b"abc"),
    "all extended": (b"1;x\r\na\r\n1;y\r\nb\r\n0;z\r\n\r\n", b"ab"),
    "trailers": (b"1\r\na\r\n0\r\nGrpc-Status: 0\r\nX:\r\n\r\n", b"a"),
    "high bytes in a trailer": (b"0\r\nX: \xff\x80\r\n\r\n", b""),
}

MALFORMED = {
    "nothing": b"\r\n",
    "no digit": b"x\r\n",
    "sign": b"+5\r\nhello\r\n",
    "minus": b"-5\r\nhello\r\n",
    "underscore": b"1_0\r\n",
    "prefix": b"0x5\r\nhello\r\n",
    "blank before": b" 5\r\nhello\r\n",
    "blank behind": b"5 \r\nhello\r\n",
    "vertical tab": b"5\x0b\r\nhello\r\n",
    "bare line feed": b"5\nhello\n",
    "bare line feed behind an extension": b"5;a\nhello\r\n",
    "bare carriage return": b"5\rhello\r\n",
    "carriage return in an extension": b"5;a\rb\r\nhello\r\n",
    "control byte in an extension": b"5;a\x00\r\nhello\r\n",
    "high byte in an extension": b"5;\xff\r\nhello\r\n",
    "sixteen digits": b"1000000000000000\r\n",
    "sixteen zeros": b"0000000000000000\r\n",
    "payload too long": b"5\r\nhello!\r\n",
    "payload too short": b"5\r\nhell\r\n0\r\n\r\n",
    "no line end behind the payload": b"5\r\nhello0\r\n\r\n",
    "line feed alone behind the payload": b"5\r\nhello\n0\r\n\r\n",
    "trailer without a colon": b"0\r\nnonsense\r\n\r\n",
    "trailer without a name": b"0\r\n: x\r\n\r\n",
    "blank in a trailer's name": b"0\r\nX : x\r\n\r\n",
    "folded trailer": b"0\r\nX: a\r\n b\r\n\r\n",
    "bare line feed in a trailer": b"0\r\nX: a\nY: b\r\n\r\n",
    "bare carriage return in a trailer": b"0\r\nX: a\rY: b\r\n\r\n",
    "bare line feed for the empty line": b"0\r\n\n",
    "zero byte in a trailer": b"0\r\nX: a\x00\r\n\r\n",
    "size line without an end": b"5;" + b"a" * 1000,
    "size line of a thousand bytes": b"5;" + b"a" * 1000 + b"\r\nhello\r\n0\r\n\r\n",
    "trailers without an end": b"0\r\n" + b"X: a\r\n" * 2000,
    "trailers of twelve thousand bytes": b"0\r\n" + b"X: a\r\n" * 2000 + b"\r\n",
}

LEGALS = pytest.mark.parametrize(("body", "payload"), LEGAL.values(), ids=LEGAL)


BOUNDS = pytest.mark.parametrize("bound", [1, 2, 3])


def bounded(monkeypatch: pytest.MonkeyPatch, bound: int) -> None:
    """Look at so many size lines at once."""
    monkeypatch.setattr("sidecar.http1.chunks._AT_ONCE", bound)


@LEGALS
def test_every_legal_form_is_read(body: bytes, payload: bytes) -> None:
    """The payload, all of it, and what lies behind the body is not part of it."""
    scanner, pieces = scan([body + b"GET /"])

    assert b"".join(data for data, _ in pieces) == payload
    assert scanner.done
    assert scanner.rest == b"GET /"


@LEGALS
def test_it_does_not_matter_how_the_bytes_arrive(body: bytes, payload: bytes) -> None:
    """Byte by byte is as good as at once."""
    whole, _ = scan([body + b"rest"])
    scanner, pieces = scan(one_by_one(body + b"rest"))

    assert b"".join(data for data, _ in pieces) == payload
    assert (scanner.done, scanner.trailers, scanner.rest) == (True, whole.trailers, whole.rest)


@LEGALS
@pytest.mark.parametrize("bytewise", [True, False])
def test_what_goes_out_is_one_chunked_body(body: bytes, payload: bytes, bytewise: bool) -> None:
    """Whichever pieces go out raw and whichever are framed anew, the next reader finds the same payload."""
    _, pieces = scan(one_by_one(body) if bytewise else [body])

    assert unchunked(chunked_again(pieces)) == payload


def test_bare_chunks_go_out_as_they_came() -> None:
    """In one piece, whatever the number of chunks; only the last chunk is written anew."""
    _, pieces = scan([b"5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n"])

    assert pieces == [(b"hello!", b"5\r\nhello\r\n1\r\n!\r\n")]


def test_extensions_stay_here() -> None:
    """Nobody behind us sees what we have not understood."""
    _, pieces = scan([b"1\r\na\r\n1;secret\r\nb\r\n2\r\ncd\r\n0;secret\r\n\r\n"])

    assert pieces == [(b"a", b"1\r\na\r\n"), (b"bcd", None)]


def test_extensions_now_and_then_do_not_make_a_piece_of_each_chunk() -> None:
    """Each piece is a write, and a body of little ones could keep everybody else waiting."""
    _, pieces = scan([b"1\r\na\r\n1;x\r\nb\r\n" * 1000 + b"0\r\n\r\n"])

    assert pieces == [(b"a", b"1\r\na\r\n"), (b"b" + b"ab" * 999, None)]


def test_extensions_without_end_are_refused() -> None:
    """A body has to get on: a little of them, or those of long chunks, is all that is read past."""
    signature = b";chunk-signature=" + b"f" * 64
    scan([(b"2000%b\r\n" % signature + b"x" * 0x2000 + b"\r\n") * 1000 + b"0\r\n\r\n"])
    scan([b"1;note\r\na\r\n" * 10_000 + b"0\r\n\r\n"])

    with pytest.raises(ChunkError, match="extensions"):
        scan([b"1;%b\r\na\r\n" % (b"x" * 100)] * 1000)


def test_a_size_line_alone_is_a_piece_without_payload() -> None:
    """It can go out at once, and its payload when that arrives."""
    scanner = ChunkScanner()

    assert scanner.feed(b"5\r\n") == [(b"", b"5\r\n")]
    assert scanner.feed(b"hel") == [(b"hel", b"hel")]
    assert scanner.feed(b"lo") == [(b"lo", b"lo")]
    assert scanner.feed(b"\r") == []
    assert scanner.feed(b"\n1\r\n!") == [(b"!", b"\r\n1\r\n!")]
    assert scanner.feed(b"\r\n0\r\n\r\n") == [(b"", b"\r\n")]
    assert scanner.done


def test_an_extended_chunk_begins_and_ends_at_chunk_boundaries() -> None:
    """What came raw before it is closed first; behind it all is framed anew."""
    scanner = ChunkScanner()

    assert scanner.feed(b"1\r\na") == [(b"a", b"1\r\na")]
    assert scanner.feed(b"\r\n3;x\r\nbc") == [(b"", b"\r\n"), (b"bc", None)]
    assert scanner.feed(b"d") == [(b"d", None)]
    assert scanner.feed(b"\r\n1\r\ne\r\n0\r\n\r\n") == [(b"e", None)]


def test_trailers_are_kept_for_who_asks() -> None:
    """As the lines they were."""
    scanner, _ = scan([b"0\r\nGrpc-Status: 0\r\nX:  a\r\n\r\n"])

    assert scanner.trailers == b"Grpc-Status: 0\r\nX:  a\r\n"


@pytest.mark.parametrize("size", range(8186, 8197))
def test_the_limit_of_trailers_is_the_same_in_any_pieces(size: int) -> None:
    """The empty line behind them does not count, nor does what has come of it."""
    body = b"0\r\nX:" + b"a" * (size - 2) + b"\r\n\r\n"
    ends = []
    for pieces in ([body], [body[:-4], *one_by_one(body[-4:])]):
        try:
            ends.append(scan(pieces)[0].done)
        except ChunkError:
            ends.append(False)

    assert ends == [size <= 8192] * 2


@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED)
@pytest.mark.parametrize("bytewise", [True, False])
def test_what_has_no_single_reading_is_refused(body: bytes, bytewise: bool) -> None:
    """At once or byte by byte alike."""
    with pytest.raises(ChunkError):
        scan(one_by_one(body) if bytewise else [body])


@pytest.mark.parametrize("body", [*(body for body, _ in LEGAL.values())], ids=LEGAL)
def test_no_body_is_done_before_its_end(body: bytes) -> None:
    """A body that lacks its last byte is not complete, and neither is any shorter one."""
    scanner = ChunkScanner()
    for byte in one_by_one(body)[:-1]:
        scanner.feed(byte)
        assert not scanner.done
    scanner.feed(body[-1:])

    assert scanner.done


def test_long_payload_passes_without_being_joined() -> None:
    """Within a chunk what arrives is what goes on, the very bytes."""
    scanner = ChunkScanner()
    scanner.feed(b"fffff\r\n")
    data = b"x" * 65536

    ((payload, raw),) = scanner.feed(data)
    assert payload is data
    assert raw is data


def test_the_largest_size_is_a_number() -> None:
    """Fifteen digits."""
    scanner = ChunkScanner()

    assert scanner.feed(b"fffffffffffffff\r\nab") == [(b"ab", b"fffffffffffffff\r\nab")]
    assert not scanner.done


@LEGALS
@BOUNDS
@pytest.mark.parametrize("bytewise", [True, False])
def test_it_does_not_matter_how_much_is_looked_at_at_once(
    monkeypatch: pytest.MonkeyPatch, body: bytes, payload: bytes, bound: int, bytewise: bool
) -> None:
    """A body in parts is the same body, goes out as one, and ends where it ends."""
    whole, _ = scan([body + b"rest"])
    bounded(monkeypatch, bound)
    scanner, pieces = scan(one_by_one(body + b"rest") if bytewise else [body + b"rest"])

    assert unchunked(chunked_again(pieces)) == payload
    assert (scanner.done, scanner.trailers, scanner.rest) == (True, whole.trailers, b"rest")


@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED)
@pytest.mark.parametrize("front", [b"1\r\na\r\n", b"1;x\r\na\r\n"], ids=["bare", "extended"])
@BOUNDS
def test_what_is_malformed_is_found_in_parts_too(
    monkeypatch: pytest.MonkeyPatch, body: bytes, front: bytes, bound: int
) -> None:
    """Wherever the parts begin and end."""
    bounded(monkeypatch, bound)
    for count in range(2 * bound + 1):
        with pytest.raises(ChunkError):
            scan([front * count + body])


def test_as_many_as_are_looked_at_at_once_are_no_reason_to_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a byte more is."""
    bounded(monkeypatch, 3)
    chunks = b"1\r\na\r\n2\r\nbc\r\n1\r\nd\r\n"
    scanner = ChunkScanner()
    assert scanner.feed(chunks) == [(b"abcd", chunks)]
    assert not scanner.behind

    assert scanner.feed(chunks + b"1") == []
    assert scanner.behind
    assert scanner.feed(b"") == [(b"abcd", chunks)]
    assert not scanner.behind
    assert scanner.feed(b"\r\ne\r\n") == [(b"e", b"1\r\ne\r\n")]


@pytest.mark.parametrize("part", [b"", b"5\r\nhe", b"5\r\nhello", b"5\r\nhello\r", b"5\r", b"5"])
def test_what_came_at_once_goes_on_at_once(monkeypatch: pytest.MonkeyPatch, part: bytes) -> None:
    """In one piece, in however many parts it was looked at: each piece is a write."""
    bounded(monkeypatch, 2)
    data = b"1\r\na\r\nff\r\n" + b"x" * 255 + b"\r\n001\r\nb\r\n" + b"3\r\ncde\r\n" * 4 + part
    scanner = ChunkScanner()
    pieces = scanner.feed(data)
    parts = 1
    while scanner.behind:
        assert pieces == []
        pieces = scanner.feed(b"")
        parts += 1

    held = len(part) if part in (b"5\r", b"5") else 1 if part.endswith(b"\r") else 0
    ((payload, raw),) = pieces
    assert raw == data[: len(data) - held]
    assert payload == b"a" + b"x" * 255 + b"b" + b"cde" * 4 + part[3:].rstrip(b"\r")
    assert parts >= 4


def test_the_first_extension_ends_a_piece_in_parts_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """What came bare goes on as it came, what comes then as payload, each in one piece."""
    bounded(monkeypatch, 2)
    bare = b"1\r\na\r\n" * 5
    scanner = ChunkScanner()
    found = [scanner.feed(bare + b"1;x\r\nb\r\n1\r\nc\r\n" * 3 + b"0\r\n\r\n")]
    while scanner.behind:
        found.append(scanner.feed(b""))

    assert [piece for pieces in found for piece in pieces] == [(b"aaaaa", bare), (b"bcbcbc", None)]
    assert len(found) == 6
    assert scanner.done


def test_bytes_that_come_meanwhile_come_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are not to, and keep their order if they do."""
    bounded(monkeypatch, 1)
    scanner = ChunkScanner()
    pieces = scanner.feed(b"1\r\na\r\n1\r\nb\r\n1")
    assert scanner.behind
    pieces += scanner.feed(b"\r\nc\r\n2\r\nde")
    while scanner.behind:
        pieces += scanner.feed(b"")

    assert pieces == [(b"abcde", b"1\r\na\r\n1\r\nb\r\n1\r\nc\r\n2\r\nde")]


def test_an_end_that_falls_on_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last chunk counts as one; its trailers belong to it, and are waited for if they are not here."""
    bounded(monkeypatch, 2)
    scanner = ChunkScanner()
    assert scanner.feed(b"1\r\na\r\n0\r\nX: 1\r") == [(b"a", b"1\r\na\r\n")]
    assert (scanner.behind, scanner.done) == (False, False)
    assert scanner.feed(b"\n\r\nGET") == []
    assert (scanner.behind, scanner.done, scanner.rest) == (False, True, b"GET")

    scanner = ChunkScanner()
    assert scanner.feed(b"1\r\na\r\n1\r\nb\r\n0\r\n\r\nGET") == []
    assert (scanner.behind, scanner.done, scanner.rest) == (True, False, b"")
    assert scanner.feed(b"") == [(b"ab", b"1\r\na\r\n1\r\nb\r\n")]
    assert (scanner.behind, scanner.done, scanner.rest) == (False, True, b"GET")


@pytest.mark.parametrize("end", [b"0\r\n\r\n", b"0\r\nX: 1\r\n"], ids=["done", "trailers to come"])
def test_what_has_gone_out_is_not_kept(monkeypatch: pytest.MonkeyPatch, end: bytes) -> None:
    """A body at its end may be kept for long, or wait long for the end of its trailers."""
    bounded(monkeypatch, 1)
    scanner = ChunkScanner()
    ((payload, _),) = [*scanner.feed(b"3e8\r\n" + b"x" * 1000 + b"\r\n" + end), *scanner.feed(b"")]

    assert len(payload) == 1000
    assert not [holder for holder in gc.get_referrers(payload) if isinstance(holder, list)]


@pytest.mark.parametrize("form", [b"%x", b"%X", b"%02x", b"%02X", b"%03x", b"0%03X"])
def test_little_chunks_are_read_the_quick_way_as_the_other(form: bytes) -> None:
    """Every size up to beyond what is quick, in every usual way to write it, each among others."""
    parts = [bytes([size % 256]) * size for size in range(1, 300)]
    body = b"".join(form % len(part) + b"\r\n" + part + b"\r\n" for part in parts) + b"0\r\n\r\n"
    scanner, pieces = scan([body])

    assert scanner.done
    assert b"".join(payload for payload, _ in pieces) == b"".join(parts)
    assert [raw for _, raw in pieces] == [body[:-5]]
