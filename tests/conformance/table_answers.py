"""Answers of an upstream that cannot be believed, that were cut, or that bring more than was asked for."""

from __future__ import annotations

from typing import Final

from tests.conformance.case import (
    BODY,
    CHUNKED,
    CLOSE,
    GONE,
    HOST,
    OK,
    RESET,
    WAIT,
    BadAnswer,
    Case,
    Cut,
    Passed,
    Step,
    Until,
    answered,
    get,
    message,
)

_FRAMING: Final = "9112 6.3"
_STATUS: Final = "9112 4"
_LINE: Final = "9112 2.2"
_CUT: Final = "9112 8"

_CL2: Final = "Content-Length: 2"
_END: Final = b"2\r\nok\r\n0\r\n\r\n"


def _ok(*lines: str, body: bytes = b"ok") -> bytes:
    return message("HTTP/1.1 200 OK", *lines, body=body)


def _empty(status_line: str) -> bytes:
    return message(status_line, "Content-Length: 0")


_BAD: Final = {
    "framing/cl-te": (_FRAMING, _ok(_CL2, CHUNKED, body=_END)),
    "framing/te-cl": (_FRAMING, _ok(CHUNKED, _CL2, body=_END)),
    "framing/different-lengths": (_FRAMING, _ok(_CL2, "Content-Length: 3", body=b"okk")),
    "framing/equal-lengths": (_FRAMING, _ok(_CL2, _CL2)),
    "framing/listed-lengths": (_FRAMING, _ok("Content-Length: 2, 2")),
    "framing/length-plus": (_FRAMING, _ok("Content-Length: +2")),
    "framing/length-minus": (_FRAMING, _ok("Content-Length: -2")),
    "framing/length-hex": (_FRAMING, _ok("Content-Length: 0x2")),
    "framing/length-underscore": (_FRAMING, _ok("Content-Length: 0_2")),
    "framing/length-leading-zero": (_FRAMING, _ok("Content-Length: 02")),
    "framing/length-empty": (_FRAMING, _ok("Content-Length:")),
    "framing/length-past-64-bits": (_FRAMING, _ok("Content-Length: 18446744073709551618")),
    "framing/length-space-before-colon": ("9112 5.1", _ok("Content-Length : 2")),
    "framing/length-named-by-connection": ("9110 7.6.1", _ok(_CL2, "Connection: content-length")),
    "framing/coding-gzip": (_FRAMING, _ok("Transfer-Encoding: gzip")),
    "framing/coding-gzip-chunked": (_FRAMING, _ok("Transfer-Encoding: gzip, chunked", body=_END)),
    "framing/coding-identity": (_FRAMING, _ok("Transfer-Encoding: identity")),
    "framing/coding-unknown": (_FRAMING, _ok("Transfer-Encoding: xchunked", body=_END)),
    "framing/coding-twice": (_FRAMING, _ok(CHUNKED, CHUNKED, body=_END)),
    "framing/coding-space-before-colon": ("9112 5.1", _ok("Transfer-Encoding : chunked", body=_END)),
    "framing/coding-in-1.0": ("9112 6.1", message("HTTP/1.0 200 OK", CHUNKED, body=_END)),
    "no-body/204-length": (_FRAMING, message("HTTP/1.1 204 No Content", _CL2, body=b"ok")),
    "no-body/204-chunked": (_FRAMING, message("HTTP/1.1 204 No Content", CHUNKED, body=_END)),
    "no-body/103-length": (_FRAMING, message("HTTP/1.1 103 Early Hints", _CL2, body=b"ok")),
    "no-body/100-chunked": (_FRAMING, message("HTTP/1.1 100 Continue", CHUNKED, body=_END)),
    "status/two-digits": (_STATUS, _empty("HTTP/1.1 20 OK")),
    "status/four-digits": (_STATUS, _empty("HTTP/1.1 2000 OK")),
    "status/below-100": (_STATUS, _empty("HTTP/1.1 099 OK")),
    "status/none": (_STATUS, _empty("HTTP/1.1 OK")),
    "status/signed": (_STATUS, _empty("HTTP/1.1 +20 OK")),
    "status/letters-behind": (_STATUS, _empty("HTTP/1.1 200OK")),
    "status/two-spaces": (_STATUS, _empty("HTTP/1.1  200 OK")),
    "status/space-in-front": (_STATUS, _empty(" HTTP/1.1 200 OK")),
    "status/control-in-phrase": (_STATUS, _empty("HTTP/1.1 200 O\x01K")),
    "status/bare-cr-in-phrase": (_LINE, _empty("HTTP/1.1 200 O\rK")),
    "status/version-2.0": (_STATUS, _empty("HTTP/2.0 200 OK")),
    "status/version-1.2": (_STATUS, _empty("HTTP/1.2 200 OK")),
    "status/version-0.9": (_STATUS, _empty("HTTP/0.9 200 OK")),
    "status/icy": (_STATUS, _empty("ICY 200 OK")),
    "status/rtsp": (_STATUS, _empty("RTSP/1.0 200 OK")),
    "status/no-version": (_STATUS, _empty("200 OK")),
    "status/html": (_STATUS, b"<html>hello</html>\r\n\r\n"),
    "status/a-request": (_STATUS, get()),
    "status/empty-head": (_STATUS, b"\r\n\r\n"),
    "status/binary": (_STATUS, b"\x00\xff\x00\xff\r\n\r\n"),
    "field/fold": ("9112 5.2", _ok(_CL2, "X-A: b", " c")),
    "field/fold-tab": ("9112 5.2", _ok(_CL2, "X-A: b", "\tc")),
    "field/bare-lf": (_LINE, _ok(_CL2, "X-A: b\nX-C: d")),
    "field/bare-cr": (_LINE, _ok(_CL2, "X-A: b\rX-C: d")),
    "field/nul": ("9110 5.5", _ok(_CL2, "X-A: \0")),
    "field/control": ("9110 5.5", _ok(_CL2, "X-A: \x01")),
    "field/escape": ("9110 5.5", _ok(_CL2, "X-A: \x1b[31m")),
    "field/space-before-colon": ("9112 5.1", _ok(_CL2, "X-A : b")),
    "field/no-colon": ("9112 5.1", _ok(_CL2, "X-A")),
    "field/empty-name": ("9112 5.1", _ok(_CL2, ": b")),
    "field/space-in-name": ("9112 5.1", _ok(_CL2, "X A: b")),
    "limit/head-too-large": ("9110 5.4", _ok(_CL2, "X-A: " + "b" * 70_000)),
    "limit/head-without-end": ("9110 5.4", b"HTTP/1.1 200 OK\r\nX-A: " + b"b" * 200_000),
    "limit/too-many-fields": ("9110 5.4", _ok(_CL2, *["X-A: b"] * 101)),
    "limit/too-many-interim": ("9110 15.2", message("HTTP/1.1 103 Early Hints") * 11 + OK),
    "limit/endless-interim": ("9110 15.2", message("HTTP/1.1 100 Continue") * 5_000),
    "switch/not-asked-for": (
        "9110 7.8",
        message("HTTP/1.1 101 Switching Protocols", "Connection: Upgrade", "Upgrade: x"),
    ),
    "switch/no-protocol": ("9110 7.8", message("HTTP/1.1 101 Switching Protocols")),
}

# An upstream that has lost the thread goes on talking; none of that may become an answer to anybody.
_SPLIT: Final = _ok("Content-Length: 5", body=b"split")

BAD: Final = tuple(answered(f"bad-{name}", rfc, data + _SPLIT, BadAnswer()) for name, (rfc, data) in _BAD.items())


def _cut(
    case: str, rfc: str, head: bytes, *end: Step, payload: bytes = b"", version: str = "1.1", how: str = ""
) -> Case:
    """The client has been given the head, and `payload`, before the upstream does `end`."""
    seen = payload[-1:] or b"\r\n\r\n"  # no head has the byte that all these payloads end with
    return Case(case, rfc, (get(version=version), Until(seen)), Cut(payload, how), ((BODY, head, WAIT, *end),))


_PART: Final = b"abcd~"
_COUNTED: Final = _ok("Content-Length: 10", body=_PART)
_CHUNKS: Final = _ok(CHUNKED, body=b"5\r\nabcd~\r\n")

CUT: Final = (
    _cut("cut-answer/length", _CUT, _COUNTED, CLOSE, payload=_PART),
    _cut("cut-answer/length-reset", _CUT, _COUNTED, RESET, payload=_PART),
    _cut("cut-answer/length-no-byte", _CUT, _ok("Content-Length: 10", body=b""), CLOSE),
    _cut("cut-answer/chunked", _CUT, _CHUNKS, CLOSE, payload=_PART),
    _cut("cut-answer/chunked-reset", _CUT, _CHUNKS, RESET, payload=_PART),
    _cut("cut-answer/chunked-in-chunk", _CUT, _CHUNKS, b"a\r\n", CLOSE, payload=_PART),
    _cut("cut-answer/chunked-in-size", _CUT, _CHUNKS, b"a", CLOSE, payload=_PART),
    _cut("cut-answer/chunked-behind-last-size", _CUT, _CHUNKS, b"0\r\n", CLOSE, payload=_PART),
    _cut("cut-answer/chunked-in-trailers", _CUT, _CHUNKS, b"0\r\nX-A: b\r\n", CLOSE, payload=_PART),
    # A part of a chunk whose size line is not passed on goes on as a chunk of its own.
    Case(
        "cut-answer/chunked-behind-an-extension",
        _CUT,
        (get(), Until(b"~")),
        Cut(_PART + b"ef"),
        ((BODY, _ok(CHUNKED, body=b"5\r\nabcd~\r\n5;x\r\n"), WAIT, b"ef", CLOSE),),
    ),
    _cut("cut-answer/chunked-to-1.0", _CUT, _CHUNKS, CLOSE, payload=_PART, version="1.0", how="reset"),
    _cut("cut-answer/close-delimited-reset", _CUT, _ok(body=_PART), RESET, payload=_PART),
    _cut(
        "cut-answer/close-delimited-reset-1.0",
        _CUT,
        _ok(body=_PART),
        RESET,
        payload=_PART,
        version="1.0",
        how="reset",
    ),
    *(
        _cut(f"bad-chunk/{name}", "9112 7.1", _CHUNKS, data, payload=_PART)
        for name, data in {
            "plus": b"+5\r\nabcde\r\n0\r\n\r\n",
            "0x": b"0x5\r\nabcde\r\n0\r\n\r\n",
            "space-in-front": b" 5\r\nabcde\r\n0\r\n\r\n",
            "space-behind": b"5 \r\nabcde\r\n0\r\n\r\n",
            "no-hex": b"xyz\r\nabcde\r\n0\r\n\r\n",
            "sixteen-digits": b"10000000000000005\r\nabcde\r\n0\r\n\r\n",
            "bare-lf": b"5\nabcde\r\n0\r\n\r\n",
            "bare-lf-in-extension": b"5;a\nb\r\nabcde\r\n0\r\n\r\n",
            "empty": b"\r\n0\r\n\r\n",
            "last-bare-lf": b"0\r\n\n",
            "trailer-no-colon": b"0\r\nX-A\r\n\r\n",
            "trailer-folded": b"0\r\nX-A: b\r\n c\r\n\r\n",
            "trailer-bare-lf": b"0\r\nX-A: b\nX-C: d\r\n\r\n",
        }.items()
    ),
    _cut(
        "bad-chunk/longer-than-said",
        "9112 7.1",
        _ok(CHUNKED, body=b"5\r\nabcd~"),
        b"fgh\r\n0\r\n\r\n",
        payload=_PART,
    ),
    answered("no-answer/closed", "9112 9.5", (BODY, CLOSE), BadAnswer("connection_lost")),
    answered("no-answer/reset", "9112 9.5", (BODY, RESET), BadAnswer("connection_lost")),
    answered(
        "no-answer/half-a-head", "9112 8", (BODY, b"HTTP/1.1 200 OK\r\nContent-", CLOSE), BadAnswer("connection_lost")
    ),
    answered(
        "no-answer/told-to-head",
        "9110 9.3.2",
        (BODY, CLOSE),
        BadAnswer("connection_lost"),
        sent=message("HEAD /x HTTP/1.1", HOST),
        method="HEAD",
    ),
    # An interim answer, and then the end, is no answer.
    Case(
        "no-answer/only-interim",
        "9110 15.2",
        (get(), Until(b"103")),
        BadAnswer("connection_lost"),
        ((BODY, message("HTTP/1.1 103 Early Hints"), WAIT, CLOSE),),
    ),
)

_NOT_MODIFIED: Final = "HTTP/1.1 304 Not Modified"


def _surplus(case: str, rfc: str, answer: bytes, read: bytes, method: str = "GET") -> Case:
    """More than was asked for. Where it comes later, and another request was just sent, that one is told 502."""
    sent = message(f"{method} /x HTTP/1.1", HOST)
    return answered(f"split/{case}", rfc, answer, read, sent=sent, method=method, kept=False)._replace(at_once=True)


_SPLITTING: Final = "9112 11.1"
_NO_BODY: Final = "9112 6.3"
_204: Final = message("HTTP/1.1 204 No Content")

SURPLUS: Final = (
    _surplus("second-answer", _SPLITTING, OK + _SPLIT, OK),
    _surplus("one-byte", _SPLITTING, OK + b"x", OK),
    _surplus("empty-line", "9112 2.2", OK + b"\r\n", OK),
    _surplus("behind-chunked", _SPLITTING, _ok(CHUNKED, body=_END) + _SPLIT, _ok(CHUNKED)),
    _surplus("behind-204", _NO_BODY, _204 + _SPLIT, _204),
    _surplus("body-behind-304", _NO_BODY, message(_NOT_MODIFIED, _CL2, body=b"ok"), message(_NOT_MODIFIED, _CL2)),
    _surplus("body-behind-head", _NO_BODY, OK, _ok(_CL2, body=b""), "HEAD"),
    _surplus(
        "answer-behind-head",
        _NO_BODY,
        _ok("Content-Length: 70", body=b"") + _SPLIT,
        _ok("Content-Length: 70", body=b""),
        "HEAD",
    ),
    Case(
        "split/later",
        "9112 9.2",
        (get(), Until(b"ok")),
        Passed((get(),), (OK,), kept=False),
        ((BODY, OK, WAIT, _SPLIT, GONE),),
    ),
)

_ODD: Final = {
    "no-phrase": (_empty("HTTP/1.1 200 "), _empty("HTTP/1.1 200 ")),
    "no-space-behind-status": (_empty("HTTP/1.1 200"), _empty("HTTP/1.1 200 ")),
    "phrase-outside-ascii": (_empty("HTTP/1.1 200 \xe4\xff"), _empty("HTTP/1.1 200 \xe4\xff")),
    "unregistered": (_empty("HTTP/1.1 299 Mine"), _empty("HTTP/1.1 299 Mine")),
    "status-999": (_empty("HTTP/1.1 999 Mine"), _empty("HTTP/1.1 999 Mine")),
    "version-1.0": (_empty("HTTP/1.0 200 OK"), _empty("HTTP/1.1 200 OK")),
    "lower-case-names": (_ok("content-length: 2"), _ok("content-length: 2")),
    "a-hundred-fields": (_ok(_CL2, *["X-A: b"] * 99), _ok(_CL2, *["X-A: b"] * 99)),
    "no-space-behind-colon": (_ok("Content-Length:2"), _ok("Content-Length:2")),
    "spaces-around-length": (_ok("Content-Length: \t2 "), _ok("Content-Length: \t2 ")),
    "case-of-coding": (_ok("Transfer-Encoding: Chunked", body=_END), _ok(CHUNKED)),
    "chunk-extensions": (_ok(CHUNKED, body=b"1;a=b\r\no\r\n1\r\nk\r\n0;x\r\n\r\n"), _ok(CHUNKED)),
    "304-with-length": (message(_NOT_MODIFIED, "Content-Length: 70"), message(_NOT_MODIFIED, "Content-Length: 70")),
    "204-length-zero": (_empty("HTTP/1.1 204 No Content"), message("HTTP/1.1 204 No Content")),
}

ODD: Final = tuple(answered(f"odd-answer/{name}", _STATUS, answer, seen) for name, (answer, seen) in _ODD.items())

CASES: Final[tuple[Case, ...]] = (*BAD, *CUT, *SURPLUS, *ODD)
