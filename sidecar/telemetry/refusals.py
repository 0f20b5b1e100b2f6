"""Tells of client connections that were refused: each in the metrics, and in the log once in a while.

They are no requests, so the access log has none of them; and a flood must not become one of log lines.
"""

from __future__ import annotations

from typing import Final

from structlog.typing import FilteringBoundLogger

from sidecar.telemetry.metrics import Metrics

# Seconds between two lines for the same reason.
_EVERY: Final = 10.0


class Refusals:
    """One sidecar's. Times are seconds of `time.monotonic`."""

    def __init__(self, metrics: Metrics, log: FilteringBoundLogger) -> None:
        self._metrics = metrics
        self._log = log
        self._said: dict[str, float] = {}
        self._since: dict[str, int] = {}  # refused since then

    def refused(self, reason: str, client: str, limit: int, now: float) -> None:
        """A connection of `client` was refused, as `limit` are open."""
        self._metrics.connection_refused(reason)
        count = self._since.get(reason, 0) + 1
        if reason in self._said and now < self._said[reason] + _EVERY:
            self._since[reason] = count
            return
        self._said[reason] = now
        self._since[reason] = 0
        self._log.warning("connections refused", reason=reason, limit=limit, refused=count, last_client=client)
