"""The example for Alertmanager: valid, and each alert goes where it should."""

from __future__ import annotations

import pytest

from tests.monitoring.test_rules import ALERTS
from tests.monitoring.tools import ROOT, run, tool

EXAMPLE = ROOT / "examples" / "monitoring" / "alertmanager.yaml"
RECEIVERS = {"critical": "robots,slack", "warning": "slack", "info": "nobody"}


def test_alertmanager_takes_it() -> None:
    """amtool finds nothing wrong."""
    assert "SUCCESS" in run(tool("amtool"), "check-config", EXAMPLE)


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_goes_where_its_severity_says(name: str) -> None:
    """Critical ones to the robots and to Slack, warnings to Slack, the rest to nobody."""
    severity = ALERTS[name]["labels"]["severity"]
    routed = run(
        tool("amtool"),
        "config",
        "routes",
        "test",
        f"--config.file={EXAMPLE}",
        f"severity={severity}",
        f"alertname={name}",
    )
    assert routed.strip() == RECEIVERS[severity]
