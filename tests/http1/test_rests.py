"""Connections that rest."""

from __future__ import annotations

import asyncio
from typing import cast

from sidecar.http1.rests import Rests
from tests.flow.virtual import VirtualLoop, travelling


class Sleeper:
    """Notes when it was woken."""

    def __init__(self, woken: list[tuple[int, float]], number: int) -> None:
        self._woken = woken
        self._number = number

    def wake(self) -> None:
        self._woken.append((self._number, asyncio.get_running_loop().time()))


def some(rests: Rests, ends: list[float]) -> tuple[list[Sleeper], list[tuple[int, float]]]:
    """So many rest, until so many seconds from now; and the list that they note themselves in."""
    woken: list[tuple[int, float]] = []
    sleepers = [Sleeper(woken, number) for number in range(len(ends))]
    for sleeper, end in zip(sleepers, ends, strict=True):
        rests.add(sleeper, asyncio.get_running_loop().time() + end)
    return sleepers, woken


@travelling
async def test_each_rests_for_its_time() -> None:
    """In the order in which they came, never too early; those that end within a moment of each other end together."""
    loop = cast(VirtualLoop, asyncio.get_running_loop())
    rests, began = Rests(loop), asyncio.get_running_loop().time()
    ends = [0.5, 0.501, 0.502, 0.6, 2.0]
    _, woken = some(rests, ends)
    assert repr(rests) == "<Rests of 5>"
    await asyncio.sleep(3.0)

    assert [number for number, _ in woken] == [0, 1, 2, 3, 4]
    late = [at - began - end for (_, at), end in zip(woken, ends, strict=True)]
    assert all(-1e-6 < each < 0.011 for each in late)
    assert len({at for _, at in woken}) == 4
    assert (rests.count, loop.timers) == (0, [])


@travelling
async def test_who_leaves_is_not_woken() -> None:
    """Nor is anything left of it; and who has never rested can leave too."""
    loop = cast(VirtualLoop, asyncio.get_running_loop())
    rests = Rests(loop)
    sleepers, woken = some(rests, [1.0, 2.0, 3.0])
    for sleeper in (sleepers[1], sleepers[1], Sleeper(woken, 9)):
        rests.leave(sleeper)
    await asyncio.sleep(2.5)
    assert [number for number, _ in woken] == [0]
    rests.leave(sleepers[2])

    assert (rests.count, loop.timers) == (0, [])


@travelling
async def test_room_is_for_who_came_first() -> None:
    """So many, or all; the others go on resting."""
    loop = cast(VirtualLoop, asyncio.get_running_loop())
    rests = Rests(loop)
    _, woken = some(rests, [1.0, 2.0, 3.0, 4.0])
    rests.end(0)
    rests.end(2)
    assert [number for number, _ in woken] == [0, 1]
    await asyncio.sleep(3.5)
    assert [number for number, _ in woken] == [0, 1, 2]
    rests.end()
    rests.end()

    assert [number for number, _ in woken] == [0, 1, 2, 3]
    assert (rests.count, loop.timers) == (0, [])
    _, again = some(rests, [1.0])
    await asyncio.sleep(1.5)
    assert len(again) == 1
