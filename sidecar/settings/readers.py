"""What file and environment say, as text by dotted path, and what is wrong with their names. Knows no single knob.

Nothing here tells what a text means: that is `sources.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from sidecar.nearest import did_you_mean
from sidecar.settings.knobs import (
    ENV_PREFIX,
    Text,
    all_knobs,
    knobs,
    route_knobs,
    route_sections,
    sections,
    split_route,
)
from sidecar.settings.loaded import Problem

if TYPE_CHECKING:
    from sidecar.settings.yamlfile import Entry

# Kubernetes tells every pod of a namespace's Services in variables named after them, Docker links likewise. A Service
# called "sidecar" (or "sidecar-…") thus makes SIDECAR_SERVICE_HOST, SIDECAR_PORT=tcp://10.0.0.1:80 and their kin,
# which nobody wrote and nobody can rename: they are no mistakes.
_SERVICE_LINK: Final = re.compile(
    r"SIDECAR_(?:[A-Z0-9_]+_)?(?:SERVICE_HOST|SERVICE_PORT(?:_[A-Z0-9_]+)?|PORT_[0-9]+_(?:TCP|UDP|SCTP)(?:_[A-Z]+)?)"
)
_SERVICE_PORT: Final = re.compile(r"SIDECAR_(?:[A-Z0-9_]+_)?PORT")
_ROUTES: Final = re.compile(r"SIDECAR_ROUTES?(?:_.*)?")

_LIKENESS: Final = 0.75  # keys are alike anyway: a hint should not be a guess

_SHORT_NAME: Final = re.compile(r"[!-~]{1,64}")


class Given(NamedTuple):
    """A value as a source gave it. `where` is the origin with line and route, for messages."""

    value: Text
    origin: str
    where: str


def from_file(file: Path, problems: list[Problem]) -> tuple[dict[str, Given], list[str]]:
    """What the file gives, and where each of its routes begins, for messages."""
    # Lazy: PyYAML costs 11 ms and most containers are configured by flags or environment.
    from sidecar.settings.yamlfile import Shape, read_yaml

    origin = f"file {file}"
    shape = Shape(frozenset(sections()) | {f"routes[].{name}" for name in route_sections()}, frozenset({"routes"}))
    try:
        entries, items, faults = read_yaml(file, shape)
    except OSError as error:
        problems.append(Problem(str(file), "", f"cannot be read: {error.strerror}; check the path", origin))
        return {}, []
    names = _names(entries)

    def where(path: str, line: int) -> str:
        name = names.get(path.partition(".")[0])
        return origin + (f" line {line}" if line else "") + (f", route {name}" if name else "")

    for path, value, wrong, line in faults:
        problems.append(Problem(path or str(file), value, wrong, where(path, line)))
    table = all_knobs(len(items))
    given: dict[str, Given] = {}
    for path, text, line, wrong in entries:
        if path not in table:
            # The value may be a secret under a misspelt name: it is not shown.
            problems.append(Problem(path, "", f"is not a setting; {_meant_key(path, bool(wrong))}", where(path, line)))
        elif wrong:
            problems.append(Problem(path, text if text == "" else "…", wrong, where(path, line)))
        else:
            given[path] = Given(text, origin, where(path, line))
    return given, [where(path, line) for path, line in items.items()]


def from_env(env: Mapping[str, str], problems: list[Problem]) -> dict[str, Given]:
    """What the environment gives; variables of others are none of ours."""
    by_name = {knob.env: path for path, knob in knobs().items()}
    given: dict[str, Given] = {}
    for name, value in sorted(env.items()):
        path = by_name.get(name)
        if path:
            given[path] = Given(value, f"env {name}", f"env {name}")
        elif name.startswith(ENV_PREFIX) and not _is_service_link(name, value):
            remedy = "routes come from the file alone, -c"
            if not _ROUTES.fullmatch(name):
                remedy = did_you_mean(name, by_name, "unset it, or see `sidecar config template`", likeness=_LIKENESS)
            problems.append(Problem(name, "", f"is not a setting; {remedy}", "environment"))
    return given


def _names(entries: Iterable[Entry]) -> dict[str, str]:
    """How the routes call themselves, by their place: `routes[0]`."""
    found = {}
    for entry in entries:
        place, _, inner = entry.path.partition(".")
        if inner == "name" and split_route(entry.path) and isinstance(entry.value, str):
            if _SHORT_NAME.fullmatch(entry.value):
                found[place] = entry.value
    return found


def _is_service_link(name: str, value: str) -> bool:
    # SIDECAR_PORT=8080 was written by hand; Kubernetes and Docker write tcp://10.0.0.1:8080.
    return bool(_SERVICE_LINK.fullmatch(name) or (_SERVICE_PORT.fullmatch(name) and "://" in value))


def _meant_key(path: str, holds_keys: bool) -> str:
    route = split_route(path)
    if route is None:
        return _meant(path, "", [*knobs()], [*sections(), "routes"], holds_keys)
    inner = route[1]
    if inner in knobs() or inner in sections():
        return f"{inner} holds for the whole sidecar, so write it outside of the routes"
    return _meant(inner, path.removesuffix(inner), [*route_knobs()], [*route_sections()], holds_keys)


def _meant(key: str, prefix: str, own_knobs: list[str], own_sections: list[str], holds_keys: bool) -> str:
    # `request` at the top level is most often a knob that lost its section.
    homeless = [prefix + known for known in own_knobs if known.endswith(f".{key}")]
    if homeless and not holds_keys:
        return "did you mean " + " or ".join(homeless) + "?"
    known = own_sections if holds_keys else own_knobs + own_sections
    return did_you_mean(key, known, "remove it, or see `sidecar config template`", prefix=prefix, likeness=_LIKENESS)
