"""What is told of refused connections."""

from __future__ import annotations

from typing import Any

from sidecar.policy.connections import PER_CLIENT, TOTAL
from sidecar.telemetry.metrics import Metrics
from sidecar.telemetry.refusals import Refusals


class Log:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[dict[str, Any]] = []

    def warning(self, event: str, **fields: Any) -> None:
        """A line."""
        self.lines.append({"event": event, **fields})


def test_each_is_counted_and_the_log_tells_of_them_now_and_then() -> None:
    """The first at once, those that follow by their number every ten seconds, each reason by itself."""
    metrics, log = Metrics("test"), Log()
    refusals = Refusals(metrics, log)  # type: ignore[arg-type]  # it has what is used
    for now in (100.0, 101.0, 109.9, 110.0, 111.0):
        refusals.refused(TOTAL, f"client {now:g}", 7, now)
    refusals.refused(PER_CLIENT, "another", 3, 111.0)

    event = {"event": "connections refused"}
    assert log.lines == [
        event | {"reason": "max_connections", "limit": 7, "refused": 1, "last_client": "client 100"},
        event | {"reason": "max_connections", "limit": 7, "refused": 3, "last_client": "client 110"},
        event | {"reason": "max_connections_per_client", "limit": 3, "refused": 1, "last_client": "another"},
    ]
    (family,) = [each for each in metrics.snapshot() if each.name == "sidecar_connections_refused_total"]
    assert dict(family.rows) == {("max_connections",): 5, ("max_connections_per_client",): 1}


def test_both_reasons_are_there_from_the_start() -> None:
    """So that a rate over them sees the first one."""
    (family,) = [each for each in Metrics("test").snapshot() if each.name == "sidecar_connections_refused_total"]

    assert dict(family.rows) == {(TOTAL,): 0, (PER_CLIENT,): 0}
