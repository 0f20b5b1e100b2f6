"""The README's tables and examples say what the code does."""

from __future__ import annotations

import re
from pathlib import Path

from sidecar.cli.commands import COMMANDS
from sidecar.errors import FORBIDDEN, REASONS, UNAUTHENTICATED
from sidecar.settings import load
from sidecar.settings.flags import FLAGS
from sidecar.settings.knobs import knobs
from sidecar.telemetry.line import Line
from sidecar.telemetry.metrics import Metrics

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")

# Reasons of policies that are not here yet.
LATER = {reason.token for reason in (UNAUTHENTICATED, FORBIDDEN)}


def rows(heading: str) -> list[list[str]]:
    """The cells of the table whose header row begins so."""
    table = README[README.index(f"\n| {heading} |") :].partition("\n\n")[0]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in table.splitlines()[3:]]


def test_reasons() -> None:
    """The table of answers has every reason with its status, in order, and marks those that come later."""
    assert [(row[0], row[1]) for row in rows("reason")] == [
        (f"`{reason.token}`" + (" (later)" if reason.token in LATER else ""), str(reason.status)) for reason in REASONS
    ]


def test_flags() -> None:
    """The table of flags has every flag with its default."""
    stated = {row[0].strip("`"): row[1].strip("`\u2013") for row in rows("flag")}
    expected = {}
    for path, flag in FLAGS.items():
        default = knobs()[path].default
        expected[flag] = knobs()[path].show(default) if default is not None else ""
    assert stated == {**expected, "--config": ""}


def test_commands() -> None:
    """The table of commands has every command."""
    assert {word for row in rows("command") for word in re.findall(r"`sidecar (\w+)", row[0])} == set(COMMANDS)


def test_metrics() -> None:
    """The table of metrics has every metric with its labels and type."""
    metrics = Metrics("0")
    metrics.live(
        upstream_up=_none,
        draining=_none,
        client_connections=_none,
        upstream_connections=_none,
        resting=_none,
        closed_idle=_none,
        closed_untaken=_none,
        log_lines_dropped=_none,
        circuits=list,
    )
    expected = {
        family.name + (f"{{{','.join(family.labels)}}}" if family.labels else ""): family.kind
        for family in metrics.snapshot()
    }
    assert {row[0].strip("`"): row[1] for row in rows("metric")} == expected


def test_log_fields() -> None:
    """The table of the access log has every field, in order."""
    assert [name for row in rows("field") for name in re.findall(r"`(\w+)`", row[0])] == list(Line.__struct_fields__)


def test_settings_example(tmp_path: Path) -> None:
    """The example of a settings file is a good one."""
    (example,) = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    file = tmp_path / "sidecar.yaml"
    file.write_text(example)
    settings = load({}, {}, file).settings
    assert settings.drain.delay == 5
    assert [route.name for route in settings.routes] == ["search", "orders"]


def test_settings_that_the_text_names_exist() -> None:
    """Every `section.knob` and SIDECAR_ name in the text is a setting."""
    sections = {path.partition(".")[0] for path in knobs() if "." in path}
    named = re.findall(rf"`((?:{'|'.join(sections)})\.\w+)`", README)
    assert named
    assert set(named) <= set(knobs())
    assert set(re.findall(r"SIDECAR_[A-Z_]+__[A-Z_]+", README)) <= {knob.env for knob in knobs().values()}


def test_make_targets_that_the_docs_name_exist() -> None:
    """Every `make x` in README and CONTRIBUTING is a target of the Makefile, and CI runs only such."""
    targets = set(re.findall(r"^([a-z]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for name in ("README.md", "CONTRIBUTING.md", ".ci/run"):
        used = re.findall(r"(?:`|^)make ([a-z]+)", (ROOT / name).read_text(), re.MULTILINE)
        assert used
        assert set(used) <= targets


def test_links_lead_somewhere() -> None:
    """Files that the README links to exist."""
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists(), target


def _none() -> float:
    return 0
