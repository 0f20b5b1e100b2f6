"""How long the client will wait, from what it says in its request's head."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

# Milliseconds; beyond nine digits (eleven days) nobody means a deadline.
_MILLISECONDS: Final = re.compile(rb"[0-9]{1,9}")
_GRPC: Final = re.compile(rb"([0-9]{1,8})([HMSmun])")  # gRPC over HTTP/2, "Timeout"
_GRPC_UNITS: Final = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}

_MILLISECOND_FIELDS: Final = (b"x-request-timeout-ms", b"x-envoy-expected-rq-timeout-ms", b"connect-timeout-ms")

_FIELDS: Final = frozenset({*_MILLISECOND_FIELDS, b"grpc-timeout"})

# Our answer has to reach the client before it stops waiting: so much earlier, but never more than a tenth.
_MARGIN: Final = 0.010
_LARGEST_SHARE: Final = 0.1


def client_timeout(fields: Mapping[bytes, bytes]) -> float | None:
    """Seconds from the head's first byte within which the client wants its answer; None where it does not say.

    `fields` maps lower-case names to values. The smallest of several wins; malformed ones do not count.
    """
    if _FIELDS.isdisjoint(fields):
        return None
    found = [
        int(fields[name]) / 1000
        for name in _MILLISECOND_FIELDS
        if name in fields and _MILLISECONDS.fullmatch(fields[name])
    ]
    if b"grpc-timeout" in fields and (match := _GRPC.fullmatch(fields[b"grpc-timeout"])):
        found.append(int(match[1]) * _GRPC_UNITS[match[2]])
    return min(found) if found else None


def answer_within(timeout: float) -> float:
    """Seconds after which to answer a client that waits `timeout`: a small margin earlier."""
    return timeout - min(_MARGIN, timeout * _LARGEST_SHARE)
