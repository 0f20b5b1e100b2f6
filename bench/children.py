"""Child processes that never outlive the bench: started in sessions of their own, ended on every way out."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType, TracebackType
from typing import IO, Self

STOP_WITHIN = 10.0


class BenchError(Exception):
    """The bench cannot go on; the message says why."""


@dataclass(frozen=True)
class Cpus:
    """Which processors the proxy has for itself, and which the load and the upstream share."""

    proxy: frozenset[int]
    others: frozenset[int]

    @classmethod
    def split(cls) -> Cpus:
        """One processor for the proxy and the rest for the others; with a single one, no pinning."""
        have = sorted(os.sched_getaffinity(0))
        if len(have) < 2:
            return cls(frozenset(have), frozenset(have))
        return cls(frozenset(have[:1]), frozenset(have[1:]))


@dataclass
class Children:
    """A context whose end is the end of every process started in it."""

    running: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def __enter__(self) -> Self:
        # Without this, SIGTERM would end the bench without any cleaning up.
        signal.signal(signal.SIGTERM, _leave)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for process in self.running:
            _signal_group(process, signal.SIGTERM)
        for process in list(self.running):
            self.stop(process)

    def start(self, command: Sequence[str | Path], out: Path, cpus: frozenset[int]) -> subprocess.Popen[bytes]:
        """Start *command* on *cpus*, its output appended to *out* and its errors to ``*out*.err``."""
        with out.open("ab") as stdout, out.with_name(out.name + ".err").open("ab") as stderr:
            return self._start(command, cpus, subprocess.DEVNULL, stdout, stderr)

    def start_to_talk(
        self, command: Sequence[str | Path], errors: Path, cpus: frozenset[int]
    ) -> subprocess.Popen[bytes]:
        """Start *command* on *cpus*, its input and output being pipes, its errors appended to *errors*."""
        with errors.open("ab") as stderr:
            return self._start(command, cpus, subprocess.PIPE, subprocess.PIPE, stderr)

    def _start(
        self,
        command: Sequence[str | Path],
        cpus: frozenset[int],
        stdin: int,
        stdout: int | IO[bytes],
        stderr: IO[bytes],
    ) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(  # ended by stop() or __exit__
            [str(part) for part in command],
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            # A session makes the process and its children one group to measure and to end, and keeps Ctrl-C
            # away from them: the bench ends them itself.
            start_new_session=True,
            preexec_fn=lambda: os.sched_setaffinity(0, cpus),
        )
        self.running.append(process)
        return process

    def stop(self, process: subprocess.Popen[bytes]) -> int:
        """End a process and its children, politely at first; return its exit code."""
        _signal_group(process, signal.SIGTERM)
        try:
            process.wait(STOP_WITHIN)
        except subprocess.TimeoutExpired:
            pass
        finally:
            _signal_group(process, signal.SIGKILL)  # also whatever child it left behind
        if process in self.running:
            self.running.remove(process)
        return process.wait()


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        pass


def _leave(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)
