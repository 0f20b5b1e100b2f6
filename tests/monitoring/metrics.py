"""Which metrics there are, by the program's own account, and which ones an expression asks for."""

from __future__ import annotations

import re
from functools import cache

from promql_parser import Expr, VectorSelector

from tests.support.processes import Proxy

_SUFFIXES = {"histogram": ("_bucket", "_sum", "_count"), "summary": ("_sum", "_count")}


@cache
def metric_names() -> frozenset[str]:
    """The names of all series that a running sidecar exposes, those without a sample yet among them."""
    with Proxy("http://127.0.0.1:9", SIDECAR_HEALTH__INTERVAL="1h") as proxy:
        status, page = proxy.page("/metrics")
    assert status == 200
    names: set[str] = set()
    for name, kind in re.findall(r"^# TYPE (\S+) (\S+)$", page.decode(), re.MULTILINE):
        names.update(name + suffix for suffix in _SUFFIXES.get(kind, ("",)))
    return frozenset(names)


def selectors(expr: Expr) -> set[str]:
    """The metrics that an expression reads. Fails for one that is chosen by its labels alone."""
    found: set[str] = set()
    waiting: list[object] = [expr]
    while waiting:
        node = waiting.pop()
        if isinstance(node, VectorSelector):
            assert node.name, f"{node} names no metric"
            found.add(node.name)
        elif isinstance(node, (list, tuple)):
            waiting.extend(node)
        elif type(node).__module__.startswith("promql_parser"):
            waiting.extend(
                getattr(node, part)
                for part in ("expr", "lhs", "rhs", "args", "vector_selector", "param")
                if hasattr(node, part)
            )
    return found
