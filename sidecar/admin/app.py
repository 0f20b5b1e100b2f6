"""The admin port as an aiohttp application, and its listener."""

from __future__ import annotations

import asyncio
import socket
from typing import Final

from aiohttp import web

from sidecar.address import ListenAddress
from sidecar.admin.actions import Actions
from sidecar.admin.app_probes import AppProbes
from sidecar.admin.door import MOST, Door
from sidecar.admin.guard import guard
from sidecar.admin.history import History
from sidecar.admin.plane import Plane
from sidecar.admin.views import Views

# How long a page that is being sent may hold up the end.
_GRACE: Final = 1.0  # seconds

# No page takes a body worth the name.
_LARGEST_BODY: Final = 64 * 1024  # bytes


_BACKLOG: Final = 64  # connections


def build(plane: Plane, bound_host: str = "", door: Door | None = None) -> web.Application:
    """The application. `bound_host` is where it listens, a name that the guard accepts; empty = everywhere."""
    middlewares = [guard(lambda: plane.token, bound_host, plane.metrics.admin_refused)]
    if door is not None:
        middlewares.insert(0, door.inside)
    app = web.Application(middlewares=middlewares, client_max_size=_LARGEST_BODY)
    history = History(plane)
    app.add_routes([*Views(plane).routes(), *history.routes(), *Actions(plane).routes(), *AppProbes(plane).routes()])
    app.on_shutdown.append(history.dismiss)
    return app


class AdminServer:
    """The running admin port. `address` is where it listens, with the port that was chosen."""

    def __init__(self, listener: asyncio.Server, runner: web.AppRunner, address: str) -> None:
        self._listener = listener
        self._runner = runner
        self.address = address

    async def stop(self) -> None:
        """Close the listener and its connections, within about a second."""
        self._listener.close()
        await self._runner.cleanup()

    def __repr__(self) -> str:
        return f"<AdminServer {self.address}>"


async def start(plane: Plane, listen: ListenAddress, sock: socket.socket, most: int = MOST) -> AdminServer:
    """Serve on `sock`, which is bound to `listen` and listening: bound early, so that nothing is ever half started.

    `most` is how many connections there are at once.
    """
    door = Door(most)
    runner = web.AppRunner(build(plane, "" if listen.wildcard else listen.host, door), shutdown_timeout=_GRACE)
    await runner.setup()
    door.server = runner.server
    # A small backlog is as many as are accepted in one turn of the loop, before any of them has its transport.
    listener = await asyncio.get_running_loop().create_server(door.admit, sock=sock, backlog=_BACKLOG)
    return AdminServer(listener, runner, str(listen))
