"""The settings file: YAML, read as a flat mapping from dotted paths to text. Knows no knob.

Scalars stay the text they were: `off`, `0123` and `1:30` would else become False, 83 and 90 (YAML 1.1), and it is the
knob's kind that decides what a text means. Reading the node tree also gives line numbers and shows duplicate keys.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode


class Entry(NamedTuple):
    """What stands at one dotted path: text or a list of texts; its line, from 1; and what is wrong with its form."""

    path: str
    value: str | list[str]
    line: int
    wrong: str = ""


class Fault(NamedTuple):
    """Something in the file that is wrong whatever it means. `path` may be empty."""

    path: str
    value: str
    wrong: str
    line: int


def read_yaml(file: Path, sections: frozenset[str]) -> tuple[list[Entry], list[Fault]]:
    """Every entry of the file, and what is wrong with its form. `sections` are the paths that hold further keys.

    Raises `OSError` when the file cannot be read.
    """
    try:
        root = yaml.compose(file.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except UnicodeDecodeError:
        return [], [Fault("", "", "is not UTF-8 text; save it as UTF-8", 0)]
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        return [], [Fault("", "", f"is not YAML: {error.problem}; look at this line and the one above", line)]
    except yaml.YAMLError as error:
        return [], [Fault("", "", f"is not YAML: {' '.join(str(error).split())}; save it as plain text", 0)]
    reader = _Reader(sections)
    if root is not None:
        reader.section(root, "")
    return reader.entries, reader.faults


class _Reader:
    """One walk over the node tree."""

    def __init__(self, sections: frozenset[str]) -> None:
        self._sections = sections
        self.entries: list[Entry] = []
        self.faults: list[Fault] = []

    def section(self, node: Node, path: str) -> None:
        if _empty(node):  # a section with all its lines commented out
            return
        if not isinstance(node, MappingNode):
            what = "holds one value, not keys" if isinstance(node, ScalarNode) else "is a list"
            self.faults.append(Fault(path, _text(node), f"{what}; write lines of the form key: value", _line(node)))
            return
        seen: dict[str, int] = {}
        for key_node, value in node.value:
            key, line = _text(key_node), _line(key_node)
            child = f"{path}.{key}" if path else key
            if key in seen:
                self.faults.append(Fault(child, "", f"is given twice (first in line {seen[key]}); keep one", line))
                continue
            seen[key] = line
            if child in self._sections:
                self.section(value, child)
            else:
                self._entry(child, value, line)

    def _entry(self, path: str, node: Node, line: int) -> None:
        if _empty(node):
            wrong = "has no value; give one, or remove the line for the default"
            self.entries.append(Entry(path, "", line, wrong))
        elif isinstance(node, ScalarNode):
            self.entries.append(Entry(path, node.value, line))
        elif isinstance(node, SequenceNode) and all(isinstance(item, ScalarNode) for item in node.value):
            self.entries.append(Entry(path, [item.value for item in node.value], line))
        else:
            self.entries.append(Entry(path, _text(node), line, "holds more than plain values; write it in one line"))


def _empty(node: Node) -> bool:
    return isinstance(node, ScalarNode) and node.style is None and node.value in ("", "~", "null")


def _text(node: Node) -> str:
    if isinstance(node, ScalarNode):
        return str(node.value)
    return "{…}" if isinstance(node, MappingNode) else "[…]"


def _line(node: Node) -> int:
    return int(node.start_mark.line) + 1
