"""The table of `sidecar top`: from two readings to rates, percentiles and lines."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.cli.table import lines, quantile, rows

BOUNDS = [0.1, 0.5, 1.0]


def reading(at: float, *, in_flight: int = 0, circuits: dict[str, str] | None = None, **routes: Any) -> dict[str, Any]:
    """What /routes says. A route is (requests, errors, own, counts)."""
    names = ("requests", "errors", "own", "seconds")
    return {
        "at": at,
        "in_flight": in_flight,
        "bounds": BOUNDS,
        "circuits": circuits or {},
        "routes": {f"/{name}": dict(zip(names, route, strict=True), in_flight=1) for name, route in routes.items()},
    }


def test_a_row_is_what_has_changed() -> None:
    """Rates over the time between the two, percentiles of what ended in it; the busiest route first."""
    before = reading(10.0, a=(100, 1, 1, [100, 0, 0, 0]), gone=(5, 0, 0, [5, 0, 0, 0]))
    after = reading(12.0, a=(110, 2, 3, [108, 2, 0, 0]), gone=(5, 0, 0, [5, 0, 0, 0]), new=(40, 0, 0, [0, 0, 0, 40]))
    new, a, gone = rows(before, after)

    assert (new.route, new.rate, new.p50) == ("/new", 20.0, 1.0)
    assert (a.route, a.rate, a.errors, a.own) == ("/a", 5.0, 0.5, 1.0)
    assert a.p50 == pytest.approx(0.0625)
    assert a.p99 == pytest.approx(0.48)
    assert (gone.route, gone.rate, gone.p50) == ("/gone", 0.0, None)


def test_lines_are_readable() -> None:
    """A headline with the circuits that are not closed, then a row for each route."""
    before = reading(10.0)
    after = reading(
        12.0,
        in_flight=3,
        circuits={"upstream": "closed", "/a": "half_open"},
        a=(10, 2, 1, [0, 10, 0, 0]),
        b=(0, 0, 0, [0, 0, 0, 0]),
        long=(2, 0, 0, [0, 0, 1, 1]),
    )

    assert lines(before, after) == [
        "6.0 requests/s   3 in flight   circuits: /a half_open",
        "",
        "ROUTE      REQ/S        P50        P99      5XX/S      OWN/S  IN FLIGHT    CIRCUIT",
        "/a           5.0    300.0ms    496.0ms        1.0        0.5          1  half_open",
        "/long        1.0        >1s        >1s        0.0        0.0          1",
        "/b           0.0          -          -        0.0        0.0          1",
    ]


def test_without_traffic_it_says_so() -> None:
    """An empty table looks like a fault."""
    assert lines(reading(1.0), reading(2.0))[-1] == "nothing has been asked for yet"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (reading(1.0, a=(5, 0, 0, [5, 0, 0, 0])), reading(2.0, a=(4, 0, 0, [4, 0, 0, 0]))),
        (reading(1.0, a=(5, 0, 0, [5, 0, 0, 0])), reading(2.0)),
        (reading(2.0), reading(1.0)),
    ],
)
def test_a_new_process_has_figures_of_its_own(before: dict[str, Any], after: dict[str, Any]) -> None:
    """After a restart what was counted before is not taken off."""
    assert lines(before, after) == ["another process answers now; its figures come next"]


@given(st.lists(st.integers(min_value=0, max_value=50), min_size=4, max_size=4), st.floats(min_value=0.01, max_value=1))
def test_a_quantile_lies_in_its_bucket(counts: list[int], share: float) -> None:
    """Not below what the share reaches, not above."""
    value = quantile(BOUNDS, counts, share)
    if value is None:
        assert not sum(counts)
        return
    wanted = share * sum(counts)
    bucket = next(place for place in range(4) if sum(counts[: place + 1]) >= wanted * (1 - 1e-9))
    assert [0.0, *BOUNDS][bucket] <= value + 1e-9
    assert value <= [*BOUNDS, BOUNDS[-1]][bucket] + 1e-9
