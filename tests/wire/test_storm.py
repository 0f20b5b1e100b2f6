"""A short storm; `python -m tests.wire.storm` is a long one."""

from __future__ import annotations

import pytest

from tests.wire.storm import Storm


@pytest.mark.parametrize("leaving", [0.0, 0.05], ids=["all wait", "some leave"])
def test_a_storm(leaving: float) -> None:
    """Retries help and stay within their budget, all figures agree, and nothing is left."""
    storm = Storm(seconds=2.0, seed=7, leaving=leaving)
    storm.run()
    assert [check for check in storm.checks if not check.good] == [], storm.report()
