"""`sidecar wait` against admin ports that come up, that are not ready yet, and that never come."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from time import monotonic

import pytest

from sidecar.address import parse_listen
from sidecar.admin import app as admin_app
from sidecar.cli import main
from sidecar.health import UpstreamHealth
from sidecar.listen import bind, bound_address
from tests.admin.support import FakePlane


@pytest.fixture
def plane() -> FakePlane:
    """A sidecar whose state the test changes."""
    return FakePlane()


@pytest.fixture
async def address(plane: FakePlane) -> AsyncIterator[str]:
    """Its admin port."""
    where = parse_listen("127.0.0.1:0")
    listener = bind(where)
    server = await admin_app.start(plane, bound_address(listener, where), listener)
    yield server.address
    await server.stop()


def starting(plane: FakePlane) -> Callable[[], None]:
    """The data port is not bound yet."""
    plane.started = False
    return lambda: setattr(plane, "started", True)


def without_service(plane: FakePlane) -> Callable[[], None]:
    """The upstream is down."""
    plane.health = UpstreamHealth(0.0)
    return lambda: plane.health.probed(True, "accepts connections", 1.0)


@pytest.mark.parametrize("arguments", [[], ["--ready"], ["--ready", "--timeout", "0"]])
async def test_what_is_there_is_not_waited_for(
    address: str, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """It exits with 0 and says nothing."""
    assert await asyncio.to_thread(main, ["wait", "--admin", address, *arguments]) == 0
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(("arguments", "hold"), [([], starting), (["--ready"], without_service)])
async def test_it_waits(
    address: str, plane: FakePlane, arguments: list[str], hold: Callable[[FakePlane], Callable[[], None]]
) -> None:
    """Until requests are taken; with --ready, until the service answers too."""
    release = hold(plane)
    waiting = asyncio.create_task(asyncio.to_thread(main, ["wait", "--admin", address, *arguments]))
    done, _ = await asyncio.wait([waiting], timeout=0.3)
    assert not done
    release()
    assert await waiting == 0


async def test_the_service_does_not_hold_it_unless_asked(address: str, plane: FakePlane) -> None:
    """A sidecar that starts before its service is there all the same."""
    without_service(plane)
    assert await asyncio.to_thread(main, ["wait", "--admin", address, "--timeout", "5s"]) == 0


async def test_it_waits_for_a_process_that_starts_later(plane: FakePlane) -> None:
    """Nobody listens yet: that is what it is for."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        where = parse_listen(f"127.0.0.1:{listener.getsockname()[1]}")
    waiting = asyncio.create_task(asyncio.to_thread(main, ["wait", "--admin", str(where)]))
    await asyncio.sleep(0)
    server = await admin_app.start(plane, where, bind(where))
    try:
        assert await waiting == 0
    finally:
        await server.stop()


async def test_it_gives_up(address: str, plane: FakePlane, capsys: pytest.CaptureFixture[str]) -> None:
    """After the timeout it exits with 1 and says what was missing."""
    without_service(plane)
    began = monotonic()
    assert await asyncio.to_thread(main, ["wait", "--admin", address, "--ready", "--timeout", "100ms"]) == 1
    assert monotonic() - began < 10
    said = "sidecar wait: gave up after 100ms: upstream is down: not seen yet\n"
    assert capsys.readouterr().err == said


@pytest.mark.parametrize("given", ["5", "soon"])
def test_a_timeout_has_a_unit(given: str, capsys: pytest.CaptureFixture[str]) -> None:
    """As everywhere."""
    with pytest.raises(SystemExit, match="2"):
        main(["wait", "--timeout", given])
    assert f"argument --timeout: {given} " in capsys.readouterr().err
