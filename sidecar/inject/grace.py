"""How long a pod needs to end without losing a request. Pure numbers, in seconds.

Everything in a pod shares one clock, which begins when the pod is told to end; preStop hooks run side by side.

    native    max(preStop + app drain, drain delay) + drain timeout + 5     the sidecar's SIGTERM comes last
    classic   max(preStop + app drain, drain delay + drain timeout) + 5     everybody's SIGTERM comes at once
"""

from __future__ import annotations

import math
from typing import Final

# Of Kubernetes, where a pod says nothing.
DEFAULT: Final = 30

# For the kubelet to notice an end and to send the next signal.
_SLACK: Final = 5


def needed(*, native: bool, pre_stop: float, app_drain: float, delay: float, timeout: float) -> int:
    """The `terminationGracePeriodSeconds` that is enough."""
    app = pre_stop + app_drain
    longest = max(app, delay) + timeout if native else max(app, delay + timeout)
    return math.ceil(longest + _SLACK)
