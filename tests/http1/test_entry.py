"""The line in which requests wait to begin."""

from __future__ import annotations

import asyncio
from time import sleep

from sidecar.http1.entry import MOST, Entry


class Entrants:
    """Some that come, and how each began: its number, and whether it was crowded out."""

    def __init__(self, entry: Entry) -> None:
        self._entry = entry
        self.begun: list[tuple[int, bool]] = []
        self.waits: list[float] = []

    def come(self, numbers: range) -> None:
        for number in numbers:
            self._entry.come(_One(self, number))


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
    entrants = Entrants(Entry(asyncio.get_running_loop(), lambda pace: 10_000))
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
    entrants = Entrants(Entry(asyncio.get_running_loop(), lambda pace: 0))
    for turn in range(5):
        entrants.come(range(turn * MOST, (turn + 1) * MOST))
        await asyncio.sleep(0)

    assert numbers(entrants.begun) == list(range(5 * MOST))


async def test_who_comes_when_the_line_is_full_is_crowded_out() -> None:
    """A few in each turn, beside those who waited; as long as the line is full."""
    entry = Entry(asyncio.get_running_loop(), lambda pace: 3 * MOST)
    entrants = Entrants(entry)
    entrants.come(range(4 * MOST + 100))
    assert entry.waiting == 3 * MOST + 100
    entrants.begun.clear()
    for turn in range(3):
        await asyncio.sleep(0)
        assert len(numbers(entrants.begun)) == (turn + 1) * MOST
        assert len(entrants.begun) - len(numbers(entrants.begun)) == (turn + 1) * 6
        entrants.come(range(1000, 1000 + MOST))  # they keep the line full


async def test_who_finds_the_line_short_again_is_served() -> None:
    """It is no overload any more: but for the six whose turn it was while the line was full."""
    entrants = Entrants(Entry(asyncio.get_running_loop(), lambda pace: 10))
    entrants.come(range(MOST + 40))
    for _ in range(5):
        await asyncio.sleep(0)

    assert len(entrants.begun) == MOST + 40
    assert len(numbers(entrants.begun)) == MOST + 34


async def test_the_pace_is_measured() -> None:
    """The slower requests begin, the shorter the line may be."""
    paces: list[float] = []

    def longest(pace: float) -> int:
        paces.append(pace)
        sleep(0.03)  # a slow turn of the loop
        return 10_000

    entrants = Entrants(Entry(asyncio.get_running_loop(), longest))
    entrants.come(range(9 * MOST))
    for _ in range(10):
        await asyncio.sleep(0)

    assert paces[0] < 0.0002, "what is assumed at first"
    assert paces == sorted(paces)
    assert 0.0002 < paces[-1] < 0.01
