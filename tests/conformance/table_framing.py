"""Requests whose length could be read in two ways: CL.TE, TE.CL, TE.TE, CL.CL, and lengths that are no number.

All are refused: to repair one is to guess which reading the next hop has (RFC 9112 section 11.2).
"""

from __future__ import annotations

from typing import Final

from tests.conformance.case import CHUNKED, HOST, SMUGGLED, Case, get, message, passed, post, refused

_CL: Final = "9112 6.3"
_TE: Final = "9112 6.1"
_COLON: Final = "9112 5.1"

# For a reader of the length it is one body; for one of the coding a request hides in it, or the other way round.
_HIDDEN: Final = b"0\r\n\r\n" + SMUGGLED
_END: Final = b"0\r\n\r\n"


def _te(value: str, *, name: str = "Transfer-Encoding", separator: str = ": ") -> bytes:
    """The classic: a length for one reader, a coding that only the other understands."""
    return post(f"Content-Length: {len(_HIDDEN)}", f"{name}{separator}{value}", body=_HIDDEN)


def _only_te(*lines: str) -> bytes:
    return post(*lines, body=_END)


CL_TE: Final = (
    refused("cl-te/both", _TE, post(f"Content-Length: {len(_HIDDEN)}", CHUNKED, body=_HIDDEN)),
    refused("cl-te/zero-length", _TE, post("Content-Length: 0", CHUNKED, body=_HIDDEN)),
    refused("cl-te/exact-length", _TE, post("Content-Length: 5", CHUNKED, body=_END)),
    refused("cl-te/case-of-names", _TE, post("content-length: 5", "TRANSFER-ENCODING: chunked", body=_END)),
    refused("cl-te/get", _TE, get("Content-Length: 5", CHUNKED) + _HIDDEN),
    refused("cl-te/far-apart", _TE, post("Content-Length: 5", "A: 1", "B: 2", "C: 3", CHUNKED, body=_HIDDEN)),
    refused("cl-te/length-named-by-connection", "9110 7.6.1", _only_te("Connection: content-length", CHUNKED)),
    refused("cl-te/http-1.0", _TE, post("Content-Length: 5", CHUNKED, body=_END, version="1.0")),
)

TE_CL: Final = (
    refused("te-cl/both", _TE, post(CHUNKED, "Content-Length: 4", body=b"2e\r\n" + SMUGGLED + b"\r\n" + _END)),
    refused("te-cl/zero-length", _TE, post(CHUNKED, "Content-Length: 0", body=_HIDDEN)),
    refused("te-cl/space-before-colon", _COLON, post("Transfer-Encoding : chunked", "Content-Length: 4", body=_END)),
    refused("te-cl/length-space-before-colon", _COLON, post(CHUNKED, "Content-Length : 4", body=_END)),
    refused(
        "te-cl/coding-named-by-connection", _TE, post("Connection: transfer-encoding", CHUNKED, "Content-Length: 5")
    ),
    refused("te-cl/identity", _TE, post("Transfer-Encoding: identity", "Content-Length: 3", body=b"abc")),
    refused("te-cl/empty-coding", _TE, post("Transfer-Encoding:", "Content-Length: 3", body=b"abc")),
)

TE_TE: Final = (
    refused("te-te/x-chunked", _TE, _te("xchunked")),
    refused("te-te/chunkedx", _TE, _te("chunkedx")),
    refused("te-te/quoted", _TE, _te('"chunked"')),
    refused("te-te/single-quoted", _TE, _te("'chunked'")),
    refused("te-te/parameter", _TE, _te("chunked;q=1")),
    refused("te-te/vertical-tab", _TE, _te("\x0bchunked")),
    refused("te-te/form-feed", _TE, _te("\x0cchunked")),
    refused("te-te/nul", _TE, _te("chunked\0")),
    refused("te-te/no-break-space", _TE, _te("\xa0chunked")),
    refused("te-te/next-line", _TE, _te("chunked\x85")),
    refused("te-te/bare-cr", _TE, _te("chunked\r")),
    refused("te-te/bare-lf-before-name", "9112 2.2", _te("chunked", name="X: y\nTransfer-Encoding")),
    refused("te-te/bare-cr-before-name", "9112 2.2", _te("chunked", name="X: y\rTransfer-Encoding")),
    refused("te-te/tab-behind", _TE, _only_te("Transfer-Encoding: chunked\t")),
    refused("te-te/tab-before-colon", _COLON, _te("chunked", separator="\t: ")),
    refused("te-te/space-in-front-of-name", "9112 5.2", _te("chunked", name=" Transfer-Encoding")),
    refused("te-te/space-within-name", _COLON, _te("chunked", name="X Transfer-Encoding")),
    refused("te-te/folded", "9112 5.2", _te("\r\n chunked", separator=":")),
    refused("te-te/no-colon", _COLON, _te("chunked", separator=" ")),
    refused("te-te/name-with-nul", _COLON, _te("chunked", name="Transfer-Encoding\0")),
    refused("te-te/alone-unknown", _TE, _only_te("Transfer-Encoding: cow")),
    refused("te-te/alone-gzip", _TE, _only_te("Transfer-Encoding: gzip")),
    refused("te-te/gzip-then-chunked", _TE, _only_te("Transfer-Encoding: gzip, chunked")),
    refused("te-te/chunked-then-gzip", _TE, _only_te("Transfer-Encoding: chunked, gzip")),
    refused("te-te/chunked-then-identity", _TE, _only_te("Transfer-Encoding: chunked, identity")),
    refused("te-te/listed-twice", _TE, _only_te("Transfer-Encoding: chunked, chunked")),
    refused("te-te/repeated", _TE, _only_te(CHUNKED, CHUNKED)),
    refused("te-te/repeated-other", _TE, _only_te(CHUNKED, "Transfer-Encoding: identity")),
    refused("te-te/repeated-other-first", _TE, _only_te("Transfer-Encoding: x", CHUNKED)),
    refused("te-te/empty", _TE, _only_te("Transfer-Encoding:")),
    refused("te-te/empty-element", _TE, _only_te("Transfer-Encoding: , chunked")),
    refused("te-te/http-1.0", _TE, post(CHUNKED, body=_END, version="1.0")),
    passed("te-te/case-of-value", _TE, _only_te("Transfer-Encoding: CHUNKED"), _only_te(CHUNKED)),
    passed("te-te/space-around-value", "9112 5.1", _only_te("Transfer-Encoding: \t chunked "), _only_te(CHUNKED)),
    # Frameworks that read `_` as `-` behind us would see a coding; the field frames nothing, and goes no further.
    passed("te-te/underscore", _TE, get("Transfer_Encoding: chunked"), get()),
)

CL_CL: Final = (
    refused("cl-cl/different", _CL, post("Content-Length: 3", "Content-Length: 5", body=b"abcde")),
    refused("cl-cl/different-reversed", _CL, post("Content-Length: 5", "Content-Length: 3", body=b"abcde")),
    refused("cl-cl/equal", _CL, post("Content-Length: 3", "Content-Length: 3", body=b"abc")),
    refused("cl-cl/listed-equal", _CL, post("Content-Length: 3, 3", body=b"abc")),
    refused("cl-cl/listed-different", _CL, post("Content-Length: 3, 5", body=b"abcde")),
    refused("cl-cl/one-empty", _CL, post("Content-Length: 3", "Content-Length:", body=b"abc")),
    refused("cl-cl/case-of-names", _CL, post("Content-Length: 3", "CONTENT-LENGTH: 5", body=b"abcde")),
    refused(
        "cl-cl/behind-many-fields", _CL, post("Content-Length: 3", *["A: 1"] * 50, "Content-Length: 5", body=b"abc")
    ),
    refused("cl-cl/http-1.0", _CL, post("Content-Length: 3", "Content-Length: 5", body=b"abcde", version="1.0")),
    passed(
        "cl-cl/underscores",
        _CL,
        post("Content_Length: 99", "Content-Length: 3", "content-LENGTH_: 1", "Content_Length: 7", body=b"abc"),
        post("Content-Length: 3", "content-LENGTH_: 1", body=b"abc"),
    ),
)

_NO_NUMBERS: Final = {
    "plus": "+3",
    "minus": "-3",
    "minus-zero": "-0",
    "hex": "0x3",
    "leading-zero": "03",
    "space-within": "1 0",
    "tab-within": "1\t0",
    "underscore-within": "1_0",
    "fraction": "3.0",
    "exponent": "1e1",
    "quoted": '"3"',
    "empty": "",
    "word": "three",
    "superscript": "\xb2",
    "semicolon": "3;",
    "trailing-comma": "3,",
    "nineteen-digits": "9999999999999999999",
    "past-64-bits": "18446744073709551619",
    "past-63-bits": "9223372036854775811",
    "vertical-tab": "\x0b3",
}

CL: Final = (
    *(refused(f"cl/{name}", _CL, post(f"Content-Length: {value}", body=b"abc")) for name, value in _NO_NUMBERS.items()),
    refused("cl/space-before-colon", _COLON, post("Content-Length : 3", body=b"abc")),
    refused("cl/folded", "9112 5.2", post("Content-Length:", " 3", body=b"abc")),
    refused("cl/named-by-connection", "9110 7.6.1", post("Connection: close, Content-Length", "Content-Length: 3")),
    passed("cl/exact", _CL, post("Content-Length: 3", body=b"abc")),
    passed("cl/zero", _CL, post("Content-Length: 0")),
    passed("cl/spaces-around", "9112 5.1", post("Content-Length:  \t3\t ", body=b"abc")),
    passed("cl/get-with-body", "9110 9.3.1", get("Content-Length: 3") + b"abc"),
    passed("cl/none-in-post", _CL, message("POST /x HTTP/1.1", HOST)),
)

CASES: Final[tuple[Case, ...]] = (*CL_TE, *TE_CL, *TE_TE, *CL_CL, *CL)
