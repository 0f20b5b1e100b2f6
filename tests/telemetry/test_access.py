"""The access log: which requests get a line, and what a line may hold."""

from __future__ import annotations

import asyncio
import json
import re
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.telemetry import render
from sidecar.telemetry.access import AccessLog
from sidecar.telemetry.line import Line
from sidecar.telemetry.render import Timestamps
from tests.telemetry.support import ended

UNSAID = {"budget_ms", "route", "queue_ms", "backoff_ms"}  # where there is nothing to say

CONSOLE = render.console(colors=False)


class Written:
    """Where the blocks go."""

    def __init__(self) -> None:
        self.blocks: list[tuple[bytes, int]] = []

    def __call__(self, block: bytes, lines: int) -> None:
        self.blocks.append((block, lines))

    @property
    def text(self) -> str:
        return b"".join(block for block, _ in self.blocks).decode()

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text.split("\n")[:-1]]


async def log(mode: str = "all", **fields: Any) -> list[dict[str, Any]]:
    """The lines of one ended exchange."""
    written = Written()
    access = AccessLog(written, render.json_line, mode)
    access.settled(ended(**fields), 100.5)
    access.flush()
    return written.lines


async def test_a_line_says_what_there_is_to_say() -> None:
    """All fields, in their order, with times in milliseconds."""
    written = Written()
    access = AccessLog(written, render.json_line, timestamps=Timestamps(lambda: 1_700_000_000_007_000_000))
    exchange = ended(
        b"/orders/7?token=secret",
        attempts=2,
        upstream="http://127.0.0.1:8080",
        upstream_wait=0.1,
        client_wait=0.15,
        bytes_in=3,
        bytes_out=400,
    )
    access.settled(exchange, 100.2561)
    access.flush()

    (line,) = written.lines
    assert list(line) == [name for name in Line.__struct_fields__ if name not in UNSAID]
    assert line == {
        "ts": "2023-11-14T22:13:20.007Z",
        "level": "info",
        "event": "request",
        "method": "GET",
        "path": "/orders/7",
        "status": 200,
        "reason": "upstream",
        "attempts": 2,
        "duration_ms": pytest.approx(256.1, abs=0.002),
        "upstream_ms": 100,
        "overhead_ms": pytest.approx(6.1, abs=0.002),
        "bytes_in": 3,
        "bytes_out": 400,
        "request_id": "id-1",
        "upstream": "http://127.0.0.1:8080",
        "client": "10.0.0.1",
    }


async def test_a_line_says_what_was_waited_for() -> None:
    """Budget, route and waits are told where there were any: the ledger of who spent what."""
    written = Written()
    access = AccessLog(written, render.json_line)
    exchange = ended(route="slow", client_deadline=101.5, queue_wait=0.05, backoff_wait=0.2)
    access.settled(exchange, 100.4)
    access.flush()

    (line,) = written.lines
    assert {name: line[name] for name in UNSAID} == {
        "budget_ms": 1500,
        "route": "slow",
        "queue_ms": 50,
        "backoff_ms": 200,
    }


async def test_the_query_is_logged_only_if_asked_for() -> None:
    """Query strings hold secrets too often."""
    written = Written()
    access = AccessLog(written, render.json_line, query=True)
    access.settled(ended(b"/a?b=c"), 101.0)
    access.flush()

    assert written.lines[0]["path"] == "/a?b=c"
    assert (await log(target=b"/a?b=c"))[0]["path"] == "/a"


@pytest.mark.parametrize(
    ("fields", "in_all", "in_errors"),
    [
        ({}, True, False),
        ({"status": 404}, True, False),
        ({"status": 500}, True, True),
        ({"status": 429, "reason": "rate_limited"}, True, True),
        ({"status": 0, "reason": "client_gone"}, True, True),
        ({"status": 200, "reason": "connection_lost"}, True, True),
        ({"observed": False}, False, False),
        ({"observed": False, "status": 503, "reason": "connect_failed"}, True, True),
    ],
)
async def test_the_mode_chooses_the_requests(fields: dict[str, Any], in_all: bool, in_errors: bool) -> None:
    """errors: status 500 and above, or not the upstream's own answer; probes only if they fail; off: none."""
    assert bool(await log("all", **fields)) is in_all
    assert bool(await log("errors", **fields)) is in_errors
    assert not await log("off", **fields)


@pytest.mark.parametrize(
    ("fields", "level"),
    [
        ({}, "info"),
        ({"status": 404}, "info"),
        ({"status": 429, "reason": "rate_limited"}, "warning"),
        ({"status": 0, "reason": "client_gone"}, "warning"),
        ({"status": 502, "reason": "connect_failed"}, "error"),
    ],
)
async def test_the_level_tells_failures(fields: dict[str, Any], level: str) -> None:
    """error: 500 and above; warning: our own answer, or a cut; info: all else."""
    assert (await log(**fields))[0]["level"] == level


async def test_a_client_that_was_told_nothing_is_499() -> None:
    """The same figure as in the metrics."""
    assert (await log(status=0, reason="client_gone"))[0]["status"] == 499


async def test_the_lines_of_a_turn_are_handed_over_together() -> None:
    """One call for all requests that ended in one turn of the loop, in their order, and none is held back."""
    written = Written()
    access = AccessLog(written, render.json_line)
    for number in range(3):
        access.settled(ended(b"/%d" % number), 101.0)
    assert written.blocks == []
    await asyncio.sleep(0)
    access.settled(ended(b"/3"), 101.0)
    await asyncio.sleep(0)

    assert [lines for _, lines in written.blocks] == [3, 1]
    assert [line["path"] for line in written.lines] == ["/0", "/1", "/2", "/3"]


hostile = st.one_of(st.binary(max_size=80), st.text(max_size=40).map(lambda text: text.encode("utf-8", "replace")))


@given(hostile)
def test_no_target_breaks_a_json_line(target: bytes) -> None:
    """Whatever bytes a client sends: one line, valid JSON, the status as it was."""

    async def run() -> None:
        (line,) = await log(target=b"/" + target)
        assert line["status"] == 200

    asyncio.run(run())


@given(hostile)
def test_no_target_reaches_a_terminal_raw(target: bytes) -> None:
    """On a console, what is not printable is shown escaped: no colours, no second line."""

    async def run() -> None:
        written = Written()
        access = AccessLog(written, CONSOLE, query=True)
        access.settled(ended(b"/" + target), 101.0)
        access.flush()
        assert written.text.endswith("\n")
        assert written.text[:-1].isprintable()

    asyncio.run(run())


async def test_a_console_line_reads_well() -> None:
    """What was asked and answered first; nothing that is nothing."""
    written = Written()
    access = AccessLog(written, CONSOLE, timestamps=Timestamps(lambda: 1_700_000_000_007_000_000))
    access.settled(ended(b"/a\x1b[31m", attempts=1), 100.25)
    access.flush()

    assert re.sub(" +", " ", written.text) == (
        "2023-11-14T22:13:20.007Z [info ] GET /a\\x1b[31m 200 reason=upstream attempts=1 duration_ms=250.0"
        " overhead_ms=250.0 request_id=id-1 client=10.0.0.1\n"
    )


async def test_an_endless_path_is_cut() -> None:
    """The rest of a 60 KiB path says nothing more."""
    assert len((await log(target=b"/" + b"a" * 60_000))[0]["path"]) == 2049


@given(st.integers(min_value=0, max_value=4_000_000_000_000))
def test_timestamps_are_the_time(milli: int) -> None:
    """In UTC, to the millisecond, whatever was asked before."""
    times = [milli, milli + 1, milli + 999, milli]
    wall = iter(times)
    timestamps = Timestamps(lambda: next(wall) * 1_000_000)

    for time in times:
        assert round(datetime.fromisoformat(timestamps()).timestamp() * 1000) == time
