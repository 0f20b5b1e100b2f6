"""Keeps of what the fuzzer has tried the few inputs that together reach all it has reached.

`python -m tests.fuzz.distil` adds them to `tests/fuzz/corpus`, smallest first, each only if it reaches a branch of the
wire format's modules that none before it did.
"""

from __future__ import annotations

import sys
from hashlib import sha1
from pathlib import Path
from types import FrameType
from typing import Any, Final

from sidecar.http1 import heads
from tests.fuzz.seeds import SEEDS
from tests.fuzz.targets import CORPUS, TARGETS, corpus

_WORK: Final = Path(".cache/fuzz")
_FILES: Final = str(Path(heads.__file__).parent)

Step = tuple[str, int, int]


def reached(target: str, data: bytes) -> set[Step]:
    """The steps from line to line in the wire format's modules."""
    steps: set[Step] = set()

    def enter(frame: FrameType, event: str, argument: Any) -> Any:
        file, last = frame.f_code.co_filename, frame.f_lineno
        if not file.startswith(_FILES):
            return None

        def within(frame: FrameType, event: str, argument: Any) -> Any:
            nonlocal last
            if event == "line":
                steps.add((file, last, frame.f_lineno))
                last = frame.f_lineno
            return within

        return within

    sys.settrace(enter)
    try:
        TARGETS[target](data)
    finally:
        sys.settrace(None)
    return steps


def distil(target: str) -> int:
    """Add to the corpus of a target; returns how many."""
    known: set[Step] = set()
    for data in (*SEEDS[target], *corpus(target).values()):
        known |= reached(target, data)
    added = 0
    folder = _WORK / target / "new"
    for data in sorted((file.read_bytes() for file in folder.iterdir()), key=lambda data: (len(data), data)):
        steps = reached(target, data)
        if steps <= known:
            continue
        known |= steps
        added += 1
        name = sha1(data, usedforsecurity=False).hexdigest()[:12]
        (CORPUS / target).mkdir(parents=True, exist_ok=True)
        (CORPUS / target / name).write_bytes(data)
    return added


if __name__ == "__main__":
    for name in TARGETS:
        print(f"{name}: {distil(name)} added")
