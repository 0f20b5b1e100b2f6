"""Tells everyone who keeps an account of exchanges: metrics, access log, health of the upstream, the last
exchanges, a drain."""

from __future__ import annotations

from collections.abc import Callable

from structlog.typing import FilteringBoundLogger

from sidecar.exchange import Exchange, Outcome
from sidecar.health import UpstreamHealth
from sidecar.telemetry.access import AccessLog
from sidecar.telemetry.metrics import Metrics
from sidecar.telemetry.recent import Recent


class Recorder:
    """See `stack.Recorder`. `watch`, while set, is told of every exchange that ends."""

    def __init__(
        self,
        metrics: Metrics,
        access: AccessLog,
        health: UpstreamHealth,
        recent: Recent,
        log: FilteringBoundLogger,
    ) -> None:
        self._metrics = metrics
        self._access = access
        self._health = health
        self._recent = recent
        self._log = log
        self.watch: Callable[[Exchange, float], None] | None = None
        self.opened = metrics.opened

    def settled(self, exchange: Exchange, now: float) -> None:
        """See stack.Recorder."""
        self._metrics.settled(exchange, now)
        self._access.settled(exchange, now)
        self._recent.settled(exchange, now)
        if self.watch is not None:
            self.watch(exchange, now)

    def attempt(self, outcome: Outcome, now: float) -> None:
        """See stack.Recorder."""
        self._metrics.attempt(outcome)
        self._health.traffic(outcome, now)

    def fault(self, exchange: Exchange) -> None:
        """See stack.Recorder."""
        self._log.exception("fault in the sidecar", request_id=exchange.id.decode("ascii"), path=exchange.request.path)
