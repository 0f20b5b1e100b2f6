"""What Linux knows of a process and its children: processor time and memory."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

TICK = 1 / os.sysconf("SC_CLK_TCK")

# Places in /proc/PID/stat, counted from the field after the command's name.
_SESSION, _UTIME, _STIME = 3, 11, 12


@dataclass(frozen=True)
class Memory:
    """Resident memory in MB (10**6 bytes): RSS counts shared pages in every process, PSS divides them."""

    rss: float
    pss: float


def cpu_seconds(session: int) -> float:
    """User and system time of all the threads of all the processes in a session."""
    ticks = 0
    for pid in _members(session):
        fields = _stat(pid)
        if fields:
            ticks += int(fields[_UTIME]) + int(fields[_STIME])
    return ticks * TICK


def memory(session: int) -> Memory:
    """Resident memory of all the processes in a session."""
    rss = pss = 0
    for pid in _members(session):
        try:
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except OSError:
            continue
        for line in text.splitlines():
            if line.startswith("Rss:"):
                rss += int(line.split()[1])
            elif line.startswith("Pss:"):
                pss += int(line.split()[1])
    return Memory(rss * 1024 / 1e6, pss * 1024 / 1e6)


def settled_cpu(session: int, quiet: float = 0.05, within: float = 2.0) -> float:
    """Processor time once the processes have nothing left to do, so that work still under way is counted."""
    deadline = time.monotonic() + within
    last = cpu_seconds(session)
    while time.monotonic() < deadline:
        time.sleep(quiet)
        now = cpu_seconds(session)
        if now - last <= TICK / 2:
            return now
        last = now
    return last


def _members(session: int) -> list[int]:
    pids = [int(name) for name in os.listdir("/proc") if name.isascii() and name.isdecimal()]
    return [pid for pid in pids if (fields := _stat(pid)) and int(fields[_SESSION]) == session]


def _stat(pid: int) -> list[str]:
    """The fields after the command's name, which may hold spaces and parentheses; empty if the process has gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
