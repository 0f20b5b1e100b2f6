"""An application as the admin port sees it, and the port itself over real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp.test_utils import TestClient, TestServer
from aiohttp.web import Application, Request

from sidecar.address import UpstreamAddress
from sidecar.admin.app import build
from sidecar.admin.plane import AppHealth, ReloadResult
from sidecar.exchange import Exchange
from sidecar.health import UpstreamHealth
from sidecar.telemetry.metrics import Metrics
from sidecar.telemetry.recent import Recent
from tests.support.waiting import PATIENCE

Client = TestClient[Request, Application]


class FakePlane:
    """A plane that is what the test says."""

    def __init__(self) -> None:
        self.started = True
        self.draining = False
        self.token = ""
        self.metrics = Metrics("1.2.3")
        self.health = UpstreamHealth(0.0)
        self.health.probed(True, "accepts connections", 1.0)
        self.app_health = AppHealth(UpstreamAddress("127.0.0.1", 1), "/livez", "/readyz")
        self.drains: list[str] = []
        self.leaves: list[str] = []
        self.busy: list[Exchange] = []
        self.recent = Recent(in_flight=lambda: self.busy)
        self.reloads: list[str] = []
        self.reloaded = ReloadResult(True, [], [], [])
        self.circuits = {"orders": "closed"}

    def status(self) -> dict[str, object]:
        return {"version": "1.2.3", "draining": self.draining}

    def begin_drain(self, cause: str) -> None:
        self.draining = True
        self.drains.append(cause)

    def leave(self, cause: str) -> None:
        self.leaves.append(cause)

    def config(self) -> str:
        return "upstream: http://127.0.0.1:8080  # default\n"

    async def reload(self, cause: str) -> ReloadResult:
        self.reloads.append(cause)
        return self.reloaded

    def circuit(self, action: str, name: str) -> None:
        if name not in self.circuits:
            raise KeyError(f"no circuit {name!r}; there are: {', '.join(self.circuits)}")
        self.circuits[name] = action

    def ends(self, exchange: Exchange, now: float) -> None:
        """This exchange has ended."""
        self.metrics.opened(exchange)
        self.metrics.settled(exchange, now)
        self.recent.settled(exchange, now)


async def until(look: Callable[[], bool]) -> None:
    """Let the loop turn until this is so; it is told by nobody."""
    async with asyncio.timeout(PATIENCE):
        while not look():  # noqa: ASYNC110 - what is looked at has no event
            await asyncio.sleep(0.001)


@asynccontextmanager
async def serving(plane: FakePlane, bound_host: str = "127.0.0.1") -> AsyncIterator[Client]:
    """A client of the admin port."""
    async with TestClient(TestServer(build(plane, bound_host))) as client:
        yield client
