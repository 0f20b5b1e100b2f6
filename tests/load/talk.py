"""One connection of a client under load, and what became of each request on it. Nothing is repaired or tried again.

Cheaper than `tests.support.client` and as strict in what matters to a count: an answer is whole, or it is `CutError`.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from time import time

_STATUS = re.compile(rb"HTTP/1\.1 ([1-5][0-9]{2}) ")
_FIELD = re.compile(rb"\r\n([!-9;-~]+):[ \t]*([^\r\n]*)")
_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})\r\n")

PERIOD = 251  # byte i of a generated body is i % 251
BLOCK = bytes(i % PERIOD for i in range(PERIOD * 1044))
PATIENCE = 30.0

_TAIL = 1 << 16


class CutError(Exception):
    """The connection ended within an answer, or before one that was owed."""


class OddError(Exception):
    """What came is no answer to what was asked."""


@dataclass(slots=True)
class Asked:
    """A request, and what its client knows of it. Times are those of the wall, sizes bytes of the bodies.

    `end` is "whole", "cut" (the connection ended before the answer was whole) or "left" (the client did not wait).
    """

    kind: str
    method: str
    began: float
    status: int = 0
    reason: str = "upstream"
    attempts: int | None = None  # that the answer names
    told_close: bool = False
    sent: int = 0
    known_as: str = ""  # the ID that the proxy gave it, where it could not read the client's
    got: int = 0
    ended: float = 0.0
    end: str = ""


class Talk:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self._fields: dict[bytes, bytes] = {}

    @classmethod
    async def open(cls, address: tuple[str, int]) -> Talk:
        """Connect. Raises OSError."""
        return cls(*await asyncio.wait_for(asyncio.open_connection(*address), PATIENCE))

    def write_head(self, method: str, target: str, request_id: str, *fields: str) -> None:
        """The head of a request; its body is the caller's."""
        lines = [f"{method} {target} HTTP/1.1", "Host: service.test", f"X-Request-ID: {request_id}", *fields, "", ""]
        self.writer.write("\r\n".join(lines).encode())

    async def read_head(self, asked: Asked) -> None:
        """The final answer's head, into `asked`."""
        try:
            head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), PATIENCE)
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            raise CutError(f"no answer: {error!r}") from None
        status = _STATUS.match(head)
        if status is None:
            raise OddError(f"no head: {head[:200]!r}")
        self._fields = {name.lower(): value for name, value in _FIELD.findall(head)}
        asked.status = int(status[1])
        asked.reason = self.field(b"x-sidecar-reason") or "upstream"
        asked.attempts = int(self.field(b"x-envoy-attempt-count") or 0)
        asked.told_close = self.field(b"connection").lower() == "close"

    def field(self, name: bytes) -> str:
        """A field of the last head; empty where it is not there."""
        return self._fields.get(name, b"").decode("latin-1")

    async def read_body(self, asked: Asked, *, most: int | None = None, slowly: float = 0.0) -> bytes:
        """The answer's body, counted as it comes, or `most` bytes of it and perhaps some more.

        Returns its end, up to 64 KiB of its last chunk: small answers whole. `slowly` is a pause after each piece.
        """
        try:
            if self.field(b"transfer-encoding") == "chunked":
                return await self._chunked(asked, most, slowly)
            length = int(self.field(b"content-length"))
            return await self._counted(asked, length if most is None else min(most, length), slowly)
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            raise CutError(f"after {asked.got} bytes: {error!r}") from None

    async def _counted(self, asked: Asked, left: int, slowly: float) -> bytes:
        tail = b""
        while left:
            data = await asyncio.wait_for(self.reader.read(min(left, _TAIL)), PATIENCE)
            if not data:
                raise CutError(f"the end, {left} bytes too early")
            asked.got += len(data)
            left -= len(data)
            tail = (tail + data)[-_TAIL:]
            if slowly:
                await asyncio.sleep(slowly)
        return tail

    async def _chunked(self, asked: Asked, most: int | None, slowly: float) -> bytes:
        tail = b""
        while most is None or asked.got < most:
            line = await asyncio.wait_for(self.reader.readuntil(b"\r\n"), PATIENCE)
            size = _SIZE.fullmatch(line)
            if size is None:
                raise OddError(f"no chunk: {line[:80]!r}")
            left = int(size[1], 16)
            if not left:
                if await self.reader.readexactly(2) != b"\r\n":
                    raise OddError("trailers where none were due")
                break
            tail = await self._counted(asked, left, slowly)
            if await self.reader.readexactly(2) != b"\r\n":
                raise OddError("no end of a chunk")
        return tail

    def whole(self, asked: Asked) -> None:
        """The answer is here."""
        asked.ended, asked.end = time(), "whole"

    def close(self) -> None:
        """Leave, without waiting for anything."""
        self.writer.close()
