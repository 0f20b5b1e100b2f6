"""Whether the upstream is up: by traffic, by probes, and reported once per change."""

from __future__ import annotations

import asyncio
import os
import resource
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from sidecar.address import UpstreamAddress
from sidecar.errors import ATTEMPT_TIMEOUT, CONNECT_FAILED, CONNECT_TIMEOUT, CONNECTION_LOST, Reason, SidecarError
from sidecar.health import Change, Prober, UpstreamHealth
from tests.telemetry.support import outcome

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def failed(reason: Reason) -> SidecarError:
    """An attempt's failure."""
    return SidecarError(reason, f"it was {reason.token}")


class Changes(list[Change]):
    """Collects what is reported."""

    @property
    def ups(self) -> list[bool]:
        return [change.up for change in self]


async def test_it_is_down_until_something_proves_it_up() -> None:
    """An upstream never seen is no upstream to send requests to."""
    health = UpstreamHealth(10.0)

    assert (health.up, health.answered_once, health.since) == (False, False, 10.0)


def test_an_answer_means_up_whatever_its_status() -> None:
    """Even a 500 is an answer."""
    changes = Changes()
    health = UpstreamHealth(10.0, changes.append)
    health.traffic(outcome(500), 12.0)
    health.traffic(outcome(200), 13.0)

    assert (health.up, health.answered_once, health.since, health.last_answer) == (True, True, 12.0, 13.0)
    assert changes == [Change(True, "answered 500", 10.0, 12.0)]


@pytest.mark.parametrize("reason", [CONNECT_FAILED, CONNECT_TIMEOUT])
def test_a_failed_connection_means_down(reason: Reason) -> None:
    """At once, and told once, with what happened and since when it had been up."""
    changes = Changes()
    health = UpstreamHealth(0.0, changes.append)
    health.traffic(outcome(200), 1.0)
    health.traffic(outcome(error=failed(reason)), 5.0)
    health.traffic(outcome(error=failed(reason)), 6.0)

    assert (health.up, health.answered_once, health.since) == (False, True, 5.0)
    assert health.last_error == f"it was {reason.token}"
    assert changes[1:] == [Change(False, f"it was {reason.token}", 1.0, 5.0)]


@pytest.mark.parametrize("reason", [ATTEMPT_TIMEOUT, CONNECTION_LOST])
def test_other_failures_say_nothing(reason: Reason) -> None:
    """A slow handler or a lost connection does not make the service unreachable, nor reachable."""
    changes = Changes()
    health = UpstreamHealth(0.0, changes.append)
    health.traffic(outcome(error=failed(reason)), 1.0)
    assert (health.up, changes) == (False, [])
    health.traffic(outcome(200), 2.0)
    health.traffic(outcome(error=failed(reason)), 3.0)
    assert (health.up, changes.ups) == (True, [True])


def test_the_first_verdict_is_told_even_if_it_is_down() -> None:
    """Somebody waits to hear why nothing works."""
    changes = Changes()
    health = UpstreamHealth(0.0, changes.append)
    health.probed(False, "refused", 1.0)
    health.probed(False, "refused", 2.0)

    assert changes == [Change(False, "refused", 0.0, 1.0)]
    assert not health.answered_once


def test_a_passed_probe_means_up() -> None:
    """And the last error stays to be read."""
    health = UpstreamHealth(0.0)
    health.probed(False, "refused", 1.0)
    health.probed(True, "accepts connections", 2.0)

    assert (health.up, health.answered_once, health.last_error) == (True, True, "refused")


def test_with_a_health_path_answers_do_not_overrule_the_probe() -> None:
    """A service that calls itself unhealthy answers all the same; the state must not flap."""
    changes = Changes()
    health = UpstreamHealth(0.0, changes.append, probe_decides=True)
    health.traffic(outcome(200), 0.5)
    health.probed(False, "GET /healthz answered 503", 1.0)
    health.traffic(outcome(200), 2.0)
    assert not health.up
    health.probed(True, "GET /healthz answered 200", 3.0)

    assert changes.ups == [True, False, True]


@asynccontextmanager
async def tcp(answer: Answer) -> AsyncIterator[UpstreamAddress]:
    """An upstream of few words. At the end every connection it has accepted is done with."""
    open_ = set[asyncio.StreamWriter]()

    async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        open_.add(writer)
        try:
            await answer(reader, writer)
        finally:
            open_.discard(writer)

    server = await asyncio.start_server(accepted, "127.0.0.1", 0)
    async with server:
        yield UpstreamAddress("127.0.0.1", server.sockets[0].getsockname()[1])
        await asyncio.sleep(0.02)
    for writer in open_:
        writer.close()
    await asyncio.gather(*(writer.wait_closed() for writer in open_), return_exceptions=True)


def saying(head: bytes, asked: list[bytes] | None = None) -> Answer:
    """Answers every request so."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = await reader.readuntil(b"\r\n\r\n")
            if asked is not None:
                asked.append(request)
            writer.write(head + b"\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
            await asyncio.gather(writer.wait_closed(), return_exceptions=True)

    return answer


async def probe(address: UpstreamAddress, path: str = "", timeout: float = 1.0) -> UpstreamHealth:
    """The state after one probe."""
    health = UpstreamHealth(0.0)
    await Prober(health, address, interval=1.0, timeout=timeout, path=path).probe()
    return health


async def test_a_connection_is_enough_without_a_path() -> None:
    """Over TCP, and nothing is sent."""
    asked: list[bytes] = []
    async with tcp(saying(b"HTTP/1.1 200 OK", asked)) as address:
        assert (await probe(address)).up
    assert asked == []


@pytest.mark.parametrize("path", ["", "/healthz"])
async def test_a_refused_connection_is_down(path: str) -> None:
    """With the reason in the same words, however the upstream is asked."""
    async with tcp(saying(b"")) as address:
        pass
    health = await probe(address, path)

    assert not health.up
    assert health.last_error == "cannot connect: Connection refused"


@pytest.mark.parametrize("path", ["", "/healthz"])
async def test_a_machine_without_descriptors_says_nothing_of_the_upstream(path: str) -> None:
    """The probe could not ask, so the upstream stays what it was."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with tcp(saying(b"HTTP/1.1 204 No Content")) as address:
        health = UpstreamHealth(0.0)
        prober = Prober(health, address, interval=1.0, timeout=1.0, path=path)
        await prober.probe()
        lowest = os.dup(0)  # the lowest number that is free
        os.close(lowest)
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
        try:
            await prober.probe()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

        assert (health.up, health.last_error) == (True, "")


@pytest.mark.parametrize("path", ["", "/healthz"])
async def test_a_socket_file_is_asked_too(tmp_path: Path, path: str) -> None:
    """With a connection or a GET; a missing one is down."""
    name = str(tmp_path / "s")
    server = await asyncio.start_unix_server(saying(b"HTTP/1.1 204 No Content"), name)
    async with server:
        assert (await probe(UpstreamAddress("", 0, name), path)).up
        await asyncio.sleep(0.02)
    health = await probe(UpstreamAddress("", 0, str(tmp_path / "none")), path)

    assert not health.up
    assert health.last_error


@pytest.mark.parametrize(("status", "up"), [(200, True), (302, True), (404, False), (503, False)])
async def test_a_health_path_must_answer_2xx_or_3xx(status: int, up: bool) -> None:
    """Redirects are not followed; the status is told."""
    asked: list[bytes] = []
    head = b"HTTP/1.1 %d X\r\nLocation: http://127.0.0.1:1/" % status
    async with tcp(saying(head, asked)) as address:
        health = await probe(address, "/healthz")

    assert health.up is up
    assert up or health.last_error == f"GET /healthz answered {status}"
    assert [request.partition(b"\r\n")[0] for request in asked] == [b"GET /healthz HTTP/1.1"]


async def test_nonsense_is_down() -> None:
    """What is no HTTP answer is no answer."""
    async with tcp(saying(b"hello")) as address:
        health = await probe(address, "/healthz")

    assert not health.up
    assert health.last_error.startswith("GET /healthz failed")


async def test_a_probe_does_not_wait_longer_than_its_timeout() -> None:
    """An upstream that accepts and says nothing is down."""

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()
        await writer.wait_closed()

    async with tcp(silent) as address:
        health = await probe(address, "/healthz", timeout=0.05)

    assert health.last_error == "no answer within 0.05 s"


class Asked(Prober):
    """Counts instead of asking."""

    count = 0

    async def probe(self) -> None:
        self.count += 1
        self._asked = self._clock()


async def turns(prober: Prober, seconds: float) -> None:
    """Let it run for a while."""
    task = asyncio.create_task(prober.run())
    await asyncio.sleep(seconds)
    task.cancel()


@pytest.mark.parametrize(("path", "saved"), [("", True), ("/healthz", False)])
async def test_answered_traffic_saves_the_probe(path: str, saved: bool) -> None:
    """Unless there is a health path, which says more than traffic does."""
    now = [100.0]
    health = UpstreamHealth(0.0)
    health.traffic(outcome(200), 99.99)
    prober = Asked(health, UpstreamAddress("h", 1), interval=0.02, timeout=1, path=path, clock=lambda: now[0])
    await turns(prober, 0.05)
    assert prober.count == (0 if saved else 1)
    now[0] = 101.0
    await turns(prober, 0.01)
    assert prober.count == (1 if saved else 2)


async def test_a_down_upstream_is_asked_at_every_turn() -> None:
    """Whether or not the interval has passed: everybody waits for the answer."""
    prober = Asked(UpstreamHealth(0.0), UpstreamAddress("h", 1), interval=0.02, timeout=1, clock=lambda: 100.0)
    await turns(prober, 0.07)

    assert prober.count >= 2
