"""The pages about single exchanges: the last ones, the story of one, and a stream of those that end."""

from __future__ import annotations

import asyncio
from time import monotonic, time
from typing import Final

import msgspec
from aiohttp import web

from sidecar.admin import filters
from sidecar.admin.plane import Plane
from sidecar.admin.problems import answer, problem
from sidecar.telemetry import story
from sidecar.telemetry.readers import Batch, Reader

_SHOWN: Final = 100  # exchanges, where no limit is asked for
_STORIES: Final = 10  # of one ID; clients that try again may keep theirs

# After so many seconds without an exchange the stream says that it is still there: a reader that left shows by that.
_SILENCE: Final = 5.0
# At most one write in so many seconds: with the bound of a reader's queue, a bound to what a reader costs.
_PAUSE: Final = 0.05

_AGAIN: Final = {"Retry-After": "5"}
_STREAM: Final = {"Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-store"}

_encode: Final = msgspec.json.Encoder().encode


class History:
    """The handlers."""

    def __init__(self, plane: Plane) -> None:
        self._plane = plane

    def routes(self) -> list[web.RouteDef]:
        """Every page; an ID may hold a slash."""
        return [
            web.get("/requests", self.requests),
            web.get("/explain/{id:.+}", self.explain),
            web.get("/events", self.events, allow_head=False),
        ]

    async def dismiss(self, app: web.Application) -> None:
        """End the streams, so that they hold nothing up."""
        self._plane.recent.dismiss()

    async def requests(self, request: web.Request) -> web.Response:
        """The last exchanges that ended, newest first."""
        query = dict(request.query)
        try:
            limit = filters.limit(query.pop("limit", str(_SHOWN)))
            wanted = filters.wanted(query)
        except ValueError as error:
            return problem(400, "bad_filter", str(error))
        recent, now, clock = self._plane.recent, monotonic(), _clock()
        rows = [story.row(record, now, clock) for record in recent.latest(limit, wanted)]
        return answer({"requests": rows, "kept": len(recent), "size": recent.size})

    async def explain(self, request: web.Request) -> web.Response:
        """The stories of the exchanges with this ID, newest first; as text for who accepts that."""
        recent, now, clock = self._plane.recent, monotonic(), _clock()
        found = recent.find(request.match_info["id"])
        if not found:
            detail = f"no exchange with this ID is among the last {len(recent)} nor in flight; {recent.size} are kept"
            return problem(404, "unknown_request", detail)
        told = [story.story(record, now, clock) for record in found[:_STORIES]]
        if "text/plain" in request.headers.get("Accept", ""):
            return web.Response(text=_pages(told, len(found)), headers={"Cache-Control": "no-store"})
        return answer({"exchanges": told, "more": len(found) - len(told)})

    async def events(self, request: web.Request) -> web.StreamResponse:
        """Each exchange that ends, as server-sent events, until the reader or the sidecar leaves."""
        try:
            wanted = filters.wanted(dict(request.query))
        except ValueError as error:
            return problem(400, "bad_filter", str(error))
        reader = self._plane.recent.subscribe(wanted)
        if reader is None:
            return problem(503, "too_many_readers", "as many read the events already as may; close one", _AGAIN)
        response = web.StreamResponse(headers=_STREAM)
        try:
            await response.prepare(request)
            await _stream(reader, response)
        except ConnectionResetError:
            pass  # the reader has left
        finally:
            reader.close()
        return response


async def _stream(reader: Reader, response: web.StreamResponse) -> None:
    await response.write(b": each exchange that ends\n\n")
    while (batch := await reader.take(_SILENCE)) is not None:
        await response.write(_events(batch) or b": nothing ended\n\n")
        await asyncio.sleep(_PAUSE)
    await response.write(b"event: left\ndata: {}\n\n")


def _events(batch: Batch) -> bytes:
    """A batch as events `exchange`, and `dropped` where the reader missed some after them."""
    now, clock = monotonic(), _clock()
    rows = [_encode(story.row(record, now, clock)) for record in batch.records]
    lines = [b"event: exchange\ndata: %b\n\n" % row for row in rows]
    if batch.dropped:
        lines.append(b'event: dropped\ndata: {"dropped":%d}\n\n' % batch.dropped)
    return b"".join(lines)


def _pages(told: list[dict[str, object]], found: int) -> str:
    texts = [story.text(one) for one in told]
    if found > 1:
        texts.insert(0, f"{found} exchanges had this ID; the last {len(told)} of them, newest first:")
    return "\n\n".join(texts) + "\n"


def _clock() -> float:
    """What to add to the monotonic clock to have seconds since the epoch."""
    return time() - monotonic()
