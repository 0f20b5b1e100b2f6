"""The pages of the admin port."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable

import pytest
from prometheus_client.parser import text_string_to_metric_families

from sidecar.admin import views
from sidecar.telemetry.exposition import exposition
from sidecar.telemetry.tally import Family
from tests.admin.support import Client, FakePlane
from tests.telemetry.support import ended


async def test_alive_means_that_the_loop_turns(client: Client, plane: FakePlane) -> None:
    """Whatever the upstream does, and while draining."""
    plane.health.probed(False, "refused", 2.0)
    plane.draining = True
    plane.started = False
    answer = await client.get("/livez")

    assert (answer.status, await answer.text()) == (200, "ok")


async def test_started_means_that_clients_can_connect(client: Client, plane: FakePlane) -> None:
    """The upstream has no part in it: it may be waiting for this very probe."""
    plane.health.probed(False, "refused", 2.0)
    assert (await client.get("/startupz")).status == 200
    plane.started = False
    assert (await client.get("/startupz")).status == 503


async def test_ready_means_that_requests_are_welcome(client: Client, plane: FakePlane) -> None:
    """503 with the cause while starting, while the upstream is down, and while draining."""
    answer = await client.get("/readyz")
    assert (answer.status, await answer.json()) == (200, {"ready": True})

    plane.health.probed(False, "cannot connect: Connection refused", 2.0)
    answer = await client.get("/readyz")
    assert answer.status == 503
    assert await answer.json() == {"ready": False, "cause": "upstream is down: cannot connect: Connection refused"}

    plane.started = False
    assert (await (await client.get("/readyz")).json())["cause"] == "starting"
    plane.draining = True
    answer = await client.get("/readyz")
    assert (answer.status, (await answer.json())["cause"]) == (503, "draining")


async def test_each_dependency_is_named(client: Client, plane: FakePlane) -> None:
    """With what is wrong with it; 503 if one fails."""
    answer = await client.get("/healthz")
    body = await answer.json()
    assert (answer.status, body["ok"], body["checks"]["upstream"]["ok"]) == (200, True, True)

    plane.health.probed(False, "refused", 2.0)
    answer = await client.get("/healthz")
    body = await answer.json()
    assert (answer.status, body["ok"], body["checks"]["upstream"]["error"]) == (503, False, "refused")
    assert (await client.head("/healthz")).status == 503


async def test_metrics_are_prometheus_text(client: Client, plane: FakePlane) -> None:
    """Ours and those of the process."""
    answer = await client.get("/metrics")
    families = {family.name: family for family in text_string_to_metric_families(await answer.text())}

    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert families["sidecar_build_info"].samples[0].labels["version"] == "1.2.3"
    assert families["sidecar_requests_in_flight"].samples[0].value == 0
    assert "process_open_fds" in families


async def test_there_is_one_scrape_at_a_time(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many ask at once: the page is open to all, and costs milliseconds."""
    running = most = 0
    second = threading.Event()

    def scrape(families: Iterable[Family], accept: str) -> tuple[bytes, str]:
        nonlocal running, most
        running += 1
        most = max(most, running)
        second.wait(0.02)  # another that came in would be seen
        running -= 1
        return exposition(families, accept)

    monkeypatch.setattr(views, "exposition", scrape)
    answers = await asyncio.gather(*(client.get("/metrics") for _ in range(5)))

    assert [answer.status for answer in answers] == [200] * 5
    assert most == 1


async def test_metrics_are_openmetrics_for_who_asks(client: Client) -> None:
    """As Prometheus does."""
    answer = await client.get("/metrics", headers={"Accept": "application/openmetrics-text;version=1.0.0"})

    assert answer.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    assert (await answer.text()).endswith("# EOF\n")


async def test_the_status_is_what_the_plane_says(client: Client) -> None:
    """As JSON that nobody keeps."""
    answer = await client.get("/status")

    assert await answer.json() == {"version": "1.2.3", "draining": False}
    assert answer.headers["Cache-Control"] == "no-store"


async def test_the_table_has_a_row_for_each_template(client: Client, plane: FakePlane) -> None:
    """All methods together; what is in flight and what the sidecar answered itself beside it."""
    plane.ends(ended(label="/a"), 100.003)
    plane.ends(ended(label="/a", method="POST", status=503, reason="circuit_open"), 100.03)
    plane.busy = [ended(label="/a"), ended(label="/b")]
    states = [(("orders", "open"), 1), (("orders", "closed"), 0)]
    plane.metrics.live(
        upstream_up=lambda: 1,
        draining=lambda: 0,
        client_connections=lambda: 0,
        upstream_connections=lambda: 0,
        resting=lambda: 0,
        closed_idle=lambda: 0,
        closed_untaken=lambda: 0,
        log_lines_dropped=lambda: 0,
        circuits=lambda: states,
    )
    table = await (await client.get("/routes")).json()

    assert table["bounds"][:4] == [0.005, 0.01, 0.025, 0.05]
    assert table["in_flight"] == 2
    assert table["circuits"] == {"orders": "open"}
    assert set(table["routes"]) == {"/a", "/b"}
    row = table["routes"]["/a"]
    assert row.pop("seconds") == [1, 0, 0, 1, *[0] * (len(table["bounds"]) - 3)]
    assert row == {"requests": 2, "errors": 1, "own": 1, "in_flight": 1}
    assert table["routes"]["/b"]["requests"] == 0


async def test_it_may_be_told_to_end(client: Client, plane: FakePlane) -> None:
    """POST /quitquitquit, as other sidecars call it; the answer comes at once."""
    assert (await client.get("/quitquitquit")).status == 405
    assert plane.leaves == []
    answer = await client.post("/quitquitquit")

    assert (answer.status, await answer.json()) == (202, {"draining": True, "ending": True})
    assert plane.leaves == ["POST /quitquitquit from 127.0.0.1"]
    assert plane.drains == []


async def test_a_drain_begins_and_is_answered_at_once(client: Client, plane: FakePlane) -> None:
    """With who asked for it, for the log."""
    answer = await client.post("/drain")

    assert (answer.status, await answer.json()) == (202, {"draining": True})
    assert plane.drains == ["POST /drain from 127.0.0.1"]


async def test_the_first_page_lists_the_others(client: Client) -> None:
    """For whoever types the bare address."""
    pages = await (await client.get("/")).json()

    routed = {resource.canonical for resource in client.app.router.resources()}
    assert set(pages) == routed - {"/"}
