"""What clients do, each kind a function: it asks once and returns whether its connection may be asked again.

    small, fresh        small requests on a connection that is kept, and on a new one each
    download, events    streams: with a length, chunked, slow; server-sent events
    upload              with a length and chunked, in pieces
    websocket           an echo of a few messages, closed in order

They ask what the example service and `tests/load/service.py` both have.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from random import Random

from tests.load.talk import BLOCK, PATIENCE, Asked, CutError, OddError, Talk

# Begins a request: told kind and method, it returns the record of it and its ID.
Begin = Callable[[str], tuple[Asked, str]]
Kind = Callable[[Talk, Random, Begin], Awaitable[bool]]


def good(asked: Asked, what: bool) -> None:
    """What was served has to be `what`; which other answers may come is for the crowd to know."""
    if asked.status in (200, 101) and not what:
        raise OddError(f"an answer that is not as it should be: {asked}")


async def get(talk: Talk, asked: Asked, slowly: float = 0.0) -> bytes:
    """The whole answer; returns the end of its body."""
    await talk.read_head(asked)
    data = await talk.read_body(asked, slowly=slowly)
    talk.whole(asked)
    return data


async def small(talk: Talk, chance: Random, begin: Begin) -> bool:
    """A small request on a connection that is kept."""
    if chance.random() < 0.3:
        asked, name = begin("POST")
        body = BLOCK[: chance.randrange(1, 2000)]
        talk.write_head("POST", "/echo", name, f"Content-Length: {len(body)}")
        talk.writer.write(body)
        asked.sent = len(body)
        await get(talk, asked)
        good(asked, asked.got == len(body))
    else:
        asked, name = begin("GET")
        talk.write_head("GET", chance.choice(["/hello", "/items/7", "/sleep/5ms"]), name)
        await get(talk, asked)
        good(asked, asked.got > 0)
    return not asked.told_close


async def fresh(talk: Talk, chance: Random, begin: Begin) -> bool:
    """A small request on a new connection, which the client then closes."""
    await small(talk, chance, begin)
    return False


async def download(talk: Talk, chance: Random, begin: Begin) -> bool:
    """Some hundred KiB, chunked or with a length, or fewer and slowly."""
    asked, name = begin("GET")
    size = chance.randrange(1, 400_000)
    target = chance.choice([f"/bytes/{size}", f"/chunked/{size}", "/slow-bytes/3000?chunk=300&every=30ms"])
    if target.startswith("/slow"):
        size = 3000
    talk.write_head("GET", target, name)
    last = await get(talk, asked)
    begins = (size - len(last)) % 251
    good(asked, asked.got == size and last == BLOCK[begins : begins + len(last)])
    return not asked.told_close


async def events(talk: Talk, chance: Random, begin: Begin) -> bool:
    """Server-sent events for some tenths of a second."""
    asked, name = begin("GET")
    talk.write_head("GET", f"/sse?n={chance.randrange(1, 30)}&every=20ms", name)
    last = await get(talk, asked)
    good(asked, last.endswith(b"\n\n"))
    return not asked.told_close


async def upload(talk: Talk, chance: Random, begin: Begin) -> bool:
    """A body in pieces, with pauses."""
    asked, name = begin("POST")
    pieces = [BLOCK[: chance.randrange(1, 60_000)] for _ in range(chance.randrange(1, 6))]
    chunked = chance.random() < 0.5
    size = sum(map(len, pieces))
    talk.write_head(
        "POST", "/upload?hash=0", name, "Transfer-Encoding: chunked" if chunked else f"Content-Length: {size}"
    )
    for piece in pieces:
        talk.writer.write(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
        asked.sent += len(piece)
        try:
            await asyncio.wait_for(talk.writer.drain(), PATIENCE)
        except ConnectionError:
            break  # what was answered meanwhile says why
        await asyncio.sleep(chance.random() * 0.02)
    if chunked:
        talk.writer.write(b"0\r\n\r\n")
    data = await get(talk, asked)
    good(asked, asked.status != 200 or json.loads(data)["bytes"] == size)
    return not asked.told_close


async def shake_hands(talk: Talk, asked: Asked, name: str) -> bool:
    """Open a WebSocket; False where that was answered otherwise."""
    talk.write_head(
        "GET",
        "/ws",
        name,
        *("Connection: Upgrade", "Upgrade: websocket"),
        *("Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="),
    )
    await talk.read_head(asked)
    if asked.status == 101:
        return True
    await talk.read_body(asked)
    talk.whole(asked)
    return False


async def echo(talk: Talk, asked: Asked, message: bytes) -> None:
    """One message (below 126 bytes) there and back; an empty mask keeps it readable."""
    opcode = b"\x82" if message else b"\x88"
    talk.writer.write(opcode + bytes([0x80 | len(message)]) + bytes(4) + message)
    asked.sent += 6 + len(message)
    try:
        back = await asyncio.wait_for(talk.reader.readexactly(2 + len(message)), PATIENCE)
    except (asyncio.IncompleteReadError, ConnectionError) as error:
        raise CutError(f"in a tunnel: {error!r}") from None
    asked.got += len(back)
    if back != opcode + bytes([len(message)]) + message:
        raise OddError(f"another echo: {back!r} to {message!r}")


async def websocket(talk: Talk, chance: Random, begin: Begin) -> bool:
    """An echo of some messages; then it is closed as RFC 6455 wants it."""
    asked, name = begin("GET")
    if await shake_hands(talk, asked, name):
        for _ in range(chance.randrange(1, 20)):
            await echo(talk, asked, b"m" * chance.randrange(1, 120))
            await asyncio.sleep(0.02)
        await echo(talk, asked, b"")
        talk.whole(asked)
    return False


MIXED: dict[Kind, int] = {small: 8, fresh: 6, download: 4, events: 4, upload: 4, websocket: 4}
