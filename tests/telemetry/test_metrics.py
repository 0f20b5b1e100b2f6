"""What an ended request adds to the metrics."""

from __future__ import annotations

import pytest

from sidecar.errors import ATTEMPT_TIMEOUT, BAD_REQUEST, CONNECT_FAILED, RATE_LIMITED, SidecarError
from sidecar.telemetry.metrics import Metrics
from sidecar.telemetry.tally import Spread, Values
from tests.telemetry.support import ended, outcome


@pytest.fixture
def metrics() -> Metrics:
    return Metrics("1.2.3")


def rows(metrics: Metrics, name: str) -> dict[Values, float | Spread]:
    """The rows of one family."""
    return dict(next(family.rows for family in metrics.snapshot() if family.name == name))


def count(metrics: Metrics, name: str, values: Values = ()) -> int:
    """How many values a histogram row holds."""
    row = rows(metrics, name).get(values)
    return sum(row.counts) if isinstance(row, Spread) else 0


def test_an_answered_request_is_counted_everywhere_once(metrics: Metrics) -> None:
    """By path template, method and status; by reason; and its times."""
    exchange = ended(b"/users/7?q=1", upstream_wait=0.05, client_wait=0.03)
    metrics.opened(exchange)
    assert rows(metrics, "sidecar_requests_in_flight") == {(): 1}
    metrics.settled(exchange, 100.09)

    assert rows(metrics, "http_requests_total") == {("/users/{id}", "GET", 200): 1}
    assert rows(metrics, "sidecar_answers_total") == {("upstream",): 1}
    assert rows(metrics, "sidecar_requests_in_flight") == {(): 0}
    spent = rows(metrics, "http_request_duration_seconds")["/users/{id}", "GET"]
    own = rows(metrics, "sidecar_overhead_seconds")[()]
    assert isinstance(spent, Spread)
    assert isinstance(own, Spread)
    assert spent.sum == pytest.approx(0.09)
    assert own.sum == pytest.approx(0.01)


def test_overhead_is_never_negative(metrics: Metrics) -> None:
    """Waits that overlap do not make a request end before it began."""
    metrics.settled(ended(upstream_wait=5.0, client_wait=5.0), 101.0)

    own = rows(metrics, "sidecar_overhead_seconds")[()]
    assert isinstance(own, Spread)
    assert own.sum == 0.0


def test_probes_are_left_out(metrics: Metrics) -> None:
    """Requests that are not observed leave no trace."""
    probe = ended(observed=False)
    metrics.opened(probe)
    metrics.settled(probe, 101.0)

    assert rows(metrics, "http_requests_total") == {}
    assert rows(metrics, "sidecar_answers_total") == {}
    assert metrics.in_flight == 0


def test_a_tunnel_counts_but_its_time_does_not(metrics: Metrics) -> None:
    """An upgraded connection may live for hours."""
    metrics.settled(ended(b"/ws", status=101), 9999.0)
    metrics.attempt(outcome(101, elapsed=0.01))

    assert rows(metrics, "http_requests_total") == {("/ws", "GET", 101): 1}
    assert rows(metrics, "http_request_duration_seconds") == {}
    assert count(metrics, "sidecar_overhead_seconds") == 0
    assert count(metrics, "sidecar_upstream_duration_seconds") == 0


def test_a_client_that_left_untold_is_499(metrics: Metrics) -> None:
    """No status was sent; the label says who ended it."""
    metrics.settled(ended(status=0, reason="client_gone"), 101.0)

    assert rows(metrics, "http_requests_total") == {("other", "GET", 499): 1}
    assert rows(metrics, "sidecar_answers_total") == {("client_gone",): 1}


@pytest.mark.parametrize(("method", "label"), [("PATCH", "PATCH"), ("MKCOL", "_OTHER"), ("get", "_OTHER")])
def test_unusual_methods_share_a_label(metrics: Metrics, method: str, label: str) -> None:
    """Clients choose methods; they must not choose how many series there are."""
    metrics.settled(ended(method=method), 101.0)

    assert rows(metrics, "http_requests_total") == {("/", label, 200): 1}


@pytest.mark.parametrize(
    ("status", "reason", "path"),
    [
        (200, "upstream", "/a"),
        (503, "upstream", "/a"),
        (504, ATTEMPT_TIMEOUT.token, "/a"),
        (502, CONNECT_FAILED.token, "/a"),
        (404, "upstream", "other"),
        (400, BAD_REQUEST.token, "other"),
        (429, RATE_LIMITED.token, "other"),
    ],
)
def test_only_answers_that_prove_a_path_make_a_template(metrics: Metrics, status: int, reason: str, path: str) -> None:
    """A 404 or a refusal of ours says nothing of what the upstream has at this path."""
    metrics.settled(ended(b"/a", status=status, reason=reason), 101.0)

    assert rows(metrics, "http_requests_total") == {(path, "GET", status): 1}


def test_a_known_path_keeps_its_label_when_refused(metrics: Metrics) -> None:
    """Rate limiting of a route shows at the route."""
    metrics.settled(ended(b"/a"), 101.0)
    metrics.settled(ended(b"/a", status=429, reason="rate_limited"), 101.0)

    assert ("/a", "GET", 429) in rows(metrics, "http_requests_total")


def test_attempts_are_counted_by_class_or_failure(metrics: Metrics) -> None:
    """A status shows as its class, a failure as its reason."""
    metrics.attempt(outcome(204))
    metrics.attempt(outcome(200))
    metrics.attempt(outcome(503))
    metrics.attempt(outcome(error=SidecarError(CONNECT_FAILED, "refused")))

    assert rows(metrics, "sidecar_upstream_attempts_total") == {("2xx",): 2, ("5xx",): 1, ("connect_failed",): 1}
    assert count(metrics, "sidecar_upstream_duration_seconds") == 4


def test_figures_kept_by_others_are_read_when_asked_for(metrics: Metrics) -> None:
    """Gauges of the application have their names here and their values there."""
    metrics.live(
        upstream_up=lambda: True,
        draining=lambda: False,
        client_connections=lambda: 3,
        upstream_connections=lambda: 2,
        resting=lambda: 4,
        closed_idle=lambda: 7,
        closed_untaken=lambda: 8,
        log_lines_dropped=lambda: 5,
        circuits=lambda: [(("upstream", "open"), 1.0)],
    )

    assert rows(metrics, "sidecar_upstream_up") == {(): 1}
    assert rows(metrics, "sidecar_draining") == {(): 0}
    assert rows(metrics, "sidecar_circuit_state") == {("upstream", "open"): 1}
    assert rows(metrics, "sidecar_connections") == {("client",): 3, ("upstream",): 2}
    assert rows(metrics, "sidecar_connections_resting") == {(): 4}
    assert rows(metrics, "sidecar_connections_closed_total") == {("idle",): 7, ("untaken",): 8}
    assert rows(metrics, "sidecar_log_lines_dropped_total") == {(): 5}


def test_the_build_is_told(metrics: Metrics) -> None:
    """Version and Python, as labels of a constant."""
    (labels,) = rows(metrics, "sidecar_build_info")

    assert labels[0] == "1.2.3"
