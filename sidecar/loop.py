"""The event loop that everything runs on, and its end. Knows nothing of what runs."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine
from threading import Timer
from typing import Any, Final

_CLOSING: Final = 1.0  # seconds


def run(main: Coroutine[Any, Any, int]) -> int:
    """Run it to its end; returns its exit code."""
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        code = runner.run(main)
        # A loop does not close before its threads have ended, nor does the process: and one that asks a resolver which
        # does not answer, or reads from a disk that hangs, ends nobody knows when. By now nothing is waited for.
        overdue = Timer(_CLOSING, os._exit, (code,))
        overdue.daemon = True
        overdue.start()
    overdue.cancel()
    return code


def loop_factory() -> Any:
    """What makes the event loop: uvloop's factory where it exists, else None, which means asyncio's own."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop
