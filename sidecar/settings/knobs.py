"""The knobs as a flat table, derived from the structs: what every source and every reference reads.

    timeouts.request           one of the sidecar's
    routes[0].retry.attempts   one of a route's; within the route its path is retry.attempts

Knows no single knob and no source. `read` is the only way from text to a value.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Annotated, Any, Final, NamedTuple, get_args, get_origin, get_type_hints

from msgspec import NODEFAULT, Meta, Struct
from msgspec.structs import fields

from sidecar.settings.kinds import Kind
from sidecar.settings.policies import INHERITED, Route
from sidecar.settings.section import Section
from sidecar.settings.structs import Settings

ENV_PREFIX: Final = "SIDECAR_"

Text = str | list[str]

_IN_ROUTE: Final = re.compile(r"routes\[([0-9]+)\]\.(.+)")


class Knob(NamedTuple):
    """One knob: dotted `path`, `kind`, `default` (None = must be given), least and greatest value, and its meaning."""

    path: str
    kind: Kind
    default: Any
    least: float | None
    most: float | None
    meaning: str

    @property
    def name(self) -> str:
        """Its key in the file, within its section."""
        return self.path.rpartition(".")[2]

    @property
    def section(self) -> str:
        """The section that it is in, of the sidecar or of its route; empty where it is in none."""
        route = split_route(self.path)
        return (route[1] if route else self.path).rpartition(".")[0]

    @property
    def env(self) -> str:
        """Its environment variable, `SIDECAR_TIMEOUTS__REQUEST`. Those of routes have none."""
        return ENV_PREFIX + self.path.upper().replace(".", "__")

    def read(self, given: Text) -> Any:
        """The value that text means here; raises `ValueError` ("what is wrong; what to write instead")."""
        if self.kind.many:
            items = given if isinstance(given, list) else [item.strip() for item in given.split(",") if item.strip()]
            return tuple(self.kind.read(item) for item in items)
        if isinstance(given, list):
            raise ValueError("is a list; write a single value")
        value = self.kind.read(given)
        if self.least is not None and value < self.least:
            raise ValueError(f"is too small; write at least {self.kind.write(self.least)}")
        if self.most is not None and value > self.most:
            raise ValueError(f"is too large; write at most {self.kind.write(self.most)}")
        return value

    def show(self, value: Any) -> str:
        """The value as text; what is secret in it is masked."""
        return ",".join(map(self.kind.show, value)) if self.kind.many else self.kind.show(self.kind.write(value))


@cache
def knobs() -> dict[str, Knob]:
    """Every knob of the sidecar by its dotted path, in the order of the structs."""
    return {knob.path: knob for knob in _walk(Settings, "", None)}


@cache
def route_knobs() -> dict[str, Knob]:
    """Every knob of a route by its path within the route, in the order of the structs."""
    return {knob.path: knob for knob in _walk(Route, "", None)}


def all_knobs(routes: int) -> dict[str, Knob]:
    """Every knob there is where there are so many routes, by its whole path."""
    found = dict(knobs())
    for index in range(routes):
        for inner, knob in route_knobs().items():
            path = in_route(index, inner)
            found[path] = knob._replace(path=path)
    return found


@cache
def sections() -> dict[str, str]:
    """Every section's name and meaning, in the order of the structs."""
    return _sections(Settings)


@cache
def route_sections() -> dict[str, str]:
    """The same of a route."""
    return _sections(Route)


def in_route(index: int, inner: str) -> str:
    """The whole path of what a route calls `inner`."""
    return f"routes[{index}].{inner}"


def split_route(path: str) -> tuple[int, str] | None:
    """A route's index and the path within it; None where `path` is the sidecar's."""
    match = _IN_ROUTE.fullmatch(path)
    return (int(match[1]), match[2]) if match else None


def inherits(inner: str) -> bool:
    """Whether a route that does not say this has the sidecar's own value, which has the same path."""
    return inner.partition(".")[0] in INHERITED


def value_of(settings: Settings, path: str) -> Any:
    """The value of one knob."""
    value: Any = settings
    route = split_route(path)
    if route:
        value, path = settings.routes[route[0]], route[1]
    for name in path.split("."):
        value = getattr(value, name)
    return value


def _sections(struct: type[Struct]) -> dict[str, str]:
    return {name: hint.__doc__ or "" for name, hint in get_type_hints(struct).items() if _is_section(hint)}


def _walk(struct: type[Struct], prefix: str, instance: Struct | None) -> list[Knob]:
    """The knobs of a struct. `instance` is the default one, whose values need not be the struct's own."""
    found: list[Knob] = []
    hints = get_type_hints(struct, include_extras=True)
    for field in fields(struct):
        hint = hints[field.name]
        path = prefix + field.name
        if _is_section(hint):
            found += _walk(hint, path + ".", field.default)
            continue
        if get_origin(hint) is tuple:
            continue  # the routes: how many there are, only a file can tell
        if get_origin(hint) is not Annotated:
            raise TypeError(f"{path} says nothing of its kind")
        kind = next(part for part in get_args(hint) if isinstance(part, Kind))
        meta = next(part for part in get_args(hint) if isinstance(part, Meta))
        own = None if field.default is NODEFAULT else field.default
        default = getattr(instance, field.name) if instance is not None else own
        found.append(Knob(path, kind, default, meta.ge, meta.le, meta.description or ""))
    return found


def _is_section(hint: object) -> bool:
    return isinstance(hint, type) and issubclass(hint, Section)
