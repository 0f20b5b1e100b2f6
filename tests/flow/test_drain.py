"""The sequence of leaving, and the report on it."""

from __future__ import annotations

import asyncio
from time import monotonic

import pytest

from sidecar.drain import Drain, Report
from sidecar.exchange import Exchange, Request
from sidecar.headers import Headers
from sidecar.settings import Drain as Limits
from tests.flow.test_exchange import Timer


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


def exchange(age: float) -> Exchange:
    """One that began so long ago."""
    return Exchange(Request("GET", b"/", Headers()), b"id", "", monotonic() - age, Timer())


async def test_the_sequence(server: Server) -> None:
    """Say so, then close the listener, then idle connections, then what is left."""
    drain = drain_of(server)
    assert drain.begin("SIGTERM")
    assert server.calls == ["begin"]
    report = await drain.finish()

    assert server.calls == ["begin", "listener", "quiet", "cut"]
    assert (report.cause, report.in_flight_at_start, report.cut) == ("SIGTERM", 2, 0)
    assert 4.5 < report.left <= 5.0


async def test_a_second_beginning_joins_the_first(server: Server) -> None:
    """Its cause is the first one's."""
    drain = drain_of(server)
    assert not drain.began
    assert drain.begin("POST /drain")
    assert not drain.begin("SIGTERM")

    assert drain.began
    assert server.calls == ["begin"]
    assert (await drain.finish()).cause == "POST /drain"


async def test_what_ends_is_counted_with_the_longest(server: Server) -> None:
    """In the report."""
    drain = drain_of(server)
    drain.begin("x")
    now = monotonic()
    for age in (1.0, 3.0, 2.0):
        drain.ended(exchange(age), now)
    report = await drain.finish()

    assert report.finished == 3
    assert report.longest == pytest.approx(3.0, abs=0.1)


async def test_what_does_not_end_is_cut(server: Server) -> None:
    """After the timeout; what is cut does not count as finished."""
    server.goes_when_quiet = False
    drain = drain_of(server, timeout=0.05)
    drain.begin("x")
    finishing = asyncio.create_task(drain.finish())
    await asyncio.sleep(0.02)
    drain.ended(exchange(1.0), monotonic())
    report: Report = await finishing

    assert (report.finished, report.cut, report.left) == (1, 2, 0.0)
    assert report.took >= 0.05


async def test_the_delay_counts_from_the_beginning(server: Server) -> None:
    """It keeps accepting for so long, however long ago that was."""
    drain = drain_of(server, delay=0.05)
    drain.begin("x")
    finishing = asyncio.create_task(drain.finish())
    await asyncio.sleep(0.02)
    assert server.calls == ["begin"]
    await finishing
    assert server.calls == ["begin", "listener", "quiet", "cut"]

    late = drain_of(server, delay=0.05)
    late.begin("x")
    await asyncio.sleep(0.06)
    began = monotonic()
    await late.finish()
    assert monotonic() - began < 0.04


async def test_whoever_is_in_a_hurry_waits_for_nothing(server: Server) -> None:
    """Neither the delay nor what is in flight."""
    server.goes_when_quiet = False
    drain = drain_of(server, delay=30.0, timeout=30.0)
    drain.begin("x")
    drain.hurry.set()
    report = await asyncio.wait_for(drain.finish(), 1)

    assert report.cut == 2
