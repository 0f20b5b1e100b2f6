"""A hop on the way: a TCP relay that does on cue what networks do to connections, and nothing that it was not told.

Stands on either side of the proxy: client ↔ hop ↔ proxy, or proxy ↔ hop ↔ upstream. `up` is the way of requests, `down`
that of answers. A fault waits until the next bytes go up, on whichever connection, so it meets the next request on a
kept connection as well as on a new one; connections that say nothing (probes) meet none. Without a fault every byte,
end and reset is passed on as it came. A fault that was armed has to take place: else a test says nothing of it.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Callable
from enum import Enum
from types import TracebackType
from typing import Literal, NamedTuple, Self

from tests.support.client import Address
from tests.support.waiting import PATIENCE

Way = Literal["up", "down"]

SLICED = 5000


class Act(Enum):
    """What becomes of a stream."""

    END = "end"  # both connections end in order, in both directions
    RESET = "reset"  # both are reset
    HALF_CLOSE = "half-close"  # this direction ends in order; the other one lives on
    STALL = "stall"  # nothing more of it is read, until `release`
    INJECT = "inject"  # `data` comes in between
    SLICE = "slice"  # the next `SLICED` bytes of it, and what goes the other way, come in single bytes
    DELAY = "delay"  # it stands still for `seconds`, once


class Fault(NamedTuple):
    """`act` happens to the stream `way` when `after` more bytes of it have passed, counted from the fault's arrival."""

    act: Act
    way: Way = "down"
    after: int = 0
    data: bytes = b""
    seconds: float = 0.0


class Hop:
    """The relay in front of `target`, on a port of its own; runs in a thread."""

    def __init__(self, target: Address) -> None:
        self._target = target
        self._loop = asyncio.new_event_loop()
        self._fault: Fault | None = None
        self._armed: Fault | None = None  # last; whether anybody has met it or not
        self._links: set[_Link] = set()
        self.happened = threading.Event()  # the fault that was armed last
        self.sliced = 0  # bytes that were passed on singly since then
        self.faults: list[BaseException] = []  # in the relay itself
        self._sock = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),), daemon=True)
        self._stop = asyncio.Event()
        self.flows = asyncio.Event()
        self._thread.start()

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        return "127.0.0.1", int(self._sock.getsockname()[1])

    @property
    def url(self) -> str:
        """What `--upstream` is to be."""
        return f"http://127.0.0.1:{self.address[1]}"

    def arm(self, fault: Fault) -> None:
        """Let this happen once, on the connection on which the next bytes go up; what was armed before has happened."""
        self.met()
        self.happened.clear()
        self.sliced = 0
        self._call(self.flows.clear)
        self._armed = self._fault = fault

    def met(self) -> None:
        """Fails unless what was armed last takes place: nothing that is told of a fault holds without it."""
        armed, self._armed = self._armed, None
        assert armed is None or self.happened.wait(PATIENCE), f"{armed} has not taken place"

    def release(self) -> None:
        """Let a stream that stands still flow on."""
        self._call(self.flows.set)

    def pick_up(self) -> Fault | None:
        """The fault that waits, for the connection that asks."""
        fault, self._fault = self._fault, None
        return fault

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._accepted, sock=self._sock)
        async with server:
            await self._stop.wait()
        while self._links:
            for link in list(self._links):
                link.reset()
            await asyncio.sleep(0)

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far = await self._dial()
        except OSError:
            _reset(writer)
            return
        link = _Link(self, (reader, writer), far)
        self._links.add(link)
        try:
            await link.run()
        except Exception as fault:
            self.faults.append(fault)
        finally:
            self._links.discard(link)

    async def _dial(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if isinstance(self._target, str):
            return await asyncio.open_unix_connection(self._target)
        return await asyncio.open_connection(*self._target)

    def _call(self, function: Callable[[], object]) -> None:
        done = threading.Event()
        self._loop.call_soon_threadsafe(function)
        self._loop.call_soon_threadsafe(done.set)
        assert done.wait(PATIENCE)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(PATIENCE)
        self._loop.close()
        assert not self.faults, self.faults
        if kind is None:  # else the test's own failure is the one to be told
            self.met()


class _Link:
    """The two connections of one that was accepted."""

    def __init__(
        self,
        hop: Hop,
        near: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        far: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        self._hop = hop
        for _, writer in (near, far):
            writer.transport.set_write_buffer_limits(high=0)  # what has passed must be out when a reset follows
        self._near = near
        self._far = far
        self._fault: Fault | None = None
        self._passed = 0  # bytes of the fault's stream since it came
        self._dropped: set[Way] = set()  # what is read and not passed on
        self._to_slice = 0  # bytes

    async def run(self) -> None:
        """Carry both ways until both have ended."""
        pumps = [
            asyncio.ensure_future(self._pump("up", self._near[0], self._far[1])),
            asyncio.ensure_future(self._pump("down", self._far[0], self._near[1])),
        ]
        await asyncio.gather(*pumps)
        for _, writer in (self._near, self._far):
            writer.close()

    def reset(self) -> None:
        """Reset both connections, and let nothing wait any longer."""
        _reset(self._near[1])
        _reset(self._far[1])
        self._hop.flows.set()

    async def _pump(self, way: Way, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(1 << 16):
                if way == "up" and (fault := self._hop.pick_up()) is not None:
                    self._fault, self._passed = fault, 0
                await self._carry(way, data, writer)
            if way not in self._dropped and not writer.is_closing():
                writer.write_eof()
        except OSError:
            self.reset()

    async def _carry(self, way: Way, data: bytes, writer: asyncio.StreamWriter) -> None:
        fault = self._fault
        if fault is not None and fault.way == way:
            room = fault.after - self._passed
            await self._pass(way, data[:room], writer)
            self._passed += len(data[:room])
            if self._passed < fault.after:
                return
            data = data[room:]
            self._fault = None
            await self._do(fault, writer)
        await self._pass(way, data, writer)

    async def _pass(self, way: Way, data: bytes, writer: asyncio.StreamWriter) -> None:
        if way in self._dropped or not data:
            return
        slices = data[: self._to_slice]
        self._to_slice -= len(slices)
        for byte in slices:
            writer.write(bytes([byte]))
            self._hop.sliced += 1
            await asyncio.sleep(0)
        writer.write(data[len(slices) :])
        await writer.drain()

    async def _do(self, fault: Fault, writer: asyncio.StreamWriter) -> None:
        if fault.act is Act.END:
            self._dropped |= {"up", "down"}
            # Only the sending sides: to close with bytes unread would be a reset.
            self._near[1].write_eof()
            self._far[1].write_eof()
        elif fault.act is Act.RESET:
            self._dropped |= {"up", "down"}
            self.reset()
        elif fault.act is Act.HALF_CLOSE:
            self._dropped.add(fault.way)
            writer.write_eof()
        elif fault.act is Act.INJECT:
            writer.write(fault.data)  # not waited for: whoever reads it may be gone before he has all of it
        elif fault.act is Act.SLICE:
            self._to_slice = SLICED
        elif fault.act is Act.DELAY:
            await asyncio.sleep(fault.seconds)
        self._hop.happened.set()
        if fault.act is Act.STALL:
            await self._hop.flows.wait()


def _reset(writer: asyncio.StreamWriter) -> None:
    sock: socket.socket | None = writer.get_extra_info("socket")
    if sock is not None and sock.fileno() >= 0 and sock.family != socket.AF_UNIX:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
