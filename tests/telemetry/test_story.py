"""The story of one exchange: golden texts, and that nothing a client sends gets out of hand in them."""

from __future__ import annotations

import json
from math import inf, nan
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.exchange import Exchange, Note
from sidecar.telemetry import story
from sidecar.telemetry.recent import Recent
from sidecar.telemetry.record import Record
from tests.telemetry.support import ended

# What makes second 100 of the monotonic clock a certain time of day.
CLOCK = 1_700_000_000.0 - 100.0
UPSTREAM = "http://127.0.0.1:8080"


def attempt(began: float, elapsed: float, verdict: str, *more: object) -> Note:
    """The note of an attempt. Times are seconds."""
    return began + elapsed, "attempt", verdict, ("began", began, *more)


def record(exchange: Exchange, now: float = 100.5) -> Record:
    """What is kept of an exchange that ended at `now`."""
    recent = Recent()
    recent.settled(exchange, now)
    return recent.find("id-1")[0]


def told(exchange: Exchange, now: float = 100.5) -> dict[str, Any]:
    """Its story, as it comes out of JSON."""
    made: dict[str, Any] = json.loads(msgspec.json.encode(story.story(record(exchange, now), now, CLOCK)))
    return made


def under_way(**fields: Any) -> str:
    """Why there is no answer yet, at second 101."""
    recent = Recent(in_flight=lambda: [ended(status=0, **fields)])
    return str(story.story(recent.find("id-1")[0], 101.0, CLOCK)["why"])


def test_a_request_that_was_retried() -> None:
    """Each verdict with its numbers, each attempt when it began, what was left of the budget, who spent the time."""
    exchange = ended(
        b"/orders/7?token=secret",
        route="orders",
        label="/orders/{id}",
        whole=100.0002,
        deadline=105.0002,
        timeout=5.0,
        answered=100.4,
        attempts=2,
        upstream=UPSTREAM,
        upstream_wait=0.3,
        backoff_wait=0.09,
        client_wait=0.1,
        bytes_out=1234,
        notes=[
            (100.0003, "rate", "admitted", ("scope", "sidecar", "remaining", 12)),
            (100.0004, "concurrency", "admitted", None),
            (100.0005, "breaker", "admitted", None),
            attempt(100.0005, 0.1, "connection_lost", "sent", True),
            (100.1006, "retry", "admitted", {"attempt": 1, "reason": "reset", "backoff_ms": 90, "budget": 2.2}),
            (100.1906, "breaker", "admitted", None),
            attempt(100.1906, 0.2, "200"),
        ],
    )

    assert story.text(told(exchange)) == "\n".join(
        [
            "GET /orders/7 -> 200 upstream",
            "id        id-1",
            "route     orders",
            "template  /orders/{id}",
            "client    10.0.0.1",
            "upstream  http://127.0.0.1:8080",
            "ended     2023-11-14T22:13:20.500Z",
            "",
            "      at ms    left ms",
            "      0.000             the request's first byte",
            "      0.200             the request is in whole",
            "      0.300     4999.9  rate         admitted          scope sidecar, remaining 12",
            "      0.400     4999.8  concurrency  admitted",
            "      0.500     4999.7  breaker      admitted",
            "      0.500     4999.7  attempt 1    connection_lost   elapsed 100 ms, sent yes",
            "    100.600     4899.6  retry        admitted          attempt 1, reason reset, backoff 90 ms, budget 2.2",
            "    190.600     4809.6  breaker      admitted",
            "    190.600     4809.6  attempt 2    200               elapsed 200 ms",
            "    400.000     4600.2  the answer begins: 200",
            "    500.000             the end: 0 bytes of body in, 1234 out",
            "",
            "spent     upstream 300, queue 0, backoff 90, client 100, sidecar 10: 500 ms in all",
            "budget    5000.2 ms, 4600.2 ms left at the answer",
            "",
            "why       answered 200: the upstream's own answer to attempt 2, after connection_lost",
        ]
    )


def test_a_request_that_a_policy_refused() -> None:
    """The numbers that decided are in the closing sentence, and that the upstream was not asked."""
    facts = {"circuit": "orders", "state": "open", "since": 12.0, "failures": 5}
    exchange = ended(
        status=503,
        reason="circuit_open",
        detail="the circuit orders is open since 12 s: 5 failures in a row",
        answered=100.001,
        notes=[(100.0005, "breaker", "refused", facts)],
    )

    assert story.text(told(exchange, 100.001)) == "\n".join(
        [
            "GET / -> 503 circuit_open",
            "id        id-1",
            "client    10.0.0.1",
            "ended     2023-11-14T22:13:20.001Z",
            "",
            "      at ms    left ms",
            "      0.000             the request's first byte",
            "      0.500             breaker      refused           circuit orders, state open, since 12, failures 5",
            "      1.000             the answer begins: 503",
            "      1.000             the end: 0 bytes of body in, 0 out",
            "",
            "spent     upstream 0, queue 0, backoff 0, client 0, sidecar 1: 1 ms in all",
            "",
            "why       answered 503 circuit_open: the circuit orders is open since 12 s: 5 failures in a row; "
            "no attempt was made",
        ]
    )


LOST = attempt(100.1, 0.1, "connection_lost")
GAVE_UP: Note = (100.3, "retry", "refused", {"attempt": 1, "after": "503", "because": "budget"})


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"notes": [attempt(100.1, 0.1, "200")]}, "answered 200: the upstream's own answer to the first attempt"),
        (
            {"status": 503, "notes": [attempt(100.1, 0.1, "503"), GAVE_UP]},
            "answered 503: the upstream's own answer to the first attempt; not tried again: the retry budget was spent",
        ),
        (
            {"status": 429, "reason": "rate_limited", "detail": "the rate limit of 100/s is used up"},
            "answered 429 rate_limited: the rate limit of 100/s is used up; no attempt was made",
        ),
        (
            {"status": 503, "reason": "draining"},
            "answered 503 draining: shutting down; no attempt was made",
        ),
        (
            {
                "status": 502,
                "reason": "connect_failed",
                "detail": "cannot connect to http://a:1: refused",
                "notes": [attempt(100.1, 0.1, "connect_failed"), attempt(100.3, 0.1, "connect_failed")],
            },
            "answered 502 connect_failed: cannot connect to http://a:1: refused; "
            "2 attempts were made (connect_failed, connect_failed)",
        ),
        (
            {
                "status": 504,
                "reason": "deadline_exceeded",
                "detail": "no answer within 0.5 s, the client's own deadline",
                "notes": [attempt(100.1, 0.4, "deadline_exceeded")],
            },
            "answered 504 deadline_exceeded: no answer within 0.5 s, the client's own deadline; "
            "1 attempt was made (deadline_exceeded)",
        ),
        (
            {
                "status": 0,
                "reason": "client_gone",
                "detail": "the client closed the connection",
                "notes": [attempt(100.1, 0.4, "client_gone")],
            },
            "the client left after 500 ms, before it was answered; 1 attempt was made (client_gone)",
        ),
        (
            {"reason": "client_gone", "answered": 100.2, "notes": [attempt(100.1, 0.1, "200")]},
            "the client left after 500 ms, in the middle of the answer (200)",
        ),
        (
            {
                "reason": "connection_lost",
                "answered": 100.2,
                "detail": "nothing moved for 5 s",
                "notes": [attempt(100.1, 0.1, "200")],
            },
            "answered 200 by the upstream, then cut, connection_lost: nothing moved for 5 s",
        ),
        (
            {"notes": [(100.1, "rate", "would refuse", None), (100.1, "retry", "would retry", None), LOST]},
            "answered 200: the upstream's own answer to the first attempt; "
            "in shadow mode: rate would refuse, retry would retry",
        ),
    ],
)
def test_it_closes_with_why(fields: dict[str, Any], why: str) -> None:
    """One sentence in plain English, whatever the end."""
    assert told(ended(**fields))["why"] == why


def test_the_refused_second_of_a_hedge_is_not_the_reason() -> None:
    """The first attempt went on and was answered."""
    hedge: Note = (100.2, "retry", "refused", {"attempt": 1, "reason": "hedge", "because": "budget"})
    exchange = ended(notes=[hedge, attempt(100.1, 0.3, "200")])

    assert told(exchange)["why"] == "answered 200: the upstream's own answer to the first attempt"


def test_steps_stand_in_the_order_in_which_they_began() -> None:
    """Attempts are noted when they end, and of two side by side the second may end first."""
    hedge: Note = (100.2, "retry", "admitted", {"attempt": 1, "reason": "hedge"})
    second, first = attempt(100.2, 0.1, "200"), attempt(100.1, 0.3, "cancelled")
    steps = told(ended(notes=[hedge, second, first]))["steps"]

    assert [(step["verdict"], step.get("number")) for step in steps] == [
        ("cancelled", 1),
        ("admitted", None),
        ("200", 2),
    ]


def test_a_request_in_flight_says_where_it_is() -> None:
    """In the upstream's hands, waiting in the sidecar, or being answered; and what is left of its time."""
    noted = [(100.1, "rate", "admitted", None)]
    assert under_way(attempts=1, notes=noted) == "not answered yet: the upstream has it, in attempt 1"
    assert under_way(notes=noted, client_deadline=101.5) == (
        "not answered yet: it waits in the sidecar, after rate admitted; 500 ms of the budget are left"
    )
    assert under_way() == "not answered yet: it waits in the sidecar"
    assert under_way(answered=100.4).endswith("the body is under way for 600 ms")
    recent = Recent(in_flight=lambda: [ended(status=0)])
    text = story.text(story.story(recent.find("id-1")[0], 101.0, CLOCK))
    assert text.startswith("GET / -> no answer yet\n")
    assert "\nnow       2023-11-14T22:13:21.000Z\n" in text
    assert "the end" not in text


def test_until_the_request_is_in_whole_only_the_client_bounds_it() -> None:
    """The sidecar's own timeout begins with the request's last byte."""
    note: Note = (100.1, "rate", "admitted", None)
    later: Note = (100.3, "breaker", "admitted", None)

    def left(**fields: Any) -> list[Any]:
        return [step["left_ms"] for step in told(ended(notes=[note, later], whole=100.2, **fields))["steps"]]

    assert left(deadline=105.2) == [None, pytest.approx(4900)]
    assert left(deadline=101.0, client_deadline=101.0) == [pytest.approx(900), pytest.approx(700)]


def test_attempts_side_by_side_leave_nothing_negative() -> None:
    """A hedge's two attempts waited for more time than there was."""
    assert told(ended(upstream_wait=2.0))["own_ms"] == 0


def test_a_client_that_was_told_nothing_is_499() -> None:
    """As in the log and the metrics."""
    assert told(ended(status=0, reason="client_gone"))["status"] == 499


def test_a_step_is_bounded() -> None:
    """Whatever a policy notes: few facts, short, and such as JSON has."""
    facts: dict[str, object] = {f"fact{number}": "x" * 1000 for number in range(100)}
    odd: dict[str, object] = {"ever": inf, "never": nan, "list": [1], "none": None, "yes": True, "long": 1 / 3}
    steps = told(ended(notes=[(100.1, "p", "v" * 1000, facts), (100.2, "q", "v", odd)]))["steps"]

    assert (len(steps[0]["facts"]), len(steps[0]["facts"]["fact0"]), len(steps[0]["verdict"])) == (16, 200, 200)
    assert steps[1]["facts"] == {"ever": None, "never": None, "list": "[1]", "none": None, "yes": True, "long": 0.333}


@given(st.binary(max_size=60), st.text(max_size=20))
def test_no_request_gets_at_a_terminal(target: bytes, verdict: str) -> None:
    """Every line is printable, and there is no line more."""
    plain = story.text(told(ended(b"/", notes=[(100.1, "p", "v", None)])))
    text = story.text(told(ended(b"/" + target, notes=[(100.1, "p", verdict, {"name": verdict})])))

    assert all(line.isprintable() for line in text.split("\n"))
    assert text.count("\n") == plain.count("\n")
