"""Peers that take and do not give: many connections at once that do the same, and how each of them ends.

`python -m tests.floods.attack NAME PORT` does it over and over until its stdin ends, as a process of its own; then it
says as JSON how many connections have ended how.
"""

from __future__ import annotations

import asyncio
import json
import os
import select
import socket
import sys
import threading
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import NamedTuple

GET = b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST %b HTTP/1.1\r\nHost: a\r\nContent-Length: 10000000\r\n\r\n"
CHUNKED = b"POST %b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
HEAD = b"GET /head HTTP/1.1\r\nHost: a\r\n"
TICK = 0.1  # seconds between two drips
FLOOD_TICK = 0.02  # seconds between two pieces of a flood, if there is room
AHEAD = 500  # requests that a pipelining client sends at once

AT_A_TIME = 50  # connections that are being made
LONGEST = 30.0  # seconds that any of it may take

Act = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[str]]


class Attack(NamedTuple):
    """One way to be a bad peer: `size` connections that `act` so, and how each `ends`: a status, `end` or `left`.

    `reason` is under what the proxy counts it and logs it with `path`, empty where it is no request. `costs` is what
    it may cost the proxy in memory, in KiB for each connection.
    """

    act: Act
    size: int
    ends: str
    path: str
    reason: str
    costs: int


def word(data: bytes) -> str:
    """How a connection ended that brought this."""
    return data[9:12].decode("latin-1") if data.startswith(b"HTTP/1.1 ") else "end" if not data else "nonsense"


async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, piece: bytes, every: float = TICK) -> str:
    """Send a piece now and then, until there is an answer or the end."""
    while True:
        try:
            return word(await asyncio.wait_for(reader.read(65536), every))
        except TimeoutError:
            writer.write(piece)


def dripping(begin: bytes, piece: bytes) -> Act:
    """Begin, and go on with a piece now and then."""

    async def act(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
        writer.write(begin)
        return await drip(reader, writer, piece)

    return act


def flooding(begin: bytes, piece: bytes) -> Act:
    """Begin, and go on with a piece whenever there is room."""

    async def act(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
        writer.write(begin)
        while True:
            try:
                return word(await asyncio.wait_for(reader.read(65536), FLOOD_TICK))
            except TimeoutError:
                if not writer.transport.get_write_buffer_size():
                    writer.write(piece)

    return act


async def little_chunks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
    """Upload something in chunks of a byte."""
    writer.write(CHUNKED % b"/chunks")
    for _ in range(20):
        writer.write(b"1\r\nx\r\n" * 500)
        await asyncio.sleep(FLOOD_TICK)
    writer.write(b"0\r\n\r\n")
    return word(await reader.read(65536))


def asking(request: bytes) -> Act:
    """Ask, and take the answer, however long it takes and whatever it is."""

    async def act(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
        writer.write(request)
        got = await reader.read()
        return word(got[got.rfind(b"HTTP/1.1 ") :] if got else b"")

    return act


async def idle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
    """Say nothing."""
    return word(await reader.read(65536))


async def idle_later(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
    """Ask once, then say nothing."""
    writer.write(GET % b"/")
    await reader.readuntil(b"ok")
    return word(await reader.read(65536))


async def unreading(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
    """Ask for much and do not read it, until it has been cut."""
    return await _unreading(writer, GET % b"/big")


async def unreading_ahead(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
    """Ask for much very often, and read none of it."""
    return await _unreading(writer, GET % b"/big" * 2000)


async def _unreading(writer: asyncio.StreamWriter, request: bytes) -> str:
    writer.transport.pause_reading()  # type: ignore[attr-defined]  # it is one that reads
    writer.write(request)
    poll = select.poll()
    poll.register(writer.get_extra_info("socket").fileno(), 0)  # a reset shows all the same
    while not poll.poll(0):  # noqa: ASYNC110 - nothing tells of it
        await asyncio.sleep(TICK)
    return "reset"


async def pipelining(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
    """Ask very often without waiting, then read all the answers."""
    writer.write(GET % b"/" * AHEAD)
    for _ in range(AHEAD):
        assert (await reader.readuntil(b"\r\n\r\nok")).startswith(b"HTTP/1.1 200 ")
    return "left"


async def watching(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
    """Ask for what never ends, and leave after a while."""
    writer.write(GET % b"/dripping")
    await asyncio.sleep(2)
    return "left"


# Those of a group can happen at once.
GROUPS: dict[str, dict[str, Attack]] = {
    "clients that wait": {
        "idle from the start": Attack(idle, 2000, "end", "", "", 16),
        "idle after a request": Attack(idle_later, 300, "end", "/", "upstream", 24),
        "slow heads": Attack(dripping(HEAD + b"X-Slow: ", b"x"), 400, "408", "-", "request_timeout", 32),
        "slow bodies": Attack(dripping(POST % b"/slow", b"x"), 200, "408", "/slow", "request_timeout", 64),
    },
    "who does not read": {
        "slow readers": Attack(unreading, 30, "reset", "/big", "client_gone", 1024),
        "slow readers, asking ahead": Attack(unreading_ahead, 10, "reset", "/big", "client_gone", 1024),
        "an upstream that reads no body": Attack(
            flooding(POST % b"/unread", b"x" * 100_000), 20, "504", "/unread", "attempt_timeout", 1024
        ),
    },
    "clients that flood": {
        "pipelines": Attack(pipelining, 10, "left", "/", "upstream", 256),
        "header floods": Attack(flooding(HEAD, b"X-More: abc\r\n" * 1000), 40, "431", "-", "headers_too_large", 128),
        "one long header": Attack(flooding(HEAD + b"X-One: ", b"x" * 16_000), 40, "431", "-", "headers_too_large", 128),
        "chunks of a byte": Attack(little_chunks, 10, "200", "/chunks", "upstream", 256),
        "chunk extensions": Attack(
            flooding(CHUNKED % b"/extensions", b"1;%b\r\nx\r\n" % (b"x" * 200) * 20),
            *(40, "400", "/extensions", "bad_request", 128),
        ),
        "one long size line": Attack(
            dripping(CHUNKED % b"/line" + b"1;", b"x" * 100), 40, "400", "/line", "bad_request", 128
        ),
        "trailers": Attack(
            flooding(CHUNKED % b"/trailers" + b"0\r\n", b"X-More: abc\r\n" * 100),
            *(40, "400", "/trailers", "bad_request", 128),
        ),
    },
    "what upstreams do": {
        "no answer": Attack(asking(GET % b"/never"), 100, "504", "/never", "deadline_exceeded", 64),
        "a head that drips": Attack(
            asking(GET % b"/dripping-head"), 100, "504", "/dripping-head", "deadline_exceeded", 64
        ),
        "a head without end": Attack(asking(GET % b"/endless-head"), 20, "502", "/endless-head", "bad_response", 256),
        "interim answers without end": Attack(asking(GET % b"/interim"), 20, "502", "/interim", "bad_response", 256),
        "trailers without end": Attack(
            asking(GET % b"/endless-trailers"), 20, "200", "/endless-trailers", "bad_response", 256
        ),
        "a body that stalls": Attack(asking(GET % b"/stalling"), 100, "200", "/stalling", "connection_lost", 64),
        "a body that drips": Attack(watching, 100, "left", "/dripping", "client_gone", 64),
    },
}
ATTACKS = {name: attack for group in GROUPS.values() for name, attack in group.items()}


async def _connect(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    sock = socket.socket()
    sock.setblocking(False)
    # What is not read lies with the proxy rather than in the kernel.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32 * 1024)
    try:
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
        return await asyncio.open_connection(sock=sock, limit=1 << 20)
    except BaseException:
        sock.close()
        raise


async def one(attack: Attack, port: int, door: asyncio.Semaphore) -> str:
    """One connection, from its begin to its end. `door` is how many connect at a time."""
    try:
        async with door:
            reader, writer = await _connect(port)
    except OSError:
        return "refused"
    try:
        async with asyncio.timeout(LONGEST):
            return await attack.act(reader, writer)
    except TimeoutError:
        return "not ended"
    except ConnectionError:
        return "reset"
    except EOFError:
        return "cut"
    finally:
        writer.transport.abort()


async def once(attacks: dict[str, Attack], port: int) -> dict[str, Counter[str]]:
    """All of these at the same time, once; how many connections of each ended how."""
    names = [name for name, attack in attacks.items() for _ in range(attack.size)]
    ends: dict[str, Counter[str]] = {name: Counter() for name in attacks}
    # All at once, those that were accepted first would be taken for silent before their turn to speak had come.
    door = asyncio.Semaphore(AT_A_TIME)
    words = await asyncio.gather(*(one(attacks[name], port, door) for name in names))
    for name, how in zip(names, words, strict=True):
        ends[name][how] += 1
    return ends


async def _again(attack: Attack, port: int, door: asyncio.Semaphore, ends: Counter[str]) -> None:
    while True:
        ends[await one(attack, port, door)] += 1
        await asyncio.sleep(TICK)


async def _main(name: str, port: int) -> None:
    # Attackers from elsewhere would take no processor time from the proxy and the service.
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    attack = ATTACKS[name]
    door = asyncio.Semaphore(AT_A_TIME)
    ends: Counter[str] = Counter()
    threading.Thread(target=_end_with_stdin, args=(ends,), daemon=True).start()
    print("begun", flush=True)
    await asyncio.gather(*(_again(attack, port, door, ends) for _ in range(attack.size)))


def _end_with_stdin(ends: Counter[str]) -> None:
    sys.stdin.read()
    print(json.dumps(dict(ends)), flush=True)
    # At once: before Python 3.12 `wait_for` may lose that its task is cancelled, and the attack would go on for ever.
    os._exit(0)


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1], int(sys.argv[2])))
