"""How late the event loop runs what is due: the figure that shows too little CPU, or a call that blocks.

Beside it, where there is a /proc, how much memory the process has.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Final

from sidecar.telemetry.tally import Buckets

INTERVAL: Final = 0.5  # seconds

_STATM: Final = "/proc/self/statm"


async def sample(lag: Buckets, interval: float = INTERVAL, tell: Callable[[float, int], None] | None = None) -> None:
    """Observe into `lag`, in seconds, every `interval` seconds until cancelled.

    `tell(lag, memory)` hears of each sample too, with the process's memory as of `resident_memory`.
    """
    clock = asyncio.get_running_loop().time
    while True:
        due = clock() + interval
        await asyncio.sleep(interval)
        late = max(0.0, clock() - due)
        lag.observe(late)
        if tell is not None:
            tell(late, resident_memory())


def resident_memory() -> int:
    """Bytes of this process that are in memory; 0 where that cannot be told. Takes some 10 µs."""
    try:
        with open(_STATM, "rb", buffering=0) as file:
            return int(file.read(64).split()[1]) * os.sysconf("SC_PAGESIZE")
    except (OSError, ValueError, IndexError):
        return 0
