"""Deadlines from end to end: what the client said, what the service was told of it, and what its context made of that.

The service's `/deadline` answers with the header that it got and the milliseconds that its context has left.
"""

from __future__ import annotations

import json
from time import monotonic, sleep

import pytest

from tests.support.client import Client
from tests.support.processes import GoService
from tests.support.upstream import OK, Peer, Seen, Upstream, always, in_turn
from tests.wire.conftest import Start

DEFAULT = 15_000  # milliseconds, --timeout
SLACK = 2_500  # milliseconds that a slow machine may lose; limits in one table differ by more

TOLD = ("X-Request-Timeout-Ms", "X-Envoy-Expected-Rq-Timeout-Ms")


def told(client: Client, *fields: str) -> tuple[int | None, float | None]:
    """What the service is told is left for a request with these fields, and what its context has left: milliseconds."""
    answer = client.get("/deadline", *fields)
    assert answer.status == 200
    saw = json.loads(answer.body)
    values = [saw["headers"].get(name) for name in TOLD]
    assert values[0] == values[1], "both fields say the same"
    return int(*values[0]) if values[0] else None, saw["remaining_ms"]


def check(client: Client, fields: list[str], limit: int | None) -> None:
    """The service is told `limit` milliseconds, less what is spent, and its context ends by then."""
    said, left = told(client, *fields)
    if limit is None:
        assert (said, left) == (None, None)
        return
    assert said is not None
    assert left is not None
    assert limit - SLACK < said <= limit
    assert limit - SLACK < left <= said


# What a client says, and the time that the service has, at most: 10 ms of the client's are kept for the way back.
INBOUND: list[tuple[list[str], int]] = [
    ([], DEFAULT),
    # each alone
    (["x-request-timeout-ms: 4000"], 3990),
    (["X-Request-Timeout-Ms: 4000"], 3990),
    (["x-envoy-expected-rq-timeout-ms: 4000"], 3990),
    (["connect-timeout-ms: 4000"], 3990),
    (["grpc-timeout: 4S"], 3990),
    (["grpc-timeout: 4000m"], 3990),
    (["grpc-timeout: 4000000u"], 3990),
    (["x-request-timeout-ms: 000004000"], 3990),
    # the smallest wins
    (["x-request-timeout-ms: 4000", "x-envoy-expected-rq-timeout-ms: 9000", "grpc-timeout: 12S"], 3990),
    (["x-request-timeout-ms: 9000", "x-envoy-expected-rq-timeout-ms: 4000", "connect-timeout-ms: 12000"], 3990),
    (["x-request-timeout-ms: 9000", "connect-timeout-ms: 4000", "grpc-timeout: 1H"], 3990),
    (["x-request-timeout-ms: 9000", "connect-timeout-ms: 12000", "grpc-timeout: 4S"], 3990),
    # malformed ones do not count, nor do they hide a good one
    (["x-request-timeout-ms:"], DEFAULT),
    (["x-request-timeout-ms: +4000"], DEFAULT),
    (["x-request-timeout-ms: -4000"], DEFAULT),
    (["x-request-timeout-ms: 4000.0"], DEFAULT),
    (["x-request-timeout-ms: 4e3"], DEFAULT),
    (["x-request-timeout-ms: 4_000"], DEFAULT),
    (["x-request-timeout-ms: 4000ms"], DEFAULT),
    (["x-request-timeout-ms: 0xfa0"], DEFAULT),
    (["x-request-timeout-ms: 4000, 9000"], DEFAULT),
    (["x-request-timeout-ms: 4000", "x-request-timeout-ms: 4000"], DEFAULT),
    (["x_request_timeout_ms: 4000"], DEFAULT),
    (["grpc-timeout: 4000"], DEFAULT),
    (["grpc-timeout: 4s"], DEFAULT),
    (["grpc-timeout: 000000004S"], DEFAULT),
    (["x-request-timeout-ms: nonsense", "connect-timeout-ms: 4000"], 3990),
    # named in Connection, it was meant for the hop before
    (["x-request-timeout-ms: 4000", "Connection: x-request-timeout-ms"], DEFAULT),
    # a client can only shorten
    (["x-request-timeout-ms: 60000"], DEFAULT),
    (["x-request-timeout-ms: 999999999"], DEFAULT),
    (["x-request-timeout-ms: 1000000000"], DEFAULT),
    (["grpc-timeout: 99999999H"], DEFAULT),
]


@pytest.mark.parametrize(("fields", "limit"), INBOUND, ids=lambda value: repr(value)[:90])
def test_what_clients_say(client: Client, fields: list[str], limit: int) -> None:
    """Each field, the smallest of several, and what is no deadline."""
    check(client, fields, limit)


@pytest.mark.parametrize(
    "field", ["x-request-timeout-ms: 0", "connect-timeout-ms: 0", "grpc-timeout: 0S", "x-request-timeout-ms: 000"]
)
def test_zero_has_passed(client: Client, go: GoService, request_id: str, field: str) -> None:
    """It is answered at once, and no service sees it."""
    answer = client.get("/deadline", field, f"X-Request-ID: {request_id}")
    assert (answer.status, answer["X-Sidecar-Reason"]) == (504, "deadline_exceeded")
    assert answer["Proxy-Status"] == "sidecar; error=http_response_timeout"
    assert go.record(request_id) == []


# --timeout, --attempt-timeout; then for what a client says, what the service is told.
OURS: list[tuple[str, str, list[tuple[list[str], int | None]]]] = [
    (
        "8s",
        "0s",
        [([], 8000), (["x-request-timeout-ms: 4000"], 3990), (["x-request-timeout-ms: 60000"], 8000)],
    ),
    (
        "8s",
        "4s",
        [
            ([], 4000),
            (["x-request-timeout-ms: 60000"], 4000),
            (["x-request-timeout-ms: 6000"], 4000),
            (["x-request-timeout-ms: 1000"], 990),
        ],
    ),
    (
        "0s",
        "0s",
        [
            ([], None),
            (["x-request-timeout-ms: nonsense"], None),
            (["x-request-timeout-ms: 4000"], 3990),
            (["x-request-timeout-ms: 999999999"], 999_999_989),
            (["x-request-timeout-ms: 1000000000"], None),
        ],
    ),
    ("0s", "4s", [([], 4000), (["x-request-timeout-ms: 1000"], 990)]),
]


@pytest.mark.parametrize(("timeout", "attempt", "cases"), OURS, ids=lambda value: value if type(value) is str else "")
def test_what_is_set_here(
    start: Start, go: GoService, timeout: str, attempt: str, cases: list[tuple[list[str], int | None]]
) -> None:
    """Of the client's deadline, `--timeout` and `--attempt-timeout`, the service is told the shortest."""
    proxy = start("--timeout", timeout, "--attempt-timeout", attempt, url=go.url)
    with proxy.client() as client:
        for fields, limit in cases:
            check(client, fields, limit)


def test_time_is_spent_from_the_first_byte(client: Client) -> None:
    """A head that comes slowly has used up some of its own deadline."""
    client.send(b"GET /deadline HTTP/1.1\r\nHost: a\r\n")
    sleep(0.3)
    client.send(b"x-request-timeout-ms: 4000\r\n\r\n")
    left = json.loads(client.read().body)["remaining_ms"]
    # When the proxy saw the first byte is known to the turn of its loop; uncounted, the pause would be 300 ms more.
    assert 3690 - SLACK < left < 3690 + 150


def test_the_answer_to_a_deadline(client: Client, go: GoService, request_id: str) -> None:
    """504 that says whose deadline it was, not before most of it is over; and the service's work is ended."""
    began = monotonic()
    answer = client.get("/sleep/1h", "x-request-timeout-ms: 300", f"X-Request-ID: {request_id}")
    assert monotonic() - began >= 0.28
    assert (answer.status, answer["X-Sidecar-Reason"]) == (504, "deadline_exceeded")
    assert "the client's own deadline" in json.loads(answer.body)["detail"]
    go.context_ended(request_id)


def test_a_second_attempt_is_told_the_rest(start: Start, upstream: Upstream, request_id: str) -> None:
    """Where a kept connection proves dead, the time that this took is no longer there for the next one."""

    def die(peer: Peer, seen: Seen) -> None:
        sleep(0.3)
        peer.close()

    upstream.script = in_turn(always(OK), die, always(OK))
    proxy = start()
    with proxy.client() as client:
        assert client.get("/").status == 200
        answer = client.get("/", "x-request-timeout-ms: 8000", f"X-Request-ID: {request_id}")
        assert answer.status == 200
    assert proxy.access(request_id)["attempts"] == 2
    first, second = upstream.seen[1:]
    for name in TOLD:
        before, after = int(first.get(name) or 0), int(second.get(name) or 0)
        assert 7990 - SLACK < before <= 7990
        assert before - 300 - SLACK < after <= before - 299
