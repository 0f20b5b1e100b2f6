"""An application as the admin port sees it, and the port itself over real sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp.test_utils import TestClient, TestServer
from aiohttp.web import Application, Request

from sidecar.admin.app import build
from sidecar.health import UpstreamHealth
from sidecar.telemetry.metrics import Metrics

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
        self.drains: list[str] = []

    def status(self) -> dict[str, object]:
        return {"version": "1.2.3", "draining": self.draining}

    def begin_drain(self, cause: str) -> None:
        self.draining = True
        self.drains.append(cause)


@asynccontextmanager
async def serving(plane: FakePlane, bound_host: str = "127.0.0.1") -> AsyncIterator[Client]:
    """A client of the admin port."""
    async with TestClient(TestServer(build(plane, bound_host))) as client:
        yield client
