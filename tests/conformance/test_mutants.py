"""The table of rules fits the source, and some of the rules are missed when they are switched off.

All of them: `python -m tests.conformance.mutants`.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.conformance.mutants import CONTROLS, objection, without
from tests.conformance.rule import Rule
from tests.conformance.rules import RULES
from tests.conformance.table import BY_ID
from tests.support.processes import ROOT

REFUSING = ("http1/heads.py", "http1/chunks.py")
QUICK = ("coding-chunked-alone", "chunk-size-spaces", "surplus-ends-the-connection", "cut-looks-cut")


@pytest.mark.parametrize("rule", [pytest.param(rule, id=rule.name) for rule in RULES])
def test_the_rule_is_there(rule: Rule) -> None:
    """Its text is in its file, once, what remains without it is Python, and there is a case for it, no plain one."""
    path = ROOT / "sidecar" / rule.file
    compile(without(rule, path.read_text(encoding="utf-8")), str(path), "exec")

    assert rule.case in BY_ID
    assert rule.case not in CONTROLS


def lines_of(rule: Rule, source: str) -> set[int]:
    """The lines of its file that a rule edits."""
    first = source.count("\n", 0, source.index(rule.text)) + 1
    return set(range(first, first + rule.text.rstrip("\n").count("\n") + 1))


def refusals(tree: ast.AST, guard: ast.stmt | None = None) -> Iterator[tuple[int, set[int]]]:
    """Every refusal of a head or of chunks: its line, and those from the `if` or `try` that leads to it."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Raise):
            assert guard is not None, f"line {node.lineno}: what is refused whatever comes?"
            yield node.lineno, set(range(guard.lineno, node.lineno + 1))
        else:
            yield from refusals(node, node if isinstance(node, ast.If | ast.Try) else guard)


@pytest.mark.parametrize("file", REFUSING)
def test_each_refusal_has_a_rule(file: str) -> None:
    """Whatever makes a head or a chunked body be refused is switched off by some rule: it has a case that holds it."""
    source = (ROOT / "sidecar" / file).read_text(encoding="utf-8")
    edited = set().union(*(lines_of(rule, source) for rule in RULES if rule.file == file))
    found = list(refusals(ast.parse(source)))

    assert found
    assert [f"{file}:{line}" for line, guard in found if not guard & edited] == []


def test_names_of_rules_are_unique() -> None:
    """One rule has one name."""
    assert [name for name, count in Counter(rule.name for rule in RULES).items() if count > 1] == []


@pytest.mark.parametrize("rule", [pytest.param(rule, id=rule.name) for rule in RULES if rule.name in QUICK])
def test_the_rule_is_missed(rule: Rule) -> None:
    """Without it, its case fails, and plain requests pass."""
    assert objection(rule) == ""


@pytest.mark.parametrize(
    ("instead", "why"),
    [
        ("raise KeyError", "even method/delete fails without it"),
        ("pass", "fold/hides-a-field does not fail without it"),
    ],
    ids=["everything", "nothing"],
)
def test_what_breaks_more_or_less_does_not_count(instead: str, why: str) -> None:
    """A mutant that serves nobody shows as little of its rule as one that is no other than the original."""
    parsing = "            parser.feed_data(head)\n"
    put = f"{parsing}            {instead}\n"

    assert objection(Rule("any", "http1/heads.py", parsing, put, "fold/hides-a-field")) == why
