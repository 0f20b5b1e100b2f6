"""Loaded by the proxy's interpreter before anything else, where a test puts this folder on PYTHONPATH.

Bends things of the world, most by a file that the test writes to at any time:

    FAULTS_CLOCK     seconds by which the wall clock is wrong; the monotonic clock is left alone
    FAULTS_NAMES     lines `name address`: what names mean. A name that is not there is not known.
    FAULTS_BALLAST   a named pipe that takes lines, each a number of MiB: so much memory the process has on top
    FAULTS_LOOP      where it is `asyncio`, there is no uvloop
"""

from __future__ import annotations

import datetime
import mmap
import os
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any


def _bend_clock(file: Path) -> None:
    real, real_ns = time.time, time.time_ns

    def wrong_by() -> float:
        return float(file.read_text())

    class Datetime(datetime.datetime):
        """With a wrong clock."""

        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> Datetime:
            return cls.fromtimestamp(time.time(), tz)

        @classmethod
        def utcnow(cls) -> Datetime:
            return cls.now(datetime.UTC).replace(tzinfo=None)

    time.time = lambda: real() + wrong_by()
    time.time_ns = lambda: real_ns() + int(wrong_by() * 1e9)
    datetime.datetime = Datetime  # type: ignore[misc]


def _bend_names(file: Path) -> None:
    def meaning(host: Any) -> Any:
        host = host.decode() if isinstance(host, bytes) else host
        if host is None or host[0].isdigit():
            return host
        table = dict(line.split() for line in file.read_text().splitlines())
        if host not in table:
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return table[host]

    try:
        import uvloop
    except ImportError:
        real = socket.getaddrinfo
        socket.getaddrinfo = lambda host, *args, **more: real(meaning(host), *args, **more)
        return

    # Names are resolved in C, out of Python's reach: so one step before.
    class Loop(uvloop.Loop):
        """With names of its own."""

        async def getaddrinfo(self, host: Any, *args: Any, **more: Any) -> Any:
            return await super().getaddrinfo(meaning(host), *args, **more)

    uvloop.new_event_loop = Loop


def _carry_ballast(pipe: Path) -> None:
    def carry() -> None:
        held = mmap.mmap(-1, 1)
        # For writing too: so there is no end of it, whoever writes and leaves.
        with open(os.open(pipe, os.O_RDWR)) as lines:
            for line in lines:
                held.close()
                held = mmap.mmap(-1, 1 + (int(line) << 20))
                for page in range(0, len(held), mmap.PAGESIZE):
                    held[page] = 1

    threading.Thread(target=carry, daemon=True).start()


if os.environ.get("FAULTS_LOOP") == "asyncio":
    sys.modules["uvloop"] = None  # type: ignore[assignment]  # which is how Python says that it cannot be imported
if "FAULTS_CLOCK" in os.environ:
    _bend_clock(Path(os.environ["FAULTS_CLOCK"]))
if "FAULTS_NAMES" in os.environ:
    _bend_names(Path(os.environ["FAULTS_NAMES"]))
if "FAULTS_BALLAST" in os.environ:
    _carry_ballast(Path(os.environ["FAULTS_BALLAST"]))
