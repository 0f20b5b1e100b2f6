"""What tests of the wire format share: a sink that remembers, a transport to nowhere, a clock that is set."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from sidecar.errors import SidecarError
from sidecar.exchange import Flow
from sidecar.http1.chunks import ChunkScanner, Piece


class Taken:
    """A sink that keeps what it is given, and insists that nothing comes after the end."""

    def __init__(self) -> None:
        self.source: Flow | None = None
        self.pieces: list[tuple[bytes, bytes | None]] = []
        self.ends: list[bytes | SidecarError] = []

    @property
    def content(self) -> bytes:
        """All payload so far."""
        return b"".join(payload for payload, _ in self.pieces)

    @property
    def trailers(self) -> bytes:
        """The trailers of a complete body."""
        (end,) = self.ends
        assert isinstance(end, bytes)
        return end

    @property
    def error(self) -> SidecarError:
        """Why the body was cut."""
        (end,) = self.ends
        assert isinstance(end, SidecarError)
        return end

    def data(self, data: bytes | memoryview, raw: bytes | None) -> None:
        assert not self.ends
        self.pieces.append((bytes(data), raw))

    def holds(self) -> bool:
        return False

    def end(self, trailers: bytes) -> None:
        assert not self.ends
        self.ends.append(trailers)

    def abort(self, error: SidecarError) -> None:
        assert not self.ends
        self.ends.append(error)


class Written(asyncio.Transport):
    """A transport whose peer is the test."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []
        self.ended = False
        self.aborted = False
        self.closing = False

    @property
    def bytes(self) -> bytes:
        """All that was written."""
        return b"".join(self.writes)

    def write(self, data: Any) -> None:
        assert not self.ended
        self.writes.append(bytes(data))

    def writelines(self, list_of_data: Iterable[Any]) -> None:
        self.writes.append(b"".join(list_of_data))

    def write_eof(self) -> None:
        self.ended = True

    def can_write_eof(self) -> bool:
        return True

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        self.closing = True

    def abort(self) -> None:
        self.closing = self.aborted = True


class Clock:
    """A monotonic clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def rule(self, monkeypatch: pytest.MonkeyPatch, *modules: str) -> None:
        """Be the clock of these modules."""
        for module in modules:
            monkeypatch.setattr(f"{module}.monotonic", self)


@contextmanager
def slices(lines: int) -> Iterator[None]:
    """Of a chunked body so many size lines are looked at in one call."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sidecar.http1.chunks._AT_ONCE", lines)
        yield


def scan(pieces: Iterable[bytes]) -> tuple[ChunkScanner, list[Piece]]:
    """A scanner that was fed these, up to the body's end, and what it gave; its rest includes what was not fed."""
    scanner = ChunkScanner()
    found: list[Piece] = []
    fed = iter(pieces)
    for piece in fed:
        found += scanner.feed(piece)
        while scanner.behind:
            found += scanner.feed(b"")
        if scanner.done:
            scanner.rest += b"".join(fed)
    return scanner, found


def one_by_one(data: bytes) -> list[bytes]:
    """The bytes, each by itself."""
    return [data[at : at + 1] for at in range(len(data))]


def chunked_again(pieces: Iterable[Piece], trailers: bytes = b"") -> bytes:
    """What a sink that speaks chunked makes of the pieces, by the words of `Sink.data`."""
    framed = (raw if raw is not None else b"%x\r\n%b\r\n" % (len(data), data) if data else b"" for data, raw in pieces)
    return b"".join(framed) + b"0\r\n" + trailers + b"\r\n"


def unchunked(body: bytes) -> bytes:
    """The payload of a chunked body, by the simplest reader there is; anything odd in it is an error."""
    found = b""
    while True:
        line, separator, body = body.partition(b"\r\n")
        assert separator
        size = int(line, 16)
        assert line == line.strip(b"+_- \t")
        if size == 0:
            assert body.endswith(b"\r\n")
            return found
        found += body[:size]
        assert len(body) > size
        assert body[size : size + 2] == b"\r\n"
        body = body[size + 2 :]
