"""How much of the framing the kept inputs reach: `python -m tests.fuzz.branches`.

Replays the seeds and the corpus through all targets, and says file by file which branches none of them takes. Exits 1
below 95 %. Nothing is left to chance, so the figure is the same each time.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, NamedTuple

from coverage import Coverage

# What decides where messages begin and end. Of the connections around it, which no target claims to reach whole, most
# is about time.
_FRAMING: Final = [
    f"sidecar/http1/{name}.py" for name in ("heads", "chunks", "inflow", "outflow", "refusals", "answer_head")
]
_LEAST: Final = 95.0  # per cent


class Share(NamedTuple):
    """Of one file: branches, those that were taken, and the others as they are told."""

    file: str
    branches: int
    taken: int
    missed: str

    def line(self) -> str:
        """As it is told."""
        return f"{self.file:28} {self.taken:4} of {self.branches:4} {_percent(self):6.1f} %  {self.missed}".rstrip()


def _percent(share: Share) -> float:
    return 100 * share.taken / share.branches if share.branches else 100.0


def shares() -> list[Share]:
    """What is reached of each file."""
    measured = Coverage(branch=True, data_file=None, config_file=False, include=_FRAMING)
    with measured.collect():
        # Here, so that what they run when they are imported counts too.
        from tests.fuzz.seeds import SEEDS
        from tests.fuzz.targets import TARGETS, corpus

        for name, target in TARGETS.items():
            for data in (*SEEDS[name], *corpus(name).values()):
                target(data)
    with TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        measured.json_report(outfile=str(report))
        files = json.loads(report.read_text(encoding="utf-8"))["files"]
    found = []
    for name, file in files.items():
        told = ", ".join(f"line {start} to {end if end > 0 else 'the end'}" for start, end in file["missing_branches"])
        counts = file["summary"]
        found.append(Share(name, counts["num_branches"], counts["covered_branches"], told and f"missed: {told}"))
    return found


def main() -> int:
    """See the module."""
    found = shares()
    total = Share("all", sum(share.branches for share in found), sum(share.taken for share in found), "")
    for share in (*found, total):
        print(share.line())
    if len(found) < len(_FRAMING):
        print(f"of {len(_FRAMING)} files, {len(found)} were measured")
        return 1
    if _percent(total) < _LEAST:
        print(f"less than {_LEAST:g} %")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
