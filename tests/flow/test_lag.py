"""What the loop's lag is sampled for: the guard hears of it, and of the memory."""

from __future__ import annotations

import asyncio
import sys
from mmap import mmap
from typing import cast

import pytest

from sidecar.telemetry import lag
from sidecar.telemetry.tally import Buckets
from tests.flow.virtual import VirtualLoop, travelling


@travelling
async def test_the_guard_hears_of_each_sample() -> None:
    """How late the loop was, in seconds, with the memory of that moment."""
    loop = cast(VirtualLoop, asyncio.get_running_loop())
    told: list[tuple[float, int]] = []
    lags = Buckets((0.05,))
    sampler = asyncio.create_task(lag.sample(lags, 0.5, lambda late, memory: told.append((round(late, 3), memory))))
    await asyncio.sleep(0.6)
    loop.call_later(0.3, lambda: setattr(loop, "now", loop.now + 2.0))  # a call that blocks for 2 s
    await asyncio.sleep(3.0)
    sampler.cancel()

    assert [late for late, _ in told[:3]] == [0.0, 1.9, 0.0]
    assert len(told) == sum(lags.spread().counts)
    assert all((memory > 0) == (sys.platform == "linux") for _, memory in told)


@pytest.mark.skipif(sys.platform != "linux", reason="there is no /proc")
def test_resident_memory_is_in_bytes() -> None:
    """What is touched is in memory."""
    # Pages of its own: what an allocator gives may have been in memory before.
    with mmap(-1, 64_000_000) as pages:
        before = lag.resident_memory()
        pages.write(b"x" * len(pages))
        grown = lag.resident_memory() - before

    assert 60_000_000 < grown + 8_000_000 < 90_000_000


def test_memory_that_cannot_be_told_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """On systems without a /proc."""
    monkeypatch.setattr(lag, "_STATM", "/nowhere/statm")

    assert lag.resident_memory() == 0
