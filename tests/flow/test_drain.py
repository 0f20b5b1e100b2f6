"""The sequence of leaving, and the report on it."""

from __future__ import annotations

import asyncio

import pytest

from sidecar.drain import Drain, Report
from sidecar.exchange import Exchange, Request
from sidecar.headers import Headers
from sidecar.settings import Drain as Limits
from tests.flow.test_exchange import Timer
from tests.flow.virtual import travelling


class Server:
    """A client side whose connections end when the test says."""

    def __init__(self) -> None:
        self.in_flight = 2
        self.open = 3
        self.calls: list[str] = []
        self.goes_when_quiet = True

    def begin_drain(self) -> None:
        self.calls.append("begin")

    def close_when_quiet(self) -> None:
        self.calls.append("quiet")
        if self.goes_when_quiet:
            self.open = self.in_flight = 0

    def cut(self) -> int:
        self.calls.append("cut")
        cut, self.open, self.in_flight = self.in_flight, 0, 0
        return cut

    async def close_listener(self) -> None:
        self.calls.append("listener")


@pytest.fixture
def server() -> Server:
    return Server()


def drain_of(server: Server, *, delay: float = 0.0, timeout: float = 5.0) -> Drain:
    """A drain of that server."""
    return Drain(server, Limits(delay=delay, timeout=timeout), server.close_listener)


def now() -> float:
    """The time of the loop, by which the drain goes too."""
    return asyncio.get_running_loop().time()


def exchange(age: float) -> Exchange:
    """One that began so long ago."""
    return Exchange(Request("GET", b"/", Headers()), b"id", "", now() - age, Timer())


@travelling
async def test_the_sequence(server: Server) -> None:
    """Say so, then close the listener, then idle connections, then what is left."""
    drain = drain_of(server)
    assert drain.begin("SIGTERM")
    assert server.calls == ["begin"]
    report = await drain.finish()

    assert server.calls == ["begin", "listener", "quiet", "cut"]
    assert (report.cause, report.in_flight_at_start, report.cut) == ("SIGTERM", 2, 0)
    assert (report.took, report.left) == (0.0, 5.0)


@travelling
async def test_a_second_beginning_joins_the_first(server: Server) -> None:
    """Its cause is the first one's."""
    drain = drain_of(server)
    assert not drain.began
    assert drain.begin("POST /drain")
    assert not drain.begin("SIGTERM")

    assert drain.began
    assert server.calls == ["begin"]
    assert (await drain.finish()).cause == "POST /drain"


@travelling
async def test_what_ends_is_counted_with_the_longest(server: Server) -> None:
    """In the report."""
    drain = drain_of(server)
    drain.begin("x")
    for age in (1.0, 3.0, 2.0):
        drain.ended(exchange(age), now())
    report = await drain.finish()

    assert (report.finished, report.longest) == (3, 3.0)


@travelling
async def test_what_does_not_end_is_cut(server: Server) -> None:
    """After the timeout; what is cut does not count as finished."""
    server.goes_when_quiet = False
    drain = drain_of(server, timeout=5.0)
    drain.begin("x")
    finishing = asyncio.create_task(drain.finish())
    await asyncio.sleep(4.9)
    assert server.calls == ["begin", "listener", "quiet"]
    drain.ended(exchange(1.0), now())
    report: Report = await finishing

    assert (report.finished, report.cut, report.left) == (1, 2, 0.0)
    assert 5.0 <= report.took < 5.1


@travelling
async def test_the_delay_counts_from_the_beginning(server: Server) -> None:
    """It keeps accepting for so long, however long ago that was."""
    drain = drain_of(server, delay=5.0)
    drain.begin("x")
    finishing = asyncio.create_task(drain.finish())
    await asyncio.sleep(4.9)
    assert server.calls == ["begin"]
    report = await finishing
    assert server.calls == ["begin", "listener", "quiet", "cut"]
    assert 5.0 <= report.took < 5.1

    late = drain_of(server, delay=5.0)
    late.begin("x")
    await asyncio.sleep(6.0)
    began = now()
    await late.finish()
    assert now() == began


@travelling
async def test_whoever_is_in_a_hurry_waits_for_nothing(server: Server) -> None:
    """Neither the delay nor what is in flight."""
    server.goes_when_quiet = False
    drain = drain_of(server, delay=30.0, timeout=30.0)
    drain.begin("x")
    drain.hurry.set()
    report = await drain.finish()

    assert report.cut == 2
    assert report.took < 0.1
