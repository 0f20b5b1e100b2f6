"""How fast a request's body has to come in. Pure; times are seconds of any one clock.

Whoever sends a byte every few minutes is never idle, and holds a place for as long as he likes. On average, not in
each moment: networks stall. What is not read, as the upstream does not take it, is not the client's delay; nor is it
that a client waits to be told 100 (Continue), as it said it would.
"""

from __future__ import annotations

from math import inf
from typing import Final

# Before that nobody is slow: connections start slowly.
GRACE: Final = 5.0


class Pace:
    """One body's: `rate` bytes a second at least, from `now` on; if it `waits` to be told to, from when it goes on."""

    __slots__ = ("_paused", "_rate", "_since", "_waits")

    def __init__(self, rate: int, now: float, *, waits: bool = False) -> None:
        self._rate = rate
        self._since = now  # less the times in which it was not read
        self._paused: float | None = None
        self._waits = waits

    def go_on(self, now: float) -> None:
        """The client has been told to, or does so unasked."""
        if self._waits:
            self._waits = False
            self._since = now
            if self._paused is not None:
                self._paused = now

    def reading(self, on: bool, now: float) -> None:
        """It is read from now on, or not."""
        if not on:
            self._paused = now
        elif self._paused is not None:
            self._since += now - self._paused
            self._paused = None

    def due(self, received: int, now: float) -> float:
        """When it is too slow, if no more comes than has been `received`; of one that waits, when to ask again."""
        if self._paused is not None:
            return inf
        if received:
            self.go_on(now)
        return now + GRACE if self._waits else self._since + GRACE + received / self._rate

    def __repr__(self) -> str:
        return f"<Pace {self._rate}/s since {self._since:.3f}{', paused' if self._paused is not None else ''}>"
