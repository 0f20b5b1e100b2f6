"""Counters, gauges and histograms cheap enough for every request: a dict look-up and an addition.

A child of prometheus-client costs 0.3-0.7 µs a call, for locks that one event-loop thread does not need; these cost
a third. They know neither the wire format nor prometheus-client: `snapshot` copies the figures into a `Family`, and
`exposition.py` lets prometheus-client write families out. All calls belong to the event loop's thread.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple, Protocol

# Label values in the order of the label names. Whatever they are, `str` of them is what a scraper sees: an int costs
# nothing to keep, its text would be made anew for every request.
Values = tuple[object, ...]

# The client libraries' classic bounds in seconds, which are OpenTelemetry's advice for HTTP as well.
SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)

# The same for what should take microseconds to milliseconds.
SHORT_SECONDS: Final = (0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)


class Spread(NamedTuple):
    """A histogram's figures: how many fell into each bucket (one more than there are bounds), and their sum."""

    counts: Sequence[int]
    sum: float


class Family(NamedTuple):
    """All figures of one metric at one moment. `kind` is `counter`, `gauge` or `histogram`."""

    kind: str
    name: str
    help: str
    labels: tuple[str, ...]
    rows: list[tuple[Values, float | Spread]]
    bounds: tuple[float, ...] = ()


Rows = Iterable[tuple[Values, float]]


class Tally(Protocol):
    """Anything that can be scraped."""

    def snapshot(self) -> Family:
        """The figures as they are now, detached from those that go on counting."""


class Count:
    """One counter row: whoever holds it adds to `value`."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0


class Counter:
    """How often something happened, by label values. A name ends in `_total`."""

    __slots__ = ("_help", "_labels", "_name", "_rows")

    def __init__(self, name: str, text: str, labels: tuple[str, ...] = ()) -> None:
        self._name = name
        self._help = text
        self._labels = labels
        # Without labels the figure exists from the start, so that a rate over it sees the first event.
        self._rows: dict[Values, Count] = {} if labels else {(): Count()}

    def of(self, values: Values = ()) -> Count:
        """The row for these label values; it may be kept, which saves the look-up."""
        row = self._rows.get(values)
        if row is None:
            row = self._rows[values] = Count()
        return row

    def snapshot(self) -> Family:
        rows: list[tuple[Values, float | Spread]] = [(values, row.value) for values, row in self._rows.items()]
        return Family("counter", self._name, self._help, self._labels, rows)


class Buckets:
    """One histogram row."""

    __slots__ = ("_bounds", "_counts", "_sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        """Count `value` in the first bucket whose bound is not below it."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def spread(self) -> Spread:
        """The figures as they are now."""
        return Spread(tuple(self._counts), self._sum)


class Histogram:
    """How values were spread over buckets, by label values."""

    __slots__ = ("_bounds", "_help", "_labels", "_name", "_rows")

    def __init__(self, name: str, text: str, labels: tuple[str, ...] = (), bounds: tuple[float, ...] = SECONDS) -> None:
        self._name = name
        self._help = text
        self._labels = labels
        self._bounds = bounds
        self._rows: dict[Values, Buckets] = {} if labels else {(): Buckets(bounds)}

    def of(self, values: Values = ()) -> Buckets:
        """The row for these label values; it may be kept, which saves the look-up."""
        row = self._rows.get(values)
        if row is None:
            row = self._rows[values] = Buckets(self._bounds)
        return row

    def snapshot(self) -> Family:
        rows: list[tuple[Values, float | Spread]] = [(values, row.spread()) for values, row in self._rows.items()]
        return Family("histogram", self._name, self._help, self._labels, rows, self._bounds)


class Reading:
    """A figure kept by somebody else and read when scraped: a gauge, or a counter where `kind` says so."""

    __slots__ = ("_help", "_kind", "_labels", "_name", "_sources")

    def __init__(self, name: str, text: str, labels: tuple[str, ...] = (), kind: str = "gauge") -> None:
        self._name = name
        self._help = text
        self._labels = labels
        self._kind = kind
        self._sources: dict[Values, Callable[[], float]] = {}

    def take(self, values: Values, source: Callable[[], float]) -> None:
        """Read the row of these label values from `source`."""
        self._sources[values] = source

    def snapshot(self) -> Family:
        rows: list[tuple[Values, float | Spread]] = [(v, float(source())) for v, source in self._sources.items()]
        return Family(self._kind, self._name, self._help, self._labels, rows)


class Table:
    """A gauge whose rows somebody else keeps, come and go."""

    __slots__ = ("_help", "_labels", "_name", "_source")

    def __init__(self, name: str, text: str, labels: tuple[str, ...], source: Callable[[], Rows]) -> None:
        self._name = name
        self._help = text
        self._labels = labels
        self._source = source

    def snapshot(self) -> Family:
        rows: list[tuple[Values, float | Spread]] = list(self._source())
        return Family("gauge", self._name, self._help, self._labels, rows)
