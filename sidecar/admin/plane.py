"""What the admin port needs of the application, and nothing else of it."""

from __future__ import annotations

from typing import Protocol

from sidecar.health import UpstreamHealth
from sidecar.telemetry.metrics import Metrics


class Plane(Protocol):
    """The running sidecar, as the admin port sees it."""

    @property
    def started(self) -> bool:
        """Whether the data listener is bound."""

    @property
    def draining(self) -> bool:
        """Whether a drain has begun."""

    @property
    def health(self) -> UpstreamHealth:
        """The state of the upstream."""

    @property
    def metrics(self) -> Metrics:
        """What /metrics shows."""

    @property
    def token(self) -> str:
        """What lets others than this machine in; empty = nobody."""

    def status(self) -> dict[str, object]:
        """Everything live, ready to become JSON. Holds no secret."""

    def begin_drain(self, cause: str) -> None:
        """Begin a drain and go on accepting; joins one that runs. `cause` is for the log."""
