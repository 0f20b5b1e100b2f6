"""A limit as numbers, and what a refused client is told of it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sidecar.answers import answer
from sidecar.exchange import FixedBody
from sidecar.headers import index
from sidecar.settings import Rate
from sidecar.throttle.limit import Limit, is_on
from sidecar.units import parse_rate


def limit(rate: str, scope: str = "sidecar", **settings: Any) -> Limit:
    """The limit of such settings."""
    return Limit(Rate(limit=parse_rate(rate), **settings), scope)


@pytest.mark.parametrize(("rate", "burst"), [("100/s", 200), ("90/m", 3), ("1/s", 2), ("5/h", 1), ("0.4/s", 1)])
def test_a_burst_is_two_seconds_worth_unless_set(rate: str, burst: int) -> None:
    """At least one, or nobody would ever be admitted."""
    assert limit(rate).burst == burst
    assert limit(rate, burst=7).burst == 7


@pytest.mark.parametrize(
    ("rate", "burst", "policy"),
    [
        ("100/s", 200, b'"sidecar";q=200;w=2'),
        ("100/s", 10, b'"sidecar";q=100;w=1'),
        ("2/s", 5, b'"sidecar";q=6;w=3'),
        ("5/h", 1, b'"sidecar";q=1;w=720'),
        ("11/m", 11, b'"sidecar";q=11;w=60'),  # eleven times the time of one token is a trifle more than a minute
    ],
)
def test_the_policy_is_a_quota_in_whole_seconds(rate: str, burst: int, policy: bytes) -> None:
    """As the draft wants it: quota and window, such that they neither overstate nor belittle the limit."""
    refusal = limit(rate, burst=burst).refusal(0.01)

    assert index(refusal.headers)[b"ratelimit-policy"] == policy


@pytest.mark.parametrize(("seconds", "told"), [(0.0, 1), (0.2, 1), (1.0, 1), (1.0 + 1e-9, 1), (1.01, 2), (719.5, 720)])
def test_header_fields_and_body_say_when_to_come_back(seconds: float, told: int) -> None:
    """In whole seconds, never too early, the same everywhere."""
    response = answer(limit("5/h", scope="search").refusal(seconds), b"0" * 32)
    fields = index(response.headers.block)
    assert isinstance(response.body, FixedBody)

    assert response.status == 429
    assert fields[b"retry-after"] == b"%d" % told
    assert fields[b"ratelimit"] == b'"search";r=0;t=%d' % told
    assert json.loads(response.body.content)["retry_after"] == told


def test_the_body_holds_the_numbers_that_decided() -> None:
    """The limit, as it was set, and of whom; not the value of a key, which may be a secret."""
    refusal = limit("100/s", key="header:X-Key").refusal(0.5)

    assert refusal.facts == {"scope": "sidecar", "limit": "100/s", "burst": 200, "key": "header:X-Key", "remaining": 0}
    assert refusal.detail == "the rate limit of 100/s for each X-Key is used up"


@pytest.mark.parametrize(
    ("settings", "on"),
    [(Rate(), False), (Rate(limit=1), True), (Rate(limit=1, mode="shadow"), True), (Rate(limit=1, mode="off"), False)],
)
def test_a_limit_of_nothing_is_none(settings: Rate, on: bool) -> None:
    """Then there is no limiter at all."""
    assert is_on(settings) is on
