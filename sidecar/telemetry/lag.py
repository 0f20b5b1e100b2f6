"""How late the event loop runs what is due: the figure that shows too little CPU, or a call that blocks."""

from __future__ import annotations

import asyncio
from typing import Final

from sidecar.telemetry.tally import Buckets

INTERVAL: Final = 0.5  # seconds


async def sample(lag: Buckets, interval: float = INTERVAL) -> None:
    """Observe into `lag`, in seconds, every `interval` seconds until cancelled."""
    clock = asyncio.get_running_loop().time
    while True:
        due = clock() + interval
        await asyncio.sleep(interval)
        lag.observe(max(0.0, clock() - due))
