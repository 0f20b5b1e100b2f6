"""How long a pod needs to end without losing a request. Pure numbers, in seconds.

Everything in a pod shares one clock, which begins when the pod is told to end; preStop hooks run side by side.

    native    max(preStop + app drain, drain delay) + drain timeout + 5     the sidecar's SIGTERM comes last
    classic   max(preStop + app drain, drain delay + drain timeout) + 5     everybody's SIGTERM comes at once
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

# Of Kubernetes, where a pod says nothing.
DEFAULT: Final = 30

# For the kubelet to notice an end and to send the next signal.
_SLACK: Final = 5


# What is idle closes within this time after the drain delay, and the application has to be there until then.
_QUIET: Final = 2


class Ending(NamedTuple):
    """The times of a pod's end: the application's preStop and its own drain, the sidecar's delay and timeout."""

    native: bool
    pre_stop: float
    app_drain: float
    delay: float
    timeout: float

    @property
    def needed(self) -> int:
        """The `terminationGracePeriodSeconds` that is enough."""
        app = self.pre_stop + self.app_drain
        longest = max(app, self.delay) + self.timeout if self.native else max(app, self.delay + self.timeout)
        return math.ceil(longest + _SLACK)

    @property
    def least_pre_stop(self) -> int:
        """How long the application should go on as if nothing had happened."""
        return math.ceil(self.delay + _QUIET)

    @property
    def least_timeout(self) -> int:
        """In classic mode, the drain timeout with which the sidecar outlives the application."""
        return 0 if self.native else math.ceil(self.pre_stop + self.app_drain - self.delay)
