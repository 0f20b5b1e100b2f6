"""The slow lane: little in each turn of the event loop, in order, and nobody who has left in the way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from sidecar.http1.lane import Lane

# So many pieces of work in a turn, by the words of the lane.
FEW = 4


class Works:
    """Pieces of work by their numbers, and those that were done."""

    def __init__(self) -> None:
        self.lane = Lane(asyncio.get_running_loop())
        self.done: list[int] = []

    def add(self, *numbers: int) -> list[Callable[[], object]]:
        """Add some; returns them."""
        works: list[Callable[[], object]] = [partial(self.done.append, number) for number in numbers]
        for work in works:
            self.lane.add(work)
        return works


async def turns(count: int) -> None:
    """Let the loop take so many turns."""
    for _ in range(count):
        await asyncio.sleep(0)


@pytest.fixture
async def works() -> Works:
    """A lane."""
    return Works()


async def test_a_few_are_done_in_each_turn(works: Works) -> None:
    """In the order in which they came, and in every turn some, so the lane is as quick as it may be."""
    works.add(*range(4 * FEW + 1))
    assert (works.done, works.lane.waiting) == ([], 4 * FEW + 1)
    sizes = []
    for _ in range(7):
        await turns(1)
        sizes.append(len(works.done))

    steps = [after - before for before, after in zip([0, *sizes], sizes, strict=False)]
    assert steps == [0, FEW, FEW, FEW, FEW, 1, 0]
    assert works.done == list(range(4 * FEW + 1))
    assert works.lane.waiting == 0


async def test_work_that_brings_more_of_it_keeps_the_pace(works: Works) -> None:
    """What is added while work is done has its turn behind all that waits, and no turn has more for it."""
    lane, order = works.lane, []

    def again(name: str, left: int) -> None:
        order.append(name)
        if left:
            lane.add(partial(again, name, left - 1))

    for name in "abcdef":
        lane.add(partial(again, name, 3))
    most = before = 0
    for _ in range(20):
        await turns(1)
        most, before = max(most, len(order) - before), len(order)

    assert most == FEW
    assert order == list("abcdef" * 4)


async def test_a_lane_that_was_empty_goes_on(works: Works) -> None:
    """Whenever something comes again."""
    for number in range(5):
        works.add(number)
        await turns(4)

    assert works.done == list(range(5))


async def test_work_that_fails_stops_no_other(works: Works) -> None:
    """It is reported to the loop, as any callback."""
    faults: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))

    def fail() -> None:
        raise ValueError("a fault")

    works.add(1)
    works.lane.add(fail)
    works.add(*range(2, 8))
    await turns(5)

    assert works.done == list(range(1, 8))
    assert [str(fault["exception"]) for fault in faults] == ["a fault"]


async def test_what_waits_has_no_second_place(works: Works) -> None:
    """However often it is added, it is done once, where it stood first; afterwards it may be added anew."""
    (first,) = works.add(1)
    works.add(2)
    works.lane.add(first)
    assert works.lane.waiting == 2
    await turns(4)
    assert works.done == [1, 2]
    works.lane.add(first)
    await turns(4)

    assert works.done == [1, 2, 1]


async def test_one_method_of_one_object_is_one_piece_of_work(works: Works) -> None:
    """Python makes a new object of it each time that it is asked for."""

    class Counter:
        count = 0

        def step(self) -> None:
            self.count += 1

    one, other = Counter(), Counter()
    for counter in (one, other, one, other, one):
        works.lane.add(counter.step)
    await turns(4)

    assert (one.count, other.count) == (1, 1)


async def test_who_leaves_is_in_nobody_s_way(works: Works) -> None:
    """Ten thousand that have come and gone cost no turn; to leave twice, or without having come, is nothing."""
    gone = works.add(*range(10_000))
    works.add(-1)
    for work in [*gone, gone[0], works.lane.turn]:
        works.lane.leave(work)
    assert works.lane.waiting == 1
    await turns(2)

    assert works.done == [-1]


async def test_when_all_have_left_the_lane_stands_still(works: Works) -> None:
    """And moves again for whoever comes next."""
    (gone,) = works.add(1)
    works.lane.leave(gone)
    await turns(3)
    works.add(2)
    await turns(3)

    assert works.done == [2]


async def test_one_may_wait_for_one_s_turn(works: Works) -> None:
    """It is the same line."""

    async def wait(number: int) -> None:
        await works.lane.turn()
        works.done.append(number)

    works.add(*range(FEW))
    waiting = asyncio.create_task(wait(FEW))
    await turns(1)
    works.add(FEW + 1)
    await waiting
    await turns(3)

    assert works.done == [*range(FEW), FEW + 1, FEW]  # whose turn it is, is told by it, and goes on a little later
    assert works.lane.waiting == 0


async def test_who_waits_and_is_cancelled_has_left(works: Works) -> None:
    """At once, so that a flood of dials that are given up holds up no dial that is wanted."""
    tasks = [asyncio.create_task(works.lane.turn()) for _ in range(1000)]
    await turns(1)
    assert works.lane.waiting == 1000
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    assert works.lane.waiting == 0
    works.add(1)
    await turns(2)

    assert works.done == [1]
    assert all(task.cancelled() for task in tasks)


async def test_who_is_cancelled_in_the_moment_of_his_turn(works: Works) -> None:
    """Is cancelled, and the turn is the next one's."""
    task = asyncio.create_task(works.lane.turn())
    while not works.lane.waiting:  # noqa: ASYNC110 - the task's beginning
        await asyncio.sleep(0)
    works.add(1)
    while works.lane.waiting:  # noqa: ASYNC110 - the loop's turn, which takes both
        await asyncio.sleep(0)
    task.cancel()
    await turns(3)

    assert task.cancelled()
    assert works.done == [1]


async def test_it_shows_how_many_wait(works: Works) -> None:
    """For whoever debugs."""
    works.add(1, 2)
    assert repr(works.lane) == "<Lane 2 wait>"
    await turns(4)
