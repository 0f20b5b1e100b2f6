"""The last exchanges: what is kept of them, what finds them, and who is told."""

from __future__ import annotations

import asyncio
import gc
import weakref
from typing import Any

import pytest

from sidecar.errors import CLIENT_GONE, CONNECT_FAILED, SidecarError
from sidecar.telemetry.recent import Recent
from sidecar.telemetry.record import Record
from tests.telemetry.support import ended, outcome


def any_of(record: Record) -> bool:
    """The filter that lets all through."""
    return True


def paths(records: list[Record]) -> list[str]:
    """Which ones they are."""
    return [record.path for record in records]


def test_only_the_last_are_kept() -> None:
    """The oldest goes when there are as many as may be, and the newest comes first."""
    recent = Recent(3)
    for number in range(5):
        recent.settled(ended(b"/%d" % number), 101.0)

    assert len(recent) == 3
    assert paths(recent.latest(10, any_of)) == ["/4", "/3", "/2"]
    assert paths(recent.latest(1, any_of)) == ["/4"]
    assert paths(recent.latest(10, lambda record: record.path == "/3")) == ["/3"]


def test_ids_may_repeat() -> None:
    """All exchanges with an ID are found, newest first, those in flight before all others."""
    busy = [ended(b"/busy")]
    recent = Recent(in_flight=lambda: busy)
    recent.settled(ended(b"/first"), 101.0)
    recent.settled(ended(b"/other", id=b"id-2"), 102.0)
    recent.settled(ended(b"/second"), 103.0)

    assert paths(recent.find("id-1")) == ["/busy", "/second", "/first"]
    assert paths(recent.find("id-2")) == ["/other"]
    assert recent.find("nobody's") == recent.find("\udcff") == []


def test_what_is_in_flight_has_no_end() -> None:
    """The latest comes first; probes are left out."""
    recent = Recent(in_flight=lambda: [ended(b"/1"), ended(b"/2", started=101.0), ended(b"/live", observed=False)])

    assert [(record.path, record.ended) for record in recent.in_flight()] == [("/2", None), ("/1", None)]


@pytest.mark.parametrize(
    "fields",
    [
        {"status": 503},
        {"status": 504, "reason": "deadline_exceeded"},
        {"status": 0, "reason": "client_gone"},
        {"attempts": 2},
    ],
)
def test_what_is_ordinary_does_not_push_out_what_is_not(fields: dict[str, Any]) -> None:
    """Somebody will ask about the failure of an hour ago; and they stay in order."""
    recent = Recent(2)
    for number in range(2):
        recent.settled(ended(b"/bad%d" % number, **fields), 101.0 + number)
        for other in range(3):
            recent.settled(ended(b"/good%d" % other), 101.2 + number + other / 10)

    assert paths(recent.latest(10, any_of)) == ["/good2", "/good1", "/bad1", "/bad0"]
    assert len(recent) == 4


@pytest.mark.parametrize(
    ("fields", "kept"),
    [
        ({"observed": False}, False),
        ({"observed": False, "status": 404}, False),
        ({"observed": False, "status": 500}, True),
        ({"observed": False, "status": 502, "reason": "connect_failed"}, True),
    ],
)
def test_probes_are_kept_only_if_they_failed(fields: dict[str, Any], kept: bool) -> None:
    """They come by the clock and would push out what people look for."""
    recent = Recent()
    recent.settled(ended(**fields), 101.0)

    assert bool(len(recent)) is kept


def test_nothing_of_the_exchange_is_kept_alive() -> None:
    """Neither the request with its body nor the error with its traceback; and the collector has nothing to look at."""
    recent = Recent()
    error = SidecarError(CONNECT_FAILED, "cannot connect")
    exchange = ended(b"/a?secret=1", status=502, reason="connect_failed", outcome=outcome(error=error))

    class Content:
        """A body."""

    content = exchange.request.body = Content()  # type: ignore[assignment]
    alive = weakref.ref(content)
    recent.settled(exchange, 101.0)
    del exchange, content
    (record,) = recent.latest(1, any_of)

    assert alive() is None
    assert not gc.is_tracked(record)
    assert "secret" not in repr(record)


def test_long_texts_are_cut() -> None:
    """A path of 60 KiB takes the place of a short one."""
    recent = Recent()
    error = SidecarError(CLIENT_GONE, "why " * 1000)
    recent.settled(ended(b"/" + b"a" * 60_000, reason="client_gone", detail=error.detail), 101.0)
    (record,) = recent.latest(1, any_of)

    assert (len(record.path), len(record.detail)) == (257, 256)


def test_what_is_noted_after_the_end_is_not_lost() -> None:
    """An attempt that the end of its exchange cancels is noted when its task has unwound."""
    recent = Recent()
    exchange = ended()
    recent.settled(exchange, 101.0)
    exchange.notes.append((101.0, "attempt", "cancelled", None))

    assert recent.find("id-1")[0].notes == [(101.0, "attempt", "cancelled", None)]


def test_own_answers_are_counted_by_template() -> None:
    """Without a template they count as `other`."""
    recent = Recent()
    recent.settled(ended(label="/a"), 101.0)
    recent.settled(ended(label="/a", status=429, reason="rate_limited"), 101.0)
    recent.settled(ended(status=400, reason="bad_request"), 101.0)

    assert recent.own == {"/a": 1, "other": 1}


async def test_a_reader_is_told_of_what_it_wants() -> None:
    """In order, as soon as there is something, and of nothing from before it came."""
    recent = Recent()
    recent.settled(ended(b"/before"), 101.0)
    reader = recent.subscribe(lambda record: record.status == 200)
    assert reader is not None
    taking = asyncio.ensure_future(reader.take(60))
    await asyncio.sleep(0)
    for number, status in enumerate((200, 404, 200)):
        recent.settled(ended(b"/%d" % number, status=status), 101.0)
    batch = await taking
    assert batch is not None

    assert (paths(batch.records), batch.dropped) == (["/0", "/2"], 0)
    assert await reader.take(0) == ([], 0)
    reader.close()


async def test_a_slow_reader_misses_some_and_learns_how_many() -> None:
    """What waits for it is bounded, and it holds up nobody else."""
    recent = Recent()
    slow, quick = recent.subscribe(any_of), recent.subscribe(any_of)
    assert slow is not None
    assert quick is not None
    for number in range(1000):
        recent.settled(ended(b"/%d" % number), 101.0)
        assert (taken := await quick.take(60)) is not None
        assert (len(taken.records), taken.dropped) == (1, 0)
    batch = await slow.take(60)
    assert batch is not None

    assert (len(batch.records), batch.dropped) == (256, 744)
    assert paths(batch.records)[0] == "/0"
    assert await slow.take(0) == ([], 0)
    slow.close()
    quick.close()


async def test_there_are_only_so_many_readers() -> None:
    """One that closes makes room, however often it does."""
    recent = Recent()
    readers = [reader for _ in range(20) if (reader := recent.subscribe(any_of)) is not None]
    assert len(readers) == 16
    for _ in range(2):
        readers[0].close()

    assert recent.subscribe(any_of) is not None
    assert recent.subscribe(any_of) is None


async def test_readers_that_are_dismissed_have_what_was_there() -> None:
    """And then the end, without a wait."""
    recent = Recent()
    reader = recent.subscribe(any_of)
    assert reader is not None
    waiting = asyncio.ensure_future(reader.take(60))
    await asyncio.sleep(0)
    recent.settled(ended(b"/last"), 101.0)
    recent.dismiss()
    recent.settled(ended(b"/too late"), 101.0)
    batch = await waiting
    assert batch is not None

    assert paths(batch.records) == ["/last"]
    assert await reader.take(60) is None
