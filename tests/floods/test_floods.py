"""Slow and greedy peers, many at once: each ends in time and is counted, none takes much, nobody else notices.

`python -m tests.floods` also measures what others notice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from tests.floods.attack import GROUPS
from tests.floods.ground import SLACK, Ground, Round
from tests.support.waiting import eventually

IDLE = 'sidecar_connections_closed_total{reason="idle"}'


@pytest.fixture(scope="module")
def ground() -> Iterator[Ground]:
    """One for all."""
    with Ground() as ground:
        yield ground


@pytest.mark.parametrize("group", GROUPS)
def test_floods(ground: Ground, group: str) -> None:
    """All of them end as they should, each is counted, memory stays bounded, and who asks meanwhile is answered."""
    attacks = GROUPS[group]
    counted = ground.counted()
    logged = {attack.path: ground.logged(attack.path) for attack in attacks.values()}
    expected = Counter((attack.path, attack.reason) for attack in attacks.values() for _ in range(attack.size))
    idle = ground.proxy.metrics()[IDLE]
    flood = Round(ground, attacks)
    flood.run()

    assert flood.ends == {name: {attack.ends: attack.size} for name, attack in attacks.items()}
    assert set(flood.statuses) == {200}
    assert flood.grown < SLACK + 1024 * sum(attack.size * attack.costs for attack in attacks.values())
    eventually(lambda: ground.proxy.status()["connections"] == 0, "all connections to be closed")
    assert ground.proxy.status()["in_flight"] == 0
    for (path, reason), size in expected.items():
        if reason:
            found = logged_since(ground, path, reason, logged[path], size)
            assert (ground.counted() - counted)[reason] >= found >= size, path
        else:
            assert ground.proxy.metrics()[IDLE] - idle >= size


def logged_since(ground: Ground, path: str, reason: str, before: Counter[str], size: int) -> int:
    """How many requests the log has of this since then, once they are all there."""

    def found() -> int:
        return (ground.logged(path) - before)[reason]

    eventually(lambda: found() >= size, f"{size} of {reason} for {path}")
    return found()
