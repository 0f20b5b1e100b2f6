"""Where settings come from: flags > environment > file > default. Merges them, and reports everything that is wrong.

Knows the sources, not the knobs: what a knob takes is `knobs.py`, what a source looks like `readers.py`. Nothing is
printed here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from msgspec import convert
from msgspec.structs import replace

from sidecar.settings.checks import contradictions
from sidecar.settings.flags import FLAGS
from sidecar.settings.knobs import Knob, Text, all_knobs, knobs, split_route, value_of
from sidecar.settings.loaded import FROM_DEFAULT, Loaded, Problem, SettingsError
from sidecar.settings.readers import Given, from_env, from_file
from sidecar.settings.routes import fill, misnamed, missing
from sidecar.settings.structs import Settings

# Knobs whose value may stand in a file of its own, which another knob names.
_IN_FILES: Final = {"admin.token": "admin.token_file", "redis.url": "redis.url_file"}


def load(flags: Mapping[str, str], env: Mapping[str, str], file: Path | None) -> Loaded:
    """Settings from all sources. `flags` maps dotted paths to texts; `env` is the environment as it is.

    Raises `SettingsError` with every problem of every source, not only the first.
    """
    problems: list[Problem] = []
    given, routes = from_file(file, problems) if file else ({}, [])
    given |= from_env(env, problems)
    given |= {path: Given(text, f"flag {FLAGS[path]}", f"flag {FLAGS[path]}") for path, text in flags.items()}
    table = all_knobs(len(routes))
    values = _values(given, table, problems)
    problems += _missing(given, routes, file, problems)
    problems += [Problem(path, name, wrong, given[path].where) for path, name, wrong in misnamed(values, len(routes))]
    if problems:
        raise SettingsError(problems)
    origin = {path: given[path].origin if path in given else FROM_DEFAULT for path in table}
    fill(values, origin, len(routes))
    settings = convert(_tree(values, len(routes)), Settings, strict=True)
    problems += _contradictions(settings, given)
    if problems:
        raise SettingsError(problems)
    return Loaded(_with_files(settings, given, origin), origin)


def _values(given: Mapping[str, Given], table: Mapping[str, Knob], problems: list[Problem]) -> dict[str, Any]:
    """What the texts mean, with the problem of each that means nothing."""
    values: dict[str, Any] = {}
    for path, knob in table.items():
        if path not in given:
            continue
        value, _, where = given[path]
        try:
            values[path] = knob.read(value)
        except ValueError as error:
            problems.append(Problem(path, _shown(knob, value), str(error), where))
    return values


def _missing(
    given: Mapping[str, Given], routes: list[str], file: Path | None, problems: list[Problem]
) -> list[Problem]:
    """What has to be given and is not, nor is complained about already."""
    told = {problem.path for problem in problems}
    found = [
        Problem(path, "", "is not given; no route can do without", where)
        for index, where in enumerate(routes)
        for path in missing(index)
        if path not in given and path not in told
    ]
    # A file that cannot be read has said nothing of its contents.
    if "upstream" not in given and "upstream" not in told and str(file) not in told:
        origin = f"file {file}" if file else f"flag {FLAGS['upstream']}"
        wrong = "is not given; say where the service is, for example http://127.0.0.1:8080"
        found.append(Problem("upstream", "", wrong, origin))
    return found


def _contradictions(settings: Settings, given: Mapping[str, Given]) -> Iterator[Problem]:
    for path, other, value, wrong, idle in contradictions(settings):
        # Blame what somebody wrote, not a default. In a route, what it has from the sidecar may come to nothing, and
        # what contradicts itself there already is told there.
        for blamed in (path,) if idle else (path, other):
            if blamed in given:
                yield Problem(path, value, wrong, given[blamed].where)
                break


def _with_files(settings: Settings, given: Mapping[str, Given], origin: dict[str, str]) -> Settings:
    """The same settings with what stands in files of its own."""
    problems: list[Problem] = []
    for path, file_path in _IN_FILES.items():
        file = value_of(settings, file_path)
        if not file:
            continue
        try:
            value = _read_file(Path(file), knobs()[path])
        except ValueError as error:
            problems.append(Problem(file_path, file, str(error), given[file_path].where))
            continue
        section, _, name = path.partition(".")
        settings = replace(settings, **{section: replace(getattr(settings, section), **{name: value})})
        origin[path] = f"from {file_path}"
    if problems:
        raise SettingsError(problems)
    return settings


def _read_file(file: Path, knob: Knob) -> Any:
    """The value in a file. Raises `ValueError`, which says nothing of what the file holds."""
    try:
        text = file.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}; check the path") from None
    except UnicodeDecodeError:
        raise ValueError("is not text; save it as UTF-8") from None
    if not text:
        raise ValueError(f"is empty; put {knob.path} into it")
    return knob.read(text)


def _tree(values: Mapping[str, Any], routes: int) -> dict[str, Any]:
    """The values as they are nested."""
    tree: dict[str, Any] = {"routes": [{} for _ in range(routes)]}
    for path, value in values.items():
        route = split_route(path)
        within, inner = (tree["routes"][route[0]], route[1]) if route else (tree, path)
        section, _, name = inner.rpartition(".")
        (within.setdefault(section, {}) if section else within)[name] = value
    return tree


def _shown(knob: Knob, given: Text) -> str:
    # A list is looked at item by item; in one that was to be none, no item is like another.
    items = given if isinstance(given, list) else given.split(",") if knob.kind.many else [given]
    text = ",".join(map(knob.kind.show, items))
    return text if text.strip() and text.isprintable() else repr(text)
