"""Whether the sidecar itself is overloaded: by how many requests wait for it, by its event loop's lag, or by the memory
of its process.

No more may wait than begin within `wait`: who comes then is refused, who waits is served, and so there is always work.

Who was refused can be refused again only after a rest, as to refuse costs nearly what serving does, and each who asks
again at once would take a share of the time. The rests are such that they end one after the other, sixteen requests
apart: the more are refused, the longer.

Lag counts as the median of the last three samples, so that one pause of whatever length (a garbage collection, a
stopped container) refuses nobody. It begins above the limit and ends below half of it, memory at 95 % of it: else the
relief by the first refusals would end them, to and fro.

By lag or memory, one request in ten passes all the same. Nothing else could show that the service works, and memory
that the process has had once may never be given back: without that, nobody would be served until somebody restarts it.

A pure decision; what measures is `telemetry/lag.py`, and for who waits `http1/entry.py`.
"""

from __future__ import annotations

import sys
from typing import Final, NamedTuple

from sidecar.settings.policies import Guard as Limits

_LAG_ENDS: Final = 0.5
_MEMORY_ENDS: Final = 0.95
_PASSES: Final = 10
# So many may wait however slow it is: else the first seconds of a busy machine would be seen as overload.
_ALWAYS: Final = 256
# Rests end so many requests apart, and are no longer than that, in seconds.
_APART: Final = 16
_LONGEST_REST: Final = 5.0


class Bounds(NamedTuple):
    """How many requests may wait in line, and what becomes of who comes beyond.

    `strict` has them stand apart, to be refused; else they wait like all others. `wakes` says whether that there is
    room again ends the rest of who was refused.
    """

    longest: int
    strict: bool
    wakes: bool


class Guard:
    """The state. `tripped` is what the hot path looks at: whether to ask `admit` at all."""

    __slots__ = ("_asked", "_by_lag", "_by_memory", "_lags", "_limits", "_rested", "lag", "memory", "pace", "tripped")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._lags = (0.0, 0.0, 0.0)
        self._by_lag = self._by_memory = False
        self._asked = 0
        self._rested = 0.0  # when the latest rest ends
        self.lag = 0.0  # seconds, smoothed
        self.pace = 0.0  # seconds from one request's beginning to the next, when there is no pause in between
        self.memory = 0  # bytes; 0 where that cannot be told
        self.tripped = False

    def sampled(self, lag: float, memory: int) -> None:
        """The loop was late by `lag` seconds, and the process has `memory` bytes resident (0 = unknown)."""
        self._lags = (*self._lags[1:], lag)
        self.lag = sorted(self._lags)[1]
        self.memory = memory
        self._judge()

    def bounds(self, pace: float, all_woken: bool) -> Bounds:
        """How many requests may wait to begin, when one begins every `pace` seconds, and what becomes of more.

        `all_woken` says that there was room, which ended all rests.
        """
        self.pace = pace
        if all_woken:
            self._rested = 0.0
        limits, wakes = self._limits, not (self.tripped and self.enforced)
        if not limits.wait or limits.mode == "off":
            return Bounds(sys.maxsize, False, wakes)
        return Bounds(max(_ALWAYS, int(limits.wait / pace)), self.enforced, wakes)

    def rest(self, now: float) -> float:
        """How long who is refused now is left alone, in seconds."""
        self._rested = min(max(self._rested, now) + _APART * self.pace, now + _LONGEST_REST)
        return self._rested - now

    def change(self, limits: Limits) -> None:
        """Go by other limits."""
        self._limits = limits
        self._judge()

    def admit(self, crowded: bool) -> bool:
        """Whether this request passes: it is not `crowded` out, and where the guard is tripped, the one in ten."""
        if crowded or not self.tripped:
            return not crowded
        self._asked += 1
        return self._asked % _PASSES == 0

    def _judge(self) -> None:
        limits = self._limits
        self._by_lag = _above(self.lag, limits.lag, _LAG_ENDS, was=self._by_lag)
        self._by_memory = _above(self.memory, limits.memory, _MEMORY_ENDS, was=self._by_memory)
        self.tripped = self._by_lag or self._by_memory

    @property
    def enforced(self) -> bool:
        """Whether it refuses, and not only says what it would."""
        return self._limits.mode == "enforce"

    def detail(self, crowded: bool) -> str:
        """One sentence for the client, who was refused."""
        if crowded:
            return f"the sidecar is itself overloaded: the wait for it would be {self._limits.wait * 1e3:.0f} ms"
        if self._by_memory:
            return "the sidecar's own memory is used up"
        return f"the sidecar is itself overloaded: its event loop is {self.lag * 1e3:.0f} ms late"

    @property
    def facts(self) -> dict[str, object]:
        """The numbers that decided."""
        return {
            "lag_ms": round(self.lag * 1e3),
            "lag_limit_ms": round(self._limits.lag * 1e3),
            "pace_us": round(self.pace * 1e6),
            "wait_limit_ms": round(self._limits.wait * 1e3),
            "memory_bytes": self.memory,
            "memory_limit_bytes": self._limits.memory,
        }

    def status(self) -> dict[str, object]:
        """Everything live, ready to become JSON."""
        return {"mode": self._limits.mode, "tripped": self.tripped, **self.facts}

    def __repr__(self) -> str:
        state = "tripped" if self.tripped else "quiet"
        return f"<Guard {state}, lag {self.lag * 1e3:.0f} ms, memory {self.memory}>"


def _above(value: float, limit: float, ends: float, *, was: bool) -> bool:
    """Whether it is above its limit, or was and has not sunk enough since; a limit of 0 is none."""
    return limit > 0 and value > (limit * ends if was else limit)
