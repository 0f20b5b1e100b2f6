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
    entrants = Entrants(Entry(asyncio.get_running_loop(), lambda pace, all_woken: Bounds(10_000, True, True)))
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
    entrants = Entrants(Entry(asyncio.get_running_loop(), lambda pace, all_woken: Bounds(0, True, True)))
    for turn in range(5):
        entrants.come(range(turn * MOST, (turn + 1) * MOST))
        await asyncio.sleep(0)

    assert numbers(entrants.begun) == list(range(5 * MOST))


async def test_who_comes_when_the_line_is_full_is_crowded_out() -> None:
    """As soon as may be, beside those who waited, as many as of those in a turn of the loop."""
    entry = Entry(asyncio.get_running_loop(), lambda pace, all_woken: Bounds(3 * MOST, True, True))
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
    entry = Entry(asyncio.get_running_loop(), lambda pace, all_woken: Bounds(MOST, True, True))
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
    entrants = Entrants(Entry(asyncio.get_running_loop(), lambda pace, all_woken: Bounds(10, False, True)))
    entrants.come(range(MOST + 40))
    for _ in range(4):
        await asyncio.sleep(0)

    assert [number for number, _ in entrants.begun] == list(range(MOST + 40))
    assert [number for number, crowded in entrants.begun if crowded] == list(range(MOST + 10, MOST + 40))


async def test_the_pace_is_measured() -> None:
    """The slower requests begin, the shorter the line may be."""
    paces: list[float] = []

    def judge(pace: float, _: bool) -> Bounds:
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
    entry = Entry(asyncio.get_running_loop(), lambda pace, all_woken: Bounds(10 * MOST, True, True))
    entrants = Entrants(entry)
    entrants.come(range(11 * MOST + 200))
    for turn in range(1, 14):
        await asyncio.sleep(0)
        entrants.come(range(1000, 1000 + MOST - turn % 2))  # the line is hardly ever full

    crowded = [number for number, crowded in entrants.begun if crowded and number < 1000]
    assert crowded == list(range(11 * MOST, 11 * MOST + 200))


async def test_who_comes_ahead_has_time() -> None:
    """Few begin at once, and few in each turn, in their order, and how long they waited is told."""
    entry = Entry(asyncio.get_running_loop(), lambda pace, all_woken: Bounds(10_000, True, True))
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
    entry = Entry(asyncio.get_running_loop(), lambda pace, all_woken: Bounds(10_000, True, True))
    entrants = Entrants(entry)
    for number in range(50):
        entrants.come_ahead(range(number, number + 1))
        assert len(entrants.begun) == number + 1
        await asyncio.sleep(0)


async def test_who_comes_ahead_takes_nobody_s_place() -> None:
    """The line is as quick as without him, however many of his kind there are."""
    entrants = Entrants(Entry(asyncio.get_running_loop(), lambda pace, all_woken: Bounds(10_000, True, True)))
    entrants.come_ahead(range(1000, 2000))
    entrants.come(range(2 * MOST))
    assert [number for number in numbers(entrants.begun) if number < 1000] == list(range(MOST))
    for _ in range(2):
        await asyncio.sleep(0)

    assert [number for number in numbers(entrants.begun) if number < 1000] == list(range(2 * MOST))


@pytest.mark.parametrize("strict", [True, False])
async def test_of_those_who_come_ahead_some_are_too_many(strict: bool) -> None:
    """As many may wait as in the line; work of other kinds in the lane is nobody who waits."""
    entry = Entry(asyncio.get_running_loop(), lambda pace, all_woken: Bounds(3, strict, True))
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
    entry = Entry(asyncio.get_running_loop(), lambda pace, all_woken: Bounds(10_000, True, True))
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
    entry = Entry(asyncio.get_running_loop(), lambda pace, all_woken: Bounds(10_000, True, True))
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
    """A connection that rests, and comes when it is woken, if it has something to ask."""

    def __init__(self, entrants: Entrants | None) -> None:
        self._entrants = entrants
        self.woken = 0

    def wake(self) -> None:
        self.woken += 1
        if self._entrants is not None:
            self._entrants.come(range(1000, 1001))


@pytest.mark.parametrize(
    ("longest", "come", "counts"),
    [
        # All of the first turn goes to who waits.
        (MOST, MOST, [40, 24, 24, 8, 8, 0]),
        # A few wait: the rest of the turn is room.
        (MOST, 5, [29, 24, 13, 8, 0]),
        # Few may wait, and many are to be refused first.
        (8, 8 + 2 * MOST + 1, [40, 40, 24, 16, 8, 0]),
    ],
)
async def test_room_ends_rests(longest: int, come: int, counts: list[int]) -> None:
    """As many in a turn as may begin beside those who wait; none while somebody is to be refused."""
    entry = Entry(asyncio.get_running_loop(), lambda pace, all_woken: Bounds(longest, True, True))
    entrants = Entrants(entry)
    entrants.come(range(MOST + come))
    sleepers = [Sleeper(entrants) for _ in range(40)]
    for sleeper in sleepers:
        entry.rest(sleeper, monotonic() + 60.0)
    seen = []
    for _ in counts:
        await asyncio.sleep(0)
        seen.append(entry.rests.count)

    assert seen == counts
    assert {sleeper.woken for sleeper in sleepers} == {1}
    for _ in range(3):
        await asyncio.sleep(0)
    assert entry.waiting == 0


async def test_room_is_seen_though_nobody_comes() -> None:
    """A turn of the loop later; the judge is told when the last has been woken, and only then."""
    told: list[bool] = []

    def judge(_: float, all_woken: bool) -> Bounds:
        told.append(all_woken)
        return Bounds(MOST, True, True)

    entry = Entry(asyncio.get_running_loop(), judge)
    sleepers = [Sleeper(None) for _ in range(MOST + 1)]
    for sleeper in sleepers:
        entry.rest(sleeper, monotonic() + 60.0)
    for _ in range(4):
        await asyncio.sleep(0)

    assert {sleeper.woken for sleeper in sleepers} == {1}
    assert told == [False, False, False, True]


async def test_room_ends_no_rests_while_the_slow_lane_is_full() -> None:
    """Else who is refused there would ask ahead again at once."""
    entry = Entry(asyncio.get_running_loop(), lambda pace, all_woken: Bounds(3, True, True))
    entrants = Entrants(entry)
    sleeper = Sleeper(entrants)
    entrants.come_ahead(range(40))
    entry.rest(sleeper, monotonic() + 60.0)
    for _ in range(4):
        entrants.come(range(100, 105))
        await asyncio.sleep(0)
        assert (entry.waiting > 5, entry.rests.count) == (True, 1)
    await asyncio.sleep(0.3)
    for _ in range(3):
        await asyncio.sleep(0)
    assert (entry.waiting, entry.rests.count, sleeper.woken) == (0, 0, 1)


async def test_room_ends_no_rests_where_that_is_said() -> None:
    """The line is short, and the process is late all the same. That it no longer is, is seen though nobody comes."""
    wakes, judged = False, 0

    def judge(_: float, __: bool) -> Bounds:
        nonlocal judged
        judged += 1
        return Bounds(MOST, True, wakes)

    entry = Entry(asyncio.get_running_loop(), judge)
    entrants = Entrants(entry)
    sleeper = Sleeper(entrants)
    entry.rest(sleeper, monotonic() + 60.0)
    for turn in range(3):
        entrants.come(range(turn * 20, turn * 20 + 20))  # four wait
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert (entry.rests.count, len(entrants.begun)) == (1, 60)
    before = judged
    for _ in range(20):
        await asyncio.sleep(0)
    assert judged - before <= 1, "nothing is done while nothing can be"
    wakes = True
    await asyncio.sleep(0.3)
    for _ in range(3):
        await asyncio.sleep(0)

    assert (sleeper.woken, entry.rests.count) == (1, 0)
