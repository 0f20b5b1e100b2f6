"""Finds out how many requests the upstream can take at once, from how its latency moves with their number.

An upstream that has room answers in its usual time, however many ask. One that has none lets the rest wait, and its
latency grows with their number. So the limit aims at twice the usual latency: enough is waiting at the upstream that it
never idles, and nobody waits there for longer than the work itself takes.

What the usual latency is, is never measured by a dip in the limit, as that would refuse what could be served. It
follows every lower latency at once. It is raised where traffic is within the limit anyhow, and where lowering the limit
did not help: had requests been waiting at the upstream, fewer of them would have been answered sooner. Where it did not
help twice in a row, the upstream has become slower by itself, and the limit goes back to where that began. A baseline
that simply followed the average would take the queue for normal after a while, and then a longer one.

It works in windows, of 20 answers at least, and moves only by what is beyond their noise. Latencies are averaged as
logarithms, so that one outlier in a window hardly counts.

A pure decision: the clock is an argument, in seconds. Knows nothing of who is waiting (`concurrency.py`).
"""

from __future__ import annotations

from math import exp, log, sqrt
from typing import Final, NamedTuple

# What the limit aims at, as a multiple of the usual latency.
_TOLERANCE: Final = 2.0

# The largest step down. Up, a step is the root of what there is room for, at most the root of the tolerance.
_DEEPEST: Final = 0.5

# Where to begin: a service of the usual size gets there in a few steps, and a small one is not drowned.
_START: Final = 20

# A window: so many answers, over so many seconds; or many more of them, for two rounds, in less time.
_ANSWERS, _SECONDS = 20, 0.5
_MANY, _ROUNDS, _QUICKEST = 100, 2, 0.1

# How much of the difference a window teaches: of a lower latency, and of a higher one while the limit is not in use.
_LOWER, _HIGHER = 0.3, 0.05

# With so large a share of answers that never came, a window's latency is a lower bound and teaches nothing else.
_MOST_CUT: Final = 1 / 3

# Lowering the limit is judged when so much fewer are in flight; it helped if it saved half of what it should have.
_FEWER: Final = 0.6
_HELPED: Final = 0.5

# In flight as many as that means: nothing was lowered so far, only noise.
_AS_MANY: Final = 0.85

# A latency that has risen by more than this, while fewer are in flight, shows that the upstream has changed meanwhile.
_CHANGED: Final = 1.5

# So many windows at the floor, and still slow: what else could it be but the usual?
_AT_FLOOR: Final = 2

_SHORTEST: Final = 1e-6  # seconds; a logarithm needs something


class _Level(NamedTuple):
    """So many were in flight, and answered after so long."""

    in_flight: float
    latency: float


class _Reading(NamedTuple):
    """A window's figures. `low` and `high` bound the latency, by one standard error."""

    in_flight: float
    latency: float
    low: float
    high: float
    whole: bool  # most of its latencies are true ones
    failing: bool  # more failed than not


class AdaptiveLimit:
    """One limit, between `least` and `most`. Times are seconds of one monotonic clock."""

    __slots__ = (
        "_at_floor",
        "_before",
        "_cut",
        "_exact",
        "_failed",
        "_in_flight",
        "_in_use",
        "_least",
        "_logs",
        "_most",
        "_number",
        "_open",
        "_opened",
        "_return_to",
        "_squares",
        "_vain",
        "limit",
        "usual",
    )

    def __init__(self, least: int, most: int, now: float) -> None:
        self.usual = 0.0  # seconds; the latency of an upstream that nobody waits at; 0 = not known yet
        self._at_floor = 0  # windows
        self._before: _Level | None = None  # what a lower limit is to be compared with
        self._vain = 0  # how often in a row lowering did not help
        self._return_to = 0.0  # the limit before that
        self._exact = float(_START)
        self._begin(now)
        self.change(least, most)

    def change(self, least: int, most: int) -> None:
        """Go by other bounds, and keep what was learned."""
        self._most = most
        self._least = min(least, most)
        self._set(self._exact)

    def observe(self, latency: float, *, answered: bool, good: bool, in_flight: int, in_use: bool, now: float) -> int:
        """An attempt has ended after `latency`; returns the limit.

        `answered` says that a response came, `good` that it was not a failure, `in_use` that the limit has made
        somebody wait since the last call. `in_flight` counts this one.

        A failure that is quicker than an answer says nothing about load. One that is slower does: it would have taken
        longer still. But no failure lowers the limit by itself, or one broken handler would take the service away.
        """
        if not self._open:
            # The limit was lowered: what began before has met a longer queue than there will be.
            if in_flight <= self.limit:
                self._begin(now)
            return self.limit
        if now - latency < self._opened:
            return self.limit
        if in_use:
            self._in_use = True
        if not good:
            self._failed += 1
            if latency < self.usual:
                return self.limit
            if not answered:
                self._cut += 1
        logarithm = log(latency if latency > _SHORTEST else _SHORTEST)
        self._number += 1
        self._logs += logarithm
        self._squares += logarithm * logarithm
        self._in_flight += in_flight
        if self._number >= _ANSWERS and self._is_long_enough(now - self._opened):
            self._conclude(now)
        return self.limit

    def _is_long_enough(self, span: float) -> bool:
        return span >= _SECONDS or (span >= _QUICKEST and self._number >= max(_MANY, _ROUNDS * self.limit))

    # ── what a window teaches

    def _conclude(self, now: float) -> None:
        reading = self._read()
        before = self.limit
        self._learn(reading)
        self._step(reading)
        self._begin(now)
        self._open = self.limit >= before

    def _begin(self, now: float) -> None:
        """A new window. Only what begins from now on counts."""
        self._open = True
        self._opened = now
        self._number = self._failed = self._cut = self._in_flight = 0
        self._logs = self._squares = 0.0
        self._in_use = False

    def _read(self) -> _Reading:
        number = self._number
        mean = self._logs / number
        error = sqrt(max(0.0, self._squares / number - mean * mean) / number)
        return _Reading(
            self._in_flight / number,
            exp(mean),
            exp(mean - error),
            exp(mean + error),
            whole=self._cut <= number * _MOST_CUT,
            failing=self._failed * 2 > number,
        )

    def _learn(self, reading: _Reading) -> None:
        """What the usual latency is."""
        usual = self.usual
        if not usual:
            self.usual = reading.latency
        elif reading.high < usual:
            self.usual += _LOWER * (reading.high - usual)
        elif not self._in_use and reading.whole and usual < reading.low < _TOLERANCE * usual:
            self.usual += _HIGHER * (reading.low - usual)
        self._judge(reading)
        stuck = self.limit == self._least and self._in_use and reading.whole and reading.high > _TOLERANCE * self.usual
        self._at_floor = self._at_floor + 1 if stuck else 0
        if self._at_floor >= _AT_FLOOR:
            self._take_for_usual(reading.latency)

    def _judge(self, reading: _Reading) -> None:
        """Whether fewer in flight were answered sooner, as they are if they had been waiting at the upstream."""
        before = self._before
        here = _Level(reading.in_flight, reading.latency)
        if not reading.whole:
            self._before, self._vain = None, 0
        elif before is None or here.in_flight > before.in_flight or reading.low > _CHANGED * before.latency:
            self._before, self._vain = here, 0
        elif here.in_flight > _AS_MANY * before.in_flight:
            self._before = _Level(before.in_flight, (before.latency + here.latency) / 2)
        elif here.in_flight <= _FEWER * before.in_flight:
            self._before = here
            saved = 1.0 - here.in_flight / before.in_flight
            if reading.low <= before.latency * (1.0 - _HELPED * saved) or here.latency <= self.usual:
                self._vain = 0
                return
            self._vain += 1
            # Twice, as the first time may have been measured while the upstream was changing.
            if self._vain == 1:
                self._return_to = before.in_flight
            else:
                self._take_for_usual(here.latency)
                self._set(max(self._exact, self._return_to))

    def _take_for_usual(self, latency: float) -> None:
        self.usual = latency
        self._at_floor = self._vain = 0

    # ── what follows from it

    def _step(self, reading: _Reading) -> None:
        """Down where it is surely too slow; up where it surely is not, and somebody had to wait."""
        goal = _TOLERANCE * self.usual
        if reading.low > goal:
            self._set(self._exact * max(_DEEPEST, goal / reading.low))
        elif reading.high < goal and self._in_use and not reading.failing:
            self._set(self._exact * sqrt(min(_TOLERANCE, goal / reading.high)))

    def _set(self, exact: float) -> None:
        self._exact = min(max(exact, self._least), self._most)
        self.limit = round(self._exact)

    def __repr__(self) -> str:
        return f"<AdaptiveLimit {self.limit} of {self._least}-{self._most}, usually {self.usual * 1e3:.3g} ms>"
