"""A YAML stream as nodes that know their places in the text. Reads, changes nothing; knows nothing of Kubernetes.

Nothing is built from the nodes: aliases are followed only along a path that is asked for, so that a file whose aliases
multiply costs no more than its text.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

__all__ = ["MappingNode", "Node", "ScalarNode", "SequenceNode"]

_MERGE: Final = "tag:yaml.org,2002:merge"
_NULL: Final = "tag:yaml.org,2002:null"

Pair = tuple[Node, Node]


class StreamError(Exception):
    """The text is no YAML; one sentence with the document's number and the line."""


def documents(text: str) -> list[Node | None]:
    """The root of each document, None where it is empty. Raises `StreamError`."""
    found: list[Node | None] = []
    try:
        found.extend(YAML(typ="safe", pure=True).compose_all(text))
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark is not None else ""
        raise StreamError(f"document {len(found) + 1}{where}: {error.problem or error.context}") from None
    except (YAMLError, RecursionError) as error:
        raise StreamError(f"document {len(found) + 1}: {str(error).splitlines()[0]}") from None
    return found


def pairs(node: Node | None) -> list[Pair]:
    """The entries that a mapping has itself; none of what is no mapping."""
    return list(node.value) if isinstance(node, MappingNode) else []


def items(node: Node | None) -> list[Node]:
    """The items of a sequence; none of what is no sequence."""
    return list(node.value) if isinstance(node, SequenceNode) else []


def entry(node: Node | None, key: str) -> Pair | None:
    """The entry that the mapping has itself under this key."""
    return next((pair for pair in pairs(node) if pair[0].value == key), None)


def find(node: Node | None, *path: str) -> Node | None:
    """What stands at this path, also where a merge (`<<`) brings it; None for nothing, and for an explicit null."""
    for key in path:
        node = _lookup(node, key)
    return None if node is None or node.tag == _NULL else node


def elsewhere(node: Node | None, *path: str) -> str:
    """The first part of this path that stands elsewhere, as an alias or a merge brings it; empty if none does."""
    for key in path:
        found, value = entry(node, key), find(node, key)
        if value is not None and (found is None or start(value) < end(found[0])):
            return key
        node = value
    return ""


def text(node: Node | None) -> str:
    """A scalar's text; empty for anything else."""
    return str(node.value) if isinstance(node, ScalarNode) else ""


def texts(node: Node | None) -> dict[str, str]:
    """A mapping of scalars."""
    found = [pair for source in reversed(list(_merging(node))) for pair in pairs(source) if pair[0].tag != _MERGE]
    return {text(key): text(value) for key, value in found}


def null(node: Node) -> bool:
    """Whether there is no value."""
    return bool(node.tag == _NULL)


def flow(node: Node) -> bool:
    """Whether a mapping or sequence stands in brackets."""
    return isinstance(node, MappingNode | SequenceNode) and bool(node.flow_style)


def line(node: Node) -> int:
    """The number of the line it begins in."""
    return int(node.start_mark.line) + 1


def start(node: Node) -> int:
    """Where in the text it begins, with its anchor and tag."""
    return int(node.start_mark.index)


def end(node: Node) -> int:
    """Where in the text its last character is, and one more: a block's own mark is at whatever comes next."""
    while not isinstance(node, ScalarNode) and not flow(node) and node.value:
        last = node.value[-1]
        node = last[1] if isinstance(last, tuple) else last
    return int(node.end_mark.index)


def _lookup(node: Node | None, key: str) -> Node | None:
    found = (entry(source, key) for source in _merging(node))
    return next((pair[1] for pair in found if pair is not None), None)


def _merging(node: Node | None) -> Iterator[Node]:
    """A mapping and what it merges, the one that wins first; each once, as merges may multiply or go in a circle."""
    seen: set[int] = set()
    waiting = [node] if node is not None else []
    while waiting:
        source = waiting.pop()
        if id(source) not in seen:
            seen.add(id(source))
            yield source
            waiting += reversed(_sources(source))


def _sources(node: Node) -> list[Node]:
    found: list[Node] = []
    for key, value in pairs(node):
        if key.tag == _MERGE:
            found += items(value) or [value]
    return found
