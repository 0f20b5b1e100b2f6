"""What tests of the settings share: files, what is said of them, and what JSON Schema would say."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from sidecar.settings import Loaded, SettingsError, load

UPSTREAM = {"upstream": "http://app:8080"}

_TYPES = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "array": list,
    "object": dict,
    "null": type(None),
}


def read(
    directory: Path, text: str, flags: Mapping[str, str] = UPSTREAM, env: Mapping[str, str] | None = None
) -> Loaded:
    """The settings of a file with this text and an upstream."""
    file = directory / "sidecar.yaml"
    file.write_text(text, encoding="utf-8")
    return load(flags, env or {}, file)


def complaints(directory: Path, text: str, env: Mapping[str, str] | None = None) -> list[str]:
    """What is said about such a file, the file's path left out."""
    with pytest.raises(SettingsError) as caught:
        read(directory, text, env=env)
    file = f"file {directory}/sidecar.yaml "
    return [str(problem).replace(file, "") for problem in caught.value.problems]


def violations(schema: Mapping[str, Any], value: Any, path: str = "") -> list[str]:
    """What breaks the schema: the few keywords of JSON Schema that ours has, as the standard means them."""
    types = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    if not any(_is_a(value, name) for name in types):
        return [f"{path}: {value!r} is none of {types}"]
    found = [f"{path}: {value!r} breaks {rule}" for rule in _broken(schema, value)]
    if isinstance(value, dict):
        for key, inner in value.items():
            if key in schema["properties"]:
                found += violations(schema["properties"][key], inner, f"{path}.{key}")
            else:
                found.append(f"{path}.{key} is unknown")
        found += [f"{path}.{key} is missing" for key in schema.get("required", ()) if key not in value]
    if isinstance(value, list):
        for index, item in enumerate(value):
            found += violations(schema["items"], item, f"{path}[{index}]")
    return found


def _is_a(value: object, name: str) -> bool:
    # To JSON Schema, a boolean is no number.
    return isinstance(value, _TYPES[name]) and (name == "boolean" or not isinstance(value, bool))  # type: ignore[arg-type]


def _broken(schema: Mapping[str, Any], value: Any) -> list[str]:
    broken = []
    if "enum" in schema and value not in schema["enum"]:
        broken.append("enum")
    if isinstance(value, str) and not re.search(schema.get("pattern", ""), value):
        broken.append("pattern")
    if isinstance(value, int | float) and not isinstance(value, bool):
        broken += ["minimum"] if value < schema.get("minimum", value) else []
        broken += ["maximum"] if value > schema.get("maximum", value) else []
    return broken
