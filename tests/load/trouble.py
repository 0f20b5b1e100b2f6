"""Clients that are trouble, and those who ask for it of the service; functions like those of `people.py`."""

from __future__ import annotations

import asyncio
from random import Random
from time import time
from typing import Final

from tests.load.people import MIXED, Begin, Kind, get, good
from tests.load.talk import BLOCK, Asked, Talk

_MALFORMED: Final = (
    b"GET /hello HTTP/1.1\r\n\r\n",
    b"GET /hello HTTP/3.0\r\nHost: a\r\n\r\n",
    b"GET /hello HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\n",
    b"NONSENSE\r\n\r\n",
)


def _left(asked: Asked) -> bool:
    asked.ended, asked.end = time(), "left"
    return False


async def leaver(talk: Talk, chance: Random, begin: Begin) -> bool:
    """Leaves before the answer, within it, or within its own request."""
    when = chance.choice(["before", "within", "sending"])
    if when == "sending":
        asked, name = begin("POST")
        talk.write_head("POST", "/upload?hash=0", name, "Content-Length: 100000")
        talk.writer.write(BLOCK[:5000])
        asked.sent = 5000
        await talk.writer.drain()
        await asyncio.sleep(chance.random() * 0.02)
        return _left(asked)
    asked, name = begin("GET")
    talk.write_head("GET", "/slow/300ms" if when == "before" else "/bytes/900000", name)
    if when == "within":
        await talk.read_head(asked)
        await talk.read_body(asked, most=100_000)
    else:
        await talk.writer.drain()
        await asyncio.sleep(chance.random() * 0.2)
    return _left(asked)


async def slow_reader(talk: Talk, chance: Random, begin: Begin) -> bool:
    """Takes its answer slowly."""
    asked, name = begin("GET")
    talk.write_head("GET", "/bytes/1500000", name)
    await get(talk, asked, slowly=0.03)
    good(asked, asked.got == 1_500_000)
    return not asked.told_close


async def malformed(talk: Talk, chance: Random, begin: Begin) -> bool:
    """Asks what is no request."""
    asked, _ = begin("_")
    talk.writer.write(chance.choice(_MALFORMED))
    await get(talk, asked)
    asked.known_as = talk.field(b"x-request-id")
    await asyncio.sleep(0.05)
    return False


async def limited(talk: Talk, chance: Random, begin: Begin) -> bool:
    """More often than the rate of its route allows."""
    asked, name = begin("GET")
    talk.write_head("GET", "/limited", name)
    await get(talk, asked)
    await asyncio.sleep(0.02)
    return not asked.told_close


async def failing(talk: Talk, chance: Random, begin: Begin) -> bool:
    """What the service fails at."""
    method = chance.choice(["GET", "GET", "POST"])
    asked, name = begin(method)
    target = chance.choice(
        ["/fail/500", "/fail/503", "/fail/404", "/reset", "/half-head", "/half-body", "/half-chunks", "/slow/2500ms"]
    )
    talk.write_head(method, target, name, *(["Content-Length: 100"] if method == "POST" else []))
    if method == "POST":
        talk.writer.write(BLOCK[:100])
        asked.sent = 100
    await get(talk, asked)
    await asyncio.sleep(0.02)
    return not asked.told_close


TROUBLED: dict[Kind, int] = {**MIXED, leaver: 4, slow_reader: 2, malformed: 1, limited: 2, failing: 4}
