"""The sidecar's metrics: their names, their labels, and what each ended request adds to them.

Names are a contract with dashboards and alerts. Knows exchanges and outcomes; does not know how figures are written
out (`exposition.py`) nor who asks for them. All calls belong to the event loop's thread.
"""

from __future__ import annotations

import platform
from collections.abc import Callable
from typing import Final, TypeVar

from sidecar.errors import REASONS, Side
from sidecar.exchange import Exchange, Outcome
from sidecar.policy.connections import PER_CLIENT, TOTAL
from sidecar.telemetry.paths import PathTemplates
from sidecar.telemetry.tally import (
    SHORT_SECONDS,
    Buckets,
    Count,
    Counter,
    Family,
    Histogram,
    Reading,
    Rows,
    Table,
    Tally,
)

METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"})
OTHER_METHOD: Final = "_OTHER"

# What an exchange counts as whose client was told nothing, because it had left.
UNTOLD: Final = 499

# Reasons after which the path may have been anybody's: the upstream never had its say.
_PROVES_NOTHING: Final = frozenset(reason.token for reason in REASONS if reason.side is not Side.UPSTREAM)

# 2 for 200 to 299: the label of an attempt that was answered.
_CLASSES: Final = {hundred: (f"{hundred}xx",) for hundred in range(1, 10)}

_Row = tuple[Count, Buckets | None]
_T = TypeVar("_T", bound=Tally)


class Metrics:
    """Every tally the sidecar keeps. `version` is the sidecar's own."""

    def __init__(self, version: str) -> None:
        self._tallies: list[Tally] = []
        self._readings: dict[str, Reading] = {}
        self.templates = PathTemplates()
        self._rows: dict[tuple[str, str, int], _Row] = {}
        self.in_flight = 0  # observed requests that have begun and not ended
        self._requests = self.counter("http_requests_total", "Ended requests.", ("path", "method", "status"))
        self._durations = self.histogram(
            "http_request_duration_seconds", "From a request's first byte to its end.", ("path", "method")
        )
        overhead = self.histogram(
            "sidecar_overhead_seconds",
            "Time a request spent in the sidecar itself, waits for upstream and client taken off.",
            bounds=SHORT_SECONDS,
        )
        self._answers = self.counter(
            "sidecar_answers_total", "Ended requests by why they were answered so; upstream = its own.", ("reason",)
        )
        self._attempts = self.counter(
            "sidecar_upstream_attempts_total", "Attempts at the upstream by status class or failure.", ("outcome",)
        )
        attempt_seconds = self.histogram(
            "sidecar_upstream_duration_seconds", "From an attempt's start to its response head or failure."
        )
        lag = self.histogram(
            "sidecar_event_loop_lag_seconds", "How late the event loop ran a timer.", bounds=SHORT_SECONDS
        )
        self._decisions = self.counter(
            "sidecar_limit_decisions_total", "Decisions of limiters, by limiter.", ("limiter", "decision")
        )
        self._shadows = self.counter(
            "sidecar_policy_shadow_total", "What policies in shadow mode would have refused.", ("policy",)
        )
        self._retries = self.counter(
            "sidecar_retries_total", "Failed attempts by why, and what became of trying again.", ("reason", "result")
        )
        self._transitions = self.counter(
            "sidecar_circuit_transitions_total", "Changes of a circuit's state.", ("from", "to")
        )
        self._reloads = self.counter(
            "sidecar_config_reloads_total", "Reloads of the settings.", ("result",), ("success", "failure")
        )
        text = "Requests to the admin port that were refused: 401 for the token, 403 for where they came from."
        self._admin_refusals = self.counter("sidecar_admin_refusals_total", text, ("status",), ("401", "403"))
        self._last_reload = 1
        self.gauge_from(
            "sidecar_config_last_reload_successful",
            "Whether the settings that were read last are those in force: 1 or 0.",
            lambda: self._last_reload,
        )
        text = "Client connections refused, by the setting that did."
        self._refused = self.counter("sidecar_connections_refused_total", text, ("reason",), (TOTAL, PER_CLIENT))
        self._overhead = overhead.of()
        self._attempt_seconds = attempt_seconds.of()
        self.loop_lag = lag.of()
        self.gauge_from("sidecar_requests_in_flight", "Requests that have not ended.", lambda: self.in_flight)
        build = {"version": version, "python": platform.python_version()}
        self.gauge_from("sidecar_build_info", "What is running: always 1.", lambda: 1, **build)

    def live(
        self,
        *,
        upstream_up: Callable[[], float],
        draining: Callable[[], float],
        client_connections: Callable[[], float],
        upstream_connections: Callable[[], float],
        resting: Callable[[], float],
        closed_idle: Callable[[], float],
        closed_untaken: Callable[[], float],
        log_lines_dropped: Callable[[], float],
        circuits: Callable[[], Rows],
    ) -> None:
        """Name the sources of figures that others keep; they are read when the metrics are."""
        self.gauge_from("sidecar_upstream_up", "Whether the upstream is reachable: 1 or 0.", upstream_up)
        self.gauge_from("sidecar_draining", "Whether the sidecar is leaving: 1 or 0.", draining)
        text = "Open connections, by the side they are on."
        self.gauge_from("sidecar_connections", text, client_connections, side="client")
        self.gauge_from("sidecar_connections", text, upstream_connections, side="upstream")
        text = "Client connections that are not read from, as what they asked last was refused in overload (guard)."
        self.gauge_from("sidecar_connections_resting", text, resting)
        text = "Client connections closed between requests, as none came in time or the last answer was not taken."
        self.counter_from("sidecar_connections_closed_total", text, closed_idle, reason="idle")
        self.counter_from("sidecar_connections_closed_total", text, closed_untaken, reason="untaken")
        self.counter_from(
            "sidecar_log_lines_dropped_total", "Log lines lost because nobody took them in time.", log_lines_dropped
        )
        text = "The state of each circuit: 1 for the one that it is in."
        self._register(Table("sidecar_circuit_state", text, ("route", "state"), circuits))

    def decisions(self, limiter: str) -> Callable[[str], None]:
        """What a limiter of this name reports its decisions to."""
        return _Decisions(self._decisions, limiter).count

    def shadows(self, policy: str) -> Callable[[], None]:
        """What a policy in shadow mode calls when it would have refused."""
        row = self._shadows.of((policy,))

        def count() -> None:
            row.value += 1

        return count

    def retried(self, reason: str, result: str) -> None:
        """A failed attempt was followed by another, or could not be."""
        self._retries.of((reason, result)).value += 1

    def circuit_changed(self, before: str, after: str) -> None:
        """A circuit went from one state to another."""
        self._transitions.of((before, after)).value += 1

    def reloaded(self, ok: bool) -> None:
        """The settings were read again."""
        self._last_reload = int(ok)
        self._reloads.of(("success" if ok else "failure",)).value += 1

    def admin_refused(self, status: int) -> None:
        """The admin port refused somebody."""
        self._admin_refusals.of((str(status),)).value += 1

    def connection_refused(self, reason: str) -> None:
        """A client's connection was one too many."""
        self._refused.of((reason,)).value += 1

    def counter(self, name: str, text: str, labels: tuple[str, ...] = (), known: tuple[str, ...] = ()) -> Counter:
        """A new counter for the caller to add to. The `known` values of its one label are there from the start."""
        counter = self._register(Counter(name, text, labels))
        for value in known:
            counter.of((value,))
        return counter

    def histogram(
        self, name: str, text: str, labels: tuple[str, ...] = (), bounds: tuple[float, ...] | None = None
    ) -> Histogram:
        """A new histogram for the caller to observe into."""
        return self._register(Histogram(name, text, labels, bounds) if bounds else Histogram(name, text, labels))

    def gauge_from(self, name: str, text: str, source: Callable[[], float], **labels: str) -> None:
        """A gauge that is read from `source`; call it once for each set of label values."""
        self._read(name, text, source, labels, "gauge")

    def counter_from(self, name: str, text: str, source: Callable[[], float], **labels: str) -> None:
        """A counter that somebody else counts."""
        self._read(name, text, source, labels, "counter")

    def opened(self, exchange: Exchange) -> None:
        """A request has begun. Whether it is `observed` must be decided by now and stay."""
        if exchange.observed:
            self.in_flight += 1

    def settled(self, exchange: Exchange, now: float) -> None:
        """Count a request that `opened` was called for, at its end."""
        if not exchange.observed:
            return
        self.in_flight -= 1
        request, reason = exchange.request, exchange.reason
        status = exchange.status or UNTOLD
        path = exchange.label
        if not path:
            may_add = status != 404 and reason not in _PROVES_NOTHING
            path = exchange.label = self.templates.of(request.path, may_add)
        requests, seconds = self._rows.get((path, request.method, status)) or self._row(path, request.method, status)
        requests.value += 1
        self._answers.of((reason,)).value += 1
        if seconds is not None:
            seconds.observe(now - exchange.started)
            self._overhead.observe(exchange.overhead(now))

    def _row(self, path: str, method: str, status: int) -> _Row:
        """What requests of this kind add to; kept, where there is a bound to their number."""
        known = method in METHODS
        label = method if known else OTHER_METHOD
        # A tunnel lives as long as its two ends like: its time says nothing of anybody's speed.
        seconds = self._durations.of((path, label)) if status != 101 else None
        row = self._requests.of((path, label, status)), seconds
        if known:
            self._rows[path, method, status] = row
        return row

    def attempt(self, outcome: Outcome) -> None:
        """Count one attempt at the upstream, once its response head is there or it failed."""
        error = outcome.error
        kind = _CLASSES[outcome.status // 100] if error is None else (error.reason.token,)
        self._attempts.of(kind).value += 1
        if outcome.status != 101:
            self._attempt_seconds.observe(outcome.elapsed)

    def snapshot(self) -> list[Family]:
        """All figures of this moment, safe to hand to another thread."""
        return [tally.snapshot() for tally in self._tallies]

    def _register(self, tally: _T) -> _T:
        self._tallies.append(tally)
        return tally

    def _read(self, name: str, text: str, source: Callable[[], float], labels: dict[str, str], kind: str) -> None:
        reading = self._readings.get(name)
        if reading is None:
            reading = self._readings[name] = self._register(Reading(name, text, tuple(labels), kind))
        reading.take(tuple(labels.values()), source)

    def __repr__(self) -> str:
        return f"<Metrics {len(self._tallies)} families, {self.in_flight} in flight>"


class _Decisions:
    """One limiter's rows."""

    __slots__ = ("_counter", "_limiter", "_rows")

    def __init__(self, counter: Counter, limiter: str) -> None:
        self._counter = counter
        self._limiter = limiter
        self._rows: dict[str, Count] = {}

    def count(self, decision: str) -> None:
        row = self._rows.get(decision)
        if row is None:
            row = self._rows[decision] = self._counter.of((self._limiter, decision))
        row.value += 1
