"""Switches off the framing rules, one at a time: `python -m tests.conformance.mutants [NAME ...]`.

Each time a copy of the package is patched and started, and the rule's case must fail, but no plain request: a mutant
that serves nothing says nothing of its rule. With `--every`, all cases are played to each mutant and those that fail
are named. It exits with 1 where a rule is not missed by its case.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from shutil import copytree
from tempfile import TemporaryDirectory
from time import monotonic
from typing import Final

from tests.conformance.case import Case
from tests.conformance.judge import complaints
from tests.conformance.proxies import sidecar
from tests.conformance.rule import Rule
from tests.conformance.rules import BY_NAME, RULES
from tests.conformance.stage import Stage, ways
from tests.conformance.table import BY_ID, CASES
from tests.support.processes import ROOT
from tests.support.upstream import Upstream

# A mutant that leaves a case waiting has failed it. The package as it is passes within this time, which is checked.
_PATIENCE: Final = 2.0

# Requests that no rule is about, without a body and with one: they pass whichever rule is switched off.
CONTROLS: Final = ("method/delete", "cl/exact")


def without(rule: Rule, text: str) -> str:
    """The text of the rule's file, without the rule."""
    found = text.count(rule.text)
    if found != 1:
        raise LookupError(f"{rule.name}: its text is in {rule.file} {found} times, not once")
    return text.replace(rule.text, rule.instead)


@contextmanager
def package(rules: Sequence[Rule]) -> Iterator[Path]:
    """A directory with the package in it, less these rules."""
    with TemporaryDirectory(prefix="sidecar-") as directory:
        root = Path(directory)
        copytree(ROOT / "sidecar", root / "sidecar")
        for rule in rules:
            copy = root / "sidecar" / rule.file
            copy.write_text(without(rule, copy.read_text(encoding="utf-8")), encoding="utf-8")
            for compiled in (copy.parent / "__pycache__").glob(f"{copy.stem}.*.pyc"):
                compiled.unlink()
        yield root


def failing(rules: Sequence[Rule], cases: Sequence[Case]) -> Iterator[str]:
    """The names of those cases that fail without these rules."""
    with package(rules) as root, Upstream() as upstream:
        proxy = sidecar(upstream.url, root)
        try:
            stage = Stage(upstream, _PATIENCE)
            for case in cases:
                try:
                    bad = any(complaints(case, stage.play(case, proxy.address, pieces)) for pieces in ways(case))
                except OSError:
                    bad = True  # it has died of it
                if bad:
                    yield case.id
        finally:
            proxy.kill()
            upstream.faults.clear()  # the mutant's, and its case has told of them


def objection(rule: Rule) -> str:
    """Why the rule's case does not hold it; empty where it fails without it, because of it, and plain ones do not."""
    case = BY_ID[rule.case]
    rules = [BY_NAME[rule.beside], rule] if rule.beside else [rule]
    found = list(failing(rules, [*(BY_ID[name] for name in CONTROLS), case]))
    if broken := plain(found):
        return f"even {broken} fails without it"
    if not found:
        return f"{case.id} does not fail without it"
    if rule.beside and list(failing(rules[:1], [case])):
        return f"{case.id} fails without {rule.beside} alone"
    return ""


def plain(found: Sequence[str]) -> str:
    """The first of the controls among cases that fail, or nothing."""
    return next((name for name in found if name in CONTROLS), "")


def main() -> int:
    """Switch off the rules that are named, or all of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="rules; all where none is named")
    parser.add_argument("--every", action="store_true", help="play all cases, and name those that fail")
    arguments = parser.parse_args()
    began = monotonic()
    rules = [rule for rule in RULES if not arguments.names or rule.name in arguments.names]
    broken = list(failing([], [BY_ID[name] for name in sorted({*CONTROLS, *(rule.case for rule in rules)})]))
    if broken:
        print(f"fail although nothing is switched off: {', '.join(broken)}")
        return 1
    survivors = 0
    for rule in rules:
        if arguments.every:
            found = list(failing([rule], CASES))
            print(f"{rule.name}: {len(found)} cases fail: {' '.join(found)}", flush=True)
            survivors += not found or plain(found) != ""
        elif why := objection(rule):
            print(f"{rule.name}: {why}", flush=True)
            survivors += 1
    print(f"{len(rules)} rules, {len(rules) - survivors} missed by a case, {monotonic() - began:.0f} s")
    return 1 if survivors or not rules else 0


if __name__ == "__main__":
    sys.exit(main())
