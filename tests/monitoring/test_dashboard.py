"""The Grafana dashboard: the file is what the table says, each expression is valid and asks for what there is."""

from __future__ import annotations

import json
from typing import Any

import promql_parser
import pytest

from charts.dashboard import FILE, text
from tests.monitoring.metrics import metric_names, selectors

BOARD: dict[str, Any] = json.loads(FILE.read_text())
PANELS = [panel for panel in BOARD["panels"] if panel["type"] != "row"]


def test_the_file_is_up_to_date() -> None:
    """It is what `python -m charts.dashboard` writes."""
    assert FILE.read_text() == text()


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_a_panel_asks_for_what_there_is(panel: dict[str, Any]) -> None:
    """Its expressions are PromQL over metrics that the program has, of the chosen sidecars; it has a unit."""
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["targets"]
    for target in panel["targets"]:
        expr = target["expr"].replace("$__rate_interval", "5m")
        names = selectors(promql_parser.parse(expr))
        assert names
        assert names <= metric_names()
        assert 'job=~"$job"' in expr


def test_panels_do_not_overlap() -> None:
    """Each has its own place on a grid of 24 columns."""
    taken: set[tuple[int, int]] = set()
    for panel in BOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert max(x for x, _ in cells) < 24
        assert not taken & cells
        taken |= cells


def test_numbers_and_titles_are_unique() -> None:
    """Grafana links to panels by number, people by title."""
    assert len({panel["id"] for panel in BOARD["panels"]}) == len(BOARD["panels"])
    assert len({panel["title"] for panel in BOARD["panels"]}) == len(BOARD["panels"])


def test_every_metric_of_ours_is_shown() -> None:
    """What the program counts can be seen; the exceptions are named."""
    shown = {
        name
        for panel in PANELS
        for target in panel["targets"]
        for name in selectors(promql_parser.parse(target["expr"].replace("$__rate_interval", "5m")))
    }
    ours = {
        name
        for name in metric_names()
        if name.startswith(("sidecar_", "http_")) and not name.endswith(("_sum", "_count"))
    }
    assert ours <= shown
