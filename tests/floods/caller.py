"""`python -m tests.floods.caller PORT SECONDS`: a client that means well asks one after the other, for so long.

Says as JSON how many seconds each answer took, and how many were not 200. It is a process of its own: in one that also
reads the proxy's log, a thread of Python's would wait for the other, the longer the more is logged.
"""

from __future__ import annotations

import json
import sys
from time import monotonic, sleep

from tests.support.client import Client, CutError

PAUSE = 0.002  # seconds between two requests


def ask(port: int, seconds: float) -> tuple[list[float], int]:
    """The latencies in seconds, and how many requests were not answered 200."""
    latencies: list[float] = []
    until, failed = monotonic() + seconds, 0
    with Client(("127.0.0.1", port)) as client:
        while (began := monotonic()) < until:
            try:
                failed += client.get("/other").status != 200
            except CutError:
                return latencies, failed + 1
            latencies.append(monotonic() - began)
            sleep(PAUSE)
    return latencies, failed


if __name__ == "__main__":
    json.dump(ask(int(sys.argv[1]), float(sys.argv[2])), sys.stdout)
