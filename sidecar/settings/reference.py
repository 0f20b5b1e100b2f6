"""The settings as text for people and tools: template, schema, what is in force. All derived from the knobs."""

from __future__ import annotations

import json
import re
from typing import Any, Final

from sidecar import __version__
from sidecar.settings.flags import FLAGS
from sidecar.settings.kinds import INTEGER, SWITCH
from sidecar.settings.knobs import MASK, Knob, knobs, sections, value_of
from sidecar.settings.loaded import Loaded

_EXAMPLE_UPSTREAM: Final = "http://127.0.0.1:8080"
_PLAIN: Final = re.compile(r"[A-Za-z0-9/][A-Za-z0-9./:_-]*")
# Plain words that YAML 1.1 readers take for something else than text.
_NOT_TEXT: Final = frozenset({"on", "off", "yes", "no", "true", "false", "null", "y", "n"})


def template() -> str:
    """A settings file with every knob commented out at its default, upstream excepted."""
    lines = [f"# Settings of sidecar {__version__}. What is commented out stands at its default."]
    lines += ["# Durations: 250ms 2s 1m30s 1h. Sizes: 64KiB 1MiB, or bytes. Flags win over SIDECAR_* variables,"]
    lines += ["# variables over this file."]
    for section, own in _grouped().items():
        indent = "  " if section else ""
        lines += ["", f"# {sections()[section]}", f"{section}:"] if section else []
        for knob in own:
            lines += ["", f"{indent}# {knob.meaning}", f"{indent}# {_ways(knob)}"]
            hidden = "#" if knob.default is not None else ""
            value = _EXAMPLE_UPSTREAM if knob.default is None else knob.default
            lines.append(f"{indent}{hidden}{_name(knob)}: {_yaml(knob, value)}")
    return "\n".join(lines) + "\n"


def effective(loaded: Loaded) -> str:
    """The settings in force as a file, with the origin of each as a comment; secrets are masked."""
    rows: list[tuple[str, str]] = []
    for section, own in _grouped().items():
        if section:
            rows.append((f"{section}:", ""))
        for knob in own:
            value = _yaml(knob, value_of(loaded.settings, knob.path))
            rows.append((f"{'  ' if section else ''}{_name(knob)}: {value}", f"# {loaded.origin[knob.path]}"))
    width = min(44, max(len(line) for line, _ in rows))
    return "".join(f"{line:{width}}  {comment}".rstrip() + "\n" for line, comment in rows)


def schema() -> str:
    """JSON Schema (2020-12) of the settings file, for editors and charts."""
    root = _object({}, "Settings of sidecar")
    for section, own in _grouped().items():
        parent = root
        if section:
            parent = _object({}, sections()[section])
            root["properties"][section] = parent
        for knob in own:
            parent["properties"][_name(knob)] = _property(knob)
    # Not `required`: flags or the environment may give the upstream.
    whole = {"$schema": "https://json-schema.org/draft/2020-12/schema", **root}
    return json.dumps(whole, indent=2) + "\n"


def _grouped() -> dict[str, list[Knob]]:
    groups: dict[str, list[Knob]] = {}
    for path, knob in knobs().items():
        groups.setdefault(path.rpartition(".")[0], []).append(knob)
    return groups


def _object(properties: dict[str, Any], description: str) -> dict[str, Any]:
    return {"type": "object", "description": description, "additionalProperties": False, "properties": properties}


def _property(knob: Knob) -> dict[str, Any]:
    made: dict[str, Any] = {"description": knob.meaning, **knob.kind.schema}
    if knob.default is not None:
        made["default"] = _plain_value(knob, knob.default)
    if knob.kind is INTEGER:
        made |= {"minimum": knob.least} if knob.least is not None else {}
        made |= {"maximum": knob.most} if knob.most is not None else {}
    return made


def _plain_value(knob: Knob, value: Any) -> Any:
    if knob.kind.many:
        return list(value)
    return value if knob.kind in (INTEGER, SWITCH) else knob.kind.write(value)


def _yaml(knob: Knob, value: Any) -> str:
    if knob.secret:
        return json.dumps(MASK if value else "")
    plain = _plain_value(knob, value)
    if isinstance(plain, list):
        return "[" + ", ".join(json.dumps(item) for item in plain) + "]"
    if isinstance(plain, str) and (not _PLAIN.fullmatch(plain) or plain.lower() in _NOT_TEXT):
        return json.dumps(plain)
    return json.dumps(plain) if not isinstance(plain, str) else plain


def _ways(knob: Knob) -> str:
    flag = f"{FLAGS[knob.path]}, " if knob.path in FLAGS else ""
    return f"{knob.kind.name}; {flag}{knob.env}"


def _name(knob: Knob) -> str:
    return knob.path.rpartition(".")[2]
