"""When an attempt is followed by another: the conditions, what is safe, the wait, and what speaks against it."""

from __future__ import annotations

import random
from math import inf
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.errors import REASONS, STALE_CONNECTION, Reason, Retry, Side, SidecarError
from sidecar.exchange import EMPTY, Body, FixedBody, Request, Response
from sidecar.headers import Headers, index
from sidecar.policy.retry import BODY, BUDGET, DEADLINE, EXHAUSTED, RETRY, RetryPolicy, harmless, reached
from sidecar.policy.retry_after import retry_after
from sidecar.settings import Retry as Settings

ALL = ("connect-failure", "reset", "gateway-error", "5xx", "retriable-4xx", "retriable-status-codes")
NOVEMBER = 784111777  # Sun, 06 Nov 1994 08:49:37 GMT


def policy(chance: float = 0.0, **knobs: Any) -> RetryPolicy:
    """The policy of these knobs; `chance` is what every throw of the dice gives."""
    return RetryPolicy(Settings(**knobs), lambda: chance)


def answered(status: int, *lines: bytes) -> Response:
    """A response with these header lines."""
    return Response(status, b"", Headers(b"".join(line + b"\r\n" for line in lines)))


def failed(reason: Reason, *, sent: bool = True) -> SidecarError:
    """An attempt that failed for this reason."""
    return SidecarError(reason, "it was so", sent=sent)


def asked(method: str, *lines: bytes, body: Body = EMPTY, upgrade: bytes = b"") -> Request:
    """A request."""
    block = b"".join(line + b"\r\n" for line in lines)
    request = Request(method, b"/", Headers(block, index(block)), body)
    request.upgrade = upgrade
    return request


# ── conditions

STATUSES = {
    "connect-failure": set[int](),
    "reset": set[int](),
    "gateway-error": {502, 503, 504},
    "5xx": {500, 501, 502, 503, 504, 507, 599},
    "retriable-4xx": {409},
    "retriable-status-codes": {425, 429},
}
ASKED_ABOUT = [200, 204, 301, 400, 404, 408, 409, 425, 429, 499, 500, 501, 502, 503, 504, 507, 599]


@pytest.mark.parametrize("condition", ALL)
def test_a_condition_takes_in_its_statuses(condition: str) -> None:
    """And no others."""
    rule = policy(conditions=(condition,), statuses=("425", "429"))
    found = {status for status in ASKED_ABOUT if rule.condition(answered(status))}

    assert found == STATUSES[condition]
    assert {rule.condition(answered(status)) for status in found} <= {condition}


CONNECT = {"connect_failed", "connect_timeout"}
CUT = CONNECT | {"connection_lost", "attempt_timeout", "stale_connection"}
FAILURES = {"connect-failure": CONNECT, "reset": CUT, "gateway-error": CUT, "5xx": CUT}


@pytest.mark.parametrize("condition", ALL)
def test_a_condition_takes_in_its_failures(condition: str) -> None:
    """A broken connection is what the client sees as 502 or 504, so the conditions for these include it."""
    rule = policy(conditions=(condition,))
    found = {reason.token for reason in REASONS if rule.condition(failed(reason))}

    assert found == FAILURES.get(condition, set())


@pytest.mark.parametrize("reason", REASONS, ids=[reason.token for reason in REASONS])
def test_the_table_has_the_last_word(reason: Reason) -> None:
    """What it says is never retried is not, whatever is listed: our own refusals above all."""
    if policy(conditions=ALL).condition(failed(reason)):
        assert reason.retry is not Retry.NEVER
        assert reason.side is Side.UPSTREAM
    else:
        assert reason.retry is Retry.NEVER


def test_the_narrowest_of_the_listed_conditions_is_told() -> None:
    """Whatever their order in the settings."""
    rule = policy(conditions=("5xx", "gateway-error", "reset", "connect-failure"))
    told = {reason.token: rule.condition(failed(reason)) for reason in REASONS}

    assert (told["connect_failed"], told["connection_lost"]) == ("connect-failure", "reset")
    assert (rule.condition(answered(503)), rule.condition(answered(500))) == ("gateway-error", "5xx")


def test_a_header_may_ask_for_a_retry() -> None:
    """Whatever the status, if its name is listed and the condition is."""
    named = answered(200, b"X-Try-Again: yes")
    assert policy(conditions=("retriable-headers",), headers=("x-try-AGAIN",)).condition(named) == "retriable-headers"
    assert policy(conditions=("retriable-headers",), headers=("x-other",)).condition(named) == ""
    assert policy(conditions=("reset",), headers=("x-try-again",)).condition(named) == ""


# ── what is safe

HARMLESS = [
    *(asked(method) for method in ("GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE")),
    asked("POST", b"Idempotency-Key: 1"),
]
HARMFUL = [asked("POST"), asked("PATCH"), asked("PURGE")]
UPSTREAM_REASONS = [reason for reason in REASONS if reason.retry is not Retry.NEVER]


@pytest.mark.parametrize("sent", [True, False])
@pytest.mark.parametrize("reason", UPSTREAM_REASONS, ids=[reason.token for reason in UPSTREAM_REASONS])
def test_what_reached_the_upstream_goes_again_only_if_idempotent(reason: Reason, sent: bool) -> None:
    """What did not, always."""
    last = failed(reason, sent=sent)
    arrived = reason.retry is Retry.IF_IDEMPOTENT or (reason is STALE_CONNECTION and sent)

    assert reached(last) is arrived
    assert all(harmless(request, last) for request in HARMLESS)
    assert [harmless(request, last) for request in HARMFUL] == [not arrived] * len(HARMFUL)


def test_what_was_answered_has_reached_the_upstream() -> None:
    """A 503 may come after the deed."""
    assert reached(answered(503))
    assert all(harmless(request, answered(503)) for request in HARMLESS)
    assert not any(harmless(request, answered(503)) for request in HARMFUL)


@pytest.mark.parametrize("reason", UPSTREAM_REASONS, ids=[reason.token for reason in UPSTREAM_REASONS])
def test_a_tunnel_is_not_tried_again(reason: Reason) -> None:
    """However it failed."""
    assert not harmless(asked("GET", upgrade=b"websocket"), failed(reason, sent=False))


class Announced(FixedBody):
    """A body of which only the length is known, or not even that."""

    def __init__(self, length: int | None) -> None:
        super().__init__()
        self.length = length  # type: ignore[assignment]  # fixed ones always have one


@pytest.mark.parametrize(
    ("method", "length", "knobs", "kept"),
    [
        ("PUT", 10, {}, True),
        ("PUT", None, {}, True),
        ("PUT", 65536, {}, True),
        ("PUT", 65537, {}, False),
        ("POST", 10, {}, False),
        ("PUT", 10, {"attempts": 0}, False),
        ("PUT", 10, {"budget": 0.0}, False),
        ("PUT", 10, {"max_body": 0}, False),
        ("PUT", None, {"max_body": 0}, False),
        ("PUT", 10, {"conditions": ()}, False),
        ("PUT", 10, {"conditions": ("connect-failure",)}, False),
    ],
)
def test_a_body_is_kept_only_where_it_may_be_needed(
    method: str, length: int | None, knobs: dict[str, Any], kept: bool
) -> None:
    """Nothing is buffered when no retry is possible."""
    assert policy(**knobs).may_keep(asked(method, body=Announced(length))) is kept


def test_no_body_is_not_kept() -> None:
    """There is nothing to it."""
    assert not policy().may_keep(asked("PUT"))


# ── the wait


@given(st.integers(0, 2**32), st.integers(1, 11))
def test_the_backoff_is_anything_up_to_a_bound_that_doubles(seed: int, attempts: int) -> None:
    """Full jitter: no two clients that failed together come back together."""
    rule = RetryPolicy(Settings(base=0.1, cap=2.0), random.Random(seed).random)
    assert 0.0 <= rule.wait(answered(503), attempts, 0.0) < min(2.0, 0.1 * 2 ** (attempts - 1))


@pytest.mark.parametrize(("attempts", "bound"), [(1, 0.1), (2, 0.2), (3, 0.4), (5, 1.6), (6, 2.0), (11, 2.0)])
def test_the_backoff_takes_the_whole_of_its_range(attempts: int, bound: float) -> None:
    """Evenly."""
    rule = RetryPolicy(Settings(base=0.1, cap=2.0), random.Random(1).random)
    waits = [rule.wait(answered(503), attempts, 0.0) for _ in range(4000)]

    quarters = [sum(bound * n / 4 <= wait < bound * (n + 1) / 4 for wait in waits) for n in range(4)]
    assert sum(quarters) == 4000
    assert min(quarters) > 900


def test_a_dead_kept_connection_is_not_waited_after() -> None:
    """It says nothing of the upstream."""
    assert policy(0.9).wait(failed(STALE_CONNECTION), 1, 0.0) == 0.0


def test_the_upstream_is_given_the_time_that_it_asks_for() -> None:
    """And jitter on top, as everybody was told the same."""
    assert policy(0.5).wait(answered(503, b"Retry-After: 3"), 1, 0.0) == pytest.approx(3.05)
    assert policy(0.5).wait(answered(503, b"Retry-After: soon"), 1, 0.0) == pytest.approx(0.05)
    date = answered(503, b"Retry-After: Sun, 06 Nov 1994 08:49:37 GMT")
    assert policy(0.0).wait(date, 1, NOVEMBER - 7.5) == 7.5


@pytest.mark.parametrize("value", [b"31", b"1" * 18, b"9" * 5000, b"Sun, 06 Nov 2094 08:49:37 GMT"])
def test_an_upstream_that_asks_for_very_long_is_not_waited_for(value: bytes) -> None:
    """The client may come back by itself."""
    rule = policy()
    wait = rule.wait(answered(503, b"Retry-After: " + value), 1, NOVEMBER)

    assert wait == inf
    assert rule.decide(1, wait, inf) == DEADLINE


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (b"0", 0.0),
        (b"120", 120.0),
        (b"007", 7.0),
        (b"999999999", 999999999.0),
        (b"1000000000", inf),
        (b"0" * 30 + b"5", 5.0),
        (b"Sun, 06 Nov 1994 08:49:37 GMT", 7.0),
        (b"Sunday, 06-Nov-94 08:49:37 GMT", 7.0),
        (b"Sun Nov  6 08:49:37 1994", 7.0),
        (b"Sun, 06 Nov 1994 08:49:30 GMT", 0.0),
        (b"Sun, 06 Nov 1988 08:49:37 GMT", 0.0),
        (b"Monday, 07-Nov-94 08:49:37 GMT", 86407.0),
        (b"Wednesday, 01-Jan-44 00:00:00 GMT", 1551107430.0),
        (b"", None),
        (b"-1", None),
        (b"+5", None),
        (b" 5", None),
        (b"1_0", None),
        (b"1.5", None),
        ("²".encode(), None),
        ("٣".encode(), None),
        (b"soon", None),
        (b"Sun, 06 Now 1994 08:49:37 GMT", None),
        (b"Sun, 06 Nov 1994 24:49:37 GMT", None),
        (b"Sun, 06 Nov 0000 08:49:37 GMT", None),
        (b"Sun, 06 Nov 1994 08:49:37", None),
        (b"sun, 06 nov 1994 08:49:37 gmt", None),
    ],
)
def test_a_retry_after_is_seconds_or_one_of_three_forms_of_a_date(value: bytes, seconds: float | None) -> None:
    """RFC 9110 section 5.6.7; whatever else it is, it says nothing."""
    assert retry_after(value, NOVEMBER - 7) == seconds


@given(st.binary(max_size=40))
def test_no_retry_after_is_a_fault(value: bytes) -> None:
    """Upstreams write what they like."""
    wait = retry_after(value, NOVEMBER)
    assert wait is None or wait >= 0.0


# ── the decision


def test_there_are_so_many_further_attempts() -> None:
    """After the first."""
    rule = policy(attempts=2)
    assert [rule.decide(attempts, 0.0, inf) for attempts in (1, 2, 3)] == [RETRY, RETRY, EXHAUSTED]


@pytest.mark.parametrize(("wait", "left", "verdict"), [(0.1, 0.2, RETRY), (0.1, 0.1, DEADLINE), (0.1, 0.102, DEADLINE)])
def test_no_wait_outlasts_the_deadline(wait: float, left: float, verdict: str) -> None:
    """Nor leaves too little of it for an attempt."""
    assert policy().decide(1, wait, left) == verdict


def test_the_budget_is_spent_by_what_is_done_alone() -> None:
    """What is not retried for another reason takes no token."""
    rule = policy(attempts=1)
    refused = [rule.decide(2, 0.0, inf), rule.decide(1, 1.0, 0.5), rule.decide(1, 0.0, inf, whole=False)]
    assert refused == [EXHAUSTED, DEADLINE, BODY]
    assert rule.budget.left == 3.0

    assert [rule.decide(1, 0.0, inf) for _ in range(4)] == [RETRY, RETRY, RETRY, BUDGET]


def test_that_attempts_are_exhausted_is_told_before_what_became_of_the_body() -> None:
    """The last attempt keeps none, and that is not why there is no other."""
    assert policy(attempts=1).decide(2, 0.0, inf, whole=False) == EXHAUSTED
