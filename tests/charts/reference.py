"""What is made of other files: the chart's table of values, and the part of its schema that is the program's.

`python -m tests.charts.reference` writes both anew; the tests compare. A value's meaning is the comment above it in
values.yaml that begins with `# --`.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Final, NamedTuple

import yaml

from sidecar.settings.schema import schema
from tests.charts.rendering import CHART

README: Final = CHART / "README.md"
SCHEMA: Final = CHART / "values.schema.json"
VALUES: Final = CHART / "values.yaml"

_BEGIN: Final = "<!-- values -->\n"
_END: Final = "<!-- end of values -->\n"
_KEY: Final = re.compile(r"( *)([A-Za-z][A-Za-z0-9_]*):")
_SHORT: Final = 60  # longer defaults are left to values.yaml


class Value(NamedTuple):
    """One row of the table: dotted path, default, meaning."""

    path: str
    default: Any
    meaning: str


def values() -> list[Value]:
    """The values that have a meaning, in order."""
    defaults = yaml.safe_load(VALUES.read_text(encoding="utf-8"))
    found, place, comment = [], list[tuple[int, str]](), list[str]()
    for line in VALUES.read_text(encoding="utf-8").splitlines():
        key = _KEY.match(line)
        if line.lstrip().startswith("#"):
            comment = [*comment, line.strip("# ")]
        elif key is None:
            comment = []
        else:
            place = [*(outer for outer in place if outer[0] < len(key[1])), (len(key[1]), key[2])]
            if comment and comment[0].startswith("-- "):
                path = ".".join(name for _, name in place)
                found.append(Value(path, _at(defaults, path), " ".join(comment).removeprefix("-- ")))
            comment = []
    return found


def table() -> str:
    """The table for the chart's README."""
    rows = [f"| `{value.path}` | {_shown(value.default)} | {value.meaning} |\n" for value in values()]
    return "".join(["| value | default | meaning |\n|---|---|---|\n", *rows])


def readme() -> str:
    """The chart's README with the table as it should be."""
    head, _, rest = README.read_text(encoding="utf-8").partition(_BEGIN)
    return head + _BEGIN + table() + _END + rest.partition(_END)[2]


def values_schema() -> str:
    """The schema of the values with `config` as it should be: what the program says of its file."""
    root = json.loads(SCHEMA.read_text(encoding="utf-8"))
    config = json.loads(schema())
    del config["$schema"]
    root["properties"]["config"] = config
    return json.dumps(root, indent=2) + "\n"


def _at(defaults: Any, path: str) -> Any:
    for name in path.split("."):
        defaults = defaults[name]
    return defaults


def _shown(default: Any) -> str:
    text = json.dumps(default)
    return f"`{text}`" if len(text) <= _SHORT else "see values.yaml"


def _write(file: Path, text: str) -> None:
    if file.read_text(encoding="utf-8") != text:
        file.write_text(text, encoding="utf-8")
        print(f"wrote {file}")


if __name__ == "__main__":
    _write(README, readme())
    _write(SCHEMA, values_schema())
