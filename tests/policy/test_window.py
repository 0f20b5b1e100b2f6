"""Counts of the last seconds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.policy.window import BUCKETS, Window


def test_attempts_and_failures_are_counted() -> None:
    """Both are there at once."""
    window = Window(10.0)
    for _ in range(3):
        window.passed(100.0)
    window.failed(100.5)

    assert window.counts(100.5) == (4, 1)
    assert repr(window) == "<Window 1 of 4 failed in 10s>"


@pytest.mark.parametrize(("later", "left"), [(0.0, 1), (8.9, 1), (9.0, 1), (10.0, 0), (10.1, 0), (1e6, 0)])
def test_what_is_old_falls_out(later: float, left: int) -> None:
    """Not before nine tenths of the time, and not after all of it."""
    window = Window(10.0)
    window.failed(100.0)

    assert window.counts(100.0 + later) == (left, left)


def test_it_slides() -> None:
    """One second after the other falls out, not all at once."""
    window = Window(10.0)
    for second in range(10):
        window.passed(100.0 + second)

    assert [window.counts(110.0 + second)[0] for second in range(11)] == [9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 0]


def test_it_forgets_when_told() -> None:
    """As if it were new."""
    window = Window(10.0)
    window.passed(100.0)
    window.failed(101.0)
    window.clear()

    assert window.counts(101.0) == (0, 0)
    window.failed(101.0)
    assert window.counts(101.0) == (1, 1)


@given(
    st.sampled_from([1.0, 10.0, 600.0]),
    st.lists(st.tuples(st.floats(0.0, 0.3), st.booleans()), max_size=200),
)
def test_it_counts_what_a_list_of_all_would(seconds: float, attempts: list[tuple[float, bool]]) -> None:
    """All of the last nine tenths of the time, and nothing that is older than the time."""
    window = Window(seconds)
    now = 100.0
    seen: list[tuple[float, bool]] = []
    for pause, good in attempts:
        now += pause * seconds
        (window.passed if good else window.failed)(now)
        seen.append((now, good))
        count, failed = window.counts(now)

        # A hair's breadth for sums of fractions.
        surely = [ok for at, ok in seen if now - at < seconds * (1 - 1 / BUCKETS) * (1 - 1e-9)]
        at_most = [ok for at, ok in seen if now - at <= seconds * (1 + 1e-9)]
        assert len(surely) <= count <= len(at_most)
        assert surely.count(False) <= failed <= at_most.count(False)
