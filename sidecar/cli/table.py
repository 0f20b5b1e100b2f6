"""The table of `sidecar top`, from two readings of /routes. Pure, standard library only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

_HEADING: Final = ("REQ/S", "P50", "P99", "5XX/S", "OWN/S", "IN FLIGHT", "CIRCUIT")
_WIDEST: Final = 48  # characters of a route that are shown


class Row(NamedTuple):
    """One route: rates per second, times in seconds; None = nothing ended. `circuit` is empty if there is none."""

    route: str
    rate: float
    p50: float | None
    p99: float | None
    errors: float
    own: float
    in_flight: int
    circuit: str


def lines(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """A headline, and a row for each route that has ever been taken, the busiest first."""
    if _began_anew(before, after):
        return ["another process answers now; its figures come next"]
    table = rows(before, after)
    total = sum(row.rate for row in table)
    opened = [f"{name} {state}" for name, state in after["circuits"].items() if state != "closed"]
    circuits = f"   circuits: {', '.join(opened)}" if opened else ""
    width = max([len("ROUTE"), *(len(row.route) for row in table)])
    width = min(width, _WIDEST)
    heads = "  ".join(f"{head:>9}" for head in _HEADING)
    shown = [f"{total:.1f} requests/s   {after['in_flight']} in flight{circuits}", "", f"{'ROUTE':{width}}  {heads}"]
    if not table:
        shown.append("nothing has been asked for yet")
    return shown + [_line(row, width, float(after["bounds"][-1])) for row in table]


def rows(before: dict[str, Any], after: dict[str, Any]) -> list[Row]:
    """What has changed from one reading to the next, for each route."""
    seconds = after["at"] - before["at"]
    found = [_row(route, before, after, seconds) for route in after["routes"]]
    return sorted(found, key=lambda row: (-row.rate, row.route))


def quantile(bounds: Sequence[float], counts: Sequence[float], share: float) -> float | None:
    """The value that `share` of what was counted does not exceed, as if values were even within a bucket.

    Beyond the last bound nobody knows: then it is that bound. None if nothing was counted.
    """
    wanted = share * sum(counts)
    if not wanted:
        return None
    below, low = 0.0, 0.0
    for bound, count in zip(bounds, counts, strict=False):
        if count and below + count >= wanted:
            return low + (bound - low) * (wanted - below) / count
        below, low = below + count, bound
    return low


def _began_anew(before: dict[str, Any], after: dict[str, Any]) -> bool:
    """Whether what only grows has shrunk."""
    old, new = before["routes"], after["routes"]
    shrunk = any(route not in new or new[route]["requests"] < row["requests"] for route, row in old.items())
    return bool(shrunk or after["at"] <= before["at"])


def _row(route: str, before: dict[str, Any], after: dict[str, Any], seconds: float) -> Row:
    new = after["routes"][route]
    old = before["routes"].get(route) or {"requests": 0, "errors": 0, "own": 0, "seconds": [0] * len(new["seconds"])}
    counts = [b - a for a, b in zip(old["seconds"], new["seconds"], strict=True)]
    rate, errors, own = ((new[name] - old[name]) / seconds for name in ("requests", "errors", "own"))
    p50, p99 = (quantile(after["bounds"], counts, share) for share in (0.5, 0.99))
    return Row(route, rate, p50, p99, errors, own, new["in_flight"], after["circuits"].get(route, ""))


def _line(row: Row, width: int, longest: float) -> str:
    cells = [f"{row.rate:.1f}", _time(row.p50, longest), _time(row.p99, longest), f"{row.errors:.1f}", f"{row.own:.1f}"]
    figures = "  ".join(f"{cell:>9}" for cell in [*cells, str(row.in_flight), row.circuit])
    return f"{row.route[:_WIDEST]:{width}}  {figures}".rstrip()


def _time(seconds: float | None, longest: float) -> str:
    if seconds is None:
        return "-"
    if seconds >= longest:
        return f">{longest:g}s"
    return f"{seconds:.2f}s" if seconds >= 1 else f"{seconds * 1e3:.1f}ms"
