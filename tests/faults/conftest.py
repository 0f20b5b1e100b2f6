"""What the faults befall: the Go service, upstreams on cue, and proxies in front of them.

Redis killed, stopped and away at the start is in `tests/wire/test_policy_rate.py` and `tests/throttle/test_shared.py`.
"""

from __future__ import annotations

from tests.wire.conftest import _raw, go, raw, request_id, start, upstream

__all__ = ["_raw", "go", "raw", "request_id", "start", "upstream"]
