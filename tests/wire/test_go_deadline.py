"""The Go middleware in examples/go/deadline: its own tests, and what it makes of what the proxy tells the service."""

from __future__ import annotations

import json
import subprocess

from tests.support.client import Client
from tests.support.processes import ROOT, GoService, Proxy, go_builder
from tests.support.waiting import eventually

# Compiling net/http for the first time takes most of a minute on a slow machine.
LONGEST = 300


def test_go_finds_no_fault() -> None:
    """`go test` passes for the example service and its packages, without any module from elsewhere."""
    builder = go_builder()
    done = subprocess.run(
        [*builder.go_command(), "test", "./..."],
        cwd=ROOT / "examples" / "go",
        env=builder.go_environment(),
        capture_output=True,
        text=True,
        timeout=LONGEST,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_context_has_the_clients_deadline(client: Client) -> None:
    """What a client says through the proxy is the deadline of the Go handler's context."""
    answer = client.get("/deadline", "x-request-timeout-ms: 5000")
    assert answer.status == 200
    assert 3000 < json.loads(answer.body)["remaining_ms"] <= 4990


def test_the_context_ends_with_the_clients_deadline(client: Client, go: GoService, request_id: str) -> None:
    """A handler that heeds its context is over when the client's time is, whoever of the two says 504 first."""
    answer = client.get("/deadline?wait=1h", "x-request-timeout-ms: 300", f"X-Request-ID: {request_id}")
    assert answer.status == 504
    eventually(lambda: go.record(request_id)[0]["finished"], "the handler to end")


def test_event_streams_outlive_the_context(proxy: Proxy) -> None:
    """The proxy tells them a limit for their head; the middleware does not end them by it."""
    with proxy.client() as client:
        answer = client.get("/deadline", "Accept: text/event-stream")
    assert answer.status == 200
    body = json.loads(answer.body)
    assert body["remaining_ms"] is None
    assert "X-Request-Timeout-Ms" in body["headers"]
