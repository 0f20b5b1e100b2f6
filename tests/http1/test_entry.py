"""The line in which requests wait to begin."""

from __future__ import annotations

import asyncio
from time import monotonic, sleep

import pytest

from sidecar.http1.entry import MOST, Entry
from sidecar.policy.guard import Bounds


class Entrants:
    """Some that come, and how each began: its number, and whether it was crowded out. `all` are they, in order."""

    def __init__(self, entry: Entry) -> None:
        self._entry = entry
        self.begun: list[tuple[int, bool]] = []
        self.waits: list[float] = []
        self.all: list[_One] = []

    def come(self, numbers: range) -> None:
        for number in numbers:
            self.all.append(_One(self, number))
            self._entry.come(self.all[-1])

    def come_ahead(self, numbers: range) -> None:
        for number in numbers:
            self.all.append(_One(self, number))
            self._entry.come_ahead(self.all[-1])


class _One:
    def __init__(self, all_: Entrants, number: int) -> None:
        self._all = all_
        self._number = number

    def begin(self, waited: float, crowded: bool) -> None:
        self._all.begun.append((self._number, crowded))
        self._all.waits.append(waited)


def numbers(begun: list[tuple[int, bool]]) -> list[int]:
    """Those that were not crowded out, in their order."""
    return [number for number, crowded in begun if not crowded]


async def test_so_many_begin_in_a_turn_of_the_loop() -> None:
    """The others in the next turns, in the order in which they came; who comes meanwhile overtakes nobody."""
    entrants = Entrants(Entry(asyncio.get_running_loop(), lambda pace, resting: Bounds(10_000, True, True)))
    entrants.come(range(3 * MOST))
    assert len(entrants.begun) == MOST
    sizes = []
    for _ in range(5):
        await asyncio.sleep(0)
        sizes.append(len(entrants.begun))
        if len(sizes) == 1:
            entrants.come(range(3 * MOST, 4 * MOST))

    assert sizes[:4] == [2 * MOST, 3 * MOST, 4 * MOST, 4 * MOST]
    assert numbers(entrants.begun) == list(range(4 * MOST))
    assert entrants.waits[0] == 0.0
    assert all(wait > 0.0 for wait in entrants.waits[MOST:])


async def test_each_turn_of_the_loop_is_counted_anew() -> None:
    """As long as nobody waits, nobody has to."""
    entrants = Entrants(Entry(asyncio.get_running_loop(), lambda pace, resting: Bounds(0, True, True)))
    for turn in range(5):
        entrants.come(range(turn * MOST, (turn + 1) * MOST))
        await asyncio.sleep(0)

    assert numbers(entrants.begun) == list(range(5 * MOST))


async def test_who_comes_when_the_line_is_full_is_crowded_out() -> None:
    """As soon as may be, beside those who waited, as many as of those in a turn of the loop."""
    entry = Entry(asyncio.get_running_loop(), lambda pace, resting: Bounds(3 * MOST, True, True))
    entrants = Entrants(entry)
    entrants.come(range(4 * MOST + 100))
    assert entry.waiting == 3 * MOST + 100
    entrants.begun.clear()
    refused = []
    for turn in range(3):
        await asyncio.sleep(0)
        assert len(numbers(entrants.begun)) == (turn + 1) * MOST
        refused.append(len(entrants.begun) - len(numbers(entrants.begun)))
        entrants.come(range(1000, 1000 + MOST))  # they keep the line full

    assert refused == [MOST, 2 * MOST, 3 * MOST]


async def test_who_leaves_holds_up_nobody() -> None:
    """His place in the line is free at once, and so is that among those who came too late for one."""
    entry = Entry(asyncio.get_running_loop(), lambda pace, resting: Bounds(MOST, True, True))
    entrants = Entrants(entry)
    entrants.come(range(3 * MOST))
    for one in entrants.all[MOST + 1 : -1]:
        entry.leave(one)
    entry.leave(entrants.all[0])
    assert entry.waiting == 2
    await asyncio.sleep(0)

    assert entrants.begun == [*((number, False) for number in range(MOST + 1)), (3 * MOST - 1, True)]
    assert entry.waiting == 0


async def test_where_nobody_is_refused_all_keep_their_order() -> None:
    """The line is as long as they are many; those beyond what would be allowed are told apart by a word only."""
    entrants = Entrants(Entry(asyncio.get_running_loop(), lambda pace, resting: Bounds(10, False, True)))
    entrants.come(range(MOST + 40))
    for _ in range(4):
        await asyncio.sleep(0)

    assert [number for number, _ in entrants.begun] == list(range(MOST + 40))
    assert [number for number, crowded in entrants.begun if crowded] == list(range(MOST + 10, MOST + 40))


async def test_the_pace_is_measured() -> None:
    """The slower requests begin, the shorter the line may be."""
    paces: list[float] = []

    def judge(pace: float, _: int) -> Bounds:
        paces.append(pace)
        sleep(0.03)  # a slow turn of the loop
        return Bounds(10_000, True, True)

    entrants = Entrants(Entry(asyncio.get_running_loop(), judge))
    entrants.come(range(9 * MOST))
    for _ in range(10):
        await asyncio.sleep(0)

    assert paces[0] < 0.0002, "what is assumed at first"
    assert paces == sorted(paces)
    assert 0.0002 < paces[-1] < 0.01


async def test_the_crowd_is_not_overtaken_for_ever() -> None:
    """Whoever finds a place in line meanwhile, and however many: those who found none are refused, not forgotten."""
    entry = Entry(asyncio.get_running_loop(), lambda pace, resting: Bounds(10 * MOST, True, True))
    entrants = Entrants(entry)
    entrants.come(range(11 * MOST + 200))
    for turn in range(1, 14):
        await asyncio.sleep(0)
        entrants.come(range(1000, 1000 + MOST - turn % 2))  # the line is hardly ever full

    crowded = [number for number, crowded in entrants.begun if crowded and number < 1000]
    assert crowded == list(range(11 * MOST, 11 * MOST + 200))


async def test_who_comes_ahead_has_time() -> None:
    """Few begin at once, and few in each turn, in their order, and how long they waited is told."""
    entry = Entry(asyncio.get_running_loop(), lambda pace, resting: Bounds(10_000, True, True))
    entrants = Entrants(entry)
    entrants.come_ahead(range(3 * MOST))
    assert 0 < len(entrants.begun) < MOST
    assert entry.waiting == 3 * MOST - len(entrants.begun)
    at_once = len(entrants.begun)
    steps = []
    while entry.waiting:
        before = len(entrants.begun)
        await asyncio.sleep(0)
        steps.append(len(entrants.begun) - before)

    assert max(steps) < MOST
    assert entrants.begun == [(number, False) for number in range(3 * MOST)]
    assert all(wait > 0.0 for wait in entrants.waits[at_once:])


async def test_who_comes_ahead_again_and_again_begins_at_once() -> None:
    """As long as the lane is free: each turn of the loop is counted anew."""
    entry = Entry(asyncio.get_running_loop(), lambda pace, resting: Bounds(10_000, True, True))
    entrants = Entrants(entry)
    for number in range(50):
        entrants.come_ahead(range(number, number + 1))
        assert len(entrants.begun) == number + 1
        await asyncio.sleep(0)


async def test_who_comes_ahead_takes_nobody_s_place() -> None:
    """The line is as quick as without him, however many of his kind there are."""
    entrants = Entrants(Entry(asyncio.get_running_loop(), lambda pace, resting: Bounds(10_000, True, True)))
    entrants.come_ahead(range(1000, 2000))
    entrants.come(range(2 * MOST))
    assert [number for number in numbers(entrants.begun) if number < 1000] == list(range(MOST))
    for _ in range(2):
        await asyncio.sleep(0)

    assert [number for number in numbers(entrants.begun) if number < 1000] == list(range(2 * MOST))


@pytest.mark.parametrize("strict", [True, False])
async def test_of_those_who_come_ahead_some_are_too_many(strict: bool) -> None:
    """As many may wait as in the line; work of other kinds in the lane is nobody who waits."""
    entry = Entry(asyncio.get_running_loop(), lambda pace, resting: Bounds(3, strict, True))
    entrants = Entrants(entry)
    for _ in range(5):
        entry.lane.add(lambda: None)
    entrants.come_ahead(range(5))
    assert entry.waiting == 5
    for _ in range(6):
        await asyncio.sleep(0)

    assert entrants.begun == [(0, False), (1, False), (2, False), (3, True), (4, True)]


async def test_who_came_ahead_and_leaves_is_in_nobody_s_way() -> None:
    """Ten thousand who have come and gone are waited for by nobody, and none of them begins."""
    entry = Entry(asyncio.get_running_loop(), lambda pace, resting: Bounds(10_000, True, True))
    entrants = Entrants(entry)
    entry.lane.add(lambda: None)  # so that nobody begins at once
    entrants.come_ahead(range(10_001))
    for one in entrants.all[:-1]:
        entry.leave(one)
        entry.leave(one)
    assert (entry.waiting, entry.lane.waiting) == (1, 2)
    for _ in range(2):
        await asyncio.sleep(0)

    assert entrants.begun == [(10_000, True)]
    assert entry.waiting == 0


async def test_who_came_ahead_may_leave_in_the_last_moment() -> None:
    """The lane has let go of him already, and he does not begin all the same."""
    entry = Entry(asyncio.get_running_loop(), lambda pace, resting: Bounds(10_000, True, True))
    entrants = Entrants(entry)
    entry.lane.add(lambda: None)  # so that nobody begins at once
    entrants.come_ahead(range(2))
    while entry.lane.waiting:  # noqa: ASYNC110 - the loop's turn, which takes both
        await asyncio.sleep(0)
    assert entrants.begun == []
    entry.leave(entrants.all[0])
    assert entry.waiting == 1
    await asyncio.sleep(0)

    assert entrants.begun == [(1, False)]
    assert "0 of" in repr(entry)


class Sleeper:
    """A connection that rests, and comes when it is woken."""

    def __init__(self, entrants: Entrants) -> None:
        self._entrants = entrants
        self.woken = 0

    def wake(self) -> None:
        self.woken += 1
        self._entrants.come(range(1000, 1001))


async def test_room_ends_rests() -> None:
    """As many in a turn as may begin beside those who wait; none while somebody is to be refused, or all places go."""
    entry = Entry(asyncio.get_running_loop(), lambda pace, resting: Bounds(MOST, True, True))
    entrants = Entrants(entry)
    sleepers = [Sleeper(entrants) for _ in range(2 * MOST)]
    entrants.come(range(2 * MOST + 20))
    for sleeper in sleepers:
        entry.rest(sleeper, monotonic() + 60.0)
    counts = []
    for _ in range(6):
        await asyncio.sleep(0)
        counts.append(entry.rests.count)

    # Of 16 in line and 20 too many, 16 of each begin in the first turn, the other 4 in the second.
    assert counts == [2 * MOST, MOST, MOST, 0, 0, 0]
    assert {sleeper.woken for sleeper in sleepers} == {1}
    await asyncio.sleep(0)
    assert entry.waiting == 0


async def test_room_is_seen_though_nobody_comes() -> None:
    """A turn of the loop later."""
    entry = Entry(asyncio.get_running_loop(), lambda pace, resting: Bounds(MOST, True, True))
    sleeper = Sleeper(Entrants(entry))
    entry.rest(sleeper, monotonic() + 60.0)
    await asyncio.sleep(0)
    assert (sleeper.woken, entry.rests.count) == (1, 0)


async def test_room_ends_no_rests_where_that_is_said() -> None:
    """The line is short, and the process is late all the same. That it no longer is, is seen though nobody comes."""
    wakes = False
    told: list[int] = []

    def judge(_: float, resting: int) -> Bounds:
        told.append(resting)
        return Bounds(MOST, True, wakes)

    entry = Entry(asyncio.get_running_loop(), judge)
    entrants = Entrants(entry)
    sleeper = Sleeper(entrants)
    entry.rest(sleeper, monotonic() + 60.0)
    for turn in range(3):
        entrants.come(range(turn, turn + 1))
        await asyncio.sleep(0)
    assert (entry.rests.count, len(entrants.begun)) == (1, 3)
    turns = len(told)
    for _ in range(20):
        await asyncio.sleep(0)
    assert len(told) == turns, "nothing is done while nothing can be"
    wakes = True
    await asyncio.sleep(0.3)
    for _ in range(3):
        await asyncio.sleep(0)

    assert (sleeper.woken, entry.rests.count) == (1, 0)
    assert (told[0], set(told[1:turns]), told[-1]) == (0, {1}, 0), "the judge knows how many rest"
