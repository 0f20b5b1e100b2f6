"""A small client that makes an exact number of requests and counts every answer itself."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator

from bench.children import BenchError
from bench.net import HOST

_BODY = b"x" * 1024


async def exact_load(port: int, requests: int, connections: int) -> Counter[int]:
    """Make so many requests over keep-alive connections; return how many answers came with each status."""
    seen: Counter[int] = Counter()
    numbers = iter(range(requests))  # shared: each connection takes the next one
    async with asyncio.TaskGroup() as group:
        for _ in range(connections):
            group.create_task(_connect_and_ask(port, numbers, seen))
    return seen


async def _connect_and_ask(port: int, numbers: Iterator[int], seen: Counter[int]) -> None:
    reader, writer = await asyncio.open_connection(HOST, port)
    try:
        for number in numbers:
            writer.write(_request(number))
            seen[await asyncio.wait_for(_status(reader), timeout=30)] += 1
    finally:
        writer.close()


def _request(number: int) -> bytes:
    """Mostly small answers, some of them errors, and some uploads."""
    head = b"Host: bench\r\nUser-Agent: bench\r\nX-Request-ID: agree-%d\r\n" % number
    match number % 4:
        case 0:
            return b"GET /hello HTTP/1.1\r\n" + head + b"\r\n"
        case 1:
            return b"GET /items/%d HTTP/1.1\r\n" % number + head + b"\r\n"
        case 2:
            return b"GET /status/404 HTTP/1.1\r\n" + head + b"\r\n"
        case _:
            length = b"Content-Length: %d\r\n\r\n" % len(_BODY)
            return b"POST /upload?hash=0 HTTP/1.1\r\n" + head + length + _BODY


async def _status(reader: asyncio.StreamReader) -> int:
    """Read one answer whole. All the answers asked for here have a Content-Length."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    _, found, rest = head.partition(b"\r\ncontent-length: ")
    if not found:
        raise BenchError(f"an answer without Content-Length: {head!r}")
    await reader.readexactly(int(rest.partition(b"\r\n")[0]))
    return int(head[9:12])
