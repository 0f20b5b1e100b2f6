"""stdout and stderr on a full disk, unread, or closed: requests are served on, what is lost is counted, the exit waits
for nothing.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from tempfile import TemporaryDirectory
from time import monotonic
from typing import NamedTuple

import pytest

from sidecar.telemetry.outlet import LIMIT
from tests.support.client import Client
from tests.support.processes import GoService, launch
from tests.support.waiting import PATIENCE, eventually

# As long as paths are logged: each request leaves a line of some 2.3 KB, and that many are more than the queue holds.
LONG = "/" + "p" * 2047
MANY = 2000
LINES_HELD = range(LIMIT // 2500, LIMIT // 2300)


class Running(NamedTuple):
    """A proxy that may not be able to say anything: it is found by its sockets' files."""

    process: subprocess.Popen[bytes]
    address: str
    admin: str

    def client(self) -> Client:
        """A new connection to it."""
        return Client(self.address)

    def figure(self, name: str) -> int:
        """A sample of /metrics."""
        with Client(self.admin) as client:
            page = client.get("/metrics", "Connection: close").body.decode()
        return next(int(float(line.split()[1])) for line in page.splitlines() if line.startswith(name + " "))

    def leave(self) -> float:
        """End it with SIGTERM; it must leave cleanly. Returns how many seconds that took."""
        began = monotonic()
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(PATIENCE) == 0
        return monotonic() - began


@contextmanager
def running(url: str, stdout: int, stderr: int, closing: str = "") -> Iterator[Running]:
    """A proxy with these for its output. `closing` is what a shell is to close first: `>&-`."""
    with TemporaryDirectory(prefix="out") as folder:
        address, admin = f"{folder}/s", f"{folder}/a"
        process = launch(
            ["--upstream", url, "--listen", f"unix:{address}", "--admin", f"unix:{admin}"],
            {},
            stdout=stdout,
            stderr=stderr,
            within=("sh", "-c", f'exec "$@" {closing}', "sh") if closing else (),
        )
        try:
            running = Running(process, address, admin)
            eventually(lambda: process.poll() is not None or answers(admin), "its admin port")
            yield running
        finally:
            process.kill()
            process.wait()


def answers(address: str) -> bool:
    """Whether somebody serves there."""
    try:
        with Client(address) as client:
            return client.get("/livez").status == 200
    except OSError:
        return False


@pytest.fixture
def full() -> Iterator[int]:
    """A file on a disk without room."""
    with open("/dev/full", "wb", buffering=0) as file:
        yield file.fileno()


class Pipe:
    """A pipe whose reading end the test has."""

    def __init__(self) -> None:
        self._out, self.into = os.pipe()
        self._lines = b""

    def lines(self) -> list[bytes]:
        """What has come so far, without waiting for more."""
        os.set_blocking(self._out, False)
        try:
            while data := os.read(self._out, 1 << 20):
                self._lines += data
        except BlockingIOError:
            pass
        return self._lines.splitlines()

    def close_reader(self) -> None:
        """Nobody will ever read from it."""
        os.close(self._out)
        self._out = -1

    def close(self) -> None:
        """Close what is open."""
        os.close(self.into)
        if self._out >= 0:
            os.close(self._out)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    """One, closed afterwards."""
    with closing(Pipe()) as pipe:
        yield pipe


def serve(proxy: Running, requests: int) -> int:
    """Serve so many requests; returns how many lines are lost by then."""
    with proxy.client() as client:
        for _ in range(requests // 10):
            for _ in range(10):
                client.ask(LONG)
            for _ in range(10):
                assert client.read().status == 404
    return proxy.figure("sidecar_log_lines_dropped_total")


def test_a_full_disk(go: GoService, full: int) -> None:
    """With both outputs on a full disk everything is served, and each line that finds no room is counted."""
    with running(go.url, full, full) as proxy:
        lost = serve(proxy, MANY)
        assert MANY - lost in LINES_HELD
        assert serve(proxy, 100) == lost + 100
        assert proxy.leave() < 10


def told_so_far(pipe: Pipe) -> list[bytes]:
    """The lines that tell of a full disk."""
    return [line for line in pipe.lines() if b"No space left on device" in line]


def test_a_full_disk_is_told(go: GoService, full: int, pipe: Pipe) -> None:
    """Trouble with stdout is told on stderr, once, and why."""
    with running(go.url, full, pipe.into) as proxy:

        def told() -> list[bytes]:
            serve(proxy, 10)
            return told_so_far(pipe)

        eventually(told, "the warning")
        assert len(told()) == 1
        proxy.leave()
        assert len(told_so_far(pipe)) == 1


def test_a_reader_that_stops_and_goes_on(go: GoService, pipe: Pipe, full: int) -> None:
    """Lines that nobody reads wait, then are lost and counted; read again, each line is there whole or was counted."""
    with running(go.url, pipe.into, full) as proxy:
        lost = serve(proxy, MANY)
        assert lost > 0
        eventually(lambda: len(pipe.lines()) == MANY - lost, "every line that was not lost")
        assert all(json.loads(line)["status"] == 404 for line in pipe.lines())
        assert serve(proxy, 10) == lost
        eventually(lambda: len(pipe.lines()) == MANY + 10 - lost, "the lines of later requests")
        proxy.leave()


@pytest.mark.parametrize("who", ["stdout", "stderr", "both"])
def test_a_reader_that_is_gone(go: GoService, pipe: Pipe, full: int, who: str) -> None:
    """A closed pipe ends nothing: requests are served, and SIGTERM is followed at once."""
    pipe.close_reader()
    into = {"stdout": (pipe.into, full), "stderr": (full, pipe.into), "both": (pipe.into, pipe.into)}[who]
    with running(go.url, *into) as proxy:
        serve(proxy, 100)
        assert proxy.leave() < 10


def test_outputs_that_nobody_reads_hold_up_no_exit(go: GoService, pipe: Pipe) -> None:
    """Both outputs blocked, with lines waiting, the drain and the exit take no longer than they have to."""
    with running(go.url, pipe.into, pipe.into) as proxy:
        serve(proxy, 200)
        assert proxy.leave() < 10


@pytest.mark.parametrize("closing", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_outputs_that_are_closed(go: GoService, full: int, closing: str) -> None:
    """Started without stdout or stderr it serves all the same, and no connection is ever given a log line."""
    with running(go.url, full, full, closing) as proxy:
        serve(proxy, 100)
        assert proxy.leave() < 10
