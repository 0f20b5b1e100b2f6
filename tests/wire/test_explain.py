"""What is told of an exchange afterwards is what happened: to the client, at the upstream, and in the access log.

Requests of different fates are picked out of one run in front of the real service, which keeps a record of its own.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import datetime
from typing import Any, NamedTuple

import pytest

from tests.support.client import Answer
from tests.support.processes import GoService, Proxy, spawn
from tests.support.waiting import eventually

SETTINGS = """\
pool: {idle: 1m}
guard: {mode: off}
retry: {base: 1ms, cap: 2ms, budget: 1}
routes:
  - {name: limited, path: "/items/{id}", rate: {limit: 1/h, burst: 1}}
  - {name: broken, path: "/status/500", breaker: {failures: 1, open_for: 1h}}
  - {name: crowded, path: /hang, concurrency: {max: 1, queue_wait: 60ms}}
  - {name: hedged, path: "/sleep/700ms", retry: {hedge: 250ms}}
"""

SECRET = "s3cret"
SLACK = 2_000  # milliseconds that a slow machine may lose

Told = dict[str, Any]


class Fate(NamedTuple):
    """One request by its ID, what became of it, and how that is to be told."""

    name: str
    method: str
    target: str
    status: int
    reason: str
    verdicts: tuple[str, ...]  # of its attempts, in their order
    steps: tuple[str, ...]  # policies and verdicts that are told beside them, in their order
    why: tuple[str, ...]  # words of the sentence
    fields: tuple[str, ...] = ()
    route: str = ""
    body: bytes = b""


AGAIN = "retry admitted"
OPEN = "breaker admitted"

FATES = [
    Fate(
        "ok", "GET", f"/hello?token={SECRET}", 200, "upstream", ("200",), (OPEN,), ("own answer to the first attempt",)
    ),
    Fate("sent", "POST", "/upload", 200, "upstream", ("200",), (OPEN,), ("own answer",), body=b"x" * 3000),
    Fate(
        "retried",
        "GET",
        "/flaky/retried?failures=2",
        200,
        "upstream",
        ("503", "503", "200"),
        (OPEN, AGAIN, OPEN, AGAIN, OPEN),
        ("own answer to attempt 3, after 503 and 503",),
    ),
    Fate(
        "given up",
        "GET",
        "/flaky/given-up?failures=9&status=504",
        504,
        "upstream",
        ("504", "504", "504"),
        (OPEN, AGAIN, OPEN, AGAIN, OPEN, "retry refused"),
        ("own answer to attempt 3", "not tried again: no attempt was left"),
    ),
    Fate(
        "rate limited",
        "GET",
        "/items/2",
        429,
        "rate_limited",
        (),
        ("rate refused",),
        ("the rate limit of 1/h is used up", "no attempt was made"),
        route="limited",
    ),
    Fate("passed on", "GET", "/status/500", 500, "upstream", ("500",), (OPEN,), ("own answer",), route="broken"),
    Fate(
        "circuit open",
        "GET",
        "/status/500",
        503,
        "circuit_open",
        (),
        ("breaker refused",),
        ("circuit broken has been open", "1 failures in a row", "no attempt was made"),
        route="broken",
    ),
    Fate(
        "deadline",
        "GET",
        "/sleep/1h",
        504,
        "deadline_exceeded",
        ("deadline_exceeded",),
        (OPEN,),
        ("the client's own deadline", "1 attempt was made"),
        ("x-request-timeout-ms: 300",),
    ),
    Fate(
        "queue",
        "GET",
        "/hang",
        503,
        "queue_timeout",
        (),
        ("concurrency refused",),
        ("no place was free", "no attempt was made"),
        route="crowded",
    ),
    Fate(
        "client gone",
        "GET",
        "/hang",
        499,
        "client_gone",
        ("client_gone",),
        ("concurrency admitted", OPEN),
        ("the client left after", "before it was answered"),
        route="crowded",
    ),
    # The connection was kept, so that its end may have had nothing to do with the request: that one is sent once more.
    Fate(
        "reset",
        "GET",
        "/flaky/reset?status=0&failures=9",
        502,
        "connection_lost",
        ("stale_connection", "connection_lost", "connection_lost"),
        (OPEN, AGAIN, OPEN, "retry refused"),
        ("closed the connection without an answer", "3 attempts were made", "no attempt was left"),
    ),
    Fate(
        "reset once",
        "POST",
        "/flaky/reset-once?status=0",
        502,
        "stale_connection",
        ("stale_connection",),
        (OPEN,),
        ("closed the connection without an answer", "1 attempt was made (stale_connection)"),
    ),
    Fate(
        "hedged",
        "GET",
        "/sleep/700ms",
        200,
        "upstream",
        ("200", "cancelled"),
        (OPEN, "retry hedged", OPEN),
        ("own answer",),
        route="hedged",
    ),
]


class Run(NamedTuple):
    """The run is over. `answers` are what the clients got, by the names of the fates."""

    proxy: Proxy
    go: GoService
    answers: dict[str, Answer]

    def told(self, fate: Fate) -> Told:
        """The page of one request."""
        code, body = self.proxy.page(f"/explain/{key(fate)}")
        assert code == 200
        page = json.loads(body)
        (told,) = page["exchanges"]
        assert page["more"] == 0
        found: Told = told
        return found


def key(fate: Fate) -> str:
    """The ID of its request."""
    return "explain-" + fate.name.replace(" ", "-")


def ask(run: Run, fate: Fate) -> None:
    """Send the request and keep what comes."""
    with run.proxy.client() as client:
        body = fate.body or (b"" if fate.method == "POST" else None)
        client.ask(fate.target, fate.method, [f"X-Request-ID: {key(fate)}", *fate.fields], body)
        run.answers[fate.name] = client.read(fate.method)


@pytest.fixture(scope="module")
def run(go: GoService, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """All of them, among others."""
    file = tmp_path_factory.mktemp("explain") / "sidecar.yaml"
    file.write_text(SETTINGS)
    by_name = {fate.name: fate for fate in FATES}
    with Proxy(go.url, "-c", str(file), SIDECAR_HEALTH__INTERVAL="1h") as proxy, ExitStack() as stack:
        run = Run(proxy, go, {})
        with proxy.client() as client:
            assert client.get("/items/1").status == 200
        gone = stack.enter_context(proxy.client())
        gone.ask("/hang", fields=[f"X-Request-ID: {key(by_name['client gone'])}"])
        go.running(key(by_name["client gone"]))
        for fate in FATES:
            if fate.name != "client gone":
                ask(run, fate)
            # Others pass in between.
            with proxy.client() as client:
                assert client.get("/hello").status == 200
        under_way = run.told(by_name["client gone"])
        assert (under_way["in_flight"], under_way["status"]) == (True, 0)
        assert under_way["why"].startswith("not answered yet: the upstream has it, in attempt 1")
        gone.close()
        eventually(lambda: proxy.status()["in_flight"] == 0)
        go.context_ended(key(by_name["client gone"]))
        yield run


each = pytest.mark.parametrize("fate", FATES, ids=lambda fate: fate.name)


def epoch(timestamp: str) -> float:
    """Milliseconds of RFC 3339."""
    return datetime.fromisoformat(timestamp).timestamp() * 1e3


def attempts(told: Told) -> list[dict[str, Any]]:
    """The steps that are attempts."""
    return [step for step in told["steps"] if step["policy"] == "attempt"]


@each
def test_it_agrees_with_the_client(run: Run, fate: Fate) -> None:
    """Status and reason are those that the client was given, and so is the number of attempts."""
    told = run.told(fate)
    assert (told["status"], told["reason"]) == (fate.status, fate.reason)
    assert told["in_flight"] is False
    if fate.name == "client gone":
        assert told["answered_ms"] is None
        return
    answer = run.answers[fate.name]
    assert (answer.status, answer.get("X-Sidecar-Reason") or "upstream") == (fate.status, fate.reason)
    assert int(answer.get("x-envoy-attempt-count") or 0) == told["attempts"]
    assert told["bytes_out"] == len(answer.body)
    assert 0 <= told["answered_ms"] <= told["duration_ms"]


@each
def test_it_agrees_with_the_upstream(run: Run, fate: Fate) -> None:
    """As many attempts as it saw, in that order, for that path, with that much time; and cut off where it was."""
    told, visits = run.told(fate), run.go.record(key(fate))
    path = fate.target.partition("?")[0]
    assert {(visit["method"], visit["path"]) for visit in visits} <= {(fate.method, path)}
    assert (told["method"], told["path"]) == (fate.method, path)
    assert told["attempts"] == len(attempts(told)) == len(visits) == len(fate.verdicts)
    assert told["upstream"] == (run.go.url if visits else "")
    assert [step["number"] for step in attempts(told)] == list(range(1, len(visits) + 1))
    began = epoch(told["ts"]) - told["duration_ms"]
    for step, visit in zip(attempts(told), visits, strict=True):
        assert visit["context_ended"] == (step["verdict"] in ("cancelled", "client_gone", "deadline_exceeded"))
        # It had begun when the upstream got it, by a clock that tells milliseconds.
        assert began + step["at_ms"] - 20 < epoch(visit["started"])
        assert step["left_ms"] - SLACK < int(visit["x_request_timeout_ms"]) <= step["left_ms"] + 1
        assert visit["bytes_in"] == told["bytes_in"] == len(fate.body)


@each
def test_it_agrees_with_the_log(run: Run, fate: Fate) -> None:
    """Every figure of the access line, to what the line rounds off."""
    told, line = run.told(fate), run.proxy.access(key(fate))
    same = (
        "method",
        "path",
        "status",
        "reason",
        "attempts",
        "bytes_in",
        "bytes_out",
        "request_id",
        "upstream",
        "client",
    )
    assert {name: told[name] for name in same} == {name: line[name] for name in same}
    assert (told["route"], line.get("route", "")) == (fate.route, fate.route)
    for name in ("duration_ms", "upstream_ms", "queue_ms", "backoff_ms"):
        assert abs((told[name] or 0) - (line.get(name) or 0)) < 0.01, name


@each
def test_it_tells_what_was_decided(run: Run, fate: Fate) -> None:
    """Each attempt and each verdict, in the order in which things began, and why it ended so."""
    told = run.told(fate)
    assert tuple(step["verdict"] for step in attempts(told)) == fate.verdicts
    others = [f"{step['policy']} {step['verdict']}" for step in told["steps"] if step["policy"] != "attempt"]
    # What holds for every request: a place of the sidecar's.
    assert [step for step in others if step not in ("concurrency admitted", "rate admitted")] == [
        step for step in fate.steps if step != "concurrency admitted"
    ]
    times = [step["at_ms"] for step in told["steps"]]
    assert times == sorted(times)
    assert all(0 <= time <= told["duration_ms"] for time in times)
    for words in fate.why:
        assert words in told["why"]


@each
def test_the_command_prints_it(run: Run, fate: Fate) -> None:
    """`sidecar explain ID`: the same story in lines, and nothing of the query."""
    assert not isinstance(run.proxy.admin, str)
    with spawn("explain", key(fate), "--admin", "{}:{}".format(*run.proxy.admin)) as process:
        out, err = (text.decode() for text in process.communicate(timeout=20))
    assert (process.returncode, err) == (0, "")
    told = run.told(fate)
    first, *lines = out.splitlines()
    assert first == f"{fate.method} {told['path']} -> {fate.status} {fate.reason}"
    shown = [line.split()[2:] for line in lines if " attempt " in line and line.split()[2:3] == ["attempt"]]
    assert [words[1:3] for words in shown] == [[str(n), verdict] for n, verdict in enumerate(fate.verdicts, 1)]
    assert lines[-1] == f"why       {told['why']}"
    assert key(fate) in out
    assert SECRET not in out + json.dumps(told)
    assert all(line.isprintable() for line in lines)


def test_who_is_not_known(run: Run) -> None:
    """An ID that was never seen is 404, and the command fails with one line that says so."""
    assert run.proxy.page("/explain/nobody")[0] == 404
    assert not isinstance(run.proxy.admin, str)
    with spawn("explain", "nobody", "--admin", "{}:{}".format(*run.proxy.admin)) as process:
        out, err = (text.decode() for text in process.communicate(timeout=20))
    assert (process.returncode, out, err.count("\n")) == (1, "", 1)
    assert "no exchange with this ID" in err


def test_all_of_them_are_listed(run: Run, find: Callable[[str], list[str]]) -> None:
    """The list of the last requests has each of them once, newest first, and can be asked by reason."""
    listed = find("limit=1000")
    names = [key(fate) for fate in FATES]
    assert sorted(name for name in listed if name in names) == sorted(names)
    waited = [name for name in names if name != "explain-client-gone"]
    assert [name for name in reversed(listed) if name in waited] == waited
    for reason in {fate.reason for fate in FATES} - {"upstream"}:
        assert find(f"reason={reason}") == [key(fate) for fate in FATES if fate.reason == reason]


@pytest.fixture
def find(run: Run) -> Callable[[str], list[str]]:
    """The IDs that /requests lists."""

    def find(query: str) -> list[str]:
        code, body = run.proxy.page(f"/requests?{query}")
        assert code == 200
        return [row["request_id"] for row in json.loads(body)["requests"]]

    return find
