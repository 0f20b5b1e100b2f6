"""The way out for log lines: a thread that writes, so that a slow or blocked reader never stops the event loop.

Lines wait in a queue of bounded size; when it is full, new ones are dropped whole and counted. A write that fails
(full disk, reader gone) is tried again later where it stopped, so no line is ever cut short by another. Knows bytes
and one file descriptor; does not know what the lines say.

stdout is not made non-blocking instead: that flag belongs to the open file, which other processes share.
"""

from __future__ import annotations

import os
import select
import threading
from collections import deque
from collections.abc import Callable
from typing import Final

LIMIT: Final = 4 * 1024 * 1024  # bytes

# After a write the thread rests, so that a busy loop pays for a thread switch four times a second: at a hundred, the
# fight over the interpreter lock cost 20 µs a request. Nobody reading a log minds the delay.
_REST: Final = 0.25  # seconds
_RETRY: Final = 0.5  # seconds between two tries while writing fails

# One write hands over no more than this: it bounds what a failure in mid-batch makes us hold.
_BATCH: Final = 256 * 1024  # bytes


class Outlet:
    """A queue of lines and the daemon thread that writes them to `fd`. All methods are called by one thread.

    `trouble(what)` is told when writing begins to fail and when it works again, by the caller's thread, with the next
    `write` or `close`. The thread starts with the first line. The queue needs no lock: each total below has one
    thread that adds to it.
    """

    def __init__(self, fd: int, limit: int = LIMIT, trouble: Callable[[str], None] | None = None) -> None:
        self._fd = fd
        self._limit = limit
        self._trouble = trouble or _ignore
        self._queue: deque[tuple[bytes, int]] = deque()
        self._news: deque[str] = deque()
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._taken_in = 0  # bytes, all time
        self._lines_in = 0
        self._given_out = 0  # bytes, all time; the writing thread's
        self._lines_out = 0  # the writing thread's
        self._refused = 0  # lines

    def write(self, block: bytes, lines: int = 1) -> None:
        """Take a block of whole lines, or drop and count it if the queue is full. Returns at once."""
        if self._news:
            self.report()
        if self._taken_in - self._given_out + len(block) > self._limit or self._closing.is_set():
            self._refused += lines
            return
        self._taken_in += len(block)
        self._lines_in += lines
        self._queue.append((block, lines))
        if self._thread is None:
            self._start()
        if not self._wake.is_set():
            self._wake.set()

    @property
    def dropped(self) -> int:
        """Lines that were lost, all time; after `close`, those that were still waiting too."""
        lost = self._lines_in - self._lines_out if self._closing.is_set() else 0
        return self._refused + lost

    def close(self, timeout: float = 1.0) -> None:
        """Write what waits, for at most `timeout` seconds, and take no more. Never waits for a blocked reader."""
        self._closing.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout)
        self.report()

    def report(self) -> None:
        """Tell what the writing thread has met, if anything."""
        while self._news:
            self._trouble(self._news.popleft())

    def _start(self) -> None:
        thread = threading.Thread(target=self._run, name="sidecar-log", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            # No more threads are allowed here: lines wait, and the next one tries again.
            return
        self._thread = thread

    def _run(self) -> None:
        closing = False
        while not closing:
            self._wake.wait()
            # Cleared, and closing looked at, before the queue is: what comes in between is seen in the next round.
            self._wake.clear()
            closing = self._closing.is_set()
            while self._queue:
                if not self._write_batch():
                    return
            self._closing.wait(_REST)

    def _write_batch(self) -> bool:
        """Write some of what waits; False to give up."""
        blocks: list[bytes] = []
        size = lines = 0
        while self._queue and size < _BATCH:
            block, count = self._queue.popleft()
            blocks.append(block)
            size += len(block)
            lines += count
        if not self._write_out(b"".join(blocks)):
            return False
        self._given_out += size
        self._lines_out += lines
        return True

    def _write_out(self, data: bytes) -> bool:
        rest = memoryview(data)
        failing = False
        while rest:
            try:
                rest = rest[os.write(self._fd, rest) :]
            except BlockingIOError:
                # Somebody who shares the open file has made it non-blocking.
                if not self._room():
                    return False
            except OSError as error:
                if not failing:
                    failing = True
                    self._news.append(f"cannot write: {error.strerror}; lines wait, then get lost")
                if self._closing.wait(_RETRY):
                    return False
            else:
                if failing:
                    failing = False
                    self._news.append(f"writing again, {self._refused} lines lost since the start")
        return True

    def _room(self) -> bool:
        """Wait until the reader has taken something; False if the end came first."""
        while not select.select((), (self._fd,), (), _RETRY)[1]:
            if self._closing.is_set():
                return False
        return True

    def __repr__(self) -> str:
        return f"<Outlet fd={self._fd} {self._taken_in - self._given_out} bytes wait, {self.dropped} lines dropped>"


def _ignore(what: str) -> None:
    pass
