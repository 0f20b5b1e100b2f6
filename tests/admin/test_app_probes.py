"""/app/livez and /app/readyz: the application's own health for a kubelet that cannot reach it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from sidecar.address import UpstreamAddress
from sidecar.admin import app_probes, guard
from sidecar.admin.plane import AppHealth
from tests.admin.support import Client, FakePlane, until


class Application:
    """An application with two health pages; it answers what the test says, once it is let to."""

    def __init__(self) -> None:
        self.status = {"/livez": 200, "/health/ready": 200}
        self.asked: list[tuple[str, str]] = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def answer(self, request: web.Request) -> web.Response:
        """A health page with a body that is nobody's business."""
        self.asked.append((request.path, request.headers.get("User-Agent", "")))
        await self.may_answer.wait()
        return web.Response(status=self.status[request.path], text="secrets of the application", headers={"X-Own": "1"})


@pytest.fixture
async def application(plane: FakePlane) -> AsyncIterator[Application]:
    """The application, which the admin port knows."""
    served = Application()
    app = web.Application()
    app.add_routes([web.get(path, served.answer) for path in served.status])
    async with TestServer(app) as server:
        plane.app_health = AppHealth(UpstreamAddress("127.0.0.1", server.port or 0), "/livez", "/health/ready")
        yield served
        served.may_answer.set()


@pytest.mark.parametrize(("page", "path"), [("/app/livez", "/livez"), ("/app/readyz", "/health/ready")])
@pytest.mark.parametrize("status", [200, 204, 302, 404, 500, 503])
async def test_the_status_and_nothing_else(
    client: Client, application: Application, page: str, path: str, status: int
) -> None:
    """Whatever the application answers on the path that is set; not its body, not its headers, no redirect followed."""
    application.status[path] = status
    answer = await client.get(page, headers={"User-Agent": "kube-probe/1.34"}, allow_redirects=False)

    assert answer.status == status
    assert await answer.read() == b""
    assert "X-Own" not in answer.headers
    assert application.asked == [(path, "kube-probe/1.34")]


async def test_they_are_open_to_all(client: Client, application: Application, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kubelet is another machine, and names the pod."""
    monkeypatch.setattr(guard, "_peer", lambda request: "192.0.2.7")

    assert (await client.get("/app/livez", headers={"Host": "10.0.0.7"})).status == 200
    assert (await client.head("/app/readyz", headers={"Host": "10.0.0.7"})).status == 200


async def test_many_who_ask_at_once_are_one(client: Client, application: Application) -> None:
    """An open page does not let others ask the application more often than one after the other."""
    application.may_answer.clear()
    asking = [asyncio.create_task(_status(client, "/app/livez")) for _ in range(20)]
    await until(lambda: len(application.asked) == 1)
    await asyncio.sleep(0)
    application.may_answer.set()

    assert await asyncio.gather(*asking) == [200] * 20
    assert len(application.asked) < 20
    assert await _status(client, "/app/livez") == 200


async def test_whoever_asked_first_may_leave(client: Client, application: Application) -> None:
    """The others get their answer."""
    application.may_answer.clear()
    first = asyncio.create_task(_status(client, "/app/livez"))
    await until(lambda: len(application.asked) == 1)
    other = asyncio.create_task(_status(client, "/app/livez"))
    first.cancel()
    await asyncio.wait([first])
    application.may_answer.set()

    assert await other == 200


async def test_a_silent_application_is_not_waited_for(
    client: Client, application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    """504, before the kubelet gives up; the next one asks anew."""
    assert app_probes._LONGEST < 1
    monkeypatch.setattr(app_probes, "_LONGEST", 0.02)
    application.may_answer.clear()
    assert await _status(client, "/app/readyz") == 504

    monkeypatch.undo()
    application.may_answer.set()
    assert await _status(client, "/app/readyz") == 200


@pytest.mark.parametrize("speak", [None, b"SSH-2.0-x\r\n", b"HTTP/1.1 999 Odd\r\nContent-Length: 0\r\n\r\n", b""])
async def test_no_application_is_no_fault_of_ours(client: Client, plane: FakePlane, speak: bytes | None) -> None:
    """What is not there, speaks no HTTP or has no status that there is: 503 or 502, as a probe that fails."""
    async with _peer(speak) as port:
        plane.app_health = AppHealth(UpstreamAddress("127.0.0.1", port), "/livez", "/readyz")
        assert await _status(client, "/app/livez") in (502, 503)


async def test_a_page_without_a_path_is_not_there(client: Client, plane: FakePlane) -> None:
    """Who sets the path to nothing has no such probe."""
    plane.app_health = plane.app_health._replace(livez="")
    answer = await client.get("/app/livez")

    assert answer.status == 404
    assert "health.app_livez" in (await answer.json(content_type=None))["detail"]


async def test_no_traffic_and_no_verdict(client: Client, application: Application, plane: FakePlane) -> None:
    """Neither metrics nor the upstream's state know of it."""
    application.status["/livez"] = 500
    before = plane.health.since, plane.health.last_answer
    await _status(client, "/app/livez")

    assert plane.health.up
    assert (plane.health.since, plane.health.last_answer) == before
    assert "http_requests_total{" not in await (await client.get("/metrics")).text()


async def _status(client: Client, path: str) -> int:
    return (await client.get(path)).status


@asynccontextmanager
async def _peer(speak: bytes | None) -> AsyncIterator[int]:
    """A listener that says this to whoever connects; None = nobody listens any more. Gives its port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(speak or b"")
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port: int = server.sockets[0].getsockname()[1]
        if speak is None:
            server.close()
        yield port
