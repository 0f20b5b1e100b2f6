"""JSON Schema of the settings file, derived from the knobs: what editors check and charts embed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from sidecar.settings.kinds import INTEGER, RATIO, SWITCH
from sidecar.settings.knobs import Knob, inherits, knobs, route_knobs, route_sections, sections
from sidecar.settings.policies import Route

# Kinds whose values are no texts in YAML.
PLAIN: Final = (INTEGER, RATIO, SWITCH)


def schema() -> str:
    """The JSON Schema (2020-12), as text."""
    # Nothing is `required` at the top: flags or the environment may give the upstream.
    root = {"type": "object", **_keys("Settings of sidecar", knobs(), sections())}
    route = {"type": "object", **_keys(Route.__doc__ or "", route_knobs(), route_sections())}
    route["required"] = [path for path, knob in route_knobs().items() if knob.default is None]
    for path, knob in route_knobs().items():
        if inherits(path):
            stated = _place(route, path)[knob.name]
            del stated["default"]
            stated["description"] = f"Where it is left out: as {path} of the sidecar. {knobs()[path].meaning}"
    description = "Requests that are treated alike; the first that matches is a request's."
    root["properties"]["routes"] = {"type": ["array", "null"], "description": description, "items": route}
    return json.dumps({"$schema": "https://json-schema.org/draft/2020-12/schema", **root}, indent=2) + "\n"


def plain_value(knob: Knob, value: Any) -> Any:
    """A value as YAML and JSON have it."""
    if knob.kind.many:
        return list(value)
    if knob.kind is RATIO:
        return int(value) if value == int(value) else value
    return value if knob.kind in PLAIN else knob.kind.write(value)


def _keys(description: str, table: Mapping[str, Knob], meanings: Mapping[str, str]) -> dict[str, Any]:
    made: dict[str, Any] = {"description": description, "additionalProperties": False, "properties": {}}
    for name, meaning in meanings.items():
        # A section whose lines are all commented out is null.
        section = {"type": ["object", "null"], "description": meaning, "additionalProperties": False, "properties": {}}
        made["properties"][name] = section
    for path, knob in table.items():
        _place(made, path)[knob.name] = _property(knob)
    return made


def _place(made: dict[str, Any], path: str) -> dict[str, Any]:
    """The properties among which the knob is."""
    section = path.rpartition(".")[0]
    properties: dict[str, Any] = (made["properties"][section] if section else made)["properties"]
    return properties


def _property(knob: Knob) -> dict[str, Any]:
    made: dict[str, Any] = {"description": knob.meaning, **knob.kind.schema}
    if knob.default is not None:
        made["default"] = plain_value(knob, knob.default)
    if knob.kind in (INTEGER, RATIO):
        made |= {"minimum": knob.least} if knob.least is not None else {}
        made |= {"maximum": knob.most} if knob.most is not None else {}
    return made
