"""The Grafana dashboard: `python -m charts.dashboard` writes charts/sidecar/files/dashboard.json.

What there is to change is in panels.py; a test holds the file to it, and each expression to the program's metrics.
Needs no import of Grafana: it reads the JSON from a file, a ConfigMap with the label `grafana_dashboard`, or by hand.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from charts.panels import ROWS, Panel

FILE: Final = Path(__file__).parent / "sidecar" / "files" / "dashboard.json"

# Every expression is of the sidecars that were chosen at the top.
_CHOSEN: Final = 'job=~"$job", namespace=~"$namespace", instance=~"$instance"'
_SOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}
_WIDTH: Final = 24  # Grafana's grid
_HEIGHT: Final = 8


def _variable(name: str, label: str, query: str) -> dict[str, Any]:
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": _SOURCE,
        "query": {"query": query, "refId": name},
        "definition": query,
        "refresh": 2,
        "sort": 1,
        "includeAll": True,
        "allValue": ".*",
        "multi": True,
        "current": {"text": "All", "value": "$__all"},
    }


def _panel(number: int, panel: Panel, x: int, y: int) -> dict[str, Any]:
    custom: dict[str, Any] = {"fillOpacity": 70 if panel.kind == "state-timeline" else 10}
    if panel.stacked:
        custom["stacking"] = {"mode": "normal"}
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.about,
        "datasource": _SOURCE,
        "gridPos": {"x": x, "y": y, "w": panel.width, "h": _HEIGHT},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0, "custom": custom}, "overrides": []},
        "options": {
            "tooltip": {"mode": "multi", "sort": "desc"},
            "legend": {"displayMode": "list", "placement": "bottom"},
        },
        "targets": [
            {
                "refId": chr(ord("A") + index),
                "datasource": _SOURCE,
                "expr": expr.replace("$CHOSEN", _CHOSEN),
                "legendFormat": legend,
            }
            for index, (expr, legend) in enumerate(panel.queries)
        ],
    }


def panels() -> list[dict[str, Any]]:
    """All rows and panels, laid out from left to right."""
    laid: list[dict[str, Any]] = []
    y = 0
    for title, row in ROWS.items():
        place = {"x": 0, "y": y, "w": _WIDTH, "h": 1}
        laid.append(
            {"id": len(laid) + 1, "type": "row", "title": title, "collapsed": False, "gridPos": place, "panels": []}
        )
        x, y = 0, y + 1
        for panel in row:
            if x + panel.width > _WIDTH:
                x, y = 0, y + _HEIGHT
            laid.append(_panel(len(laid) + 1, panel, x, y))
            x += panel.width
        y += _HEIGHT
    return laid


def dashboard() -> dict[str, Any]:
    """The whole of it."""
    return {
        "id": None,
        "uid": "sidecar",
        "title": "Sidecar",
        "description": "Requests, resilience, upstream and the sidecars themselves.",
        "tags": ["sidecar"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "browser",
        "templating": {
            "list": [
                {
                    "name": "datasource",
                    "label": "Data source",
                    "type": "datasource",
                    "query": "prometheus",
                    "current": {},
                },
                _variable("job", "Job", "label_values(sidecar_build_info, job)"),
                _variable("namespace", "Namespace", 'label_values(sidecar_build_info{job=~"$job"}, namespace)'),
                _variable(
                    "instance",
                    "Instance",
                    'label_values(sidecar_build_info{job=~"$job", namespace=~"$namespace"}, instance)',
                ),
            ]
        },
        "annotations": {"list": []},
        "links": [],
        "panels": panels(),
    }


def text() -> str:
    """The file's content."""
    return json.dumps(dashboard(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
