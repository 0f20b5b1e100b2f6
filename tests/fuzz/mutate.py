"""Makes of an input one that is nearly legal HTTP: lines repeated, framing doubled, line ends and digits bent.

Bytes changed at random rarely survive a request line; these changes keep most of a message as it was. `mutate` draws
all chance from the `Random` that it is given, so both engines use it: libFuzzer by a seed, Hypothesis by its own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from random import Random
from typing import Final

_LINES: Final = [
    *(b"Content-Length: 5", b"Content-Length: 0", b"content-length:6", b"Content-Length: 5, 5", b"Content-Length: +5"),
    *(b"Content_Length: 5", b"Content-Length : 5", b"Content-Length:\x0b5", b"Content-Length: 18446744073709551621"),
    *(b"Transfer-Encoding: chunked", b"transfer-encoding:\tchunked", b"Transfer-Encoding: Chunked "),
    *(b"Transfer-Encoding: gzip, chunked", b"Transfer-Encoding: identity", b"Transfer-Encoding:\x0bchunked"),
    *(b"Transfer_Encoding: chunked", b"Transfer-Encoding: chunked, chunked", b"Transfer-Encoding:", b" x: folded"),
    *(b"Host: a", b"Host: b", b"Host: a, b", b"Host: u@a", b"Connection: close", b"Connection: keep-alive"),
    *(b"Connection: content-length", b"Connection: x-a, trailer, te", b"Connection: upgrade", b"Upgrade: x"),
    *(
        b"Upgrade: h2c",
        b"TE: trailers",
        b"Trailer: X-Sum",
        b"Expect: 100-continue",
        b"X-A: 1",
        b"X-A:",
        b"X-B: \xff\x80",
    ),
    *(b"X-Sidecar-Reason: x", b"X_Request_ID: 1", b"Forwarded: for=x", b"HTTP/1.1 100 Continue\r\n", b"", b":", b": a"),
    b"X-Long: " + b"a" * 300,
]
_STARTS: Final = [
    *(b"GET / HTTP/1.1", b"POST /p HTTP/1.1", b"HEAD / HTTP/1.0", b"OPTIONS * HTTP/1.1", b"CONNECT a:1 HTTP/1.1"),
    *(
        b"GET http://a/ HTTP/1.1",
        b"GET http://a?q HTTP/1.1",
        b"GET  / HTTP/1.1",
        b"GET / HTTP/2.0",
        b"GET /",
        b"G@T / HTTP/1.1",
    ),
    *(b"PRI * HTTP/2.0", b"\x16\x03\x01", b"GET /#f HTTP/1.1", b"OPTIONS http://a HTTP/1.1", b"GET \xff HTTP/1.1"),
    *(b"HTTP/1.1 200 OK", b"HTTP/1.1 204 No", b"HTTP/1.1 304 N", b"HTTP/1.1 101 S", b"HTTP/1.0 200", b"HTTP/1.1 099 x"),
    *(
        b"HTTP/1.1 999 x",
        b"HTTP/1.1  200",
        b"HTTP/2.0 200 x",
        b"HTTP/1.1 200 " + b"p" * 90,
        b"HTTP/1.1 103 x",
        b"ICY 200 OK",
    ),
]
_ENDS: Final = [b"\n", b"\r", b"\r\r\n", b"\n\r", b"\r\n\r\n", b"\r\n ", b"\r\n\t", b"\x00\r\n", b" \r\n", b""]
_BITS: Final = [
    *(b"\x00", b"\r", b"\n", b"\r\n", b"\t", b" ", b"\x0b", b"\x0c", b"\x7f", b"\x80", b"\xa0", b"\xff", b"\xc2\xb2"),
    *(b",", b";", b":", b"+", b"-", b"_", b"0x", b"0", b"1", b"#", b"?", b"@", b"%00", b'"', b"\\", b"=", b"/", b"*"),
    *(b"0\r\n\r\n", b"1;x\r\na\r\n", b"5\r\nhello\r\n", b"chunked", b"close", b"\r\n\r\n"),
]
_NUMBERS: Final = [
    *(b"+%b", b"-%b", b"0%b", b"0x%b", b" %b", b"%b ", b"%b_0", b"_%b", b"%b,%b", b"%b\xc2\xb2", b"%b.0", b"%b\t;x"),
    *(b"%b;x=y", b"%b ;", b"%bf", b"%bg", b"00000000000000%b", b"%b\x00", b"1%b", b"", b"ffffffffffffffff", b"0"),
]
# The lines between client and upstream in an input of the exchange; in others they stand for nothing.
_HOW: Final = [b"\n<<< answers\n", b"\n<<< answers and closes\n", b"\n<<< answers early\n"]
_TURN: Final = re.compile(b"|".join(_HOW))
_NUMBER: Final = re.compile(rb"[0-9A-Fa-f]+")
_LINE_END: Final = re.compile(rb"\r\n")


def mutate(data: bytes, random: Random, others: Sequence[bytes], longest: int) -> bytes:
    """One to a few changes; `others` are inputs to take parts of."""
    for _ in range(random.choice((1, 1, 2, 3, 5))):
        change = random.choice(_CHANGES)
        data = change(data, random) if random.random() < 0.9 else _splice(data, random, others)
    return data[:longest]


def _lines(data: bytes, random: Random) -> tuple[list[bytes], int]:
    lines = data.split(b"\r\n")
    return lines, random.randrange(len(lines))


def _repeat_line(data: bytes, random: Random) -> bytes:
    lines, at = _lines(data, random)
    lines.insert(random.randrange(len(lines) + 1), lines[at])
    return b"\r\n".join(lines)


def _drop_line(data: bytes, random: Random) -> bytes:
    lines, at = _lines(data, random)
    return b"\r\n".join(lines[:at] + lines[at + 1 :])


def _swap_lines(data: bytes, random: Random) -> bytes:
    lines, at = _lines(data, random)
    other = random.randrange(len(lines))
    lines[at], lines[other] = lines[other], lines[at]
    return b"\r\n".join(lines)


def _add_line(data: bytes, random: Random) -> bytes:
    lines, at = _lines(data, random)
    lines.insert(at + 1, random.choice(_LINES))
    return b"\r\n".join(lines)


def _replace_line(data: bytes, random: Random) -> bytes:
    lines, at = _lines(data, random)
    lines[at] = random.choice(_STARTS if random.random() < 0.4 else _LINES)
    return b"\r\n".join(lines)


def _bend_case(data: bytes, random: Random) -> bytes:
    lines, at = _lines(data, random)
    lines[at] = lines[at].swapcase()
    return b"\r\n".join(lines)


def _bend_end(data: bytes, random: Random) -> bytes:
    ends = [found.span() for found in _LINE_END.finditer(data)]
    if not ends:
        return data + random.choice(_ENDS)
    begin, end = random.choice(ends)
    return data[:begin] + random.choice(_ENDS) + data[end:]


def _bend_number(data: bytes, random: Random) -> bytes:
    numbers = [found.span() for found in _NUMBER.finditer(data)]
    if not numbers:
        return data
    begin, end = random.choice(numbers)
    form, digits = random.choice(_NUMBERS), data[begin:end]
    return data[:begin] + form.replace(b"%b", digits) + data[end:]


def _insert(data: bytes, random: Random) -> bytes:
    at = random.randint(0, len(data))
    return data[:at] + random.choice(_BITS) + data[at:]


def _replace(data: bytes, random: Random) -> bytes:
    at = random.randint(0, len(data))
    return data[:at] + random.choice(_BITS) + data[at + random.choice((1, 1, 2, 5)) :]


def _bend_turn(data: bytes, random: Random) -> bytes:
    turns = [found.span() for found in _TURN.finditer(data)]
    if not turns:
        return _insert(data, random)
    begin, end = random.choice(turns)
    if random.random() < 0.3:
        begin -= random.randint(0, min(begin, 8))  # what stands before is cut short
    return data[:begin] + random.choice(_HOW) + data[end:]


def _cut(data: bytes, random: Random) -> bytes:
    at = random.randint(0, len(data))
    return data[:at] + data[at + random.choice((1, 1, 2, 8, 64)) :]


def _repeat(data: bytes, random: Random) -> bytes:
    at, size = random.randint(0, len(data)), random.choice((1, 2, 8, 64, 512))
    return data[: at + size] + data[at:]


def _byte(data: bytes, random: Random) -> bytes:
    at = random.randint(0, len(data))
    return data[:at] + bytes([random.randrange(256)]) + data[at + 1 :]


def _splice(data: bytes, random: Random, others: Sequence[bytes]) -> bytes:
    """Behind one another, as in a pipeline, or the head of one with the tail of another."""
    other = random.choice(others) if others else data
    if random.random() < 0.5:
        return data + other
    return data[: random.randint(0, len(data))] + other[random.randint(0, len(other)) :]


_CHANGES: Final[list[Callable[[bytes, Random], bytes]]] = [
    *(_repeat_line, _drop_line, _swap_lines, _add_line, _add_line, _replace_line, _bend_case, _bend_end),
    *(_bend_number, _bend_number, _insert, _bend_turn, _bend_turn, _replace, _cut, _repeat, _byte),
]
