"""docs/SECURITY.md says what is so: the tests it names are there, and so are the settings, metrics and flags."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import Final

import pytest

from sidecar.settings.flags import FLAGS
from sidecar.settings.knobs import knobs
from tests.conformance.table import CASES
from tests.support.processes import ROOT

TEXT: Final = (ROOT / "docs" / "SECURITY.md").read_text(encoding="utf-8")
CITED: Final = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", TEXT)))

# Who may leave an attack to others: then no test of ours can hold it.
OTHERS: Final = {"service", "operator", "platform"}


def rows() -> Iterator[list[str]]:
    """The cells of each row of the tables of attacks."""
    for line in TEXT.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("|") and len(cells) == 4 and not set(cells[1]) <= set("-") and cells[1] != "duty":
            yield cells


@pytest.mark.parametrize(("file", "name"), CITED)
def test_each_test_that_is_named_is_there(file: str, name: str) -> None:
    """With exactly that name, in that file, at its top level, where it is run."""
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    names = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}

    assert name in names
    assert name.startswith("test_")


def test_each_class_of_cases_that_is_named_is_there() -> None:
    """`te-cl/*` are the cases of that class in the table of conformance."""
    classes = {case.id.partition("/")[0] for case in CASES}
    named = set(re.findall(r"`([a-z][a-z0-9.-]*)/\*`", TEXT))

    assert named
    assert named <= classes


def test_each_duty_of_the_sidecar_is_held_by_a_test() -> None:
    """What nobody tests is left to others by name, or is no promise."""
    found = [*rows()]
    assert len(found) > 40
    for attack, duty, _, tests in found:
        whose = set(duty.split(", "))
        assert whose <= OTHERS | {"sidecar"}, attack
        assert "sidecar" not in whose or "`tests/" in tests, attack
        assert "`tests/" in tests or tests == "none", attack


def test_what_it_speaks_of_is_there() -> None:
    """Settings, flags and variables, each by its name today."""
    sections = {path.partition(".")[0] for path in knobs() if "." in path}
    words = re.findall(r"`([a-z_]+\.[a-z_]+)`", TEXT)
    named = {word for word in words if word.partition(".")[0] in sections}
    variables = set(re.findall(r"`(SIDECAR_\w+)`", TEXT))

    assert named
    assert named <= knobs().keys()
    assert variables <= {knob.env for knob in knobs().values()}
    assert set(re.findall(r"`(--admin[a-z-]*)`", TEXT)) <= set(FLAGS.values())
