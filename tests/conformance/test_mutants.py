"""The table of rules fits the source, and some of the rules are missed when they are switched off.

All of them: `python -m tests.conformance.mutants`.
"""

from __future__ import annotations

from collections import Counter

import pytest

from tests.conformance.mutants import is_missed, without
from tests.conformance.rule import Rule
from tests.conformance.rules import RULES
from tests.conformance.table import BY_ID
from tests.support.processes import ROOT

QUICK = ("coding-chunked-alone", "chunk-size-spaces", "surplus-ends-the-connection", "cut-looks-cut")


@pytest.mark.parametrize("rule", [pytest.param(rule, id=rule.name) for rule in RULES])
def test_the_rule_is_there(rule: Rule) -> None:
    """Its text is in its file, once, what remains without it is Python, and there is a case for it."""
    path = ROOT / "sidecar" / rule.file
    compile(without(rule, path.read_text(encoding="utf-8")), str(path), "exec")

    assert rule.case in BY_ID


def test_names_of_rules_are_unique() -> None:
    """One rule has one name."""
    assert [name for name, count in Counter(rule.name for rule in RULES).items() if count > 1] == []


@pytest.mark.parametrize("rule", [pytest.param(rule, id=rule.name) for rule in RULES if rule.name in QUICK])
def test_the_rule_is_missed(rule: Rule) -> None:
    """Without it, its case fails."""
    assert is_missed(rule)
