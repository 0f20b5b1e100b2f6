"""What the Grafana dashboard shows, row by row: requests, resilience, upstream, the sidecars, versions and settings."""

from __future__ import annotations

from typing import Final, NamedTuple


class Panel(NamedTuple):
    """A picture. `queries` are (expression, legend); `$CHOSEN` in them stands for the selection at the top."""

    title: str
    about: str
    unit: str
    queries: tuple[tuple[str, str], ...]
    kind: str = "timeseries"
    stacked: bool = False
    width: int = 8


# Metrics that other programs have too.
_OURS: Final = "and on (job, instance) sidecar_build_info"


def _p(quantile: float, metric: str, by: str = "") -> str:
    labels = f"le, {by}" if by else "le"
    return f"histogram_quantile({quantile}, sum by ({labels}) (rate({metric}_bucket{{$CHOSEN}}[$__rate_interval])))"


def _percentiles(metric: str) -> tuple[tuple[str, str], ...]:
    return tuple((_p(quantile, metric), f"p{quantile * 100:g}") for quantile in (0.5, 0.95, 0.99))


def _rate(metric: str, by: str, also: str = "") -> str:
    return f"sum by ({by}) (rate({metric}{{$CHOSEN{also}}}[$__rate_interval]))"


_ERRORS: Final = (
    'sum(rate(http_requests_total{$CHOSEN, status=~"5.."}[$__rate_interval]))'
    " / sum(rate(http_requests_total{$CHOSEN}[$__rate_interval]))"
)

ROWS: Final[dict[str, tuple[Panel, ...]]] = {
    "Requests": (
        Panel(
            "Rate",
            "Ended requests a second, by status.",
            "reqps",
            ((_rate("http_requests_total", "status"), "{{status}}"),),
            stacked=True,
        ),
        Panel(
            "Failed",
            "The share of requests answered with 5xx, by whom: the service, or the sidecar.",
            "percentunit",
            ((_ERRORS, "5xx"),),
        ),
        Panel(
            "Duration",
            "From a request's first byte to its end, bodies included.",
            "s",
            _percentiles("http_request_duration_seconds"),
        ),
        Panel(
            "Busiest paths",
            "Requests a second by path template.",
            "reqps",
            ((f"topk(10, {_rate('http_requests_total', 'path')})", "{{path}}"),),
        ),
        Panel(
            "Slowest paths",
            "The 99th percentile of the ten slowest path templates.",
            "s",
            ((f"topk(10, {_p(0.99, 'http_request_duration_seconds', 'path')})", "{{path}}"),),
        ),
        Panel(
            "In flight",
            "Requests that have not ended.",
            "short",
            (("sum by (instance) (sidecar_requests_in_flight{$CHOSEN})", "{{instance}}"),),
        ),
    ),
    "Resilience": (
        Panel(
            "Answers of the sidecar's own",
            "Why it answered in the service's place; the table in the README says what to do.",
            "reqps",
            ((_rate("sidecar_answers_total", "reason", ', reason!="upstream"'), "{{reason}}"),),
            stacked=True,
        ),
        Panel(
            "Circuits that are not closed",
            "1 where a circuit is open or half-open.",
            "short",
            (
                (
                    'max by (instance, route, state) (sidecar_circuit_state{$CHOSEN, state!="closed"}) > 0',
                    "{{route}} {{state}} {{instance}}",
                ),
            ),
            kind="state-timeline",
        ),
        Panel(
            "Circuits: changes",
            "Changes of state a second.",
            "ops",
            ((_rate("sidecar_circuit_transitions_total", "from, to"), "{{from}} → {{to}}"),),
        ),
        Panel(
            "Retries",
            "Failed attempts a second, and what became of trying again; budget = there was none left.",
            "ops",
            ((_rate("sidecar_retries_total", "reason, result"), "{{reason}}: {{result}}"),),
            stacked=True,
        ),
        Panel(
            "Limits",
            "Decisions a second other than to admit at once.",
            "ops",
            (
                (
                    _rate("sidecar_limit_decisions_total", "limiter, decision", ', decision!="admitted"'),
                    "{{limiter}}: {{decision}}",
                ),
            ),
        ),
        Panel(
            "Shadow",
            "What policies in shadow mode would have refused.",
            "ops",
            ((_rate("sidecar_policy_shadow_total", "policy"), "{{policy}}"),),
        ),
    ),
    "Upstream": (
        Panel(
            "Up",
            "Whether the sidecar reaches its service.",
            "short",
            (("min by (instance) (sidecar_upstream_up{$CHOSEN})", "{{instance}}"),),
            kind="state-timeline",
        ),
        Panel(
            "Attempts",
            "Attempts at the service a second, by how they ended.",
            "reqps",
            ((_rate("sidecar_upstream_attempts_total", "outcome"), "{{outcome}}"),),
            stacked=True,
        ),
        Panel(
            "Time to the response head",
            "How long the service takes to begin its answer.",
            "s",
            _percentiles("sidecar_upstream_duration_seconds"),
        ),
    ),
    "The sidecar itself": (
        Panel(
            "Overhead",
            "What a request spends in the sidecar, waits for service and client taken off.",
            "s",
            _percentiles("sidecar_overhead_seconds"),
        ),
        Panel(
            "Behind",
            "How late the event loop is (p99): above 100 ms it has more to do than it can.",
            "s",
            ((_p(0.99, "sidecar_event_loop_lag_seconds", "instance"), "{{instance}}"),),
        ),
        Panel(
            "Processor",
            "Cores used; one sidecar uses one at most.",
            "short",
            (
                (
                    f"rate(process_cpu_seconds_total{{$CHOSEN}}[$__rate_interval]) {_OURS}",
                    "{{instance}}",
                ),
            ),
        ),
        Panel(
            "Memory",
            "Resident memory.",
            "bytes",
            ((f"process_resident_memory_bytes{{$CHOSEN}} {_OURS}", "{{instance}}"),),
        ),
        Panel(
            "Connections",
            "Open connections, by side; and those of clients that rest, refused as the sidecar itself was overloaded.",
            "short",
            (
                ("sum by (side) (sidecar_connections{$CHOSEN})", "{{side}}"),
                ("sum (sidecar_connections_resting{$CHOSEN})", "resting"),
            ),
        ),
        Panel(
            "Connections refused",
            "Those above http.max_connections, or above a client's share of them.",
            "ops",
            ((_rate("sidecar_connections_refused_total", "reason"), "{{reason}}"),),
        ),
        Panel(
            "Connections closed",
            "By the sidecar, between requests: none came in time, or nobody took the last answer.",
            "ops",
            ((_rate("sidecar_connections_closed_total", "reason"), "{{reason}}"),),
        ),
        Panel(
            "File descriptors",
            "The share of those it may have.",
            "percentunit",
            (
                (
                    f"process_open_fds{{$CHOSEN}} / process_max_fds {_OURS}",
                    "{{instance}}",
                ),
            ),
        ),
    ),
    "Versions and settings": (
        Panel(
            "Versions",
            "What runs where.",
            "short",
            (("count by (version, python) (sidecar_build_info{$CHOSEN})", "{{version}}, Python {{python}}"),),
            stacked=True,
        ),
        Panel(
            "Settings read again",
            "By result.",
            "short",
            (
                ("sum by (result) (increase(sidecar_config_reloads_total{$CHOSEN}[$__rate_interval]))", "{{result}}"),
                (
                    "min by (instance) (sidecar_config_last_reload_successful{$CHOSEN}) == 0",
                    "{{instance}} runs on old settings",
                ),
            ),
        ),
        Panel(
            "Refused at the admin port",
            "By status: 401 for the token, which somebody may be guessing; 403 for where it came from.",
            "short",
            (("sum by (status) (increase(sidecar_admin_refusals_total{$CHOSEN}[$__rate_interval]))", "{{status}}"),),
        ),
        Panel(
            "Life",
            "Seconds since the start; draining is 1 while it leaves.",
            "s",
            (
                (
                    f"time() - process_start_time_seconds{{$CHOSEN}} {_OURS}",
                    "{{instance}}",
                ),
                ("sidecar_draining{$CHOSEN} == 1", "{{instance}} drains"),
            ),
        ),
        Panel(
            "Log lines lost",
            "Nobody took them in time.",
            "ops",
            (("sum by (instance) (rate(sidecar_log_lines_dropped_total{$CHOSEN}[$__rate_interval]))", "{{instance}}"),),
        ),
    ),
}
