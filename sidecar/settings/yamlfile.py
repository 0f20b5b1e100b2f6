"""The settings file: YAML, read as a flat mapping from dotted paths to text. Knows no knob.

Scalars stay the text they were: `off`, `0123` and `1:30` would else become False, 83 and 90 (YAML 1.1), and it is the
knob's kind that decides what a text means. Reading the node tree also gives line numbers and shows duplicate keys.
A tag would have a text mean something else, so none is taken, and what it asks for is never done.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final, NamedTuple

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

# What PyYAML quotes of the file, beyond single characters: an alias or a tag, which may be a password that begins so.
_QUOTED: Final = re.compile(r"'[^'<]{2,}'")

# What nodes have that nobody gave a tag.
_UNTAGGED: Final = frozenset(
    {
        *(tag for tags in yaml.SafeLoader.yaml_implicit_resolvers.values() for tag, _ in tags),
        *(f"tag:yaml.org,2002:{name}" for name in ("str", "seq", "map")),
    }
)
_TAG: Final = "has a tag, which begins with an exclamation mark; remove it, or put the value in quotes"

# A few kilobytes of aliases may name millions of values, so what they name counts each time: keys, values and items of
# lists by their text, and each as so many characters more.
_MOST: Final = 1_000_000  # characters
_EACH: Final = 50
_TOO_MUCH: Final = (
    "holds more than 10,000 values or 1 MB of text, what an alias (*) names counted each time; shorten it"
)


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


class Shape(NamedTuple):
    """Which paths hold keys (`sections`), and which a list of things that do (`lists`): `routes[].retry`, `routes`."""

    sections: frozenset[str]
    lists: frozenset[str]


class Contents(NamedTuple):
    """What a file holds: `items` are those of its lists, `routes[0]`, each with its line."""

    entries: list[Entry]
    items: dict[str, int]
    faults: list[Fault]


class _TooMuchError(Exception):
    """There is more in the file than anybody means to say."""


def read_yaml(file: Path, shape: Shape) -> Contents:
    """Every entry of the file, and what is wrong with its form. Raises `OSError` when the file cannot be read."""
    contents = Contents([], {}, [])
    try:
        root = yaml.compose(file.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except UnicodeDecodeError:
        fault = Fault("", "", "is not UTF-8 text; save it as UTF-8", 0)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        said = _QUOTED.sub("…", error.problem or "")
        fault = Fault("", "", f"is not YAML: {said}; look at this line and the one above", line)
    except yaml.YAMLError as error:
        fault = Fault("", "", f"is not YAML: {' '.join(str(error).split())}; save it as plain text", 0)
    else:
        try:
            if root is not None:
                _Walk(shape, contents).section(root, "", "")
            return contents
        except _TooMuchError:
            fault = Fault("", "", _TOO_MUCH, 0)
    return Contents([], {}, [fault])


class _Walk:
    """One walk over the node tree. It goes as deep as the shape does, so anchors cannot lead it in a circle.

    `path` is where it is, `routes[0].retry`; `form` the same as the shape has it, `routes[].retry`.
    """

    def __init__(self, shape: Shape, contents: Contents) -> None:
        self._shape = shape
        self._found = contents
        self._left = _MOST

    def _count(self, node: Node) -> None:
        self._left -= _EACH + (len(node.value) if isinstance(node, ScalarNode) else 0)
        if self._left < 0:
            raise _TooMuchError

    def section(self, node: Node, path: str, form: str) -> None:
        if _tagged(node):
            self._fault(path, node, _TAG)
            return
        if _empty(node):  # a section with all its lines commented out
            return
        if not isinstance(node, MappingNode):
            what = "holds one value, not keys" if isinstance(node, ScalarNode) else "is a list"
            self._fault(path, node, f"{what}; write lines of the form key: value")
            return
        seen: dict[str, int] = {}
        for key_node, value in node.value:
            self._count(key_node)
            key, line = _text(key_node), _line(key_node)
            child = f"{path}.{key}" if path else key
            if key in seen:
                wrong = f"is given twice (first in line {seen[key]}); keep one"
                self._found.faults.append(Fault(child, "", wrong, line))
                continue
            seen[key] = line
            if ":" in key:  # `{token:secret}`: what stands behind the colon is not shown
                wrong = "is not one key; put a space behind the colon"
                self._found.faults.append(Fault(child.partition(":")[0], "", wrong, line))
                continue
            if _tagged(key_node):
                self._found.faults.append(Fault(child, "", _TAG, line))
                continue
            if "." in key or "[" in key:  # would pass for the path of something else
                wrong = "is not one key; write each part in a line of its own, the inner ones indented"
                self._found.faults.append(Fault(child, "", wrong, line))
                continue
            self._value(value, child, f"{form}.{key}" if form else key, line)

    def _value(self, node: Node, path: str, form: str, line: int) -> None:
        if form in self._shape.sections:
            self.section(node, path, form)
        elif form in self._shape.lists:
            self._list(node, path, form)
        else:
            self._entry(path, node, line)

    def _list(self, node: Node, path: str, form: str) -> None:
        if _tagged(node):
            self._fault(path, node, _TAG)
            return
        if _empty(node):
            return
        if not isinstance(node, SequenceNode):
            what = "holds one value" if isinstance(node, ScalarNode) else "holds keys"
            self._fault(path, node, f"{what}, not a list; begin each item with a dash: - name: value")
            return
        for index, item in enumerate(node.value):
            self._count(item)
            place = f"{path}[{index}]"
            self._found.items[place] = _line(item)
            self.section(item, place, f"{form}[]")

    def _entry(self, path: str, node: Node, line: int) -> None:
        texts = node.value if isinstance(node, SequenceNode) else [node]
        for text in texts:
            self._count(text)
        if _tagged(node) or any(map(_tagged, texts)):
            entry = Entry(path, _text(node), line, _TAG)
        elif _empty(node):
            wrong = "has no value; give one, or remove the line for the default"
            entry = Entry(path, "", line, wrong)
        elif isinstance(node, ScalarNode):
            entry = Entry(path, node.value, line)
        elif all(isinstance(item, ScalarNode) for item in texts):
            entry = Entry(path, [item.value for item in texts], line)
        else:
            entry = Entry(path, _text(node), line, "holds more than plain values; write it in one line")
        self._found.entries.append(entry)

    def _fault(self, path: str, node: Node, wrong: str) -> None:
        # Where keys are wanted, `token:secret` without a space is a value: it is not shown.
        shown = "…" if isinstance(node, ScalarNode) else _text(node)
        self._found.faults.append(Fault(path, shown, wrong, _line(node)))


def _empty(node: Node) -> bool:
    return isinstance(node, ScalarNode) and node.style is None and node.value in ("", "~", "null")


def _tagged(node: Node) -> bool:
    return node.tag not in _UNTAGGED


def _text(node: Node) -> str:
    if isinstance(node, ScalarNode):
        return str(node.value)
    return "{…}" if isinstance(node, MappingNode) else "[…]"


def _line(node: Node) -> int:
    return int(node.start_mark.line) + 1
