"""How long a route usually takes to answer, and whether a request has too little time left for that.

A pure decision, the clock is an argument. The estimate is the lower quartile of recent answers: with less time than
that, most would be cut off, and their work thrown away. It errs towards letting requests through, because one that is
refused teaches nothing: what is believed must not keep itself true.

 - One hopeless request in ten is let through, so that an upstream that is quick again is found out.
 - Without a sample for ten seconds nothing is believed any more.
 - A quarter of quick answers brings the estimate down; three quarters must be slow to raise it.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from math import inf
from typing import Final

_MOST: Final = 50  # samples that count, the latest
_LEAST: Final = 20  # with fewer, nothing is said
_EVERY: Final = 0.05  # seconds between samples: bounds what learning costs, and a burst at one moment counts once
_MEMORY: Final = 60.0  # seconds that a sample counts
_SILENCE: Final = 10.0  # seconds without a sample, after which all are forgotten
_SCOUT: Final = 10  # of so many hopeless requests one is let through
# How much longer than it was waited for an answer would have taken is unknown. Assuming a quarter more lets the
# estimate rise above what all clients wait, if nothing is answered within that.
_BEYOND: Final = 1.25


class Usual:
    """What one route usually takes, in seconds to the response head. Times are of one monotonic clock."""

    __slots__ = ("_heard", "_hopeless", "_latest", "_ranked", "_usual")

    def __init__(self) -> None:
        self._latest: deque[tuple[float, float]] = deque()  # (when, seconds), the oldest first
        self._ranked: list[float] = []  # the same seconds, the shortest first
        self._usual = 0.0  # their lower quartile; 0 while they are too few
        self._heard = -inf  # when the last sample was taken
        self._hopeless = 0  # requests found so since one was let through

    def saw(self, seconds: float, now: float) -> None:
        """An attempt was answered after `seconds`."""
        if now - self._heard >= _EVERY:
            self._learn(seconds, now)

    def cut(self, seconds: float, now: float) -> None:
        """An attempt was ended from outside, by whatever deadline or by its client, after `seconds` without an answer.

        It would have taken longer. Where the estimate is longer too, that is no news: so clients without patience
        change nothing.
        """
        silent = now - self._heard
        if silent > _SILENCE or (silent >= _EVERY and seconds >= self._usual):
            self._learn(seconds * _BEYOND, now)

    def hopeless(self, budget: float, now: float) -> float | None:
        """The usual time, where it is longer than `budget` seconds and so speaks for refusing; else None.

        Counts those that it finds hopeless: every tenth gets None all the same.
        """
        usual = self._usual
        if budget >= usual or not usual or now - self._heard > _SILENCE:
            return None
        self._hopeless += 1
        if self._hopeless < _SCOUT:
            return usual
        self._hopeless = 0
        return None

    def _learn(self, seconds: float, now: float) -> None:
        latest, ranked = self._latest, self._ranked
        if now - self._heard > _SILENCE:
            latest.clear()
            ranked.clear()
        self._heard = now
        while latest and (len(latest) >= _MOST or now - latest[0][0] > _MEMORY):
            del ranked[bisect_left(ranked, latest.popleft()[1])]
        latest.append((now, seconds))
        insort(ranked, seconds)
        self._usual = ranked[len(ranked) // 4] if len(ranked) >= _LEAST else 0.0

    def __repr__(self) -> str:
        known = f"{self._usual:.3g} s" if self._usual else "unknown"
        return f"<Usual {known}, {len(self._ranked)} samples>"
