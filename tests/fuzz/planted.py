"""Proof that the fuzzer finds what it looks for: `python -m tests.fuzz.planted [--seconds 20]`.

Plants one bug at a time into a copy of `sidecar/` and lets the fuzzer loose on it, with nothing but legal messages to
begin from. Each of these bugs is one that a proxy has really had. The same hunt in a copy without any has to find
nothing, or it would not have been the bug that was found. Exits 1 if one is not found in time, or anything without.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final, NamedTuple

_ROOT: Final = Path(__file__).parent.parent.parent


class Change(NamedTuple):
    """Source text, and what stands in its place."""

    file: str
    right: str
    wrong: str


class Bug(NamedTuple):
    """One way to get it wrong."""

    name: str
    target: str
    changes: list[Change]


BUGS: Final = [
    Bug(
        "a chunk size is whatever int(…, 16) takes: +5, 5_0",
        "chunks",
        [
            Change("http1/chunks.py", r'rb"([0-9A-Fa-f]{1,15})(', r'rb"(\+?[0-9A-Fa-f]{1,15}(?:_[0-9A-Fa-f]+)?)('),
            Change("http1/chunks.py", r'rb"(?:[0-9A-Fa-f]{1,15}(', r'rb"(?:[0-9A-Fa-f+_]{1,15}('),
        ],
    ),
    Bug(
        "a message with both Transfer-Encoding and Content-Length is forwarded",
        "request",
        [
            Change(
                "http1/heads.py",
                "if length is not None:\n            raise HeadError(",
                "if 0:\n            raise HeadError(",
            ),
            Change(
                "http1/heads.py",
                "parser.feed_data(head)\n",
                "parser.set_dangerous_leniencies(lenient_chunked_length=True) or parser.feed_data(head)\n",
            ),
        ],
    ),
    Bug(
        "a bare LF ends a line of the trailers",
        "chunks",
        [Change("http1/chunks.py", r"\x80-\xff]*\r\n)*", r"\x80-\xff]*\r?\n)*")],
    ),
    Bug(
        "of two lengths the last is taken, and passed on alone",
        "exchange",
        [
            Change(
                "http1/heads.py",
                "self._check(head, httptools.HttpRequestParser(self))",
                'head = re.sub(rb"(?is)\\r\\nContent-Length: ?[0-9]+(?=\\r\\n(.*\\r\\n)?Content-Length:)", b"", head)\n'
                "        self._check(head, httptools.HttpRequestParser(self))",
            )
        ],
    ),
    Bug(
        "a chunked answer that was cut looks whole",
        "exchange",
        [Change("http1/inflow.py", "if self.length is None and self._chunks is None:", "if self.length is None:")],
    ),
    Bug(
        "what follows a refused message is read as a request",
        "exchange",
        [
            Change("errors.py", '"Bad request", close=True)', '"Bad request")'),
            Change(
                "http1/connection.py", 'self._buffer = b""\n        try:', "self._buffer = data[end:]\n        try:"
            ),
            Change(
                "http1/connection.py",
                'self._buffer = b""\n        exchange = self._new_exchange(Request(',
                "exchange = self._new_exchange(Request(",
            ),
            Change("http1/connection.py", "self._lingers = True\n        self.turn = ", "self.turn = "),
            Change("http1/connection.py", "exchange, 1, now, True)", "exchange, 1, now, False)"),
        ],
    ),
]


def changed(bug: Bug) -> dict[str, str]:
    """The source files that the bug is in, as they are with it."""
    files: dict[str, str] = {}
    for change in bug.changes:
        text = files.get(change.file) or (_ROOT / "sidecar" / change.file).read_text(encoding="utf-8")
        if text.count(change.right) != 1:
            raise LookupError(f"{change.file} has changed: {change.right!r} is not there once")
        files[change.file] = text.replace(change.right, change.wrong)
    return files


def plant(bug: Bug, root: Path) -> None:
    """Make a copy of the house at `root`, with the bug."""
    for name in ("sidecar", "tests"):
        shutil.copytree(_ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__", "corpus"))
    for file, text in changed(bug).items():
        (root / "sidecar" / file).write_text(text, encoding="utf-8")


def hunt(bug: Bug, seconds: float) -> str:
    """Let both engines loose on a copy with the bug; returns what they told."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        plant(bug, root)
        # `python -m` looks into the current folder first, so this is the house that is fuzzed.
        command = [sys.executable, "-m", "tests.fuzz", bug.target, f"--seconds={seconds:g}", "--seed=1"]
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=seconds + 300, check=False)
    print(f"{bug.name}\n{done.stdout}{done.stderr}", flush=True)
    return done.stdout


# Of an engine that has tried inputs: one that crashed or hung says neither.
_FOUND: Final = re.compile(r"^\w+ +\w+ +[1-9][0-9,]* inputs .* FINDING in .*\n +Finding: ", re.MULTILINE)
_NOTHING: Final = re.compile(r"^\w+ +\w+ +[1-9][0-9,]* inputs .* no finding$", re.MULTILINE)
_REPORT: Final = re.compile(r"^\w+ +\w+ +[0-9,]+ inputs ", re.MULTILINE)


def is_found(told: str) -> bool:
    """Whether one of the engines has shown an input without the target's properties."""
    return _FOUND.search(told) is not None


def is_clean(told: str) -> bool:
    """Whether each engine has tried inputs, and none was a finding."""
    return 0 < len(_REPORT.findall(told)) == len(_NOTHING.findall(told))


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(description="Plant bugs and let the fuzzer find them.")
    parser.add_argument("--seconds", type=float, default=20.0, help="for each bug, and each target without one (20)")
    seconds = parser.parse_args().seconds
    bad = [f"not found: {bug.name}" for bug in BUGS if not is_found(hunt(bug, seconds))]
    without = [Bug("no bug", target, []) for target in dict.fromkeys(bug.target for bug in BUGS)]
    bad += [
        f"found without a bug, or no result: {none.target}" for none in without if not is_clean(hunt(none, seconds))
    ]
    print("\n".join(bad) if bad else f"all {len(BUGS)} found, and nothing without them")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
