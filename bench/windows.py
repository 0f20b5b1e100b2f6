"""Variants of this proxy, each in a process of ``inside.py``, measured window by window in turns."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import yaml

from bench.children import STOP_WITHIN, BenchError
from bench.ground import Ground
from bench.net import tail
from bench.peers import SIDECAR, Settings
from bench.rounds import rotated

SCRIPT = Path(__file__).resolve().parent / "inside.py"

# Where a process's memory happens to lie changes what a request costs, by more than some policies do. So each variant
# is started anew this often, and measured in so many windows each time.
STARTS = 12
WINDOWS = 20

# Nobody comes to these ports, and nobody is where the upstream is said to be.
_PLACE: Settings = {
    "upstream": "http://127.0.0.1:8080",
    "listen": "127.0.0.1:0",
    "admin": {"listen": "127.0.0.1:0"},
    "log": {"format": "json"},
}


def measure_in_turns(
    variants: Mapping[str, Settings], ground: Ground, say: Callable[[str], None]
) -> dict[str, list[float]]:
    """The µs of processor time that a request took, by variant, in each window."""
    windows: dict[str, list[float]] = {name: [] for name in variants}
    for start in range(STARTS):
        say(f"start {start + 1} of {STARTS}: {len(variants)} variants, {WINDOWS} windows of each")
        running = [_start(name, settings, ground) for name, settings in variants.items()]
        for one in running:
            one.hear()  # that it is ready
        for number in range(WINDOWS):
            for one in rotated(running, number):
                windows[one.name].append(one.measure())
        _end(running, ground)
    return windows


@dataclass(frozen=True)
class _Variant:
    """One that runs."""

    name: str
    process: subprocess.Popen[bytes]
    stdin: IO[bytes]
    stdout: IO[bytes]
    errors: Path

    def measure(self) -> float:
        self.stdin.write(b"\n")
        self.stdin.flush()
        return float(self.hear())

    def hear(self) -> bytes:
        line = self.stdout.readline()
        if not line:
            raise BenchError(f"the proxy of the policies' variant {self.name!r} ended\n{tail(self.errors)}")
        return line


def _start(name: str, settings: Settings, ground: Ground) -> _Variant:
    program = SIDECAR.find()
    if program is None:
        raise BenchError(f"{SIDECAR.name} is not here: {SIDECAR.remedy}")
    file = ground.work / f"{name}.yaml"
    file.write_text(yaml.safe_dump({**_PLACE, **settings}, sort_keys=False))
    errors = ground.work / f"{name}.err"
    # By path, and isolated: so it imports the installed proxy, which is compiled, and not the one beside the bench.
    command: list[str | Path] = [program.with_name("python"), "-I", SCRIPT, "--settings", file]
    process = ground.children.start_to_talk(command, errors, ground.cpus.proxy)
    assert process.stdin is not None
    assert process.stdout is not None
    return _Variant(name, process, process.stdin, process.stdout, errors)


def _end(running: list[_Variant], ground: Ground) -> None:
    """Let them end by themselves: one whose log lacks a request says so by its exit code."""
    for one in running:
        one.stdin.close()
    for one in running:
        if one.process.wait(STOP_WITHIN) != 0:
            raise BenchError(f"the proxy of the policies' variant {one.name!r} failed\n{tail(one.errors)}")
        one.stdout.close()
        ground.children.stop(one.process)
