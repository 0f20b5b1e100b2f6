"""``python -I bench/inside.py --settings FILE``: this proxy, whole, on an event loop whose network is memory.

Says ``ready``. Then, for each line that comes, it sends a window of requests through the proxy and says how many µs of
processor time each of them took. When the input ends the proxy does. The exit code is 1 if an answer was wrong, or if
the access log has not one line for each request.

Run by its path, with the interpreter of the compiled proxy: it imports that and nothing of the bench.
"""

from __future__ import annotations

import argparse
import asyncio
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, TextIO, TypeVar, cast

import uvloop

from sidecar.app import App, collect_seldom
from sidecar.settings import Loaded, load

CONNECTIONS = 32
BATCHES = 10  # measured in a window, after one that is not; in a batch each connection sends a request
REQUESTS = (1 + BATCHES) * CONNECTIONS
WITHIN = 30.0  # seconds; a window that takes longer is stuck

# As wrk sends it, with the headers of wrk.lua.
REQUEST = b"""\
GET /items/42 HTTP/1.1\r
Cache-Control: no-cache\r
User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r
Accept: application/json, text/plain, */*\r
Accept-Language: en-GB,en;q=0.7,de;q=0.3\r
Accept-Encoding: gzip, deflate, br\r
Sec-Fetch-Site: same-origin\r
Authorization: Bearer eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiI0MiIsImV4cCI6MTkwMDAwMDAwMH0.c2lnbmF0dXJl\r
Sec-Fetch-Mode: cors\r
Cookie: session=8c1f6b0e2d; theme=dark; consent=1\r
Traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r
Referer: https://shop.example.com/orders\r
Host: 127.0.0.1:8900\r
\r
"""

# As examples/go answers it.
BODY = b"""\
{"id":"42","name":"Ada Lovelace","state":"shipped","total":"129.90","currency":"EUR",\
"items":[{"sku":"A-1","count":2},{"sku":"B-7","count":1}],"note":null}
"""
RESPONSE = b"""\
HTTP/1.1 200 OK\r
Cache-Control: private, max-age=0, must-revalidate\r
Content-Length: %d\r
Content-Type: application/json; charset=utf-8\r
Etag: W/"96-3f2a9c1d"\r
Set-Cookie: session=8c1f6b0e2d; Path=/; HttpOnly; SameSite=Lax\r
Strict-Transport-Security: max-age=31536000; includeSubDomains\r
Vary: Accept, Accept-Encoding\r
X-Content-Type-Options: nosniff\r
Date: Thu, 01 Jan 2026 12:00:00 GMT\r
\r
%b""" % (len(BODY), BODY)

Factory = Callable[[], asyncio.BaseProtocol]
Made = TypeVar("Made", bound=asyncio.BaseProtocol)


class Wire(asyncio.Transport):
    """The proxy's end of a connection in memory: what it writes is ``written`` at once, so it never has to wait.

    ``deliver`` hands it bytes, as if the loop had read them. What the proxy does not ask of a transport here is not
    there: it raises NotImplementedError.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        protocol: asyncio.BaseProtocol,
        quiet: socket.socket,
        written: Callable[[bytes], None],
    ) -> None:
        super().__init__({"socket": quiet, "peername": ("127.0.0.1", 40000)})
        self._loop = loop
        self._protocol = protocol
        self._written = written
        self._closing = False
        # The proxy's protocols have the interface, not the class.
        self.deliver = cast(asyncio.Protocol, protocol).data_received
        protocol.connection_made(self)

    def write(self, data: Any) -> None:
        self._written(data)

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            self._loop.call_soon(self._protocol.connection_lost, None)

    def abort(self) -> None:
        self.close()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 0


class MemoryLoop(uvloop.Loop):
    """The program's event loop, but whoever is dialled is in memory, and answers what it is sent with ``RESPONSE``.

    Ports are bound as ever, so that the admin port can be asked while it runs.
    """

    def __init__(self) -> None:
        super().__init__()
        self.listeners: asyncio.Queue[Factory] = asyncio.Queue()  # what makes the protocols of each port
        self.asked: list[bytes] = []  # what the upstream was sent
        # The proxy asks the kernel whether something waits in an idle connection. In this one nothing ever does.
        self.quiet, self._silent_peer = socket.socketpair()

    async def create_server(self, protocol_factory: Factory, *args: Any, **options: Any) -> Any:
        server = await super().create_server(protocol_factory, *args, **options)
        self.listeners.put_nowait(protocol_factory)
        return server

    async def create_connection(
        self, protocol_factory: Callable[[], Made], *args: Any, **options: Any
    ) -> tuple[Any, Made]:
        def answer(request: bytes) -> None:
            self.asked.append(request)
            self.call_soon(wire.deliver, RESPONSE)  # as a loop would read it, in a later turn

        protocol = protocol_factory()
        wire = Wire(self, protocol, self.quiet, answer)
        return wire, protocol


class Clients:
    """Connections to the proxy, of ``accept``'s protocols. All of them ask at once, and again once all are answered."""

    def __init__(self, loop: MemoryLoop, accept: Factory) -> None:
        self.answers: list[bytes] = []
        self._loop = loop
        self._answered = loop.create_future()
        self._wires = [Wire(loop, accept(), loop.quiet, self._take) for _ in range(CONNECTIONS)]

    def _take(self, answer: bytes) -> None:
        self.answers.append(answer)
        if len(self.answers) % CONNECTIONS == 0:
            self._answered.set_result(None)

    async def ask(self) -> None:
        """Send a request over each connection, and wait for all the answers."""
        self._answered = self._loop.create_future()
        for wire in self._wires:
            wire.deliver(REQUEST)
        await self._answered
        await asyncio.sleep(0)  # what is logged at the end of a turn belongs to it

    def leave(self) -> None:
        """Close all connections."""
        for wire in self._wires:
            wire.close()


async def window(loop: MemoryLoop, accept: Factory) -> float:
    """The processor time of a request, in µs."""
    loop.asked.clear()
    clients = Clients(loop, accept)
    async with asyncio.timeout(WITHIN):
        await clients.ask()  # not measured: the processor's caches still hold what ran before
        # This thread's time: what others take meanwhile is not the proxy's.
        before = time.thread_time_ns()
        for _ in range(BATCHES):
            await clients.ask()
        spent = time.thread_time_ns() - before
    clients.leave()
    check(loop.asked, clients.answers)
    return spent / 1000 / (BATCHES * CONNECTIONS)


def check(asked: list[bytes], answers: list[bytes]) -> None:
    """Raise unless the upstream was asked for every answer, and each is right."""
    if len(asked) != REQUESTS or len(answers) != REQUESTS:
        raise RuntimeError(f"{REQUESTS} requests: {len(asked)} came to the upstream, {len(answers)} were answered")
    for request in asked:
        if not request.startswith(b"GET /items/42 HTTP/1.1\r\n") or b"\r\nX-Request-ID: " not in request:
            raise RuntimeError(f"the upstream was asked {request!r}")
    for answer in answers:
        if not answer.startswith(b"HTTP/1.1 200 OK\r\n") or not answer.endswith(b"\r\n\r\n" + BODY):
            raise RuntimeError(f"the answer was {answer!r}")


async def measure(app: App, loop: MemoryLoop, results: TextIO) -> int:
    """Measure a window for each line of standard input; returns how many requests that were."""
    requests = 0
    try:
        accept = await loop.listeners.get()
        await loop.listeners.get()  # the admin port is the last thing to start
        lines = asyncio.StreamReader()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
        print("ready", file=results, flush=True)
        while await lines.readline():
            print(await window(loop, accept), file=results, flush=True)
            requests += REQUESTS
    finally:
        app.leave("the input ended")
    return requests


async def serve(loaded: Loaded, results: TextIO) -> int:
    """Run the proxy until it has been measured, or a signal ends it; returns how many requests it had."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, MemoryLoop)
    app = App(loaded)
    measuring = loop.create_task(measure(app, loop, results))
    await app.run()
    measuring.cancel()
    return await measuring


def main() -> int:
    """Run it; return the exit code."""
    parser = argparse.ArgumentParser(description="Measure this proxy's own work.")
    parser.add_argument("--settings", type=Path, required=True)
    loaded = load({}, {}, parser.parse_args().settings)
    results = sys.stdout
    # The log goes down a pipe, as a container's does, and takes no place on the disk.
    counter = subprocess.Popen(["wc", "-l"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    collect_seldom()
    with redirect_stdout(counter.stdin), asyncio.Runner(loop_factory=MemoryLoop) as runner:
        requests = runner.run(serve(loaded, results))
    logged = int(counter.communicate()[0])
    if logged != requests:
        print(f"{requests} requests were answered, {logged} lines are in the access log", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
