"""An event loop whose time passes only when nothing else can happen, and connections that are in memory.

Hours of idleness take no time, and what happens between two bytes happens in the same order in each run. The
transports behave as asyncio's do, quirks included: what they refuse there is refused here.
"""

from __future__ import annotations

import asyncio
import math
import select
import selectors
import socket
import struct
import sys
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator
from contextlib import contextmanager
from functools import partial, wraps
from typing import Any, ParamSpec, cast

import pytest

P = ParamSpec("P")


class _Selector(selectors.DefaultSelector):
    """Waits for nothing: where the loop would, its clock is moved instead."""

    loop: VirtualLoop

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if not ready:
            if timeout is None:
                raise AssertionError("everybody waits, and nothing will ever happen")
            if timeout:
                # Rounded up: a hair before a timer's time, it would be waited for again without end.
                due = max(self.loop.now + timeout, math.nextafter(self.loop.now, math.inf))
                self.loop.now = max(due, math.ceil(due * 1e9) / 1e9)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """See above. `dial` stands for `create_connection`."""

    def __init__(self) -> None:
        selector = _Selector()
        selector.loop = self
        self.now = 1000.0
        self.faults: list[dict[str, Any]] = []
        self.wires: dict[int, Wire] = {}
        self.dial: Callable[[Callable[[], asyncio.Protocol]], Awaitable[Any]] | None = None
        super().__init__(selector)
        self.set_exception_handler(lambda _, context: self.faults.append(context))

    def time(self) -> float:
        return self.now

    async def create_connection(self, protocol_factory: Any, *args: Any, **options: Any) -> Any:
        assert self.dial is not None
        return await self.dial(protocol_factory)

    @property
    def timers(self) -> list[asyncio.TimerHandle]:
        """What is set to go off."""
        scheduled = cast(list[asyncio.TimerHandle], self._scheduled)  # type: ignore[attr-defined]
        return [handle for handle in scheduled if not handle.cancelled()]

    @property
    def busy(self) -> bool:
        """Whether anything is about to happen without time passing."""
        return bool(self._ready) or any(handle.when() <= self.now for handle in self.timers)  # type: ignore[attr-defined]

    async def quiet(self) -> None:
        """Return when nothing more happens unless time passes."""
        await asyncio.sleep(0)
        while self.busy:  # noqa: ASYNC110 - whatever it is that happens
            await asyncio.sleep(0)


class _Poll:
    """`select.poll` for sockets of wires."""

    def __init__(self, wires: dict[int, Wire]) -> None:
        self._wires = wires
        self._asked: dict[int, int] = {}

    def register(self, fd: int, events: int) -> None:
        self._asked[fd] = events

    def poll(self, timeout: float) -> list[tuple[int, int]]:
        found = []
        for fd, events in self._asked.items():
            wire = self._wires[fd]
            seen = events & select.POLLIN if wire.unread else 0
            if wire.was_reset:
                seen |= select.POLLERR | select.POLLHUP  # told whether asked for or not
            if seen:
                found.append((fd, seen))
        return found


@contextmanager
def ruled_by(loop: VirtualLoop) -> Iterator[None]:
    """The loop's clock is the clock of the whole house."""
    with pytest.MonkeyPatch.context() as patch:
        for name, module in list(sys.modules.items()):
            if name.startswith("sidecar.") and getattr(module, "monotonic", None) is time.monotonic:
                patch.setattr(module, "monotonic", loop.time)
        patch.setattr("select.poll", partial(_Poll, loop.wires))
        yield


def travel(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run `main` in a loop of its own."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        loop = cast(VirtualLoop, runner.get_loop())
        with ruled_by(loop):
            runner.run(main())
        assert loop.faults == []


def travelling(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Make a test of a coroutine function: it runs in a loop of its own, in which time costs nothing."""

    @wraps(test)
    def run(*args: P.args, **options: P.kwargs) -> None:
        travel(lambda: test(*args, **options))

    return run


class _Socket:
    """Of a socket, what is asked for."""

    family = socket.AF_INET

    def __init__(self, wire: Wire, number: int) -> None:
        self._wire = wire
        self._number = number

    def fileno(self) -> int:
        return self._number

    def setsockopt(self, level: int, option: int, value: bytes) -> None:
        assert (level, option) == (socket.SOL_SOCKET, socket.SO_LINGER)
        self._wire.linger = struct.unpack("ii", value) != (1, 0)


class Wire(asyncio.Transport):
    """One end of a connection. `kernel` bytes lie unread at the other end before writing has to wait.

    `piece()` says how many bytes the next read brings at most.
    """

    def __init__(self, loop: VirtualLoop, peer_name: Any, kernel: int, piece: Callable[[], int]) -> None:
        super().__init__()
        self.loop = loop
        self.peer: Wire
        self.protocol: asyncio.BaseProtocol
        self.linger = True
        self.lost = False
        self.was_reset = False
        self._kernel = kernel
        self._piece = piece
        number = 1_000_000 + len(loop.wires)
        loop.wires[number] = self
        self._info = {"peername": peer_name, "socket": _Socket(self, number)}
        self._out: deque[memoryview] = deque()  # what was given, not a copy of it
        self._in = bytearray()
        self._in_end = False  # the peer has ended its half
        self._end_seen = False
        self._paused = False
        self._read_soon = False
        self._closing = False
        self._ended = False  # our half
        self._writing_paused = False
        self._high, self._low = 64 * 1024, 16 * 1024

    # ── asyncio's interface

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._info.get(name, default)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self.protocol

    def is_closing(self) -> bool:
        return self._closing

    def is_reading(self) -> bool:
        return not self._closing and not self._paused

    def pause_reading(self) -> None:
        self._paused = True

    def resume_reading(self) -> None:
        self._paused = False
        self._look()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._high = 64 * 1024 if high is None else high
        self._low = self._high // 4 if low is None else low

    def get_write_buffer_size(self) -> int:
        return sum(map(len, self._out))

    def can_write_eof(self) -> bool:
        return True

    def write(self, data: Any) -> None:
        assert isinstance(data, bytes | bytearray | memoryview)
        if self._ended:
            raise RuntimeError("Cannot call write() after write_eof()")
        if self.lost or (self._closing and not self._out):
            return
        if len(data):
            self._out.append(memoryview(data))
            self._push()
        if self.get_write_buffer_size() > self._high and not self._writing_paused:
            self._writing_paused = True
            self.protocol.pause_writing()

    def writelines(self, list_of_data: Iterable[Any]) -> None:
        self.write(b"".join(list_of_data))

    def write_eof(self) -> None:
        if not self._closing and not self._ended:
            self._ended = True
            self._push()

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            self._push()

    def abort(self) -> None:
        self._out.clear()
        self._closing = True
        self.loop.call_soon(self._lose, None)

    # ── what the kernel does

    @property
    def unread(self) -> bool:
        """Whether bytes, an end or an error wait to be read."""
        return bool(self._in) or (self._in_end and not self._end_seen)

    def _push(self) -> None:
        """Move what was written to the other end, as far as there is room."""
        peer = self.peer
        if peer.lost and self._out:
            self._out.clear()
            self._closing = True
            self.loop.call_soon(self._lose, ConnectionResetError("the peer is gone"))
            return
        while self._out and (room := self._kernel - len(peer._in)) > 0:
            first = self._out.popleft()
            peer._in += first[:room]
            if len(first) > room:
                self._out.appendleft(first[room:])
        if not self._out:
            if self._ended and not peer._in_end:
                peer._in_end = True
            if self._closing:
                self.loop.call_soon(self._lose, None)
        if self._writing_paused and self.get_write_buffer_size() <= self._low:
            self._writing_paused = False
            self.loop.call_soon(self._resume_writing)
        peer._look()

    def _resume_writing(self) -> None:
        if not self.lost and not self._writing_paused:
            self.protocol.resume_writing()

    def _look(self) -> None:
        # As with a selector: who neither reads nor has anything to write is told nothing.
        if self.was_reset and (self.is_reading() or self._out):
            self._out.clear()
            self._closing = True
            self.loop.call_soon(self._lose, ConnectionResetError("reset by peer"))
        elif self.is_reading() and self.unread and not self._read_soon:
            self._read_soon = True
            self.loop.call_soon(self._read)

    def _read(self) -> None:
        self._read_soon = False
        if not self.is_reading() or self.lost:
            return
        if self._in:
            most = max(1, self._piece())
            protocol = self.protocol
            if isinstance(protocol, asyncio.BufferedProtocol):
                buffer = memoryview(protocol.get_buffer(-1))
                assert len(buffer), "get_buffer() returned an empty buffer"
                size = min(len(buffer), most, len(self._in))
                buffer[:size] = self._in[:size]
                del self._in[:size]
                protocol.buffer_updated(size)
            else:
                data = bytes(self._in[:most])
                del self._in[:most]
                cast(asyncio.Protocol, protocol).data_received(data)
            if not self.peer.lost:
                self.peer._push()
            self._look()
        elif self._in_end and not self._end_seen:
            self._end_seen = True
            if not cast(asyncio.Protocol, self.protocol).eof_received():
                self.close()

    def _lose(self, error: Exception | None) -> None:
        if self.lost:
            return
        self.lost = self._closing = True
        peer = self.peer
        if not peer.lost:
            if self._in or not self.linger:
                # A close with unread bytes, or without lingering, is a reset; what the peer has not read is gone.
                peer._in.clear()
                peer.was_reset = True
                peer._look()
            else:
                peer._in_end = True
                peer._look()
        self.protocol.connection_lost(error)


def join(
    loop: VirtualLoop,
    near: asyncio.BaseProtocol,
    far: asyncio.BaseProtocol,
    *,
    near_name: Any = ("192.0.2.1", 1),
    far_name: Any = ("192.0.2.7", 2),
    kernel: int = 64 * 1024,
    piece: Callable[[], int] = lambda: 256 * 1024,
) -> tuple[Wire, Wire]:
    """Connect two protocols; each knows the other by its name."""
    ends = Wire(loop, far_name, kernel, piece), Wire(loop, near_name, kernel, piece)
    ends[0].peer, ends[1].peer = ends[1], ends[0]
    ends[0].protocol, ends[1].protocol = near, far
    for end in ends:
        end.protocol.connection_made(end)
    return ends
