"""The admin port as an aiohttp application, and its listener."""

from __future__ import annotations

import socket
from typing import Final

from aiohttp import web

from sidecar.address import ListenAddress
from sidecar.admin.actions import Actions
from sidecar.admin.guard import guard
from sidecar.admin.history import History
from sidecar.admin.plane import Plane
from sidecar.admin.views import Views

# How long a page that is being sent may hold up the end.
_GRACE: Final = 1.0  # seconds

# No page takes a body worth the name.
_LARGEST_BODY: Final = 64 * 1024  # bytes


def build(plane: Plane, bound_host: str = "") -> web.Application:
    """The application. `bound_host` is where it listens, a name that the guard accepts; empty = everywhere."""
    app = web.Application(middlewares=[guard(lambda: plane.token, bound_host)], client_max_size=_LARGEST_BODY)
    history = History(plane)
    app.add_routes([*Views(plane).routes(), *history.routes(), *Actions(plane).routes()])
    app.on_shutdown.append(history.dismiss)
    return app


class AdminServer:
    """The running admin port. `address` is where it listens, with the port that was chosen."""

    def __init__(self, runner: web.AppRunner, address: str) -> None:
        self._runner = runner
        self.address = address

    async def stop(self) -> None:
        """Close the listener and its connections, within about a second."""
        await self._runner.cleanup()

    def __repr__(self) -> str:
        return f"<AdminServer {self.address}>"


async def start(plane: Plane, listen: ListenAddress, sock: socket.socket) -> AdminServer:
    """Serve on `sock`, which is bound to `listen` and listening: bound early, so that nothing is ever half started."""
    runner = web.AppRunner(
        build(plane, "" if listen.wildcard else listen.host),
        access_log=None,
        handle_signals=False,
        shutdown_timeout=_GRACE,
    )
    await runner.setup()
    await web.SockSite(runner, sock).start()
    return AdminServer(runner, str(listen))
