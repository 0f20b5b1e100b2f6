"""The figures of each path template since the start, for who watches them change: `sidecar top`, a dashboard. Pure."""

from __future__ import annotations

from collections import Counter
from typing import Any

from sidecar.telemetry.paths import OTHER
from sidecar.telemetry.recent import Recent
from sidecar.telemetry.tally import Family, Spread


def table(families: list[Family], recent: Recent, at: float) -> dict[str, object]:
    """The figures at `at`, seconds of the monotonic clock. `seconds` are a histogram's counts between `bounds`.

    `errors` counts the answers from 500 up, `own` those that the sidecar gave itself.
    """
    named = {family.name: family for family in families}
    requests, durations = named["http_requests_total"], named["http_request_duration_seconds"]
    busy = Counter(record.label or OTHER for record in recent.in_flight())
    routes: dict[str, dict[str, Any]] = {}

    def of(label: str) -> dict[str, Any]:
        empty = {"requests": 0, "errors": 0, "own": recent.own.get(label, 0), "in_flight": busy[label]}
        return routes.setdefault(label, {**empty, "seconds": [0] * (len(durations.bounds) + 1)})

    for (path, _, status), figure in requests.rows:
        row = of(str(path))
        row["requests"] += figure
        if int(str(status)) >= 500:
            row["errors"] += figure
    for (path, _), spread in durations.rows:
        if isinstance(spread, Spread):
            row = of(str(path))
            row["seconds"] = [a + b for a, b in zip(row["seconds"], spread.counts, strict=True)]
    for label in busy:
        of(label)
    circuits = named.get("sidecar_circuit_state")
    return {
        "at": at,
        "in_flight": busy.total(),
        "bounds": durations.bounds,
        "routes": routes,
        "circuits": {str(name): state for (name, state), on in circuits.rows if on} if circuits is not None else {},
    }
