"""The demo's own clients: a few requests a second, some of which go wrong in every way the service knows.

A fixed round, over and over: whoever looks twice sees the same. Knows the proxy's address and nothing else of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import cycle
from typing import Final, NamedTuple

import aiohttp

_EVERY: Final = 0.4  # seconds between two requests
_MOST: Final = 16  # requests under way at one time; what is due while so many are is left out
_PATIENCE: Final = 30.0  # seconds; the proxy answers long before


class Step(NamedTuple):
    """One request of the round. `patience` is how long its client waits, in seconds."""

    path: str
    method: str = "GET"
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    patience: float = _PATIENCE


ROUND: Final = (
    Step("/items/1"),
    Step("/items/2"),
    Step("/echo", "POST", body=b"hello"),
    Step("/sleep/300ms"),
    Step("/items/3"),
    Step("/sse?n=4"),
    Step("/flaky/1"),
    Step("/flaky/2"),
    Step("/chunked"),
    Step("/flaky/3"),
    Step("/flaky/4"),
    Step("/status/503"),
    Step("/items/4"),
    Step("/sleep/2s", headers=(("x-request-timeout-ms", "250"),)),
    Step("/status/404"),
    Step("/abort"),
    Step("/items/5"),
    Step("/sleep/1s", patience=0.3),
    Step("/echo", "POST", body=bytes(100_000)),
    Step("/items/6"),
    Step("/hang"),
    Step("/items/7"),
    Step("/garbage"),
    Step("/sleep/800ms"),
)


async def send(base: str, socket: str, until: Callable[[], bool]) -> None:
    """Send rounds to the proxy at `base` (through the socket file, if it listens on one) until `until()` says so."""
    connector = aiohttp.UnixConnector(socket) if socket else aiohttp.TCPConnector()
    session = aiohttp.ClientSession(base, connector=connector, headers={"User-Agent": "sidecar-demo"})
    async with session, asyncio.TaskGroup() as group:
        under_way: set[asyncio.Task[None]] = set()
        for step in cycle(ROUND):
            if until():
                return
            if len(under_way) < _MOST:
                task = group.create_task(_request(session, step))
                under_way.add(task)
                task.add_done_callback(under_way.discard)
            await asyncio.sleep(_EVERY)


async def _request(session: aiohttp.ClientSession, step: Step) -> None:
    timeout = aiohttp.ClientTimeout(total=step.patience)
    try:
        async with session.request(
            step.method, step.path, headers=step.headers, data=step.body or None, timeout=timeout
        ) as response:
            await response.read()
    except (aiohttp.ClientError, TimeoutError, OSError):
        # It was sent to go wrong.
        pass
