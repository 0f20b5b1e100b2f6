"""What the upstream's name means, and how often that is asked; the resolver answers when the test says so."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Coroutine, Sequence
from typing import Any

import pytest

from sidecar.http1 import names
from sidecar.http1.names import Names, is_name

HERE, THERE = ("192.0.2.1", 80), ("2001:db8::1", 80, 0, 0)
AWAY = socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")


class World:
    """A name, its resolver, and a clock that stands still until it is told."""

    def __init__(self) -> None:
        self.now = 0.0
        self.questions: list[asyncio.Future[list[tuple[Any, ...]]]] = []  # that were put
        self._tasks: list[asyncio.Task[Any]] = []
        self.names = Names("service.test", 80, self._spawn)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        self._tasks.append(asyncio.ensure_future(work))

    async def getaddrinfo(self, host: str, port: int, **more: Any) -> list[tuple[Any, ...]]:
        """Stands for the loop's."""
        assert (host, port, more) == ("service.test", 80, {"type": socket.SOCK_STREAM})
        self.questions.append(asyncio.get_running_loop().create_future())
        return await self.questions[-1]

    async def ask(self, patience: float = 60.0) -> asyncio.Task[Sequence[str]]:
        """Somebody wants to know, and has begun to wait."""
        task = asyncio.ensure_future(_awaited(self.names.hosts(patience)))
        self._tasks.append(task)
        await turns()
        return task

    async def answer(self, number: int, *addresses: tuple[Any, ...], error: OSError | None = None) -> None:
        """The resolver's answer to a question, and what comes of it."""
        if error is not None:
            self.questions[number].set_exception(error)
        else:
            self.questions[number].set_result([(0, 0, 0, "", address) for address in addresses])
        await turns()

    async def close(self) -> None:
        """Nobody waits any more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def _awaited(work: Awaitable[Sequence[str]]) -> Sequence[str]:
    return await work


async def turns() -> None:
    """Let everything happen that can."""
    for _ in range(10):
        await asyncio.sleep(0)


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> Any:
    """For one test."""
    world = World()
    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", world.getaddrinfo)
    monkeypatch.setattr(names, "monotonic", lambda: world.now)
    yield world
    await world.close()


def test_what_is_a_name() -> None:
    """Addresses are none, and nor is the host of a socket file."""
    assert [is_name(host) for host in ("localhost", "a.b", "127.0.0.1", "::1", "")] == [True, True, False, False, False]


async def test_one_question_for_all_who_ask(world: World) -> None:
    """They get the same answer, in the resolver's order; who asks afterwards gets a new one."""
    asking = [await world.ask() for _ in range(5)]
    assert len(world.questions) == 1
    await world.answer(0, THERE, HERE, ("fe80::1", 80, 0, 2))
    assert [task.result() for task in asking] == [["2001:db8::1", "192.0.2.1", "fe80::1%2"]] * 5

    later = await world.ask()
    await world.answer(1, HERE)
    assert later.result() == ["192.0.2.1"]


async def test_who_leaves_takes_nobodys_answer(world: World) -> None:
    """The question stays open for the others."""
    first, second = await world.ask(), await world.ask()
    first.cancel()
    await world.answer(0, HERE)
    assert second.result() == ["192.0.2.1"]


async def test_an_answer_that_is_lost_is_asked_for_again(world: World) -> None:
    """After half a second, by who asks then, four times in all; whichever comes first is everybody's."""
    asking = []
    for _ in range(20):
        asking.append(await world.ask())
        world.now += 0.25
    assert len(world.questions) == 4
    await world.answer(3, HERE)
    assert [task.result() for task in asking] == [["192.0.2.1"]] * 20

    late = await world.ask()
    assert len(world.questions) == 5
    await world.answer(0, THERE)
    assert late.result() == ["2001:db8::1"]


async def test_a_failure_without_anything_known(world: World) -> None:
    """It is raised to each, as the resolver said it."""
    asking = [await world.ask(), await world.ask()]
    await world.answer(0, error=AWAY)
    for task in asking:
        with pytest.raises(socket.gaierror, match="Temporary failure"):
            task.result()


async def test_what_no_name_can_be(world: World) -> None:
    """It is an error as others are."""
    asking = await world.ask()
    world.questions[0].set_exception(UnicodeError("label too long"))
    await turns()
    with pytest.raises(OSError, match="label too long"):
        asking.result()


async def test_a_failure_changes_nothing_that_is_known(world: World) -> None:
    """What it meant before is what it means."""
    await world.ask()
    await world.answer(0, HERE)
    asking = await world.ask()
    await world.answer(1, error=AWAY)
    assert asking.result() == ["192.0.2.1"]


async def test_a_silent_resolver_is_waited_for_once(world: World) -> None:
    """Who comes when patience has been spent on it gets what is known at once, until it speaks again."""
    await world.ask()
    await world.answer(0, HERE)
    first = await world.ask(patience=0.001)
    assert not first.done()
    assert await first == ["192.0.2.1"]
    world.now += 1
    assert (await world.ask(patience=0.5)).result() == ["192.0.2.1"]
    await world.answer(2, THERE)
    patient = await world.ask(patience=0.5)
    assert not patient.done()
    await world.answer(3, THERE)
    assert patient.result() == ["2001:db8::1"]


async def test_those_who_keep_connections_are_told(world: World) -> None:
    """Without a zone, which connections do not know; a failure is nothing to tell."""
    told: list[frozenset[str]] = []
    following = asyncio.ensure_future(world.names.follow(told.append))
    await turns()
    await world.answer(0, HERE, ("fe80::1", 80, 0, 2))
    assert told == [{"192.0.2.1", "fe80::1"}]
    following.cancel()
    with pytest.raises(asyncio.CancelledError):
        await following

    following = asyncio.ensure_future(world.names.follow(told.append))
    await turns()
    await world.answer(1, error=AWAY)
    assert len(told) == 1
    following.cancel()
    with pytest.raises(asyncio.CancelledError):
        await following
