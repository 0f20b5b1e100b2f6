"""A processor for the proxy alone: what is measured then is its doing, and not whom the scheduler lets go first."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def apart() -> Iterator[Callable[[int], None]]:
    """What is started meanwhile keeps off one processor, if there are others; `move(pid)` puts a process there."""
    processors = sorted(os.sched_getaffinity(0))

    def move(pid: int) -> None:
        for thread in os.listdir(f"/proc/{pid}/task"):
            os.sched_setaffinity(int(thread), {processors[0]})

    os.sched_setaffinity(0, set(processors[1:]) or {processors[0]})
    try:
        yield move
    finally:
        os.sched_setaffinity(0, processors)
