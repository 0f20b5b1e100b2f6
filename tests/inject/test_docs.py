"""docs/kubernetes.md says what the code does."""

from __future__ import annotations

import re

import pytest
import yaml

from sidecar.cli.commands import COMMANDS
from sidecar.inject.grace import Ending
from sidecar.inject.options import CLASSIC, OPTIONS, Chosen
from sidecar.settings.knobs import knobs
from tests.inject.support import ROOT

DOCS = ROOT / "docs" / "kubernetes.md"
TEXT = DOCS.read_text(encoding="utf-8")


def table() -> list[str]:
    """The rows of the table of options."""
    rows = []
    for option in OPTIONS.values():
        metavar, meaning = (text.replace("|", "\\|") for text in (option.metavar, option.meaning))
        default = f"`{option.default}`" if option.default else "\u2013"
        rows.append(f"| `{option.flag} {metavar}` | `{option.annotation}` | {default} | {meaning} |")
    return rows


def test_the_table_of_options() -> None:
    """Every flag with its annotation, default and meaning."""
    stated = TEXT[TEXT.index("| flag | annotation |") :].partition("\n\n")[0]
    assert stated.splitlines()[2:] == table()


@pytest.mark.parametrize("mode", ["native", CLASSIC])
def test_the_arithmetic(mode: str) -> None:
    """The numbers that are reckoned with are the defaults, and the sums are right."""
    chosen = Chosen({"mode": mode}, {})
    app, delay, timeout = (chosen.seconds(name) for name in ("app-drain", "drain-delay", "drain-timeout"))
    ending = Ending(mode == "native", 10, app, delay, timeout)
    sums = re.findall(r"max\(10 *\+ (\d+) *, (\d+) *(?:\)|\+) *\+? *(\d+) *\)? *\+ 5 *= *(\d+)", TEXT)
    assert (str(int(app)), str(int(delay)), str(int(timeout)), str(ending.needed)) in sums
    assert ending.least_pre_stop == 10
    assert ending.timeout >= ending.least_timeout


def test_what_it_names_exists() -> None:
    """Commands, settings, and the flags of `sidecar inject`."""
    assert set(re.findall(r"sidecar (inject|drain|wait|check|config|status)\b", TEXT)) <= set(COMMANDS)
    named = set(re.findall(r"`((?:health|drain|admin|forwarding)\.\w+)`", TEXT))
    assert named
    assert named <= set(knobs())
    assert set(re.findall(r"--(?:drain|app|trusted|config)-[a-z]+", TEXT)) <= {one.flag for one in OPTIONS.values()}


def test_examples_can_be_read() -> None:
    """Each piece of YAML is one, and links lead somewhere."""
    examples = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
    assert all(isinstance(yaml.safe_load(example), dict) for example in examples)
    assert examples
    for target in re.findall(r"\]\(([^)#:]+)\)", TEXT):
        assert (DOCS.parent / target).exists(), target
