"""Slow and greedy peers, many at once: each ends in time and is counted, none takes much, nobody else notices.

`python -m tests.floods` also measures what others notice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from tests.floods.attack import GROUPS, Attack
from tests.floods.ground import SLACK, Ground, Round
from tests.support.waiting import eventually


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
    logged = {name: ground.logged(attack.path) for name, attack in attacks.items()}
    flood = Round(ground, attacks)
    flood.run()

    assert flood.ends == {name: {attack.ends: attack.size} for name, attack in attacks.items()}
    assert set(flood.statuses) == {200}
    assert flood.grown < SLACK + 1024 * sum(attack.size * attack.costs for attack in attacks.values())
    eventually(lambda: ground.proxy.status()["connections"] == 0, "all connections to be closed")
    assert ground.proxy.status()["in_flight"] == 0
    for name, attack in attacks.items():
        if attack.reason:
            found = logged_since(ground, attack, logged[name])
            assert found >= attack.size, name
            assert (ground.counted() - counted)[attack.reason] >= found


def logged_since(ground: Ground, attack: Attack, before: Counter[str]) -> int:
    """How many requests the log has of this attack since then, once they are all there."""

    def found() -> int:
        return (ground.logged(attack.path) - before)[attack.reason]

    eventually(lambda: found() >= attack.size, f"{attack.size} of {attack.reason} for {attack.path}")
    return found()
