"""`sidecar explain`, `tap` and `top` against a real admin port."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Callable

import pytest

from sidecar.address import parse_listen
from sidecar.admin import app as admin_app
from sidecar.admin import history
from sidecar.cli import main, watch
from sidecar.listen import bind, bound_address
from tests.admin.support import FakePlane, until
from tests.cli.test_remote import Peer
from tests.telemetry.support import ended

Out = pytest.CaptureFixture[str]


class Running:
    """An admin port and what is behind it."""

    def __init__(self) -> None:
        self.plane = FakePlane()
        self.server: admin_app.AdminServer

    async def start(self) -> None:
        """Listen."""
        where = parse_listen("127.0.0.1:0")
        sock = bind(where)
        self.server = await admin_app.start(self.plane, bound_address(sock, where), sock)

    async def run(self, *arguments: str) -> int:
        """Run a command against it."""
        return await asyncio.to_thread(main, [*arguments, "--admin", self.server.address])

    async def readers(self, number: int) -> None:
        """Until so many read the events."""
        await until(lambda: f"{number} readers" in repr(self.plane.recent))


@pytest.fixture
async def running(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Running]:
    """It runs."""
    monkeypatch.setattr(history, "_PAUSE", 0.0)
    running = Running()
    await running.start()
    yield running
    await running.server.stop()


async def test_explain_prints_the_story(running: Running, capsys: Out) -> None:
    """As text for people, as JSON for programs."""
    running.plane.ends(ended(b"/a", status=503, reason="circuit_open"), 101.0)
    assert await running.run("explain", "id-1") == 0
    text = capsys.readouterr().out
    assert await running.run("explain", "id-1", "--json") == 0
    (one,) = json.loads(capsys.readouterr().out)["exchanges"]

    assert text.startswith("GET /a -> 503 circuit_open\n")
    assert text.endswith(f"why       {one['why']}\n")


@pytest.mark.parametrize(
    "name", ["a/b", "a?b", "a#b", "%41", "a%2Fb", "..", "a/../b", "a{b}", "~!$&'()*+,;=:@\"<>\\^`|"]
)
async def test_explain_takes_any_id(running: Running, name: str, capsys: Out) -> None:
    """Clients may use all visible ASCII for theirs."""
    running.plane.ends(ended(id=name.encode()), 101.0)

    assert await running.run("explain", name) == 0
    assert f"\nid        {name}\n" in capsys.readouterr().out


async def test_explain_of_an_unknown_id_fails_in_one_line(running: Running, capsys: Out) -> None:
    """With what may be the reason; whatever the ID is."""
    for name in ("id-1", "é\udcff"):
        assert await running.run("explain", name) == 1
        assert capsys.readouterr() == (
            "",
            "sidecar explain: no exchange with this ID is among the last 0 nor in flight; 1256 are kept\n",
        )


async def test_tap_prints_exchanges_until_the_sidecar_leaves(running: Running, capsys: Out) -> None:
    """A line each, those that are wanted, and nothing that a terminal would obey."""
    tapping = asyncio.ensure_future(running.run("tap", "--status", "5xx", "--route", "/a{x}"))
    await running.readers(1)
    running.plane.ends(ended(b"/good", label="/a{x}"), 101.0)
    running.plane.ends(ended(b"/else", status=500), 101.0)
    running.plane.ends(
        ended(b"/a\x1b[31m b", label="/a{x}", route="orders", status=502, reason="connect_failed", attempts=3), 101.25
    )
    await running.server.stop()
    assert await tapping == 0
    out, err = capsys.readouterr()

    assert out.partition(" ")[2] == ("502 connect_failed       1250.0ms 3x  GET  '/a\\x1b[31m b'  orders  id-1\n")
    assert err == "sidecar tap: the sidecar has left\n"


async def test_tap_for_programs(running: Running, capsys: Out) -> None:
    """A JSON document a line; what was dropped is told apart from them."""
    tapping = asyncio.ensure_future(running.run("tap", "--json", "--reason", "upstream"))
    await running.readers(1)
    for _ in range(300):
        running.plane.ends(ended(b"/a"), 101.0)
    await running.server.stop()
    assert await tapping == 0
    out, err = capsys.readouterr()

    assert {json.loads(line)["path"] for line in out.splitlines()} == {"/a"}
    assert len(out.splitlines()) == 256
    assert err == ("sidecar tap: 44 more ended, faster than they could be shown\nsidecar tap: the sidecar has left\n")


async def test_tap_tells_a_bad_filter(running: Running, capsys: Out) -> None:
    """Rather than to wait for what never comes."""
    assert await running.run("tap", "--reason", "circuit_opn") == 1
    assert capsys.readouterr().err == ("sidecar tap: reason=circuit_opn: is no reason; did you mean circuit_open?\n")


STREAM = b"HTTP/1.0 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (STREAM + b": hello\n\n", "the connection to the sidecar was lost"),
        (STREAM + b"event: exchange\ndata: {", "the connection to the sidecar was lost"),
        (STREAM + b"event: exchange\ndata: {}\n\n", "the answer is no stream of exchanges"),
        (STREAM + b"event: dropped\ndata: x\n\n", "the answer is no stream of exchanges"),
        (STREAM + b"x" * 1_100_000, "sends lines that have no end: is it the admin port?"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "does not speak HTTP: is it the admin port?"),
        (b"HTTP/1.0 500 Oh\r\n\r\n", "GET /events was answered with 500: is "),
    ],
)
def test_tap_of_something_else_fails_in_one_line(said: bytes, why: str, capsys: Out) -> None:
    """A stream that breaks off is no end, and what is no stream is told."""
    peer = Peer(said)
    assert main(["tap", "--admin", peer.address]) == 1
    peer.close()
    (line,) = capsys.readouterr().err.splitlines()
    assert why in line


def test_tap_ends_well_when_it_is_interrupted(monkeypatch: pytest.MonkeyPatch, capsys: Out) -> None:
    """Ctrl-C is how it is meant to end."""
    peer = Peer(STREAM + b"event: exchange\ndata: {}\n\n")

    def interrupt(row: dict[str, object]) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(watch, "_line", interrupt)
    assert main(["tap", "--admin", peer.address]) == 0
    peer.close()
    assert capsys.readouterr() == ("", "")


@pytest.fixture
def between(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], None]], None]:
    """What happens between two readings, instead of time that passes."""

    def happens(event: Callable[[], None]) -> None:
        monkeypatch.setattr(watch, "sleep", lambda seconds: event())

    return happens


async def test_top_once_prints_one_table(running: Running, between: Callable[..., None], capsys: Out) -> None:
    """Of what ended in the meantime."""
    running.plane.ends(ended(label="/old"), 101.0)
    between(lambda: running.plane.ends(ended(label="/a", status=503, reason="overloaded"), 100.001))
    assert await running.run("top", "--once", "--interval", "500ms") == 0
    out = capsys.readouterr().out.splitlines()

    assert out[2].split() == ["ROUTE", "REQ/S", "P50", "P99", "5XX/S", "OWN/S", "IN", "FLIGHT", "CIRCUIT"]
    assert out[3].split()[0] == "/a"
    assert out[4].split() == ["/old", "0.0", "-", "-", "0.0", "0.0", "0"]
    assert "\x1b" not in "".join(out)


async def test_top_goes_on_until_it_is_interrupted(running: Running, between: Callable[..., None], capsys: Out) -> None:
    """Tables below each other where there is no terminal to draw on."""
    times = iter(range(3))

    def wait() -> None:
        if next(times, None) is None:
            raise KeyboardInterrupt

    between(wait)
    assert await running.run("top") == 0
    assert capsys.readouterr().out.count("ROUTE") == 3


async def test_top_draws_over_what_was_there(
    running: Running, between: Callable[..., None], capsys: Out, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a terminal, within its size."""
    for name in ("/a" * 20, "/b", "/c", "/d"):
        running.plane.ends(ended(label=name), 101.0)
    times = iter(range(2))

    def wait() -> None:
        if next(times, None) is None:
            raise KeyboardInterrupt

    between(wait)
    monkeypatch.setattr(os, "get_terminal_size", lambda number: (30, 6))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setattr(sys.stdout, "fileno", lambda: 1)
    assert await running.run("top") == 0
    first, *screens = capsys.readouterr().out.split("\x1b[H")

    assert (first, len(screens)) == ("", 2)
    for screen in screens:
        assert screen.endswith("\x1b[J")
        lines = screen.removesuffix("\x1b[J").split("\n")
        assert len(lines) == 6
        assert all(len(line.removesuffix("\x1b[K")) <= 30 for line in lines)


async def test_top_ends_well_when_the_sidecar_leaves(
    running: Running, between: Callable[..., None], capsys: Out
) -> None:
    """Once it has shown something; before that it is a failure."""
    loop, times = asyncio.get_running_loop(), iter(range(1))

    def wait() -> None:
        if next(times, None) is None:
            asyncio.run_coroutine_threadsafe(running.server.stop(), loop).result()

    between(wait)
    assert await running.run("top") == 0
    assert capsys.readouterr().err.startswith("sidecar top: it seems to have left: nothing listens on ")
    assert await running.run("top") == 1


@pytest.mark.parametrize("text", ["2", "s", "0s", "50ms", "2h", "-1s", "1e9m", "nans", "x"])
def test_an_interval_is_a_time(text: str, capsys: Out) -> None:
    """With its unit, and not so short that it would be a load."""
    with pytest.raises(SystemExit, match="2"):
        main(["top", f"--interval={text}"])
    assert text in capsys.readouterr().err
