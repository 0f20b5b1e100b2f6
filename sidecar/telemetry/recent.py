"""The last exchanges, kept in memory so that each can be explained afterwards, and readers who are told of each.

Metadata only, and bounded: of an exchange a few fields and its notes are copied, never the objects around it, and
never a header's value, a query string or a byte of a body. Does not know how a record is told (`story.py`) nor who
asks. All calls belong to the event loop's thread.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from heapq import merge
from itertools import islice
from typing import Final, NamedTuple

import msgspec

from sidecar.errors import UPSTREAM
from sidecar.exchange import Exchange, Note
from sidecar.telemetry.paths import OTHER

# Exchanges that are kept. Ordinary ones are many and alike, and pushed out what went wrong if all were kept together;
# few of them also stay in the processor's cache.
KEPT_ORDINARY: Final = 256
KEPT_UNUSUAL: Final = 1000

# Characters of a path or a sentence that are kept.
_LONGEST: Final = 256
# Records that wait for a reader. What comes faster than it reads is dropped.
_QUEUE: Final = 256
# Readers at one time.
_READERS: Final = 16


class Record(msgspec.Struct, gc=False):
    """One exchange. Times are seconds of the monotonic clock, waits seconds, sizes bytes of the two bodies.

    Not for the collector to look at: it holds nothing that could hold it.
    """

    id: bytes
    method: str
    path: str
    client: str
    route: str
    label: str  # the path template it counts under; empty while that is not known
    status: int  # what the client was told; 0 = nothing
    reason: str
    detail: str  # one sentence about a failure, where there is one
    started: float
    whole: float | None
    answered: float | None
    ended: float | None  # None = still in flight
    deadline: float
    client_deadline: float
    attempts: int
    upstream: str
    upstream_wait: float
    client_wait: float
    queue_wait: float
    backoff_wait: float
    bytes_in: int
    bytes_out: int
    notes: list[Note]  # the exchange's own list: what a cancelled attempt adds after the end belongs to it


Wanted = Callable[[Record], bool]


class Batch(NamedTuple):
    """What a reader is given: records, oldest first, and how many more were dropped since the last batch."""

    records: list[Record]
    dropped: int


class Recent:
    """The last so many exchanges that ended. Probes are kept only if they failed: they would push out all else.

    Unusual is what the sidecar answered or cut, what failed, and what took more than one attempt. `in_flight` gives the
    exchanges that have not ended; asked only when somebody wants to know.
    """

    def __init__(
        self,
        ordinary: int = KEPT_ORDINARY,
        unusual: int = KEPT_UNUSUAL,
        in_flight: Callable[[], Iterable[Exchange]] = tuple,
    ) -> None:
        self._ordinary: deque[Record] = deque(maxlen=ordinary)
        self._unusual: deque[Record] = deque(maxlen=unusual)
        self._in_flight = in_flight
        self._readers: list[Reader] = []
        self.size = ordinary + unusual
        # Answers of the sidecar itself by path template, since the start.
        self.own: dict[str, int] = {}

    def settled(self, exchange: Exchange, now: float) -> None:
        """Keep the exchange, which ended at `now`."""
        records = self._unusual
        if exchange.reason != UPSTREAM:
            label = exchange.label or OTHER
            self.own[label] = self.own.get(label, 0) + 1
        elif exchange.status < 500 and exchange.attempts <= 1:
            if not exchange.observed:
                return
            records = self._ordinary
        record = _record(exchange, now)
        records.append(record)
        if self._readers:
            for reader in self._readers:
                reader.offer(record)

    def find(self, request_id: str) -> list[Record]:
        """The exchanges with this ID, newest first; those in flight are newest."""
        wanted = request_id.encode("utf-8", "replace")
        kept = [record for record in self._newest_first() if record.id == wanted]
        return [record for record in self.in_flight() if record.id == wanted] + kept

    def in_flight(self) -> list[Record]:
        """The exchanges that have not ended, probes left out, as they are now; latest first."""
        records = [_record(exchange, None) for exchange in self._in_flight() if exchange.observed]
        return sorted(records, key=lambda record: -record.started)

    def latest(self, limit: int, wanted: Wanted) -> list[Record]:
        """Up to `limit` of the wanted exchanges that ended, newest first."""
        return list(islice(filter(wanted, self._newest_first()), limit))

    def _newest_first(self) -> Iterator[Record]:
        return merge(reversed(self._ordinary), reversed(self._unusual), key=lambda record: -(record.ended or 0.0))

    def subscribe(self, wanted: Wanted) -> Reader | None:
        """A new reader, told of each wanted exchange that ends from now on, until it is closed; None = no room."""
        if len(self._readers) >= _READERS:
            return None
        reader = Reader(self._readers, wanted)
        self._readers.append(reader)
        return reader

    def dismiss(self) -> None:
        """Tell every reader that no more will come."""
        for reader in list(self._readers):
            reader.close()

    def __len__(self) -> int:
        return len(self._ordinary) + len(self._unusual)

    def __repr__(self) -> str:
        return f"<Recent {len(self)} of {self.size}, {len(self._readers)} readers>"


class Reader:
    """Somebody who is told of exchanges that end. Made by `Recent.subscribe`."""

    __slots__ = ("_among", "_closed", "_dropped", "_queue", "_wake", "_wanted")

    def __init__(self, among: list[Reader], wanted: Wanted) -> None:
        self._among = among
        self._wanted = wanted
        self._queue: list[Record] = []
        self._dropped = 0
        self._closed = False
        self._wake = asyncio.Event()

    def offer(self, record: Record) -> None:
        """An exchange has ended; never waits for the reader."""
        if not self._wanted(record):
            return
        if len(self._queue) < _QUEUE:
            self._queue.append(record)
        else:
            self._dropped += 1
        self._wake.set()

    async def take(self, patience: float) -> Batch | None:
        """All that has come, as soon as there is something, or nothing after `patience` seconds; None at the end."""
        if not self._closed:
            try:
                async with asyncio.timeout(patience):
                    await self._wake.wait()
            except TimeoutError:
                pass
        batch = Batch(self._queue, self._dropped)
        if self._closed and not batch.records and not batch.dropped:
            return None
        self._wake.clear()
        self._queue, self._dropped = [], 0
        return batch

    def close(self) -> None:
        """Take no more. Safe to call twice."""
        if not self._closed:
            self._closed = True
            self._among.remove(self)
            self._wake.set()

    def __repr__(self) -> str:
        state = "closed" if self._closed else f"{len(self._queue)} waiting, {self._dropped} dropped"
        return f"<Reader {state}>"


def _record(exchange: Exchange, ended: float | None) -> Record:
    request, reason = exchange.request, exchange.reason
    path = request.path
    return Record(
        exchange.id,
        request.method,
        path if len(path) <= _LONGEST else path[:_LONGEST] + "…",
        exchange.client,
        exchange.route,
        exchange.label,
        exchange.status,
        reason,
        exchange.detail[:_LONGEST],
        exchange.started,
        exchange.whole,
        exchange.answered,
        ended,
        exchange.deadline,
        exchange.client_deadline,
        exchange.attempts,
        exchange.upstream,
        exchange.upstream_wait,
        exchange.client_wait,
        exchange.queue_wait,
        exchange.backoff_wait,
        exchange.bytes_in,
        exchange.bytes_out,
        exchange.notes,
    )
