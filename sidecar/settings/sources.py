"""Where settings come from: flags > environment > file > default. Merges them, and reports everything that is wrong.

Knows the sources, not the knobs: what a knob takes is `knobs.py`. Nothing is printed here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, NamedTuple

from msgspec import convert

from sidecar.settings.checks import contradictions
from sidecar.settings.flags import FLAGS
from sidecar.settings.knobs import ENV_PREFIX, MASK, Knob, Text, knobs, sections
from sidecar.settings.loaded import Loaded, Problem, SettingsError
from sidecar.settings.structs import Settings

# Kubernetes tells every pod of a namespace's Services in variables named after them, Docker links likewise. A Service
# called "sidecar" (or "sidecar-…") thus makes SIDECAR_SERVICE_HOST, SIDECAR_PORT=tcp://10.0.0.1:80 and their kin,
# which nobody wrote and nobody can rename: they are no mistakes.
_SERVICE_LINK: Final = re.compile(
    r"SIDECAR_(?:[A-Z0-9_]+_)?(?:SERVICE_HOST|SERVICE_PORT(?:_[A-Z0-9_]+)?|PORT_[0-9]+_(?:TCP|UDP|SCTP)(?:_[A-Z]+)?)"
)
_SERVICE_PORT: Final = re.compile(r"SIDECAR_(?:[A-Z0-9_]+_)?PORT")

_PASSWORD: Final = re.compile(r"//[^/@]*@")

FROM_DEFAULT: Final = "default"


class Given(NamedTuple):
    """A value as a source gave it. `where` is the origin with the line, for messages."""

    value: Text
    origin: str
    where: str


def load(flags: Mapping[str, str], env: Mapping[str, str], file: Path | None) -> Loaded:
    """Settings from all sources. `flags` maps dotted paths to texts; `env` is the environment as it is.

    Raises `SettingsError` with every problem of every source, not only the first.
    """
    problems: list[Problem] = []
    given = _from_file(file, problems) if file else {}
    given |= _from_env(env, problems)
    given |= {path: Given(text, f"flag {FLAGS[path]}", f"flag {FLAGS[path]}") for path, text in flags.items()}
    values = _values(given, problems)
    # A file that cannot be read has said nothing of its contents.
    if "upstream" not in given and not any(problem.path == str(file) for problem in problems):
        problems.append(_missing_upstream(file))
    origin = {path: given[path].origin if path in given else FROM_DEFAULT for path in knobs()}
    if problems:
        raise SettingsError(problems)
    settings = convert(_tree(values), Settings, strict=True)
    for path, other, value, wrong in contradictions(settings):
        # Blame what somebody wrote, not a default.
        where = given[path].where if path in given else given[other].where
        problems.append(Problem(path, value, wrong, where))
    if problems:
        raise SettingsError(problems)
    return Loaded(_with_token(settings, given), origin)


def _values(given: Mapping[str, Given], problems: list[Problem]) -> dict[str, Any]:
    """What the texts mean, with the problem of each that means nothing."""
    values: dict[str, Any] = {}
    for path, knob in knobs().items():
        if path not in given:
            continue
        value, _, where = given[path]
        try:
            values[path] = knob.read(value)
        except ValueError as error:
            problems.append(Problem(path, _shown(knob, value), str(error), where))
    return values


def _from_file(file: Path, problems: list[Problem]) -> dict[str, Given]:
    # Lazy: PyYAML costs 11 ms and most containers are configured by flags or environment.
    from sidecar.settings.yamlfile import read_yaml

    origin = f"file {file}"
    try:
        entries, faults = read_yaml(file, frozenset(sections()))
    except OSError as error:
        problems.append(Problem(str(file), "", f"cannot be read: {error.strerror}; check the path", origin))
        return {}
    for path, value, wrong, line in faults:
        problems.append(Problem(path or str(file), value, wrong, _in_line(origin, line)))
    given: dict[str, Given] = {}
    for entry in entries:
        path, where = entry.path, _in_line(origin, entry.line)
        if path not in knobs():
            # The value may be a secret under a misspelt name: it is not shown.
            problems.append(Problem(path, "", f"is not a setting; {_meant_key(path, bool(entry.wrong))}", where))
        elif entry.wrong:
            problems.append(Problem(path, entry.value if entry.value == "" else "…", entry.wrong, where))
        else:
            given[path] = Given(entry.value, origin, where)
    return given


def _from_env(env: Mapping[str, str], problems: list[Problem]) -> dict[str, Given]:
    by_name = {knob.env: path for path, knob in knobs().items()}
    given: dict[str, Given] = {}
    for name, value in sorted(env.items()):
        if not name.startswith(ENV_PREFIX):
            continue
        path = by_name.get(name)
        if path:
            given[path] = Given(value, f"env {name}", f"env {name}")
        elif not _is_service_link(name, value):
            remedy = _did_you_mean(name, by_name, "unset it, or see `sidecar config template`")
            problems.append(Problem(name, "", f"is not a setting; {remedy}", "environment"))
    return given


def _is_service_link(name: str, value: str) -> bool:
    # SIDECAR_PORT=8080 was written by hand; Kubernetes and Docker write tcp://10.0.0.1:8080.
    return bool(_SERVICE_LINK.fullmatch(name) or (_SERVICE_PORT.fullmatch(name) and "://" in value))


def _with_token(settings: Settings, given: Mapping[str, Given]) -> Settings:
    """The same settings with the admin token read from its file."""
    path = settings.admin.token_file
    if not path:
        return settings
    where = given["admin.token_file"].where
    try:
        token = knobs()["admin.token"].read(Path(path).read_text(encoding="ascii").strip())
    except OSError as error:
        wrong = f"cannot be read: {error.strerror}; check the path"
    except ValueError:  # UnicodeDecodeError too
        wrong = "holds characters that a header cannot carry; use visible ASCII without spaces"
    else:
        if token:
            return _replace_token(settings, token)
        wrong = "is empty; put the token into it"
    raise SettingsError([Problem("admin.token_file", path, wrong, where)])


def _replace_token(settings: Settings, token: str) -> Settings:
    from msgspec.structs import replace

    return replace(settings, admin=replace(settings.admin, token=token))


def _tree(values: Mapping[str, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for path, value in values.items():
        section, _, name = path.rpartition(".")
        (tree.setdefault(section, {}) if section else tree)[name] = value
    return tree


def _missing_upstream(file: Path | None) -> Problem:
    origin = f"file {file}" if file else f"flag {FLAGS['upstream']}"
    return Problem("upstream", "", "is not given; say where the service is, for example http://127.0.0.1:8080", origin)


def _shown(knob: Knob, value: Text) -> str:
    if knob.secret:
        return MASK
    text = _PASSWORD.sub(f"//{MASK}@", ",".join(value) if isinstance(value, list) else value)
    return text if text.strip() and text.isprintable() else repr(text)


def _in_line(origin: str, line: int) -> str:
    return f"{origin} line {line}" if line else origin


def _meant_key(path: str, holds_keys: bool) -> str:
    known = [*sections()] if holds_keys else [*knobs(), *sections()]
    # `request` at the top level is most often a knob that lost its section.
    homeless = [key for key in knobs() if key.endswith(f".{path}")]
    if homeless and not holds_keys:
        return "did you mean " + " or ".join(homeless) + "?"
    return _did_you_mean(path, known, "remove it, or see `sidecar config template`")


def _did_you_mean(name: str, known: Iterable[str], otherwise: str) -> str:
    close = get_close_matches(name, list(known), n=1, cutoff=0.75)
    return f"did you mean {close[0]}?" if close else otherwise
