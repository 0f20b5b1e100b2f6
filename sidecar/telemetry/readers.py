"""Somebody who is told of exchanges as they end, and who never makes them wait."""

from __future__ import annotations

import asyncio
from typing import Final, NamedTuple

from sidecar.telemetry.record import Record, Wanted

# Records that wait for a reader. What comes faster than it reads is dropped.
_QUEUE: Final = 256


class Batch(NamedTuple):
    """What a reader is given: records, oldest first, and how many more were dropped since the last batch."""

    records: list[Record]
    dropped: int


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
