"""A wall clock that is put forward and back by hours changes nothing but what the log says of the time."""

from __future__ import annotations

import ast
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from pathlib import Path
from time import monotonic
from urllib.parse import quote

import pytest

from tests.faults.bent import Bent
from tests.support.client import Client
from tests.support.processes import GoService, Proxy
from tests.support.waiting import eventually
from tests.test_architecture import TREES, imports
from tests.wire.policies import ALONE, running

HOURS = 3600 * 5

# Who may ask what time people have, and what for.
WALL: dict[str, str] = {
    "answers": "the Date header of our own answers",
    "admin.history": "when a request was, told to people",
    "telemetry.render": "the time of an access-log line",
    "telemetry.story": "when a request was, told to people: writes what it is given",
    "layers.retry": "an upstream's Retry-After may be a date",
}
CLOCKS = {"time.time", "time.time_ns", "time.gmtime", "time.localtime", "time.ctime", "time.strftime"}


def test_nothing_else_asks_for_the_time_of_day() -> None:
    """Limits, circuits, deadlines and idle times go by the monotonic clock, which nobody puts forward or back."""
    asking = set()
    for name, tree in TREES.items():
        used = {ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)} | set(imports(tree))
        if used & CLOCKS or any(one.startswith("datetime") for one in used):
            asking.add(name)
    assert asking == set(WALL)


def hours_off(proxy: Proxy, request_id: str) -> float:
    """By how many hours the time of a request's line is wrong."""
    stamp = datetime.fromisoformat(str(proxy.access(request_id)["ts"]))
    return round((stamp - datetime.now(stamp.tzinfo)).total_seconds() / 3600)


SETTINGS = ALONE | {
    "timeouts": {"request": "2s"},
    "pool": {"idle": "60s"},
    "routes": [
        {"name": "limited", "path": "/items/{id}", "rate": {"limit": "1/h", "burst": 2}},
        {"name": "failing", "path": "/status/500", "breaker": {"failures": 3, "open_for": "1h"}},
        {"name": "failing-briefly", "path": "/flaky/{key}", "breaker": {"failures": 3, "open_for": "1s"}},
        {"name": "tried-again", "path": "/status/503", "retry": {"mode": "enforce", "base": "10ms"}},
    ],
}


@pytest.mark.parametrize("hours", [HOURS, -HOURS], ids=["forward", "back"])
def test_the_clock_is_put(go: GoService, tmp_path: Path, hours: int) -> None:
    """Limits, circuits, deadlines and connections go on as if nothing had been; the log says the new time."""
    clock = Bent(tmp_path / "clock", "FAULTS_CLOCK", "0")
    key = f"/flaky/clock{hours}?failures=3"
    with running(go.url, SETTINGS, **clock.env) as proxy, proxy.client() as client, proxy.client() as idle:
        assert [client.get("/items/1").status for _ in range(3)] == [200, 200, 429]
        assert [client.get("/status/500").status for _ in range(3)] == [500] * 3
        client.ask("/hang")
        assert idle.get("/hello", "X-Request-ID: before").status == 200
        assert [idle.get(key).status for _ in range(3)] == [503] * 3
        assert hours_off(proxy, "before") == 0
        assert proxy.pool()["idle"] == 1

        clock.write(str(hours))

        assert client.read().status == 504, "the deadline that ran"
        assert proxy.pool()["idle"] == 1, "the connection that was kept"
        still_limited(client)
        answer = client.get("/status/500")
        assert answer["X-Sidecar-Reason"] == "circuit_open"
        assert 3000 < int(answer["Retry-After"]) <= 3600 * 1.2
        assert idle.get("/hello", "X-Request-ID: after").status == 200, "a client's connection that was kept"
        assert hours_off(proxy, "after") == hours / 3600
        eventually(lambda: client.get(key).status == 200, "the circuit to be tried", timeout=5)
        assert proxy.status()["uptime_seconds"] < 60


def still_limited(client: Client) -> None:
    """An hour's rate is still spent, and the refusal says so in seconds; only its date is wrong."""
    answer = client.get("/items/1")
    assert answer.status == 429
    assert 3000 < int(answer["Retry-After"]) <= 3600
    assert abs((parsedate_to_datetime(answer["Date"]) - datetime.now(UTC)).total_seconds()) > 3600


@pytest.mark.parametrize(("hours", "attempts"), [(HOURS, 3), (-HOURS, 1)], ids=["forward", "back"])
def test_a_date_to_retry_after(go: GoService, tmp_path: Path, hours: int, attempts: int) -> None:
    """An upstream's Retry-After that is a date is compared with the wall clock, but never waited for past the deadline.

    By a clock that is ahead it is over, by one that is behind it is hours away.
    """
    clock = Bent(tmp_path / "clock", "FAULTS_CLOCK", str(hours))
    after = quote(format_datetime(datetime.now(UTC), usegmt=True))
    with running(go.url, SETTINGS, **clock.env) as proxy, proxy.client() as client:
        began = monotonic()
        assert client.get(f"/status/503?retry_after={after}", "X-Request-ID: dated").status == 503
        assert monotonic() - began < 5
        assert proxy.access("dated")["attempts"] == attempts
