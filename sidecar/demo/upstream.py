"""The demo's service: quick, slow, failing and streaming paths, named as those of the Go service in `examples/go`.

Listens on a port of this machine that nobody else knows. Does not know that a proxy stands before it.
"""

from __future__ import annotations

import asyncio
import re
from typing import Final

from aiohttp import web

from sidecar.units import parse_duration

# What a curious visitor may ask for at most.
_LONGEST_SLEEP: Final = 60.0  # seconds
_MOST_EVENTS: Final = 1000
_EVENTS: Final = 10  # unless told otherwise
_PAUSE: Final = 0.25  # seconds between two of them

_FLAKY_ROUND: Final = 4  # one request in so many fails

# How long answers that are under way may hold up the end; the proxy has drained before.
_GRACE: Final = 0.5  # seconds


class Upstream:
    """The running service. `url` is where it listens; `page` and `text` are what `/` shows browsers and the others."""

    def __init__(self) -> None:
        self.url = ""
        self.text = ""
        self.page = ""
        self._flaky = 0
        app = web.Application()
        app.router.add_get("/", self._index)
        app.router.add_get("/items/{id}", _item)
        app.router.add_get("/flaky/{key}", self._flake)
        app.router.add_route("*", "/echo", _echo)
        app.router.add_route("*", "/status/{code}", _status)
        app.router.add_get("/broken", _broken)
        app.router.add_get("/sleep/{duration}", _sleep)
        app.router.add_get("/hang", _hang)
        app.router.add_get("/sse", _events)
        app.router.add_get("/chunked", _chunked)
        app.router.add_get("/abort", _abort)
        app.router.add_get("/abort-chunked", _abort_chunked)
        app.router.add_get("/garbage", _garbage)
        # A handler ends when its client has gone, as Go's do that look at `r.Context()`.
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=_GRACE)

    async def start(self) -> None:
        """Listen."""
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"

    async def stop(self) -> None:
        """Stop listening and close everything."""
        await self._runner.cleanup()

    async def _index(self, request: web.Request) -> web.Response:
        if "text/html" in request.headers.get("Accept", ""):
            return web.Response(text=self.page, content_type="text/html")
        return web.Response(text=self.text)

    async def _flake(self, request: web.Request) -> web.Response:
        self._flaky += 1
        if self._flaky % _FLAKY_ROUND == 0:
            return web.json_response({"error": "it does this now and then"}, status=500)
        return web.json_response({"key": request.match_info["key"], "well": True})

    def __repr__(self) -> str:
        return f"<Upstream {self.url}>"


async def _item(request: web.Request) -> web.Response:
    return web.json_response({"id": request.match_info["id"], "name": "a thing", "price": 4.2})


async def _echo(request: web.Request) -> web.Response:
    body = await request.read()
    fields = {"method": request.method, "path": request.path_qs, "headers": dict(request.headers)}
    return web.json_response({**fields, "bytes": len(body), "body": body[:256].decode("utf-8", "replace")})


async def _status(request: web.Request) -> web.Response:
    code = request.match_info["code"]
    if not re.fullmatch("[2-5][0-9]{2}", code):
        raise web.HTTPBadRequest(text="a status from 200 to 599\n")
    return web.Response(status=int(code), text=f"{code}, as you wish\n")


async def _broken(request: web.Request) -> web.Response:
    return web.Response(status=500, text="broken, as always\n")


async def _sleep(request: web.Request) -> web.Response:
    try:
        seconds = min(parse_duration(request.match_info["duration"]), _LONGEST_SLEEP)
    except ValueError as error:
        raise web.HTTPBadRequest(text=f"the duration {error}\n") from None
    await asyncio.sleep(seconds)
    return web.json_response({"slept": seconds})


async def _hang(request: web.Request) -> web.Response:
    await asyncio.Event().wait()
    return web.Response()


async def _events(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
    await response.prepare(request)
    for number in range(1, _count(request.query.get("n", "")) + 1):
        await response.write(f"id: {number}\ndata: event {number}\n\n".encode())
        await asyncio.sleep(_PAUSE)
    return response


def _count(wanted: str) -> int:
    return min(int(wanted), _MOST_EVENTS) if re.fullmatch("[0-9]{1,9}", wanted) else _EVENTS


async def _chunked(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    response.enable_chunked_encoding()
    await response.prepare(request)
    for number in range(1, 6):
        await response.write(f"piece {number}\n".encode())
        await asyncio.sleep(0.1)
    return response


async def _abort(request: web.Request) -> web.Response:
    return await _drop(request)


async def _abort_chunked(request: web.Request) -> web.Response:
    response = web.StreamResponse()
    response.enable_chunked_encoding()
    await response.prepare(request)
    await response.write(b"so far so good, and th")
    await asyncio.sleep(0.05)
    return await _drop(request)


async def _garbage(request: web.Request) -> web.Response:
    assert request.transport is not None
    request.transport.write(b"HTTP/1.1 perhaps\r\nno colon here\r\n\r\n")
    await asyncio.sleep(0.05)
    return await _drop(request)


async def _drop(request: web.Request) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    # The connection's end cancels this handler: nobody tries to write an answer to it.
    await asyncio.Event().wait()
    raise AssertionError("never reached")
