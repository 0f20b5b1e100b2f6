"""When the sidecar refuses because it is overloaded itself."""

from __future__ import annotations

import sys

import pytest

from sidecar.policy.guard import Guard
from sidecar.settings.policies import Guard as Limits

MB = 1024 * 1024


def late(guard: Guard, *lags: float, memory: int = 0) -> bool:
    """Sample these; returns whether it is tripped then."""
    for lag in lags:
        guard.sampled(lag, memory)
    return guard.tripped


def test_one_pause_trips_nothing() -> None:
    """A garbage collection, or a container that was stopped for a while: of whatever length."""
    guard = Guard(Limits(lag=0.5))

    assert not any(late(guard, lag) for lag in (0.0, 30.0, 0.0, 0.0, 5.0, 0.0))


def test_a_loop_that_stays_late_trips_it() -> None:
    """With the second sample in three."""
    guard = Guard(Limits(lag=0.5))

    assert [late(guard, lag) for lag in (0.0, 0.6, 0.0, 0.6, 0.6)] == [False, False, False, True, True]


def test_it_ends_well_below_where_it_began() -> None:
    """Else the relief by the first refusals would end them, to and fro."""
    guard = Guard(Limits(lag=0.5))
    assert late(guard, 0.6, 0.6)
    assert late(guard, 0.3, 0.3, 0.3)
    assert not late(guard, 0.2, 0.2)
    assert not late(guard, 0.3, 0.3, 0.3)


def test_memory_trips_it_at_once() -> None:
    """It is no matter of a moment; it ends at 95 %."""
    guard = Guard(Limits(lag=0.0, memory=100 * MB))

    found = [late(guard, 9.0, memory=size * MB) for size in (99, 100, 101, 96, 95, 96, 0)]
    assert found == [False, False, True, True, False, False, False]


def test_both_have_to_end() -> None:
    """Whichever is over first."""
    guard = Guard(Limits(lag=0.5, memory=100 * MB))
    assert late(guard, 1.0, 1.0, memory=101 * MB)
    assert "memory" in guard.detail(False)
    assert late(guard, 1.0, memory=50 * MB)
    assert "1000 ms late" in guard.detail(False)
    assert not late(guard, 0.0, 0.0, memory=50 * MB)


def test_nothing_is_refused_without_limits() -> None:
    """Zero is none."""
    assert not late(Guard(Limits(lag=0.0, memory=0)), 60.0, 60.0, 60.0, memory=10**12)


def test_one_in_ten_passes() -> None:
    """The service never goes entirely dark."""
    guard = Guard(Limits(lag=0.5))
    late(guard, 1.0, 1.0)

    assert [guard.admit(False) for _ in range(30)] == ([False] * 9 + [True]) * 3


def test_no_more_may_wait_than_begin_in_time() -> None:
    """By how fast they begin; some hundred always may, so that a slow start is not taken for overload."""
    guard = Guard(Limits(wait=0.1))

    assert [guard.bounds(pace, False)[:2] for pace in (0.00005, 0.0001, 0.01)] == [
        (2000, True),
        (1000, True),
        (256, True),
    ]
    for unlimited in (Limits(wait=0.0), Limits(wait=0.1, mode="off")):
        assert Guard(unlimited).bounds(1.0, False)[:2] == (sys.maxsize, False)


def test_who_is_refused_rests() -> None:
    """One rest ends after the other, so many requests apart that refusals take a small share of the time."""
    guard = Guard(Limits(wait=0.1))
    guard.bounds(0.0001, False)
    apart = 16 * 0.0001

    assert [guard.rest(50.0) for _ in range(3)] == pytest.approx([apart, 2 * apart, 3 * apart])
    assert guard.rest(50.0 + 2 * apart) == pytest.approx(2 * apart)
    assert guard.rest(60.0) == pytest.approx(apart), "all have ended long ago"
    assert max(guard.rest(60.0) for _ in range(10_000)) == pytest.approx(5.0)
    assert guard.rest(61.0) == pytest.approx(4.0 + apart)
    guard.bounds(0.0001, False)
    assert guard.rest(61.0) == pytest.approx(4.0 + 2 * apart)
    guard.bounds(0.0001, True)
    assert guard.rest(61.0) == pytest.approx(apart), "room ended all rests"


@pytest.mark.parametrize("limits", [Limits(wait=0.1, lag=0.5), Limits(wait=0.0, lag=0.5)])
def test_room_in_line_ends_no_rest_while_it_is_tripped(limits: Limits) -> None:
    """Late, it needs the rest, however few wait."""
    guard = Guard(limits)
    assert guard.bounds(0.0001, False).wakes
    late(guard, 1.0, 1.0)
    assert not guard.bounds(0.0001, False).wakes
    guard.change(Limits(lag=0.5, mode="off"))
    assert guard.bounds(0.0001, False).wakes, "nobody is refused any more"
    guard.change(limits)
    assert not guard.bounds(0.0001, False).wakes
    late(guard, 0.0, 0.0)
    assert guard.bounds(0.0001, False).wakes


def test_who_came_when_too_many_waited_is_refused() -> None:
    """Without exception, while those who waited pass."""
    guard = Guard(Limits(wait=0.1))

    assert [guard.admit(crowded) for crowded in (True, False) * 10] == [False, True] * 10
    assert "the wait for it would be 100 ms" in guard.detail(True)


def test_changed_limits_hold_at_once() -> None:
    """What was sampled is judged anew."""
    guard = Guard(Limits(lag=0.5, memory=100 * MB))
    late(guard, 0.3, 0.3, memory=80 * MB)
    guard.change(Limits(lag=0.2, memory=100 * MB))
    assert guard.tripped
    guard.change(Limits(lag=0.0, memory=90 * MB))
    assert not guard.tripped
    guard.change(Limits(lag=0.0, memory=70 * MB, mode="shadow"))
    assert (guard.tripped, guard.enforced) == (True, False)


@pytest.mark.parametrize(("lag", "state"), [(0.0, "quiet"), (1.0, "tripped")])
def test_it_says_how_it_stands(lag: float, state: str) -> None:
    """With the numbers that decided."""
    guard = Guard(Limits(lag=0.5, wait=0.1, memory=100 * MB))
    late(guard, lag, lag, memory=MB)
    guard.bounds(0.00005, False)

    assert repr(guard) == f"<Guard {state}, lag {lag * 1e3:.0f} ms, memory {MB}>"
    assert guard.status() == {
        "mode": "enforce",
        "tripped": state == "tripped",
        "lag_ms": round(lag * 1e3),
        "lag_limit_ms": 500,
        "pace_us": 50,
        "wait_limit_ms": 100,
        "memory_bytes": MB,
        "memory_limit_bytes": 100 * MB,
    }
