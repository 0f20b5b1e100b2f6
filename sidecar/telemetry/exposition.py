"""Metrics as text, written by prometheus-client from a snapshot: Prometheus' own format, or OpenMetrics if asked for.

The only place that imports prometheus-client, and only with the first scrape or the admin plane, for it would add to
the time until the first proxied answer. Works on copies, so it may run in another thread than the event loop's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector, CollectorRegistry
from prometheus_client.utils import floatToGoString

from sidecar.telemetry.tally import Family, Spread


def exposition(families: Iterable[Family], accept: str = "") -> tuple[bytes, str]:
    """The metrics and their content type, by the `Accept` header. Adds the `process_*` metrics, where /proc exists.

    No `_created` series are made: families carry none, so `disable_created_metrics` has nothing to switch off.
    """
    registry = CollectorRegistry()
    registry.register(_Snapshot(families))
    ProcessCollector(registry=registry)
    try:
        encode, content_type = choose_encoder(accept)
    except (ValueError, TypeError):
        # A version that is no number: whoever asks so gets the plain format.
        encode, content_type = choose_encoder("")
    return encode(registry), content_type


class _Snapshot(Collector):
    def __init__(self, families: Iterable[Family]) -> None:
        self._families = list(families)

    def describe(self) -> Iterable[Metric]:
        # Keeps the registry from collecting twice to learn the names.
        return ()

    def collect(self) -> Iterator[Metric]:
        for family in self._families:
            yield _metric(family)


def _metric(family: Family) -> Metric:
    if family.kind == "histogram":
        return _histogram(family)
    kind = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
    metric = kind(family.name, family.help, labels=family.labels)
    for values, figure in family.rows:
        if not isinstance(figure, Spread):
            metric.add_metric([str(value) for value in values], figure)
    return metric


def _histogram(family: Family) -> Metric:
    metric = HistogramMetricFamily(family.name, family.help, labels=family.labels)
    bounds = [*map(floatToGoString, family.bounds), "+Inf"]
    for values, figure in family.rows:
        if isinstance(figure, Spread):
            buckets = list(zip(bounds, accumulate(figure.counts), strict=True))
            metric.add_metric([str(value) for value in values], buckets, figure.sum)
    return metric
