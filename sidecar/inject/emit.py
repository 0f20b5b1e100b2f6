"""Plain values as YAML text: lines of block style, or one line of flow style, which is JSON. Pure."""

from __future__ import annotations

import json
import re
from typing import Any, Final

# What stays a string without quotes in YAML 1.1, which Kubernetes reads, and in 1.2.
_PLAIN: Final = re.compile(r"(?:--)?[A-Za-z/][A-Za-z0-9_./-]*(?::[A-Za-z0-9_./-]+)*")
_FEW: Final = 4
_WORDS: Final = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})


def block(value: dict[str, Any], offset: int) -> list[str]:
    """The lines of a mapping; dashes stand `offset` columns right of their list's key. A few words take one line."""
    lines: list[str] = []
    for key, inner in value.items():
        lines += _entry(key, inner, offset)
    return lines


def item(value: object, offset: int) -> list[str]:
    """The lines of a list's item, the dash first."""
    lines = block(value, offset) if isinstance(value, dict) else [scalar(value)]
    return [("  " if number else "- ") + line for number, line in enumerate(lines)]


def flow(value: object) -> str:
    """One line of JSON."""
    return json.dumps(value)


def scalar(value: object) -> str:
    """A scalar of block style."""
    if not isinstance(value, str):
        return json.dumps(value)
    if _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
        return value
    if '"' in value and "'" not in value and value.isprintable():
        return f"'{value}'"
    return json.dumps(value)


def _entry(key: str, value: Any, offset: int) -> list[str]:
    if isinstance(value, dict) and value:
        return [f"{scalar(key)}:", *("  " + line for line in block(value, offset))]
    if isinstance(value, list) and len(value) <= _FEW and all(isinstance(inner, str) for inner in value):
        return [f"{scalar(key)}: {flow(value)}"]
    if isinstance(value, list) and value:
        indent = " " * offset
        return [f"{scalar(key)}:", *(indent + line for inner in value for line in item(inner, offset))]
    return [f"{scalar(key)}: {scalar(value)}"]
