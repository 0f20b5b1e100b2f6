"""Finds the boundaries in a chunked body (RFC 9112 section 7.1). Sans-I/O: bytes in, pieces out.

A size line is believed only when it has arrived whole and has one reading: hexadecimal digits, an extension at most.
Bytes are passed on as they came where that is safe (`raw`); a chunk with an extension is passed as payload only, so
that the next hop never sees what we have not understood.
"""

from __future__ import annotations

import re
from enum import Enum, auto
from typing import Final

_SIZE_LINE: Final = re.compile(rb"([0-9A-Fa-f]{1,15})([ \t]*;[\t -~]*)?\r\n")
_TRAILER_LINES: Final = re.compile(rb"(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t -~\x80-\xff]*\r\n)*")
_LONGEST_SIZE_LINE: Final = 256
_MOST_TRAILERS: Final = 8192
# Signatures and the like are short beside their chunks; extensions alone could go on for ever. Go's server goes by
# the same figures.
_FREE_EXTENSION: Final = 16
_MOST_EXCESS: Final = 16 * 1024
# So many size lines are looked at in one call, at half a microsecond each: one read may hold ten
# thousand.
_AT_ONCE: Final = 128

Piece = tuple[bytes, bytes | None]


class ChunkError(Exception):
    """The body's framing cannot be believed."""


class _Expect(Enum):
    SIZE = auto()
    PAYLOAD = auto()
    CRLF = auto()
    TRAILERS = auto()
    NOTHING = auto()


# By these names: to look one up on the class costs seven times as much.
_SIZE: Final = _Expect.SIZE
_PAYLOAD: Final = _Expect.PAYLOAD
_CRLF: Final = _Expect.CRLF
_TRAILERS: Final = _Expect.TRAILERS
_NOTHING: Final = _Expect.NOTHING


class ChunkScanner:
    """One chunked body. After `done`, `rest` holds the bytes behind it and `trailers` its trailer lines.

    `behind` says that not all that came has been looked at: the next call goes on with it.
    """

    __slots__ = ("_excess", "_expect", "_gathered", "_held", "_left", "_plain", "behind", "rest", "trailers")

    def __init__(self) -> None:
        self._expect = _SIZE
        self._held = b""  # a line that has not arrived whole, or what was not looked at yet
        self._gathered: tuple[list[bytes], bytes] = [], b""  # payload, and the same as it came
        self._left = 0  # payload bytes of this chunk still to come
        self._plain = True  # all size lines were bare so far: their bytes may go out as they came
        self._excess = 0  # bytes of extensions beyond what the payload excuses
        self.behind = False
        self.trailers = b""
        self.rest = b""

    @property
    def done(self) -> bool:
        """Whether the body's end has been seen."""
        return self._expect is _NOTHING

    def feed(self, data: bytes) -> list[Piece]:
        """Take what arrived; give the pieces (payload, raw or None) that may be passed on. Raises ChunkError."""
        if self._expect is _PAYLOAD and len(data) < self._left:
            self._left -= len(data)
            return [(data, data if self._plain else None)]
        if self._held:
            data, self._held = self._held + data, b""
        pieces: list[Piece] = []
        # The piece that is being gathered: what it holds from before, and where it begins in `data`.
        payload, raw = self._gathered
        start = position = 0
        lines = 0
        self.behind = False
        while True:
            if self._expect is _PAYLOAD:
                part = data[position : position + self._left]
                if part:
                    payload.append(part)
                position += len(part)
                self._left -= len(part)
                if self._left:
                    break
                self._expect = _CRLF
            elif self._expect is _CRLF:
                if not data.startswith(b"\r\n", position):
                    _check_line_end(data[position:])
                    break
                position += 2
                self._expect = _SIZE
            elif self._expect is _SIZE:
                if self._plain:
                    position, lines = _whole_chunks(data, position, lines, payload)
                if lines == _AT_ONCE:
                    self.behind = position < len(data)
                    break
                lines += 1
                line = _SIZE_LINE.match(data, position)
                if line is None:
                    _check_incomplete(data[position:])
                    break
                plain = self._plain
                if self._begin_chunk(line):
                    _close_piece(pieces, payload, raw + data[start:position], plain=plain)
                    start, payload, raw = position, [], b""
                position = line.end()
            else:
                self._gathered = [], b""  # it has gone out; a body at its end may be kept for long
                self._end(data, position)
                return pieces
        self._held = b"" if self._expect is _PAYLOAD else data[position:]
        raw += data[start:position]
        if self.behind:
            self._gathered = payload, raw  # what came at once goes on at once
        else:
            self._gathered = [], b""
            _close_piece(pieces, payload, raw, plain=self._plain)
        return pieces

    def _begin_chunk(self, line: re.Match[bytes]) -> bool:
        """A chunk of this size line comes; returns whether the piece ends before it that is being gathered."""
        self._left = int(line[1], 16)
        self._expect = _PAYLOAD if self._left else _TRAILERS
        if not self._plain or line[2] is not None:
            self._check_extension(line)
            if self._plain:
                # With the first extension it is over: a piece each time that chunks with and without one take turns
                # would be a write each.
                self._plain = False
                return True
        return not self._left

    def _check_extension(self, line: re.Match[bytes]) -> None:
        """Raise ChunkError where there is more of extensions than of what they are to extend."""
        start, end = line.span()
        if end - start > _LONGEST_SIZE_LINE:
            raise ChunkError(f"a size line of more than {_LONGEST_SIZE_LINE} bytes")
        self._excess = max(0, self._excess + end - start - _FREE_EXTENSION - 2 * self._left)
        if self._excess > _MOST_EXCESS:
            raise ChunkError("chunk extensions that are longer than the chunks")

    def _end(self, data: bytes, position: int) -> None:
        """Behind the last chunk's size line: the trailers, then the rest."""
        if data.startswith(b"\r\n", position):
            end = position
        else:
            found = data.find(b"\r\n\r\n", position)
            # The last three bytes may be of the empty line, as far as it has come.
            if (found if found >= 0 else len(data) - 3) - position > _MOST_TRAILERS:
                raise ChunkError(f"trailers of more than {_MOST_TRAILERS} bytes")
            if found < 0:
                if data.count(b"\n", position) != data.count(b"\r\n", position):
                    raise ChunkError("malformed trailers")  # never to be whole: not waited for
                self._held = data[position:]
                return
            end = found + 2
        lines = data[position:end]
        if not _TRAILER_LINES.fullmatch(lines):
            raise ChunkError("malformed trailers")
        self.trailers = lines
        self.rest = data[end + 2 :]
        self._expect = _NOTHING


def _whole_chunks(data: bytes, position: int, lines: int, payload: list[bytes]) -> tuple[int, int]:
    """Take bare chunks that are here whole, as many little ones are: a third of the usual way."""
    while lines < _AT_ONCE:
        begin = data.find(b"\r\n", position, position + _USUAL_SIZE) + 2
        size = _SIZES.get(data[position : begin - 2], 0) if begin > 1 else 0
        end = begin + size
        if not size or data[end : end + 2] != b"\r\n":
            break
        payload.append(data[begin:end])
        position = end + 2
        lines += 1
    return position, lines


# Of chunks that it is worth for, by how they are written.
_USUAL_SIZE: Final = 4
_SIZES: Final = {form % size: size for size in range(1, 256) for form in (b"%x", b"%X", b"%02x", b"%02X")}


def _close_piece(pieces: list[Piece], payload: list[bytes], raw: bytes, *, plain: bool) -> None:
    """Append what was gathered, if anything was."""
    if plain:
        if raw:
            pieces.append((payload[0] if len(payload) == 1 else b"".join(payload), raw))
    elif payload:
        pieces.append((b"".join(payload), None))


def _check_line_end(data: bytes) -> None:
    """Raise ChunkError unless `data` may become the end of a line with the bytes to come."""
    if not b"\r\n".startswith(data):
        raise ChunkError("a chunk is longer than its size")


def _check_incomplete(line: bytes) -> None:
    """Raise ChunkError unless `line` may become a size line with the bytes to come."""
    if len(line) > _LONGEST_SIZE_LINE or not _SIZE_LINE_SO_FAR.fullmatch(line):
        raise ChunkError("a chunk size that is no plain hexadecimal number")


_SIZE_LINE_SO_FAR: Final = re.compile(rb"(?:[0-9A-Fa-f]{1,15}(?:[ \t]*|[ \t]*;[\t -~]*)\r?)?")
