"""A connection of the admin port: aiohttp's, which would quote what it cannot read, tokens too."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Final

from aiohttp import web

from sidecar.admin.problems import problem

# How long a connection may be without a whole request, the first one included.
_IDLE: Final = 75.0  # seconds

# Of what a client sends and nobody reads, at most so much is kept for each connection.
_UNREAD: Final = 16 * 1024  # bytes


class Connection(web.RequestHandler):
    """Made by the door, for `server`."""

    __slots__ = ()

    def __init__(self, server: web.Server) -> None:
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            access_log=None,  # type: ignore[arg-type]  # it is asked for, not used
            keepalive_timeout=_IDLE,
            read_bufsize=_UNREAD,
        )

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = HTTPStatus.INTERNAL_SERVER_ERROR,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """aiohttp's call: `message` says what was wrong with a request, in the client's own words."""
        if status != HTTPStatus.BAD_REQUEST:
            return super().handle_error(request, status, exc, message)
        answer = problem(status, "bad_request", "this is not HTTP/1.1 as it is understood here; nothing was done")
        answer.force_close()
        return answer
