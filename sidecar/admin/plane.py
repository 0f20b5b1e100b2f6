"""What the admin port needs of the application, and nothing else of it."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from sidecar.address import UpstreamAddress
from sidecar.health import UpstreamHealth
from sidecar.telemetry.metrics import Metrics
from sidecar.telemetry.recent import Recent


class ReloadResult(NamedTuple):
    """What came of reading the settings again; if they were not good (`ok`), the old ones stay in force.

    `problems` are sentences; `changed` and `restart_needed` are dotted names of settings, those that have taken effect
    and those that will only after a restart.
    """

    ok: bool
    problems: list[str]
    changed: list[str]
    restart_needed: list[str]


class AppHealth(NamedTuple):
    """Where the application's own health pages are."""

    address: UpstreamAddress
    livez: str
    readyz: str


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
    def app_health(self) -> AppHealth:
        """Where /app/livez and /app/readyz lead to."""

    @property
    def metrics(self) -> Metrics:
        """What /metrics shows."""

    @property
    def recent(self) -> Recent:
        """The last exchanges."""

    @property
    def token(self) -> str:
        """What lets others than this machine in; empty = nobody."""

    def status(self) -> dict[str, object]:
        """Everything live, ready to become JSON. Holds no secret."""

    def begin_drain(self, cause: str) -> None:
        """Begin a drain and go on accepting; joins one that runs. `cause` is for the log."""

    def leave(self, cause: str) -> None:
        """Drain, and end the process once that is done; joins a drain that runs."""

    def config(self) -> str:
        """The settings in force as a file, each with its origin; secrets are masked."""

    async def reload(self, cause: str) -> ReloadResult:
        """Read the settings again and put them into force. `cause` is for the log."""

    def circuit(self, action: str, name: str) -> None:
        """`open` or `close` this circuit by hand; raises LookupError, with a sentence, if there is none so named."""
