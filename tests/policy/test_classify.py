"""What an attempt says of the upstream."""

from __future__ import annotations

from math import inf

import pytest

from sidecar.errors import DEADLINE_EXCEEDED, REASONS, Reason, SidecarError
from sidecar.exchange import BAD, GOOD, NEUTRAL, Exchange, Request
from sidecar.headers import Headers
from sidecar.policy.classify import of_failure, of_status

BLAMED = {
    "connect_failed",
    "connect_timeout",
    "connection_lost",
    "attempt_timeout",
    "deadline_exceeded",
    "bad_response",
}


class NoTimer:
    """Nobody looks."""

    def at_latest(self, due: float) -> None:
        """See Timer."""


def exchange(*, timeout: float = 15.0, client: float = inf, waited: float = 15.0) -> Exchange:
    """One that began at 100 and waited so long for the upstream; `client` is the client's own timeout."""
    made = Exchange(Request("GET", b"/", Headers(b"")), b"1", "192.0.2.7", 100.0, NoTimer())
    made.client_deadline = 100.0 + client
    made.limit(made.client_deadline)
    made.timeout = timeout
    made.received(100.0)
    made.upstream_wait = waited
    return made


@pytest.mark.parametrize(
    ("statuses", "verdict"),
    [
        ((101, 200, 204, 304), GOOD),
        ((400, 401, 404, 408, 429, 499), GOOD),
        ((501,), GOOD),
        ((500, 502, 503, 504, 505, 599), BAD),
    ],
)
def test_an_answer_is_good_unless_the_upstream_failed(statuses: tuple[int, ...], verdict: str) -> None:
    """What the client did wrong, and what the upstream does not implement, are no failures."""
    assert {of_status(exchange(), status, 101.0) for status in statuses} == {verdict}


@pytest.mark.parametrize(("now", "verdict"), [(100.9, BAD), (100.995, NEUTRAL), (101.5, NEUTRAL)])
def test_an_error_as_the_clients_deadline_passes_says_nothing(now: float, verdict: str) -> None:
    """A service that is told of it gives up then; that would be a way to open its circuit."""
    assert of_status(exchange(client=1.0), 504, now) == verdict
    assert of_status(exchange(client=1.0), 200, now) == GOOD


@pytest.mark.parametrize("reason", REASONS, ids=[reason.token for reason in REASONS])
def test_only_the_upstreams_failures_are_bad(reason: Reason) -> None:
    """Our own refusals, faults, the client's doing and a stale connection say nothing."""
    verdict = BAD if reason.token in BLAMED else NEUTRAL

    assert of_failure(exchange(), SidecarError(reason, "")) == verdict


def test_what_was_ended_from_outside_says_nothing() -> None:
    """Nobody knows how it would have ended."""
    assert of_failure(exchange(), None) == NEUTRAL


@pytest.mark.parametrize(
    ("client", "verdict"), [(0.001, NEUTRAL), (14.9, NEUTRAL), (15.0, NEUTRAL), (15.1, BAD), (inf, BAD)]
)
def test_a_deadline_of_the_clients_says_nothing(client: float, verdict: str) -> None:
    """It may be any time at all; past our own timeout it is not what ended the attempt."""
    assert of_failure(exchange(client=client), SidecarError(DEADLINE_EXCEEDED, "")) == verdict


@pytest.mark.parametrize(("waited", "verdict"), [(0.0, NEUTRAL), (7.4, NEUTRAL), (7.5, BAD), (15.0, BAD)])
def test_a_timeout_that_our_queues_used_up_says_nothing(waited: float, verdict: str) -> None:
    """Unless the upstream had half of the time, its passing tells of what stood before it."""
    assert of_failure(exchange(waited=waited), SidecarError(DEADLINE_EXCEEDED, "")) == verdict
