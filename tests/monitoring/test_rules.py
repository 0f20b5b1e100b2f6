"""The alerting rules: what sets them off and what does not, what they say, and that the metrics they ask for exist."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from tests.monitoring.metrics import metric_names, selectors
from tests.monitoring.tools import ROOT, RULES, run, tool
from tests.support.processes import Proxy

HERE = Path(__file__).parent
TESTS = (HERE / "rules_test.yaml", HERE / "rules_long_test.yaml")
RUNBOOK = ROOT / "docs" / "runbook.md"
GROUPS: list[dict[str, Any]] = yaml.safe_load(RULES.read_text())["groups"]
RECORDED = {rule["record"] for group in GROUPS for rule in group["rules"] if "record" in rule}
ALERTS = {rule["alert"]: rule for group in GROUPS for rule in group["rules"] if "alert" in rule}


def expected(path: Path) -> Iterator[tuple[str, bool]]:
    """Each alert that a file of unit tests asks about, and whether it is to fire."""
    for test in yaml.safe_load(path.read_text())["tests"]:
        for asked in test.get("alert_rule_test", ()):
            yield asked["alertname"], bool(asked["exp_alerts"])


def test_prometheus_takes_them() -> None:
    """promtool finds nothing wrong."""
    assert "SUCCESS" in run(tool("promtool"), "check", "rules", RULES)


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.stem)
def test_they_fire_when_they_should(path: Path) -> None:
    """Their unit tests hold."""
    assert "SUCCESS" in run(tool("promtool"), "test", "rules", path)


def test_prometheus_finds_the_metrics_well_named() -> None:
    """promtool's linter has nothing to say of the page that is scraped."""
    with Proxy("http://127.0.0.1:9", SIDECAR_HEALTH__INTERVAL="1h") as proxy:
        _, page = proxy.page("/metrics")
    assert run(tool("promtool"), "check", "metrics", given=page) == ""


def test_each_alert_is_tested() -> None:
    """Each one fires in a unit test; and the test that it does says everything it does not fire for."""
    assert {name for path in TESTS for name, fires in expected(path) if fires} == set(ALERTS)


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_says_what_to_do(name: str) -> None:
    """A severity, a summary, a description, and a chapter in the runbook."""
    alert = ALERTS[name]
    assert alert["labels"]["severity"] in {"critical", "warning", "info"}
    notes = alert["annotations"]
    assert set(notes) == {"summary", "description", "runbook_url"}
    assert notes["runbook_url"] == f"https://sidecar.example/runbook#{name.lower()}"
    assert re.search(rf"^## {name}$", RUNBOOK.read_text(), re.MULTILINE)


def test_the_runbook_knows_no_other() -> None:
    """A chapter for an alert that is gone goes too."""
    assert set(re.findall(r"^## (Sidecar\w+)$", RUNBOOK.read_text(), re.MULTILINE)) == set(ALERTS)


def test_what_they_ask_for_exists() -> None:
    """Every metric in an expression is one that the program has, or that another rule records."""
    known = metric_names() | RECORDED | {"up"}
    for group in GROUPS:
        for rule in group["rules"]:
            asked = selectors(promql_parser.parse(rule["expr"]))
            assert asked <= known, f"{rule.get('alert') or rule.get('record')}: {asked - known}"
