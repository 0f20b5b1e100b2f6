"""The application's own health, through the admin port: for an application that listens on loopback alone, where the
kubelet cannot reach it.

The answer is the status and nothing else. It is no traffic: no limit counts it, no circuit sees it. As these pages are
open to all, however many ask at once, the application is asked once.
"""

from __future__ import annotations

import asyncio
from typing import Final

import aiohttp
from aiohttp import web

from sidecar.admin.plane import Plane
from sidecar.admin.problems import problem
from sidecar.health import get

# The kubelet waits a second, unless it is told otherwise.
_LONGEST: Final = 0.8  # seconds

_USER_AGENT: Final = "User-Agent"


class AppProbes:
    """The handlers."""

    def __init__(self, plane: Plane) -> None:
        self._plane = plane
        self._asking: dict[str, asyncio.Task[int]] = {}

    def routes(self) -> list[web.RouteDef]:
        """Both pages."""
        return [web.get("/app/livez", self.livez), web.get("/app/readyz", self.readyz)]

    async def livez(self, request: web.Request) -> web.Response:
        """Whether the application lives."""
        return await self._pass(request, self._plane.app_health.livez, "app_livez")

    async def readyz(self, request: web.Request) -> web.Response:
        """Whether the application is ready."""
        return await self._pass(request, self._plane.app_health.readyz, "app_readyz")

    async def _pass(self, request: web.Request, path: str, knob: str) -> web.Response:
        if not path:
            return problem(404, "not_found", f"health.{knob} says no path of the application")
        task = self._asking.get(path)
        if task is None:
            task = self._asking[path] = asyncio.create_task(self._ask(path, request.headers.get(_USER_AGENT, "")))
            task.add_done_callback(lambda _: self._asking.pop(path))
        # Whoever asked first may leave; the others still want to know.
        return web.Response(status=await asyncio.shield(task), headers={"Cache-Control": "no-store"})

    async def _ask(self, path: str, agent: str) -> int:
        try:
            async with asyncio.timeout(_LONGEST):
                status = await get(self._plane.app_health.address, path, {_USER_AGENT: agent} if agent else None)
        except TimeoutError:
            return 504
        except (aiohttp.ClientError, OSError):
            return 503
        return status if 200 <= status < 600 else 502
