"""The event loop's lag."""

from __future__ import annotations

import asyncio
import time

from sidecar.telemetry.lag import sample
from sidecar.telemetry.tally import Buckets


async def test_a_call_that_blocks_the_loop_shows() -> None:
    """What holds the loop up is observed with about its length."""
    lag = Buckets((0.05,))
    sampler = asyncio.create_task(sample(lag, interval=0.01))
    await asyncio.sleep(0.005)
    time.sleep(0.1)  # noqa: ASYNC251  blocking the loop is the point
    await asyncio.sleep(0.02)
    sampler.cancel()

    assert lag.spread().counts[1] >= 1
    assert lag.spread().sum > 0.05
