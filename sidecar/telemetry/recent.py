"""The last exchanges, kept in memory so that each can be explained afterwards, and readers who are told of each.

Metadata only, and bounded: of an exchange a few fields and its notes are copied, never the objects around it, and
never a header's value, a query string or a byte of a body. Does not know how a record is told (`story.py`) nor who
asks. All calls belong to the event loop's thread.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from heapq import merge
from itertools import islice
from typing import Final

from sidecar.errors import UPSTREAM
from sidecar.exchange import Exchange
from sidecar.telemetry.paths import OTHER
from sidecar.telemetry.readers import Reader
from sidecar.telemetry.record import Record, Wanted, record_of

# Exchanges that are kept. Ordinary ones are many and alike, and pushed out what went wrong if all were kept together;
# few of them also stay in the processor's cache.
KEPT_ORDINARY: Final = 256
KEPT_UNUSUAL: Final = 1000

# Readers at one time.
_READERS: Final = 16


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
        record = record_of(exchange, now)
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
        records = [record_of(exchange, None) for exchange in self._in_flight() if exchange.observed]
        return sorted(records, key=_started, reverse=True)

    def latest(self, limit: int, wanted: Wanted) -> list[Record]:
        """Up to `limit` of the wanted exchanges that ended, newest first."""
        return list(islice(filter(wanted, self._newest_first()), limit))

    def _newest_first(self) -> Iterator[Record]:
        return merge(reversed(self._ordinary), reversed(self._unusual), key=_ended, reverse=True)

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


def _started(record: Record) -> float:
    return record.started


def _ended(record: Record) -> float:
    return record.ended or 0.0
