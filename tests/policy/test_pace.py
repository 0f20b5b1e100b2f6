"""How fast a body has to come in."""

from __future__ import annotations

from math import inf

import pytest

from sidecar.policy.pace import GRACE, Pace


def test_what_came_buys_time() -> None:
    """A second for each `rate` bytes, on top of the grace."""
    pace = Pace(100, 1000.0)

    assert [pace.due(received, 1002.0) for received in (0, 50, 1000)] == [
        1000.0 + GRACE,
        1000.5 + GRACE,
        1010.0 + GRACE,
    ]


def test_what_is_not_read_is_not_late() -> None:
    """Nobody can send what nobody takes, and the time of that is not the client's."""
    pace = Pace(100, 1000.0)
    pace.reading(False, 1002.0)
    assert pace.due(0, 1060.0) == inf

    pace.reading(True, 1062.0)
    assert pace.due(0, 1062.0) == 1060.0 + GRACE
    pace.reading(True, 1070.0)
    assert pace.due(0, 1070.0) == 1060.0 + GRACE


def test_a_pause_counts_once() -> None:
    """Also where it is told to go on meanwhile."""
    pace = Pace(100, 1000.0, waits=True)
    pace.reading(False, 1001.0)
    pace.go_on(1050.0)
    pace.reading(True, 1060.0)
    assert pace.due(0, 1060.0) == 1060.0 + GRACE


@pytest.mark.parametrize("told", [True, False])
def test_who_waits_to_be_told_owes_nothing_yet(told: bool) -> None:
    """Its time begins when it is told to go on, or does so unasked."""
    pace = Pace(100, 1000.0, waits=True)
    assert [pace.due(0, now) for now in (1000.0, 1060.0)] == [1000.0 + GRACE, 1060.0 + GRACE]

    if told:
        pace.go_on(1070.0)
        assert pace.due(0, 1074.0) == 1070.0 + GRACE
    assert pace.due(50, 1070.0) == 1070.5 + GRACE
    pace.go_on(1080.0)
    assert pace.due(50, 1080.0) == 1070.5 + GRACE
