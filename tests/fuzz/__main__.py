"""`make fuzz`: every target, under libFuzzer where atheris installs, and under Hypothesis.

Exits 1 on a finding, and where an engine crashed or hung: then there is no result.

    make fuzz ARGS='--seconds 60'             so long for each target: most of it libFuzzer, the rest Hypothesis
    make fuzz ARGS='--seconds 600 chunks'     one target

What it finds is left in `.cache/fuzz/TARGET/found`. Once understood, it goes to `tests/fuzz/corpus/TARGET`, by a name
that says what it is, where the suite replays it.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import subprocess
import sys
from hashlib import sha1
from pathlib import Path
from random import SystemRandom
from typing import Final, NamedTuple

from tests.fuzz.examples import attempt
from tests.fuzz.targets import TARGETS

_WORK: Final = Path(".cache/fuzz")
_SHARE: Final = 0.8  # of the time, for libFuzzer
_START: Final = 60.0  # seconds that a process has beyond its time


class Report(NamedTuple):
    """What became of one target under one engine."""

    inputs: int
    seconds: float
    finding: str = ""
    file: str = ""  # the input that was found
    trouble: str = ""  # why there is no result: nothing is known of any input then

    @property
    def is_good(self) -> bool:
        """Whether all inputs had the properties, and were tried."""
        return not self.finding and not self.trouble

    def line(self, target: str, engine: str) -> str:
        """As it is told."""
        rate = self.inputs / self.seconds if self.seconds else 0.0
        told = f"FINDING in {self.file}\n    {self.finding[:2000]}" if self.finding else "no finding"
        if self.trouble:
            told = f"NO RESULT: {self.trouble}"
        return f"{target:9} {engine:10} {self.inputs:9,} inputs {rate:8,.0f}/s {self.seconds:6.1f} s  {told}"


def guided(target: str, seconds: float, work: Path, *options: str) -> Report:
    """The target under libFuzzer."""
    command = [sys.executable, "-m", "tests.fuzz.engine", target, f"--seconds={seconds:g}", f"--work={work}", *options]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + _START, check=False)
    except subprocess.TimeoutExpired:
        return Report(0, seconds, trouble=f"it hangs, and libFuzzer with it: {work}")
    lines = done.stdout.strip().splitlines()
    if not lines or not lines[-1].startswith("{"):
        return Report(0, seconds, trouble=f"it crashed or hung: {work / 'found'}\n{done.stderr[-1500:]}")
    report = json.loads(lines[-1])
    return Report(report["inputs"], report["seconds"], report["finding"], report["file"])


def by_examples(target: str, seconds: float, work: Path, number: int) -> Report:
    """The target under Hypothesis."""
    tried = attempt(target, seconds, number=number)
    file = work / "found" / sha1(tried.data, usedforsecurity=False).hexdigest()[:12]
    if tried.finding:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(tried.data)
    return Report(tried.inputs, tried.seconds, tried.finding, str(file))


def has_atheris() -> bool:
    """Whether it is installed."""
    return importlib.util.find_spec("atheris") is not None


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(prog="make fuzz", description="Fuzz the wire format.")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)}; all, if none is named")
    parser.add_argument("--seconds", type=float, default=60.0, help="for each target (60)")
    parser.add_argument("--seed", type=int, default=0, help="the same inputs again; another each time without")
    options = parser.parse_args()
    if unknown := set(options.targets) - set(TARGETS):
        parser.error(f"no target is called {', '.join(sorted(unknown))}: there are {', '.join(TARGETS)}")
    number = options.seed or SystemRandom().randrange(1, 1 << 30)
    if not has_atheris():
        print("atheris is not installed (it has wheels for a few Pythons only): Hypothesis runs alone.")
    print(f"seed {number}", flush=True)
    bad = 0
    for target in options.targets or TARGETS:
        work = _WORK / target
        left = options.seconds
        if has_atheris():
            report = guided(target, left * _SHARE, work, f"--seed={number}")
            print(report.line(target, "libFuzzer"), flush=True)
            bad += not report.is_good
            left -= left * _SHARE
        report = by_examples(target, left, work, number)
        print(report.line(target, "Hypothesis"), flush=True)
        bad += not report.is_good
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
