"""A service that fails as it is asked to, and counts what it saw: every request that it read, and every byte.

It has the paths of the example service that `people.py` asks for, and beside them, for `trouble.py`:

    /fail/{status}              that status
    /reset                      the request is read, then the connection reset
    /half-head  /half-body      an answer that ends in the middle (with a length) …
    /half-chunks                … or in the middle of its chunks
    /slow/{ms}                  an answer after so long

`away` closes the listener and all connections for a while: a restart. It runs in the test's own event loop, as its
counts have to outlive its restarts.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import struct
from collections import Counter
from typing import Final
from urllib.parse import parse_qs

from tests.load.talk import BLOCK

_ID = re.compile(rb"\r\nX-Request-ID: ([^\r]+)\r\n", re.IGNORECASE)
_LENGTH = re.compile(rb"\r\nContent-Length: ([0-9]+)\r\n", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\nTransfer-Encoding: chunked\r\n", re.IGNORECASE)
_HEAD: Final = b"HTTP/1.1 %d X\r\nContent-Type: text/plain\r\n"
_SWITCH: Final = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
_PIECE: Final = 1 << 15


class Service:
    """Many connections, one book: by request ID, how often it came, its payload, and that of its last answer."""

    def __init__(self) -> None:
        self.seen: Counter[str] = Counter()
        self.taken: dict[str, int] = {}
        self.given: dict[str, int] = {}
        self.faults: list[str] = []
        self._port = 0
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """What `--upstream` is to be."""
        return f"http://127.0.0.1:{self._port}"

    async def start(self) -> None:
        """Listen, from the second time on at the same port."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    async def away(self, seconds: float) -> None:
        """Everything is closed, for so long nobody listens."""
        await self.stop()
        await asyncio.sleep(seconds)
        await self.start()

    async def stop(self) -> None:
        """Close everything."""
        assert self._server is not None
        self._server.close()
        for writer in list(self._open):
            _reset(writer)
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._open.add(writer)
        try:
            while await _Exchange(self, reader, writer).run():
                pass
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # the proxy has left, or we have; asyncio's streams take a cancelled task for a fault
        except Exception as error:
            self.faults.append(repr(error))
        finally:
            self._open.discard(writer)
            self._tasks.discard(task)
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


class _Exchange:
    """One request and its answer."""

    def __init__(self, book: Service, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._book = book
        self._reader = reader
        self._writer = writer
        self._body = b""
        self._given = 0

    async def run(self) -> bool:
        """Serve it; returns whether the connection goes on."""
        head = await self._reader.readuntil(b"\r\n\r\n")
        head = head[:-2]
        found = _ID.search(head)
        assert found is not None, head
        self._name = found[1].decode()
        self._book.seen[self._name] += 1
        self._book.taken[self._name] = 0
        path, _, query = head.split(b" ", 2)[1].decode().partition("?")
        await self._take(head, keep=path == "/echo")
        _, kind, *rest = path.split("/")
        return await self._answer(kind, rest[0] if rest else "", parse_qs(query))

    async def _take(self, head: bytes, *, keep: bool) -> None:
        length = _LENGTH.search(head)
        if length is not None:
            await self._take_some(int(length[1]), keep)
        elif _CHUNKED.search(head):
            while size := int(await self._reader.readuntil(b"\r\n"), 16):
                await self._take_some(size, keep)
                await self._reader.readexactly(2)
            await self._reader.readexactly(2)

    async def _take_some(self, left: int, keep: bool) -> None:
        while left:
            data = await self._reader.read(min(left, _PIECE))
            if not data:
                raise asyncio.IncompleteReadError(b"", left)
            left -= len(data)
            self._book.taken[self._name] += len(data)
            if keep:
                self._body += data

    async def _answer(self, kind: str, rest: str, query: dict[str, list[str]]) -> bool:
        match kind:
            case "bytes":
                await self._counted(200, int(rest))
            case "chunked":
                await self._chunked(int(rest), _PIECE)
            case "slow-bytes":
                await self._counted(200, int(rest), int(query["chunk"][0]), 0.03)
            case "sse":
                await self._events(int(query["n"][0]))
            case "upload":
                await self._small(200, b'{"bytes": %d}' % self._book.taken[self._name])
            case "echo":
                await self._small(200, self._body)
            case "fail":
                await self._small(int(rest), b"failed")
            case "sleep" | "slow":
                await asyncio.sleep(int(rest.removesuffix("ms")) / 1000)
                await self._small(200, b"slept")
            case "ws":
                await self._echo()
                return False
            case "reset" | "half-head" | "half-body" | "half-chunks":
                await self._break(kind)
                return False
            case _:
                await self._small(200, b"hello")
        return True

    async def _give(self, head: bytes, data: bytes = b"", tail: bytes = b"") -> None:
        self._writer.write(head + data + tail)
        await self._writer.drain()
        if data:  # an attempt that gave nothing leaves the count of the one before, whose answer the client then gets
            self._given += len(data)
            self._book.given[self._name] = self._given

    async def _small(self, status: int, body: bytes) -> None:
        await self._give(_HEAD % status + b"Content-Length: %d\r\n\r\n" % len(body), body)

    async def _counted(self, status: int, size: int, piece: int = _PIECE, every: float = 0.0) -> None:
        await self._give(_HEAD % status + b"Content-Length: %d\r\n\r\n" % size)
        for offset in range(0, size, piece):
            await self._give(b"", _cut(offset, min(piece, size - offset)))
            if every:
                await asyncio.sleep(every)

    async def _chunked(self, size: int, piece: int) -> None:
        await self._give(_HEAD % 200 + b"Transfer-Encoding: chunked\r\n\r\n")
        for offset in range(0, size, piece):
            await self._chunk(_cut(offset, min(piece, size - offset)))
        await self._give(b"0\r\n\r\n")

    async def _chunk(self, data: bytes) -> None:
        await self._give(b"%x\r\n" % len(data), data, b"\r\n")

    async def _events(self, count: int) -> None:
        await self._give(_HEAD % 200 + b"Transfer-Encoding: chunked\r\n\r\n")
        for number in range(count):
            await self._chunk(b"data: %d\n\n" % number)
            await asyncio.sleep(0.02)
        await self._give(b"0\r\n\r\n")

    async def _echo(self) -> None:
        """Frames below 126 bytes with an empty mask, as `people.echo` sends them."""
        await self._give(_SWITCH)
        while True:
            opcode, size = await self._reader.readexactly(2)
            message = (await self._reader.readexactly(4 + (size & 0x7F)))[4:]
            self._book.taken[self._name] += 6 + len(message)
            await self._give(b"", bytes([opcode, len(message)]) + message)
            if opcode == 0x88:
                return

    async def _break(self, how: str) -> None:
        if how == "half-head":
            await self._give(b"HTTP/1.1 200 OK\r\nConte")
        elif how == "half-body":
            await self._give(_HEAD % 200 + b"Content-Length: 1000\r\n\r\n", BLOCK[:400])
        elif how == "half-chunks":
            await self._give(_HEAD % 200 + b"Transfer-Encoding: chunked\r\n\r\n")
            await self._chunk(BLOCK[:400])
        else:
            _reset(self._writer)


def _cut(offset: int, size: int) -> bytes:
    begins = offset % 251
    return BLOCK[begins : begins + size]


def _reset(writer: asyncio.StreamWriter) -> None:
    sock: socket.socket | None = writer.get_extra_info("socket")
    if sock is not None and sock.fileno() >= 0:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
