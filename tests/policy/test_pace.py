"""How fast a body has to come in."""

from __future__ import annotations

from math import inf

from sidecar.policy.pace import GRACE, Pace


def test_what_came_buys_time() -> None:
    """A second for each `rate` bytes, on top of the grace."""
    pace = Pace(100, 1000.0)

    assert [pace.due(received) for received in (0, 50, 1000)] == [
        1000.0 + GRACE,
        1000.5 + GRACE,
        1010.0 + GRACE,
    ]


def test_what_is_not_read_is_not_late() -> None:
    """Nobody can send what nobody takes, and the time of that is not the client's."""
    pace = Pace(100, 1000.0)
    pace.reading(False, 1002.0)
    assert pace.due(0) == inf

    pace.reading(True, 1062.0)
    assert pace.due(0) == 1060.0 + GRACE
    pace.reading(True, 1070.0)
    assert pace.due(0) == 1060.0 + GRACE
