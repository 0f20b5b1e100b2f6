"""The pages about settings and circuits: what is in force, and the few things that can be done to it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web

from sidecar.admin.plane import Plane
from sidecar.admin.problems import answer, problem


class Actions:
    """The handlers."""

    def __init__(self, plane: Plane) -> None:
        self._plane = plane

    def routes(self) -> list[web.RouteDef]:
        """Every page."""
        return [
            web.get("/config", self.config),
            web.post("/config/reload", self.reload),
            web.post("/breaker/open", self._circuit("open")),
            web.post("/breaker/close", self._circuit("close")),
        ]

    async def config(self, request: web.Request) -> web.Response:
        """The settings in force, as a file (RFC 9512), with the origin of each."""
        headers = {"Cache-Control": "no-store"}
        return web.Response(text=self._plane.config(), content_type="application/yaml", headers=headers)

    async def reload(self, request: web.Request) -> web.Response:
        """Read the settings again; those that are not good leave the old ones in force."""
        result = await self._plane.reload(f"POST /config/reload from {request.remote or 'a local socket'}")
        if not result.ok:
            detail = "the settings are not good; the old ones stay in force"
            return problem(422, "bad_settings", detail, problems=result.problems)
        return answer(result._asdict())

    def _circuit(self, action: str) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def handler(request: web.Request) -> web.Response:
            name = request.query.get("circuit", "")
            if not name:
                return problem(400, "no_circuit", f"say which: /breaker/{action}?circuit=NAME; /status lists them")
            try:
                self._plane.circuit(action, name)
            except LookupError as error:
                return problem(404, "unknown_circuit", str(error.args[0] if error.args else error))
            return answer({"circuit": name, "action": action})

        return handler
