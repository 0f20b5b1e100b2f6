"""A small client that makes an exact number of requests and counts every answer itself."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator

from bench.children import BenchError
from bench.net import HOST

Request = Callable[[int], bytes]
"""Makes the bytes of the request with a number. Its answer must have a Content-Length."""


async def exact_load(port: int, requests: int, connections: int, request: Request) -> Counter[int]:
    """Make so many requests over keep-alive connections; return how many answers came with each status."""
    seen: Counter[int] = Counter()
    numbers = iter(range(requests))  # shared: each connection takes the next one
    async with asyncio.TaskGroup() as group:
        for _ in range(connections):
            group.create_task(_connect_and_ask(port, numbers, request, seen))
    return seen


async def _connect_and_ask(port: int, numbers: Iterator[int], request: Request, seen: Counter[int]) -> None:
    reader, writer = await asyncio.open_connection(HOST, port)
    try:
        for number in numbers:
            writer.write(request(number))
            seen[await asyncio.wait_for(_status(reader), timeout=30)] += 1
    finally:
        writer.close()


async def _status(reader: asyncio.StreamReader) -> int:
    """Read one answer whole."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    _, found, rest = head.partition(b"\r\ncontent-length: ")
    if not found:
        raise BenchError(f"an answer without Content-Length: {head!r}")
    await reader.readexactly(int(rest.partition(b"\r\n")[0]))
    return int(head[9:12])
