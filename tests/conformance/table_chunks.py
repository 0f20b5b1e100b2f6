"""Chunked requests whose boundaries two readers could find in different places, and those that only look odd.

The head has been believed by then and may be upstream already, but there the request never becomes whole.
"""

from __future__ import annotations

from typing import Final

from tests.conformance.case import CHUNKED, CLOSE, HALF_CLOSE, SMUGGLED, Case, chunked, get, passed, post, unfinished

_CHUNK: Final = "9112 7.1"
_EXT: Final = "9112 7.1.1"
_TRAILER: Final = "9112 7.1.2"
_CUT: Final = "9112 8"

# More than 16 KiB of extensions, in lines that are not too long.
_EXTENDED: Final = (b"1;" + b"x" * 200 + b"\r\na\r\n") * 100

_BROKEN: Final = {
    "size/plus": b"+5\r\nabcde\r\n0\r\n\r\n",
    "size/minus": b"-5\r\nabcde\r\n0\r\n\r\n",
    "size/0x": b"0x5\r\nabcde\r\n0\r\n\r\n",
    "size/underscore": b"0_5\r\nabcde\r\n0\r\n\r\n",
    "size/space-in-front": b" 5\r\nabcde\r\n0\r\n\r\n",
    "size/space-behind": b"5 \r\nabcde\r\n0\r\n\r\n",
    "size/tab-behind": b"5\t\r\nabcde\r\n0\r\n\r\n",
    "size/vertical-tab": b"5\x0b\r\nabcde\r\n0\r\n\r\n",
    "size/nul": b"5\0\r\nabcde\r\n0\r\n\r\n",
    "size/empty": b"\r\nabcde\r\n0\r\n\r\n",
    "size/no-hex": b"5g\r\nabcde\r\n0\r\n\r\n",
    "size/sixteen-digits": b"ffffffffffffffff\r\nabcde\r\n0\r\n\r\n",
    "size/wraps-64-bits": b"10000000000000005\r\nabcde\r\n0\r\n\r\n",
    "size/sixteen-digits-of-zeros": b"0000000000000005\r\nabcde\r\n0\r\n\r\n",
    "size/bare-lf": b"5\nabcde\r\n0\r\n\r\n",
    "size/bare-cr": b"5\rabcde\r\n0\r\n\r\n",
    "size/cr-cr-lf": b"5\r\r\nabcde\r\n0\r\n\r\n",
    "data/longer": b"5\r\nabcdefgh\r\n0\r\n\r\n",
    "data/no-crlf-behind": b"5\r\nabcde0\r\n\r\n",
    "data/bare-lf-behind": b"5\r\nabcde\n0\r\n\r\n",
    "data/bare-cr-behind": b"5\r\nabcde\r0\r\n\r\n",
    "data/two-other-bytes-behind": b"5\r\nabcdeXX0\r\n\r\n",
    "last/bare-lf": b"5\r\nabcde\r\n0\n\r\n",
    "last/bare-lf-ends-all": b"5\r\nabcde\r\n0\r\n\n",
    "last/minus-zero": b"5\r\nabcde\r\n-0\r\n\r\n",
    "ext/bare-lf": b"5;a\nb\r\nabcde\r\n0\r\n\r\n",
    # One reader's extension is the other's second line.
    "ext/lf-hides-chunk": b"2;\nxx\r\n40\r\n0\r\n\r\n" + SMUGGLED,
    "ext/bare-cr": b"5;a\rb\r\nabcde\r\n0\r\n\r\n",
    "ext/nul": b"5;a\0b\r\nabcde\r\n0\r\n\r\n",
    "ext/no-semicolon": b"5 a=b\r\nabcde\r\n0\r\n\r\n",
    "ext/outside-ascii": b"5;a=\xff\r\nabcde\r\n0\r\n\r\n",
    "ext/endless": b"5;" + b"x" * 20_000,
    "ext/too-long": b"5;" + b"x" * 300 + b"\r\nabcde\r\n0\r\n\r\n",
    "ext/longer-than-the-chunks": _EXTENDED + b"0\r\n\r\n",
    "ext/behind-a-large-chunk": b"4000;a\r\n" + b"x" * 0x4000 + b"\r\n" + _EXTENDED + b"0\r\n\r\n",
    "trailer/no-colon": b"5\r\nabcde\r\n0\r\nX-A\r\n\r\n",
    "trailer/bare-lf": b"5\r\nabcde\r\n0\r\nX-A: b\nX-C: d\r\n\r\n",
    "trailer/bare-cr": b"5\r\nabcde\r\n0\r\nX-A: b\rc\r\n\r\n",
    "trailer/nul": b"5\r\nabcde\r\n0\r\nX-A: \0\r\n\r\n",
    "trailer/folded": b"5\r\nabcde\r\n0\r\nX-A: b\r\n c\r\n\r\n",
    "trailer/space-before-colon": b"5\r\nabcde\r\n0\r\nX-A : b\r\n\r\n",
    "trailer/empty-name": b"5\r\nabcde\r\n0\r\n: b\r\n\r\n",
    "trailer/too-long": b"5\r\nabcde\r\n0\r\n" + b"X-A: b\r\n" * 2_000 + b"\r\n",
    "trailer/endless": b"5\r\nabcde\r\n0\r\n" + b"X-A: b\r\n" * 2_000,
}


def _rfc(name: str) -> str:
    return {"ext": _EXT, "trailer": _TRAILER}.get(name.partition("/")[0], _CHUNK)


BROKEN: Final = tuple(
    unfinished(f"chunk-{name}", _rfc(name), chunked(b""), body + (b"" if b"endless" in name.encode() else SMUGGLED))
    for name, body in _BROKEN.items()
)

ODD: Final = (
    passed("chunk-size/upper-case", _CHUNK, chunked(b"A\r\n0123456789\r\n0\r\n\r\n")),
    passed(
        "chunk-size/leading-zeros",
        _CHUNK,
        chunked(b"0005\r\nabcde\r\n000\r\n\r\n"),
        chunked(b"0005\r\nabcde\r\n0\r\n\r\n"),
    ),
    passed("chunk-data/looks-like-an-end", _CHUNK, chunked(b"7\r\n\r\n0\r\n\r\n\r\n0\r\n\r\n")),
    passed("chunk-data/holds-a-request", _CHUNK, chunked(b"%x\r\n%b\r\n0\r\n\r\n" % (len(SMUGGLED), SMUGGLED))),
    passed("chunk-data/none", _CHUNK, chunked(b"0\r\n\r\n")),
    passed("chunk-data/get", _CHUNK, get(CHUNKED) + b"2\r\nok\r\n0\r\n\r\n"),
    # Extensions end at this hop: the next one is given sizes that it cannot misread.
    passed("chunk-ext/plain", _EXT, chunked(b"5;a=b\r\nabcde\r\n0\r\n\r\n"), chunked(b"5\r\nabcde\r\n0\r\n\r\n")),
    passed("chunk-ext/quoted", _EXT, chunked(b'5;a="b;c"\r\nabcde\r\n0\r\n\r\n'), chunked(b"5\r\nabcde\r\n0\r\n\r\n")),
    passed("chunk-ext/space-before", _EXT, chunked(b"5 ;a\r\nabcde\r\n0\r\n\r\n"), chunked(b"5\r\nabcde\r\n0\r\n\r\n")),
    passed("chunk-ext/on-last", _EXT, chunked(b"5\r\nabcde\r\n0;a\r\n\r\n"), chunked(b"5\r\nabcde\r\n0\r\n\r\n")),
)

CUT: Final = (
    unfinished("truncated-request/length", _CUT, post("Content-Length: 10", body=b"abcde"), CLOSE, status=0),
    unfinished(
        "truncated-request/length-half-closed", _CUT, post("Content-Length: 9", body=b"abcde"), HALF_CLOSE, status=0
    ),
    unfinished("truncated-request/length-no-byte", _CUT, post("Content-Length: 10"), CLOSE, status=0),
    unfinished("truncated-request/in-chunk", _CUT, chunked(b"5\r\nabc"), CLOSE, status=0),
    unfinished("truncated-request/behind-chunk", _CUT, chunked(b"5\r\nabcde\r\n"), CLOSE, status=0),
    unfinished("truncated-request/behind-chunk-half-closed", _CUT, chunked(b"5\r\nabcde\r\n"), HALF_CLOSE, status=0),
    unfinished("truncated-request/behind-last-size", _CUT, chunked(b"5\r\nabcde\r\n0\r\n"), CLOSE, status=0),
    unfinished("truncated-request/in-trailers", _CUT, chunked(b"5\r\nabcde\r\n0\r\nX-A: b\r\n"), CLOSE, status=0),
    # It is known to be broken before it is known to be cut, and then the client is told.
    unfinished("truncated-request/behind-no-size", _CUT, chunked(b"5\r\nabcde\r\nzz\r\n"), HALF_CLOSE, status=400),
    unfinished("truncated-request/in-head", _CUT, b"GET /x HTTP/1.1\r\nHost: service.test\r\n", HALF_CLOSE, status=0),
)

CASES: Final[tuple[Case, ...]] = (*BROKEN, *ODD, *CUT)
