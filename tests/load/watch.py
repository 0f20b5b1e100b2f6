"""What a running proxy holds, sampled while it is loaded: memory, files, tasks, places, connections."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple

from tests.support.processes import Proxy


class Sample(NamedTuple):
    """How it stood `at` so many seconds after the beginning, when so many requests had ended."""

    at: float
    ended: int
    rss: int
    files: int
    tasks: int
    in_flight: int
    places: int
    clients: int
    upstream: int

    @property
    def held(self) -> dict[str, int]:
        """What has to come back to what it was when nobody asks."""
        return {name: value for name, value in self._asdict().items() if name not in ("at", "ended", "rss")}

    def __str__(self) -> str:
        held = ", ".join(f"{name} {value}" for name, value in self.held.items())
        return f"{self.at:6.1f} s  {self.ended:8} ended  {self.rss / 1e6:6.1f} MB  {held}"


def sample(proxy: Proxy, at: float) -> Sample:
    """Ask it."""
    status = proxy.status()
    gates = status["policies"]["concurrency"].values()
    return Sample(
        at,
        int(total(proxy.metrics(), "http_requests_total")),
        proxy.rss(),
        len(os.listdir(f"/proc/{proxy.pid}/fd")),
        status["tasks"],
        status["in_flight"] + status["waiting"],
        sum(gate["in_flight"] + gate["queued"] + gate["tunnels"] for gate in gates) + status["pool"]["waiting"],
        status["connections"],
        status["pool"]["connections"],
    )


def total(metrics: dict[str, float], family: str) -> float:
    """The sum of a metric's samples."""
    return sum(value for name, value in metrics.items() if name.startswith(family + "{"))


def growth(samples: Sequence[Sample]) -> float:
    """Bytes of memory that came with each request, by the line that fits the samples best."""
    count = len(samples)
    mean_x = sum(each.ended for each in samples) / count
    mean_y = sum(each.rss for each in samples) / count
    spread = sum((each.ended - mean_x) ** 2 for each in samples)
    return sum((each.ended - mean_x) * (each.rss - mean_y) for each in samples) / spread if spread else 0.0
