"""Routes as the file gives them: what each must say, what it takes from the sidecar, and which are never reached.

Pure functions. Values are those of `all_knobs`, by whole path: `routes[0].retry.attempts`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from sidecar.settings.knobs import in_route, inherits, knobs, route_knobs
from sidecar.settings.policies import Route

# What all routes share goes by these names: the circuit of the upstream's connections, the limits of the whole, and the
# paths that no template is made of.
RESERVED: Final = frozenset({"upstream", "sidecar", "other"})


def missing(index: int) -> list[str]:
    """The paths that a route has to give."""
    return [in_route(index, inner) for inner, knob in route_knobs().items() if knob.default is None]


def misnamed(values: Mapping[str, Any], count: int) -> Iterator[tuple[str, str, str]]:
    """Names that cannot be told from others: path, value, and "what is wrong; what to write"."""
    first: dict[str, str] = {}
    for index in range(count):
        path = in_route(index, "name")
        name = values.get(path)
        if name is None:
            continue
        if name in RESERVED:
            yield path, name, "is what the sidecar calls something that all routes share; give the route another name"
        elif name in first:
            yield path, name, f"is the name of {first[name]} too; give each route its own"
        else:
            first[name] = f"routes[{index}]"


def fill(values: dict[str, Any], origin: dict[str, str], count: int) -> None:
    """Add what routes do not say, and where it is from: the sidecar's own value, else the default of a route."""
    for index in range(count):
        for inner, knob in route_knobs().items():
            path = in_route(index, inner)
            if path in values:
                continue
            values[path] = knob.default
            if inherits(inner):
                values[path] = values.get(inner, knobs()[inner].default)
                origin[path] = f"as {inner}"


def unreached(routes: Sequence[Route]) -> Iterator[tuple[int, int]]:
    """Routes that never take a request, each with the earlier one that takes all of them (where that is plain)."""
    for later, route in enumerate(routes):
        for earlier in range(later):
            if _covers(routes[earlier], route):
                yield later, earlier
                break


def _covers(earlier: Route, later: Route) -> bool:
    methods, theirs = _methods(earlier), _methods(later)
    if methods and not (theirs and theirs <= methods):
        return False
    return _demands(earlier) <= _demands(later) and covers(earlier.path, later.path)


def _methods(route: Route) -> set[str]:
    return {*route.methods, *(("HEAD",) if "GET" in route.methods else ())}


def _demands(route: Route) -> set[tuple[str, str]]:
    """What it demands of headers; a value demands the header's presence as well."""
    pairs = [match.partition("=") for match in route.headers]
    return {(name.lower(), value) for name, _, value in pairs} | {(name.lower(), "") for name, _, _ in pairs}


def covers(earlier: str, later: str) -> bool:
    """Whether one path template takes every path that the other does."""
    mine, theirs = earlier.split("/"), later.split("/")
    for place, part in enumerate(mine):
        if part.endswith("...}"):
            return len(theirs) > place
        if place >= len(theirs) or theirs[place].endswith("...}"):
            return False
        if part != theirs[place] and not (part.startswith("{") and theirs[place]):
            return False
    return len(mine) == len(theirs)
