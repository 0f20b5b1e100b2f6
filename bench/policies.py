"""What each policy of this proxy costs: its own work for a small response with none, with one more, and with all.

Each variant is the same proxy with another settings file, such as a user would write. All of them are measured in one
run, without a network, by ``inside.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import fmean

from bench.ground import Ground
from bench.peers import POLICIES_OFF, Limits, Settings
from bench.windows import measure_in_turns

NONE = "none"
AGAIN = "none again"  # what it seems to cost to do the same: as little as can be told apart

_LIMITS = Limits()
_RATE = {"limit": f"{_LIMITS.rate}/s", "burst": _LIMITS.burst}
_ROUTES = [
    {"name": "hello", "path": "/hello"},
    {"name": "uploads", "path": "/uploads/{rest...}"},
    {"name": "items", "path": "/items/{id}"},
]

ONE_MORE: dict[str, Settings] = {
    "rate": {"rate": _RATE},
    "rate by client": {"rate": {**_RATE, "key": "client"}},
    "concurrency": {"concurrency": {"max": _LIMITS.concurrency}},
    "guard": {"guard": {"mode": "enforce"}},
    "deadline": {"deadline": {"mode": "enforce"}},
    "retry": {"retry": {"attempts": _LIMITS.retries}},
    "breaker": {"breaker": {"failures": _LIMITS.failures}},
    "three routes": {"routes": _ROUTES},
}
"""What each has that ``NONE`` has not. Without a mode, a policy that is named is enforced."""

VARIANTS: dict[str, Settings] = {
    NONE: POLICIES_OFF,
    AGAIN: POLICIES_OFF,
    **{name: {**POLICIES_OFF, **more} for name, more in ONE_MORE.items()},
    "all": {"rate": _RATE},
}


@dataclass(frozen=True)
class Costs:
    """µs of processor time that a request took, by variant, in each window."""

    windows: dict[str, list[float]]

    def of(self, variant: str) -> float:
        """The mean of its lowest tenth: what else the machine does can only add to a window, and mostly does."""
        windows = sorted(self.windows[variant])
        return fmean(windows[: max(1, len(windows) // 10)])

    def more(self, variant: str) -> float:
        """How many µs more than without policies."""
        return self.of(variant) - self.of(NONE)


def measure_policies(ground: Ground, say: Callable[[str], None]) -> Costs:
    """Measure all of them; ``say`` is told how far it is."""
    return Costs(measure_in_turns(VARIANTS, ground, say))
