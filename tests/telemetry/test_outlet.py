"""Log lines on their way out: never in the event loop's way, never cut in half."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sidecar.telemetry.outlet import Outlet


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """A pipe, (read, write); closed at the end even if a test has closed one side."""
    ends = os.pipe()
    yield ends
    for end in ends:
        try:
            os.close(end)
        except OSError:
            pass


def until(condition: Callable[[], object]) -> None:
    """Wait for what another thread does."""
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline, "did not happen"
        time.sleep(0.005)


def heard(outlet: Outlet, told: list[str], count: int = 1) -> bool:
    """Whether that much has been told."""
    outlet.report()
    return len(told) >= count


def fill(end: int) -> int:
    """Write to a pipe until it is full; how many bytes that took."""
    os.set_blocking(end, False)
    size = 0
    try:
        while True:
            size += os.write(end, b"x" * 4096)
    except BlockingIOError:
        os.set_blocking(end, True)
        return size


def test_lines_come_out_in_order_and_whole(tmp_path: Path) -> None:
    """What went in comes out, once, after a close at the latest."""
    lines = [b"%d %s\n" % (number, b"y" * (number % 500)) for number in range(5000)]
    with (tmp_path / "log").open("wb") as file:
        outlet = Outlet(file.fileno())
        for line in lines:
            outlet.write(line)
        outlet.close(5)

    assert (tmp_path / "log").read_bytes() == b"".join(lines)
    assert outlet.dropped == 0


def test_a_line_comes_out_without_a_close(pipe: tuple[int, int]) -> None:
    """The writing thread needs no second line to see the first, nor the third to see the second."""
    outlet = Outlet(pipe[1])
    for line in (b"one\n", b"two\n"):
        outlet.write(line)
        assert os.read(pipe[0], 100) == line
    outlet.close()


def test_a_reader_that_never_reads_stops_nobody(pipe: tuple[int, int]) -> None:
    """Writing returns at once, what does not fit is counted line by line, and the end does not wait."""
    fill(pipe[1])
    outlet = Outlet(pipe[1], limit=10_000)
    began = time.monotonic()
    for _ in range(1000):
        outlet.write(b"z" * 99 + b"\n" + b"z" * 99 + b"\n", 2)
    assert time.monotonic() - began < 1.0

    assert outlet.dropped == 2 * 950
    began = time.monotonic()
    outlet.close(0.1)
    assert time.monotonic() - began < 2.0
    assert outlet.dropped == 2 * 1000


def test_a_slow_reader_gets_whole_lines(pipe: tuple[int, int]) -> None:
    """Lines may be missing where it was too slow, but none is cut short by the next."""
    outlet = Outlet(pipe[1], limit=200_000)
    for number in range(3000):
        outlet.write(b"<%d%s>\n" % (number, b"." * 300))

    read = bytearray()

    def drain() -> None:
        while piece := os.read(pipe[0], 1000):
            read.extend(piece)

    reader = threading.Thread(target=drain)
    reader.start()
    outlet.close(5)
    os.close(pipe[1])
    reader.join(5)

    lines = read.splitlines()
    assert len(lines) + outlet.dropped == 3000
    assert outlet.dropped > 0
    assert all(line.startswith(b"<") and line.endswith(b".>") and len(line) > 302 for line in lines)


def test_a_pipe_made_non_blocking_by_others_is_waited_for(pipe: tuple[int, int]) -> None:
    """A shared stdout may be non-blocking; a full pipe is then no error but a pause."""
    told: list[str] = []
    size = fill(pipe[1])
    os.set_blocking(pipe[1], False)
    outlet = Outlet(pipe[1], trouble=told.append)
    outlet.write(b"late\n")
    time.sleep(0.05)
    while size:
        size -= len(os.read(pipe[0], size))

    assert os.read(pipe[0], 100) == b"late\n"
    assert told == []
    outlet.close()


def test_a_full_disk_is_told_once_and_never_waited_for() -> None:
    """Lines wait, the overflow is counted, the end counts the rest."""
    told: list[str] = []
    with open("/dev/full", "wb", buffering=0) as full:
        outlet = Outlet(full.fileno(), limit=1000, trouble=told.append)
        for _ in range(100):
            outlet.write(b"a" * 99 + b"\n")
        until(lambda: heard(outlet, told))
        assert outlet.dropped == 90
        began = time.monotonic()
        outlet.close(1)
        assert time.monotonic() - began < 0.4

    assert told == ["cannot write: No space left on device; lines wait, then get lost"]
    assert outlet.dropped == 100


def test_writing_resumes_where_it_stopped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """When there is room again the rest of the line comes first, and the recovery is told."""
    monkeypatch.setattr("sidecar.telemetry.outlet._RETRY", 0.01)
    told: list[str] = []
    with (tmp_path / "log").open("wb") as file:
        really, calls = os.write, [0]

        def write(fd: int, data: bytes) -> int:
            calls[0] += 1
            if calls[0] == 1:
                return really(fd, data[:7])
            if calls[0] < 4:
                raise OSError(28, "No space left on device")
            return really(fd, data)

        monkeypatch.setattr("sidecar.telemetry.outlet.os.write", write)
        outlet = Outlet(file.fileno(), trouble=told.append)
        outlet.write(b"first line\nsecond line\n", 2)
        until(lambda: heard(outlet, told, 2))
        outlet.close()

    assert (tmp_path / "log").read_bytes() == b"first line\nsecond line\n"
    assert told[1].startswith("writing again, 0 lines lost")


def test_a_reader_that_is_gone_is_survived(pipe: tuple[int, int]) -> None:
    """A broken pipe is told, and costs lines, not the process."""
    told: list[str] = []
    os.close(pipe[0])
    outlet = Outlet(pipe[1], trouble=told.append)
    outlet.write(b"line\n")
    until(lambda: heard(outlet, told))
    outlet.close()

    assert told == ["cannot write: Broken pipe; lines wait, then get lost"]
    assert outlet.dropped == 1


def test_trouble_is_told_by_the_thread_that_writes_lines(pipe: tuple[int, int]) -> None:
    """With its next line, so that whoever is told needs no lock."""
    told: list[threading.Thread] = []
    os.close(pipe[0])
    outlet = Outlet(pipe[1], trouble=lambda what: told.append(threading.current_thread()))
    outlet.write(b"line\n")
    until(lambda: outlet._news)
    assert told == []
    outlet.write(b"line\n")
    assert told == [threading.current_thread()]
    outlet.close()


def test_without_a_thread_to_write_lines_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no thread can be started now, the next line tries again."""
    with (tmp_path / "log").open("wb") as file:
        outlet = Outlet(file.fileno())
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", _no_more_threads)
            outlet.write(b"one\n")
        outlet.write(b"two\n")
        outlet.close(5)

    assert (tmp_path / "log").read_bytes() == b"one\ntwo\n"


def _no_more_threads(thread: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


def test_a_line_just_before_the_close_is_written(tmp_path: Path) -> None:
    """Even one that comes, with the close, at the moment when the writing thread has found nothing left."""

    class Late(deque[tuple[bytes, int]]):
        found_empty = 0

        def __len__(self) -> int:
            length = super().__len__()
            if length == 0 and threading.current_thread() is not threading.main_thread():
                self.found_empty += 1
            # The first time ends the batch, the second the round.
            if length == 0 and self.found_empty == 2:
                self.found_empty += 1
                outlet.write(b"late\n")
                outlet._closing.set()
                outlet._wake.set()
            return length

    with (tmp_path / "log").open("wb") as file:
        outlet = Outlet(file.fileno())
        outlet._queue = Late()
        outlet.write(b"line\n")
        until(lambda: outlet._closing.is_set())
        outlet.close(5)

    assert (tmp_path / "log").read_bytes() == b"line\nlate\n"


def test_after_the_close_lines_are_counted_only(tmp_path: Path) -> None:
    """Nothing is written behind the back of whoever closed."""
    with (tmp_path / "log").open("wb") as file:
        outlet = Outlet(file.fileno())
        outlet.close()
        outlet.write(b"late\n")

    assert outlet.dropped == 1
    assert (tmp_path / "log").read_bytes() == b""
