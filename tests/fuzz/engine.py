"""One target under libFuzzer (atheris), in a process of its own: `python -m tests.fuzz.engine TARGET --seconds 60`.

libFuzzer chooses inputs by what they reach in the wire format's modules, and `mutate` changes them. The first finding
ends it. The last line printed is a report in JSON; a process that ends without one has crashed or hung.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
from collections.abc import Callable
from hashlib import sha1
from pathlib import Path
from random import Random
from time import monotonic
from typing import Any, Final

_INSTRUMENTED: Final = [
    *("sidecar.http1.heads", "sidecar.http1.chunks", "sidecar.http1.inflow", "sidecar.http1.refusals"),
    *("sidecar.http1.answer_head", "sidecar.headers", "sidecar.http1.connection", "sidecar.http1.client"),
    *("sidecar.http1.turn", "sidecar.http1.outflow"),
]
_HANGS: Final = 30  # seconds for one input, by the clock


class _Watched:
    """A target, with what is counted, until the time is over."""

    def __init__(self, target: Callable[[bytes], None], seconds: float, found: Path) -> None:
        self._target = target
        self._began = monotonic()
        self._seconds = seconds
        self._found = found
        self._inputs = 0

    def __call__(self, data: bytes) -> None:
        self._inputs += 1
        try:
            self._target(data)
        except Exception as error:
            self._found.mkdir(parents=True, exist_ok=True)
            file = self._found / sha1(data, usedforsecurity=False).hexdigest()[:12]
            file.write_bytes(data)
            self._report(f"{type(error).__name__}: {error}", str(file))
        if monotonic() - self._began > self._seconds:
            self._report()

    def _report(self, finding: str = "", file: str = "") -> None:
        seconds = round(monotonic() - self._began, 1)
        print(json.dumps({"inputs": self._inputs, "seconds": seconds, "finding": finding, "file": file}))
        sys.stdout.flush()
        os._exit(1 if finding else 0)  # libFuzzer would run the interpreter's exit only after its own


def main() -> None:
    """Run until the time is over or something is found."""
    parser = argparse.ArgumentParser()
    parser.add_argument("target")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--work", type=Path, required=True, help="where inputs that reach something new are kept")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    # It installs on few Pythons, so nothing but this imports it.
    atheris: Any = importlib.import_module("atheris")
    with atheris.instrument_imports(include=_INSTRUMENTED):
        targets = importlib.import_module("tests.fuzz.targets")
    from tests.fuzz.mutate import mutate
    from tests.fuzz.seeds import SEEDS

    work: Path = options.work
    legal = SEEDS[options.target]
    begin = targets.corpus(options.target)
    begin |= {f"seed-{number}": seed for number, seed in enumerate(legal)}
    others = list(begin.values())
    for kind in ("new", "begin", "found"):
        (work / kind).mkdir(parents=True, exist_ok=True)
    for name, data in begin.items():
        (work / "begin" / name).write_bytes(data)

    def change(data: bytes, longest: int, seed: int) -> bytes:
        random = Random(seed)
        way = random.random()
        if way < 0.1:
            return bytes(atheris.Mutate(data, longest))
        # What libFuzzer keeps is mostly refused, each for another reason: it alone would stray from what is believed.
        return mutate(random.choice(legal) if way < 0.5 else bytes(data), random, others, longest)

    arguments = [f"-max_len={targets.LONGEST}", f"-timeout={_HANGS}", f"-seed={options.seed}", "-rss_limit_mb=1024"]
    arguments += [f"-artifact_prefix={work}/found/", str(work / "new"), str(work / "begin")]
    watched = _Watched(targets.TARGETS[options.target], options.seconds, work / "found")
    atheris.Setup([sys.argv[0], *arguments], watched, custom_mutator=change)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
