"""The knobs as a flat table, derived from `structs.py`: what every source and every reference reads.

Knows no single knob and no source. `read` is the only way from text to a value.
"""

from __future__ import annotations

from functools import cache
from typing import Annotated, Any, Final, NamedTuple, get_args, get_origin, get_type_hints

from msgspec import NODEFAULT, Meta, Struct
from msgspec.structs import fields

from sidecar.settings.kinds import SECRET, Kind
from sidecar.settings.section import Section
from sidecar.settings.structs import Settings

ENV_PREFIX: Final = "SIDECAR_"
MASK: Final = "***"

Text = str | list[str]


class Knob(NamedTuple):
    """One knob: dotted `path`, `kind`, `default` (None = must be given), least and greatest value, and its meaning."""

    path: str
    kind: Kind
    default: Any
    least: float | None
    most: float | None
    meaning: str

    @property
    def env(self) -> str:
        """Its environment variable: `SIDECAR_TIMEOUTS__REQUEST`."""
        return ENV_PREFIX + self.path.upper().replace(".", "__")

    @property
    def secret(self) -> bool:
        """Whether its value must never be shown."""
        return self.kind is SECRET

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
        """The value as text; a secret is masked."""
        if self.kind.many:
            return ",".join(value)
        return MASK if self.secret and value else self.kind.write(value)


@cache
def knobs() -> dict[str, Knob]:
    """Every knob by its dotted path, in the order of the structs."""
    return {knob.path: knob for knob in _walk(Settings, "", None)}


@cache
def sections() -> dict[str, str]:
    """Every section's name and meaning, in the order of the structs."""
    hints = get_type_hints(Settings)
    return {name: hint.__doc__ or "" for name, hint in hints.items() if _is_section(hint)}


def value_of(settings: Settings, path: str) -> Any:
    """The value of one knob."""
    value: Any = settings
    for name in path.split("."):
        value = getattr(value, name)
    return value


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
            continue  # the routes
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
