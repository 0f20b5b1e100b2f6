"""The pages about settings and circuits."""

from __future__ import annotations

import pytest

from sidecar.admin.plane import ReloadResult
from tests.admin.support import Client, FakePlane


async def test_the_settings_are_shown_as_a_file(client: Client, plane: FakePlane) -> None:
    """As the plane gives them, which masks the secrets."""
    answer = await client.get("/config")

    assert answer.content_type == "application/yaml"
    assert await answer.text() == plane.config()
    assert answer.headers["Cache-Control"] == "no-store"


async def test_a_reload_says_what_came_of_it(client: Client, plane: FakePlane) -> None:
    """What has changed, and what only a restart changes."""
    plane.reloaded = ReloadResult(True, [], ["rate.limit"], ["listen"])
    answer = await client.post("/config/reload")

    assert answer.status == 200
    assert await answer.json() == {
        "ok": True,
        "problems": [],
        "changed": ["rate.limit"],
        "restart_needed": ["listen"],
    }
    assert plane.reloads == ["POST /config/reload from 127.0.0.1"]


async def test_bad_settings_are_refused_with_all_that_is_wrong(client: Client, plane: FakePlane) -> None:
    """422: what was asked for is understood, and cannot be done."""
    plane.reloaded = ReloadResult(False, ["a: is wrong", "b: too"], [], [])
    answer = await client.post("/config/reload")
    body = await answer.json(content_type=None)

    assert answer.status == 422
    assert answer.content_type == "application/problem+json"
    assert (body["reason"], body["problems"]) == ("bad_settings", ["a: is wrong", "b: too"])


@pytest.mark.parametrize("action", ["open", "close"])
async def test_a_circuit_is_set_by_hand(client: Client, plane: FakePlane, action: str) -> None:
    """By its name, which may be a path template."""
    plane.circuits["/users/{id}"] = "closed"
    answer = await client.post(f"/breaker/{action}", params={"circuit": "/users/{id}"})

    assert (answer.status, await answer.json()) == (200, {"circuit": "/users/{id}", "action": action})
    assert plane.circuits == {"orders": "closed", "/users/{id}": action}


async def test_an_unknown_circuit_is_told_with_those_that_there_are(client: Client, plane: FakePlane) -> None:
    """In one sentence."""
    answer = await client.post("/breaker/open?circuit=ordres")
    body = await answer.json(content_type=None)

    assert (answer.status, body["reason"]) == (404, "unknown_circuit")
    assert body["detail"] == "no circuit 'ordres'; there are: orders"


async def test_which_circuit_must_be_said(client: Client, plane: FakePlane) -> None:
    """All of them at once is too much for a slip of the finger."""
    answer = await client.post("/breaker/open")

    assert answer.status == 400
    assert "circuit=NAME" in (await answer.json(content_type=None))["detail"]
    assert plane.circuits == {"orders": "closed"}
