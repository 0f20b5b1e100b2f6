"""The service behind: asyncio, one process, well-behaved at `/` and as bad as its path says elsewhere.

`python -m tests.floods.upstream` prints its port and runs until its stdin ends.
"""

from __future__ import annotations

import asyncio
import os
import re
import sys

BIG = 32 * 1024 * 1024  # bytes of `/big`
TICK = 0.1  # seconds between two drips

_PIECE = b"x" * 65536
_LENGTH = re.compile(rb"\r\nContent-Length: ([0-9]+)\r\n", re.IGNORECASE)


async def _answer(writer: asyncio.StreamWriter, path: str) -> bool:
    """Answer a request; returns whether the connection goes on."""
    if path == "/big":
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % BIG)
        for _ in range(BIG // len(_PIECE)):
            writer.write(_PIECE)
            await writer.drain()
        return True
    if path == "/never":
        await asyncio.sleep(3600)
    elif path == "/dripping-head":
        writer.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        await _for_ever(writer, b"x", TICK)
    elif path == "/endless-head":
        writer.write(b"HTTP/1.1 200 OK\r\n")
        await _for_ever(writer, b"X-More: %b\r\n" % (b"x" * 1000), 0.0)
    elif path == "/interim":
        await _for_ever(writer, b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", 0.0)
    elif path == "/endless-trailers":
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n")
        await asyncio.sleep(TICK)  # the head and the chunk are on their way to the client
        writer.write(b"0\r\n")
        await _for_ever(writer, b"X-More: %b\r\n" % (b"x" * 1000), 0.0)
    elif path == "/stalling":
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        await asyncio.sleep(3600)
    elif path == "/dripping":
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        await _for_ever(writer, b"1\r\nx\r\n", TICK)
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    return True


async def _for_ever(writer: asyncio.StreamWriter, piece: bytes, every: float) -> None:
    while True:
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(every)


async def _some(reader: asyncio.StreamReader) -> bytes:
    data = await reader.read(65536)
    if not data:
        raise EOFError
    return data


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            path = head.split(b" ", 2)[1].decode()
            if path == "/unread":
                await asyncio.sleep(3600)
            if found := _LENGTH.search(head):
                await reader.readexactly(int(found[1]))
            elif b"\r\ntransfer-encoding: chunked\r\n" in head.lower():
                body = b""
                while not body.endswith(b"0\r\n\r\n"):  # chunk by chunk it would be slower than the proxy is
                    body = body[-5:] + await _some(reader)
            await _answer(writer, path)
    except (OSError, EOFError, asyncio.LimitOverrunError):
        pass  # the proxy has closed
    finally:
        writer.close()


async def _main() -> None:
    server = await asyncio.start_server(_serve, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    os._exit(0)  # whoever is being served has had his time


if __name__ == "__main__":
    asyncio.run(_main())
