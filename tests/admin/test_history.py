"""The pages about single exchanges."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import Any

import aiohttp
import pytest

from sidecar.address import ListenAddress
from sidecar.admin import history
from sidecar.admin.app import start
from tests.admin.support import Client, FakePlane, until
from tests.telemetry.support import ended


@pytest.fixture(autouse=True)
def _without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test waits for nothing."""
    monkeypatch.setattr(history, "_PAUSE", 0.0)


def three(plane: FakePlane) -> None:
    """Three exchanges of each other's unlike."""
    plane.ends(ended(b"/a?token=secret", route="orders", label="/a"), 101.0)
    plane.ends(ended(b"/b", label="/b", status=503, reason="circuit_open", id=b"id-2"), 102.0)
    plane.ends(ended(b"/c", label="/c", status=0, reason="client_gone"), 103.0)


async def test_the_last_requests_come_newest_first(client: Client, plane: FakePlane) -> None:
    """With the fields of the access log, and without a query string."""
    three(plane)
    answer = await client.get("/requests")
    text = await answer.text()
    body = json.loads(text)

    assert (body["kept"], body["size"]) == (3, 1256)
    assert [row["path"] for row in body["requests"]] == ["/c", "/b", "/a"]
    assert body["requests"][2] | {"ts": ""} == {
        "ts": "",
        "method": "GET",
        "path": "/a",
        "status": 200,
        "reason": "upstream",
        "route": "orders",
        "template": "/a",
        "attempts": 0,
        "duration_ms": 1000.0,
        "upstream_ms": 0.0,
        "queue_ms": 0.0,
        "backoff_ms": 0.0,
        "client_ms": 0.0,
        "own_ms": 1000.0,
        "bytes_in": 0,
        "bytes_out": 0,
        "request_id": "id-1",
        "upstream": "",
        "client": "10.0.0.1",
    }
    assert "secret" not in text
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("reason=circuit_open", ["/b"]),
        ("reason=upstream", ["/a"]),
        ("route=orders", ["/a"]),
        ("route=/c", ["/c"]),
        ("route=nobody", []),
        ("status=503", ["/b"]),
        ("status=5xx", ["/b"]),
        ("status=499", ["/c"]),
        ("status=4xx", ["/c"]),
        ("status=200&route=orders", ["/a"]),
        ("status=200&route=/c", []),
        ("limit=2", ["/c", "/b"]),
        ("limit=1&status=2xx", ["/a"]),
    ],
)
async def test_they_can_be_filtered(client: Client, plane: FakePlane, query: str, found: list[str]) -> None:
    """By reason, by route or template, by status or its class, all at once; the limit holds for what is left."""
    three(plane)
    body = await (await client.get(f"/requests?{query}")).json()

    assert [row["path"] for row in body["requests"]] == found


@pytest.mark.parametrize("page", ["/requests", "/events"])
@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("reason=circuit_opn", "did you mean circuit_open?"),
        ("reason=zzz", "there are upstream, rate_limited,"),
        ("status=6", "write status=503"),
        ("status=5x", "write status=503"),
        ("state=open", "state is no filter here; there are reason, route, status"),
    ],
)
async def test_a_filter_that_means_nothing_is_told(client: Client, page: str, query: str, said: str) -> None:
    """Rather than to show nothing, or all."""
    answer = await client.get(f"{page}?{query}")

    assert answer.status == 400
    body = await answer.json(content_type=None)
    assert body["reason"] == "bad_filter"
    assert said in body["detail"]


@pytest.mark.parametrize("limit", ["0", "-1", "x", "1e3", "9999999", "%C2%B2"])
async def test_a_limit_is_a_number(client: Client, limit: str) -> None:
    """Of at least one."""
    assert (await client.get(f"/requests?limit={limit}")).status == 400


async def test_a_story_is_told_by_id(client: Client, plane: FakePlane) -> None:
    """All that had this ID, newest first."""
    three(plane)
    body = await (await client.get("/explain/id-1")).json()

    assert [(one["path"], one["in_flight"]) for one in body["exchanges"]] == [("/c", False), ("/a", False)]
    assert body["more"] == 0
    assert body["exchanges"][1]["why"] == "answered 200: the upstream's own answer to the first attempt"


async def test_a_story_is_text_for_who_asks(client: Client, plane: FakePlane) -> None:
    """As the command line does."""
    three(plane)
    headers = {"Accept": "text/plain"}
    answer = await client.get("/explain/id-2", headers=headers)
    text = await answer.text()
    both = await (await client.get("/explain/id-1", headers=headers)).text()

    assert answer.content_type == "text/plain"
    assert text.startswith("GET /b -> 503 circuit_open\n")
    assert text.endswith("no attempt was made\n")
    assert both.startswith("2 exchanges had this ID; the last 2 of them, newest first:\n\nGET /c -> 499 client_gone\n")


async def test_what_is_in_flight_can_be_explained(client: Client, plane: FakePlane) -> None:
    """That is when it is wanted most."""
    plane.busy = [ended(b"/slow", status=0, attempts=1)]
    (one,) = (await (await client.get("/explain/id-1")).json())["exchanges"]

    assert one["in_flight"]
    assert one["why"] == "not answered yet: the upstream has it, in attempt 1"


async def test_an_unknown_id_is_told(client: Client, plane: FakePlane) -> None:
    """With how many are kept, as it may have been one too many."""
    three(plane)
    answer = await client.get("/explain/id-3")
    body = await answer.json(content_type=None)

    assert (answer.status, body["reason"]) == (404, "unknown_request")
    assert body["detail"] == "no exchange with this ID is among the last 3 nor in flight; 1256 are kept"


async def test_an_id_of_a_loop_does_not_fill_the_page(client: Client, plane: FakePlane) -> None:
    """Ten stories, and how many more there are."""
    for _ in range(30):
        plane.ends(ended(), 101.0)
    body = await (await client.get("/explain/id-1")).json()

    assert (len(body["exchanges"]), body["more"]) == (10, 20)


class Events:
    """The events of a stream, as they come."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self._answer = answer

    async def next(self) -> tuple[str, dict[str, Any]]:
        """The next one, comments left out."""
        while True:
            block = (await self._answer.content.readuntil(b"\n\n")).decode()
            if not block.startswith(":"):
                event, data = block.strip().split("\n")
                return event.removeprefix("event: "), json.loads(data.removeprefix("data: "))


async def test_events_come_as_exchanges_end(client: Client, plane: FakePlane) -> None:
    """Those that are wanted, with the fields of /requests; when the sidecar leaves, it says so."""
    async with client.get("/events?status=5xx") as answer:
        assert answer.content_type == "text/event-stream"
        events = Events(answer)
        three(plane)
        name, row = await events.next()
        assert (name, row["path"], row["reason"]) == ("exchange", "/b", "circuit_open")
        plane.ends(ended(b"/d", status=500), 104.0)
        assert (await events.next())[1]["path"] == "/d"
        plane.recent.dismiss()
        assert await events.next() == ("left", {})
        assert await answer.content.read() == b""


async def test_a_slow_reader_is_told_what_it_missed(client: Client, plane: FakePlane) -> None:
    """It costs nobody but itself anything."""
    async with client.get("/events") as answer:
        events = Events(answer)
        for number in range(300):
            plane.ends(ended(b"/%d" % number, label="/{id}"), 101.0)
        for number in range(256):
            assert (await events.next())[1]["path"] == f"/{number}"
        assert await events.next() == ("dropped", {"dropped": 44})
        plane.ends(ended(b"/after"), 101.0)
        assert (await events.next())[1]["path"] == "/after"


async def test_readers_are_bounded(client: Client, plane: FakePlane) -> None:
    """One too many is sent away, until another has left."""
    answers = [await client.get("/events") for _ in range(16)]
    refused = await client.get("/events")
    assert refused.status == 503
    assert (await refused.json(content_type=None))["reason"] == "too_many_readers"
    assert "Retry-After" in refused.headers

    answers.pop().close()

    def one_has_left() -> bool:
        plane.ends(ended(), 101.0)  # a write shows that a reader has left
        return "15 readers" in repr(plane.recent)

    await until(one_has_left)
    again = await client.get("/events")
    assert again.status == 200
    for answer in [again, *answers]:
        answer.close()


async def test_a_quiet_stream_shows_that_it_lives(
    client: Client, plane: FakePlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a comment now and then; and a reader that has left is found out by that."""
    monkeypatch.setattr(history, "_SILENCE", 0.001)
    async with client.get("/events") as answer:
        for _ in range(3):
            assert (await answer.content.readuntil(b"\n\n")).startswith(b":")
    await until(lambda: "0 readers" in repr(plane.recent))


async def test_head_of_the_stream_does_not_hang(client: Client) -> None:
    """It is no page that could be asked for its head."""
    assert (await client.head("/events")).status == 405


async def test_a_stream_does_not_hold_up_the_end(plane: FakePlane) -> None:
    """It ends at once, and says why."""
    sock = socket.create_server(("127.0.0.1", 0))
    server = await start(plane, ListenAddress("127.0.0.1", sock.getsockname()[1]), sock)
    async with aiohttp.ClientSession() as session, session.get(f"http://{server.address}/events") as answer:
        reading = asyncio.ensure_future(answer.content.read())
        await asyncio.sleep(0)
        async with asyncio.timeout(0.9):  # less than what a page may take to end
            await server.stop()
        assert (await reading).endswith(b"event: left\ndata: {}\n\n")
