"""Tallies, and the text that prometheus-client makes of them."""

from __future__ import annotations

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from sidecar.telemetry.exposition import exposition
from sidecar.telemetry.tally import SECONDS, SHORT_SECONDS, Counter, Histogram, Reading, Spread, Tally


def samples(*tallies: Tally) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """What a scraper reads: (name, sorted labels) to value."""
    text, _ = exposition([tally.snapshot() for tally in tallies])
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in parse_text(text.decode())
        for sample in family.samples
    }


def test_a_counter_adds_up_by_label_values() -> None:
    """Each set of label values is counted apart, whatever type the values have."""
    counter = Counter("things_total", "Things.", ("kind", "status"))
    counter.of(("a", 200)).value += 1
    counter.of(("a", 200)).value += 2
    counter.of(("b", 404)).value += 1

    read = samples(counter)

    assert read["things_total", (("kind", "a"), ("status", "200"))] == 3
    assert read["things_total", (("kind", "b"), ("status", "404"))] == 1


def test_a_row_that_is_kept_goes_on_counting() -> None:
    """Whoever holds a row adds to the same figure as whoever looks it up."""
    counter = Counter("things_total", "Things.", ("kind",))
    row = counter.of(("a",))
    row.value += 1
    counter.of(("a",)).value += 1

    assert row is counter.of(("a",))
    assert samples(counter)["things_total", (("kind", "a"),)] == 2


def test_a_counter_without_labels_starts_at_zero() -> None:
    """A rate over it sees the first event, because the series is there before it."""
    assert samples(Counter("things_total", "Things."))["things_total", ()] == 0


@pytest.mark.parametrize("bounds", [SECONDS, SHORT_SECONDS])
def test_bounds_ascend(bounds: tuple[float, ...]) -> None:
    """The search for a bucket relies on it."""
    assert list(bounds) == sorted(set(bounds))


def test_a_value_on_a_bound_belongs_to_its_bucket() -> None:
    """`le` means less or equal."""
    histogram = Histogram("h_seconds", "H.", bounds=(0.1, 1.0))
    histogram.of().observe(0.1)

    read = samples(histogram)

    assert read["h_seconds_bucket", (("le", "0.1"),)] == 1


@given(st.lists(st.floats(min_value=0, max_value=1e6, allow_nan=False), max_size=50))
def test_a_histogram_is_what_its_values_say(values: list[float]) -> None:
    """Every bucket counts the values not above its bound, the last one all of them."""
    histogram = Histogram("h_seconds", "H.", ("path",), bounds=SHORT_SECONDS)
    row = histogram.of(("/",))
    for value in values:
        row.observe(value)

    read = samples(histogram)

    for bound in (*SHORT_SECONDS, inf):
        figure = next(
            value
            for (name, labels), value in read.items()
            if name == "h_seconds_bucket" and float(dict(labels)["le"]) == bound
        )
        assert figure == sum(value <= bound for value in values)
    assert read["h_seconds_count", (("path", "/"),)] == len(values)
    assert read["h_seconds_sum", (("path", "/"),)] == pytest.approx(sum(values))


def test_a_snapshot_stands_still() -> None:
    """What is counted after it was taken does not show in it."""
    counter, histogram = Counter("c_total", "C.", ("a",)), Histogram("h_seconds", "H.")
    counter.of(("x",)).value += 1
    before = [counter.snapshot(), histogram.snapshot()]
    counter.of(("x",)).value += 1
    counter.of(("y",)).value += 1
    histogram.of().observe(1.0)

    assert before[0].rows == [(("x",), 1)]
    assert before[1].rows == [((), Spread((0,) * (len(SECONDS) + 1), 0.0))]


def test_a_reading_asks_its_sources_when_scraped() -> None:
    """The figure is as old as the scrape."""
    reading = Reading("open_things", "Open.", ("side",))
    held = [1]
    reading.take(("client",), lambda: held[0])
    held[0] = 7

    assert samples(reading)["open_things", (("side", "client"),)] == 7


@given(st.text())
def test_any_text_may_be_a_label(text: str) -> None:
    """Quotes, line ends and whatever else: the scraper reads back what was counted."""
    text = text.encode("utf-8", "replace").decode()
    counter = Counter("c_total", "C.", ("x",))
    counter.of((text,)).value += 1

    assert samples(counter)["c_total", (("x", text),)] == 1


def test_openmetrics_comes_when_asked_for() -> None:
    """The Accept header of Prometheus gets OpenMetrics; nothing, or nonsense, gets the plain text."""
    families = [Counter("c_total", "C.").snapshot(), Histogram("h_seconds", "H.").snapshot()]

    body, content_type = exposition(families, "application/openmetrics-text;version=1.0.0;q=0.8,text/plain;q=0.5")
    read = parse_openmetrics(body.decode())  # type: ignore[no-untyped-call]  # prometheus-client left it untyped
    assert content_type.startswith("application/openmetrics-text; version=1.0.0")
    assert {family.name for family in read} >= {"c", "h_seconds"}

    for accept in ("", "application/openmetrics-text;version=x", "\0;;=,"):
        _, content_type = exposition(families, accept)
        assert content_type.startswith("text/plain; version=0.0.4")


def test_no_created_series_are_shown() -> None:
    """They would double the number of counters for nothing."""
    text, _ = exposition([Counter("c_total", "C.").snapshot(), Histogram("h_seconds", "H.").snapshot()])

    assert b"_created" not in text
