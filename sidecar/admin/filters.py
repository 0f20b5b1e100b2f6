"""Which exchanges a reader wants, from the query of a URL: `?reason=circuit_open&route=orders&status=5xx`. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

from sidecar.errors import REASONS, UPSTREAM
from sidecar.nearest import did_you_mean
from sidecar.telemetry.metrics import UNTOLD
from sidecar.telemetry.record import Wanted

_REASONS: Final = (UPSTREAM, *(reason.token for reason in REASONS))
_STATUS: Final = re.compile(r"[1-9][0-9]{2}|[1-9]xx")
_LIMIT: Final = re.compile(r"[1-9][0-9]{0,5}")


def wanted(query: Mapping[str, str]) -> Wanted:
    """The filter that a query asks for; raises ValueError with a sentence that says what to write instead."""
    tests = [_test(name, value) for name, value in query.items()]
    return lambda record: all(test(record) for test in tests)


def limit(text: str) -> int:
    """How many exchanges are asked for; raises ValueError like `wanted`."""
    if not _LIMIT.fullmatch(text):
        raise ValueError(f"limit={text}: is no number of exchanges; write limit=100")
    return int(text)


def _test(name: str, value: str) -> Wanted:
    make = _FILTERS.get(name)
    if make is None:
        raise ValueError(f"{name} is no filter here; there are {', '.join(_FILTERS)}")
    return make(value)


def _by_reason(value: str) -> Wanted:
    if value not in _REASONS:
        raise ValueError(f"reason={value}: is no reason; {did_you_mean(value, _REASONS, _all_reasons())}")
    return lambda record: record.reason == value


def _all_reasons() -> str:
    return f"there are {', '.join(_REASONS)}"


def _by_route(value: str) -> Wanted:
    """By the route's name, or the path template."""
    return lambda record: value in (record.route, record.label)


def _by_status(value: str) -> Wanted:
    if not _STATUS.fullmatch(value):
        raise ValueError(f"status={value}: is no status; write status=503, or status=5xx for all of them")
    if value.endswith("xx"):
        return lambda record: (record.status or UNTOLD) // 100 == int(value[0])
    return lambda record: (record.status or UNTOLD) == int(value)


_FILTERS: Final[dict[str, Callable[[str], Wanted]]] = {
    "reason": _by_reason,
    "route": _by_route,
    "status": _by_status,
}
