"""The pages of the admin port about the sidecar as a whole. Each reads the `Plane`; only a POST changes something.

/livez and /startupz never look at the upstream: a native sidecar's startup probe gates the start of the application.
"""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import Final

from aiohttp import web

from sidecar.admin.plane import Plane
from sidecar.admin.problems import answer
from sidecar.admin.table import table
from sidecar.telemetry.exposition import exposition

_PAGES: Final = {
    "/livez": "200 while the process answers",
    "/startupz": "200 once the data port is bound",
    "/readyz": "200 while requests are welcome; 503 while draining or while the upstream is down",
    "/healthz": "each dependency by name; 503 if one fails",
    "/app/livez": "the status of the application's own health.app_livez, nothing else of it",
    "/app/readyz": "the same of its health.app_readyz",
    "/metrics": "for Prometheus",
    "/status": "everything live",
    "/routes": "counts of each path template since the start",
    "/requests": "the last exchanges, newest first; ?reason= ?route= ?status= ?limit=",
    "/explain/{id}": "the whole story of one exchange, by its request ID",
    "/events": "each exchange that ends, as server-sent events; ?reason= ?route= ?status=",
    "/config": "the settings in force, and where each comes from",
    "/config/reload": "POST: read the settings again",
    "/breaker/open": "POST: open the circuit ?circuit=",
    "/breaker/close": "POST: close the circuit ?circuit=",
    "/drain": "POST: begin to leave",
    "/quitquitquit": "POST: drain, and end; for a Job whose work is done",
}


class Views:
    """The handlers."""

    def __init__(self, plane: Plane) -> None:
        self._plane = plane
        # One scrape at a time: /metrics is open to all, and its text costs milliseconds to make.
        self._scrape = asyncio.Lock()

    def routes(self) -> list[web.RouteDef]:
        """Every page; GET answers HEAD as well."""
        return [
            web.get("/", self.index),
            web.get("/livez", self.livez),
            web.get("/startupz", self.startupz),
            web.get("/readyz", self.readyz),
            web.get("/healthz", self.healthz),
            web.get("/metrics", self.metrics),
            web.get("/status", self.status),
            web.get("/routes", self.routes_table),
            web.post("/drain", self.drain),
            web.post("/quitquitquit", self.quit),
        ]

    async def index(self, request: web.Request) -> web.Response:
        """What there is."""
        return answer(_PAGES)

    async def livez(self, request: web.Request) -> web.Response:
        """That this runs says it all: the event loop turns."""
        return _text("ok")

    async def startupz(self, request: web.Request) -> web.Response:
        """Whether clients can connect."""
        return _text("ok") if self._plane.started else _text("starting", 503)

    async def readyz(self, request: web.Request) -> web.Response:
        """Whether to send requests here."""
        cause = self._not_ready()
        if cause:
            return answer({"ready": False, "cause": cause}, 503)
        return answer({"ready": True})

    async def healthz(self, request: web.Request) -> web.Response:
        """The state of each dependency."""
        health = self._plane.health
        upstream: dict[str, object] = {"ok": health.up, "for_seconds": round(monotonic() - health.since, 3)}
        if not health.up:
            upstream["error"] = health.last_error or "not seen yet"
        return answer({"ok": health.up, "checks": {"upstream": upstream}}, 200 if health.up else 503)

    async def metrics(self, request: web.Request) -> web.Response:
        """The figures of this moment; their text is made beside the event loop, which would wait for it."""
        accept = request.headers.get("Accept", "")
        async with self._scrape:
            body, content_type = await asyncio.to_thread(exposition, self._plane.metrics.snapshot(), accept)
        return web.Response(body=body, headers={"Content-Type": content_type})

    async def status(self, request: web.Request) -> web.Response:
        """Everything live."""
        return answer(self._plane.status())

    async def routes_table(self, request: web.Request) -> web.Response:
        """The figures of each path template."""
        plane = self._plane
        return answer(table(plane.metrics.snapshot(), plane.recent, monotonic()))

    async def drain(self, request: web.Request) -> web.Response:
        """Begin to leave. The answer comes at once; SIGTERM or /status tells the rest."""
        self._plane.begin_drain(_cause(request))
        return answer({"draining": True}, 202)

    async def quit(self, request: web.Request) -> web.Response:
        """Drain and end. The page has the name that other sidecars gave it."""
        self._plane.leave(_cause(request))
        return answer({"draining": True, "ending": True}, 202)

    def _not_ready(self) -> str:
        plane = self._plane
        if plane.draining:
            return "draining"
        if not plane.started:
            return "starting"
        if not plane.health.up:
            return f"upstream is down: {plane.health.last_error or 'not seen yet'}"
        return ""


def _cause(request: web.Request) -> str:
    return f"POST {request.path} from {request.remote or 'a local socket'}"


def _text(text: str, status: int = 200) -> web.Response:
    return web.Response(text=text, status=status, headers={"Cache-Control": "no-store"})
