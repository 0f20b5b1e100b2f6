"""What differs between the settings in force and new ones, and what of it a running process cannot take over."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from msgspec.structs import replace

from sidecar.settings.knobs import in_route, knobs, route_knobs, value_of
from sidecar.settings.loaded import Loaded
from sidecar.settings.structs import Settings

# Sections and knobs that stay as they were at the start; all others change while requests are served.
RESTART: Final = frozenset(
    {
        "upstream",  # the pool, its addresses and what it learned belong to one upstream
        "listen",  # the socket is bound
        "admin.listen",  # so is that one
        "pool",  # its connections were opened under these bounds
        "log",  # what writes the lines is chosen before the first one
        "forwarding",  # whom to trust is settled when a connection is accepted
        "health",  # the prober keeps the rhythm that it began with
    }
)


def changes(old: Loaded, new: Loaded) -> list[str]:
    """The paths of the knobs that differ, in the order of the structs.

    Those of routes are `routes[NAME].retry.attempts`, less what a route has from the sidecar both times; then
    `routes[NAME] added` or `removed`, and `routes reordered`, as the first that matches is a request's.
    """
    found = [path for path in knobs() if value_of(old.settings, path) != value_of(new.settings, path)]
    before, after = _places(old), _places(new)
    for name, place in after.items():
        if name in before:
            found += _changed_route(old, before[name], new, place, name)
        else:
            found.append(f"routes[{name}] added")
    found += [f"routes[{name}] removed" for name in before if name not in after]
    if [name for name in before if name in after] != [name for name in after if name in before]:
        found.append("routes reordered")
    return found


def needs_restart(paths: Iterable[str]) -> list[str]:
    """Those of the changes that only a restart brings about."""
    return [path for path in paths if path in RESTART or path.partition(".")[0] in RESTART]


def merged(old: Settings, new: Settings) -> Settings:
    """`new`, with what only a restart brings about as it is in `old`."""
    for path in sorted(RESTART):
        section, _, name = path.rpartition(".")
        if section:
            kept = replace(getattr(new, section), **{name: getattr(getattr(old, section), name)})
            new = replace(new, **{section: kept})
        else:
            new = replace(new, **{name: getattr(old, name)})
    return new


def _places(loaded: Loaded) -> dict[str, int]:
    return {route.name: place for place, route in enumerate(loaded.settings.routes)}


def _changed_route(old: Loaded, was: int, new: Loaded, now: int, name: str) -> list[str]:
    found = []
    for inner in route_knobs():
        before, after = in_route(was, inner), in_route(now, inner)
        inherited = old.origin[before] == new.origin[after] == f"as {inner}"
        if not inherited and value_of(old.settings, before) != value_of(new.settings, after):
            found.append(f"routes[{name}].{inner}")
    return found
