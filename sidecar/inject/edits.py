"""Changes to a YAML text at the places that its nodes name, each with its exact inverse. Pure.

What goes in goes in before a key or an item of block style, with a line break and the indentation after it; before one
of flow style, with a comma; or as lines below a scalar. `cut` takes out just that. So nothing else moves, wherever
comments and blank lines stand, whatever ends the lines and the file.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import Any, Final, NamedTuple

from sidecar.inject import emit, tree
from sidecar.inject.tree import MappingNode, Node, SequenceNode

_DASH: Final = re.compile(r"^[ ]*(-)(?=\s)", re.MULTILINE)
_REST: Final = re.compile(r"[ \t]*(#[^\r\n]*)?(\r\n|\n|\r)")
_LINE: Final = re.compile(r"[^\r\n]*")
_COMMENT: Final = re.compile(r"( *)#")


class StyleError(Exception):
    """The text is written in a way that nothing can be inserted into; one sentence."""


class Edit(NamedTuple):
    """Put `text` in the place of what is from `start` to `end`."""

    start: int
    end: int
    text: str


def apply(text: str, edits: Iterable[Edit]) -> str:
    """The text with these changes; those at the same place in the order in which they come."""
    pieces, done = [], 0
    for edit in sorted(edits, key=lambda edit: (edit.start, edit.end)):
        pieces += [text[done : edit.start], edit.text]
        done = edit.end
    return "".join([*pieces, text[done:]])


def newline(text: str) -> str:
    """What ends the lines of a text: what ends its first."""
    at = text.find("\n")
    return "\r\n" if at > 0 and text[at - 1] == "\r" else "\n"


def add_entries(text: str, mapping: MappingNode, values: dict[str, Any], before: str = "", offset: int = 0) -> Edit:
    """Give a mapping these entries, before its key `before` or else its first; above the comments of that key.

    Raises `StyleError`, as all that add do.
    """
    if tree.flow(mapping):
        return _into_flow(text, mapping, ", ".join(f"{emit.flow(key)}: {emit.flow(values[key])}" for key in values))
    keys = [key for key, _ in tree.pairs(mapping)]
    place = next((number for number, key in enumerate(keys) if key.value == before), 0)
    above = tree.end(mapping.value[place - 1][1]) if place else 0
    return _into_block(text, tree.start(keys[place]), emit.block(values, offset), above)


def add_after(text: str, mapping: MappingNode, key: str, values: dict[str, Any]) -> Edit:
    """Give a mapping these entries, in the lines below the scalar that `key` has; within brackets, before it."""
    if tree.flow(mapping):
        return add_entries(text, mapping, values)
    found = tree.entry(mapping, key)
    assert found is not None
    node, value = _own(found)
    place = _LINE.match(text, tree.end(value))
    assert place is not None
    end = newline(text) + " " * int(node.start_mark.column)
    return Edit(place.end(), place.end(), "".join(end + line for line in emit.block(values, 0)))


def add_item(text: str, sequence: SequenceNode, value: dict[str, Any], offset: int = 0) -> Edit:
    """Give a sequence this first item."""
    if tree.flow(sequence):
        return _into_flow(text, sequence, emit.flow(value))
    return _into_block(text, _dash(text, sequence, 0), emit.item(value, offset), 0)


def fill(text: str, pair: tree.Pair, value: object) -> Edit:
    """Give a key a value that has none."""
    key, nothing = pair
    if tree.end(nothing) > tree.start(nothing):
        return Edit(tree.start(nothing), tree.end(nothing), emit.flow(value))
    place = text.index(":", tree.end(key)) + 1
    return Edit(place, place, " " + emit.flow(value))


def set_scalar(pair: tree.Pair, source: str) -> Edit:
    """Write `source` in place of the scalar that a key has."""
    _, value = _own(pair)
    return Edit(tree.start(value), tree.end(value), source)


def cut(text: str, parents: list[Node], child: Node, made: Collection[str] = ()) -> Edit:
    """Take a child, a mapping's value or a sequence's item, out of the last of its parents.

    Where that leaves the parent without anything, it goes as well, if its key is one of those that were `made`, or if
    it is a block, which cannot be empty.
    """
    *above, parent = parents
    if len(parent.value) == 1 and above and (not tree.flow(parent) or _key_of(above[-1], parent) in made):
        return cut(text, above, parent, made)
    begin, finish = _span(text, parent, child)
    return _from_flow(parent, child, begin, finish) if tree.flow(parent) else _from_block(text, begin, finish)


def offset_of(text: str, mapping: Node, key: str) -> int:
    """How far right of its key the dashes of this list stand; 0 where it is not a list of block style."""
    found = tree.entry(mapping, key)
    if found is None or not isinstance(found[1], SequenceNode) or tree.flow(found[1]) or not found[1].value:
        return 0
    return 2 if _column(text, _dash(text, found[1], 0)) > int(found[0].start_mark.column) else 0


def _own(pair: tree.Pair) -> tree.Pair:
    """The entry, whose scalar is no other's."""
    key, value = pair
    if value.anchor:
        raise StyleError(f"line {tree.line(key)}: {key.value} shares its value by an anchor or alias; write it out")
    return pair


def _into_block(text: str, place: int, lines: list[str], above: int) -> Edit:
    column = _column(text, place)
    if text[place - column : place].rstrip().endswith("?"):
        line = text.count("\n", 0, place) + 1
        raise StyleError(f"line {line}: has its key behind a question mark, where nothing can be inserted; write KEY:")
    place = _above_comments(text, place, column, above)
    end = newline(text) + " " * column
    return Edit(place, place, end.join(lines) + end)


def _above_comments(text: str, place: int, column: int, above: int) -> int:
    """Where the comments begin that stand in the same column right above, none of them before `above`."""
    begin = place - column
    while begin > above and not text[begin:place].strip():
        previous = text.rfind("\n", 0, begin - 1) + 1
        comment = _COMMENT.match(text, previous, begin)
        if comment is None or len(comment[1]) != column or previous < above:
            break
        begin, place = previous, previous + column
    return place


def _into_flow(text: str, node: Node, added: str) -> Edit:
    if not node.value:
        place = tree.end(node) - 1
        return Edit(place, place, added)
    first = node.value[0]
    place = tree.start(first[0] if isinstance(first, tuple) else first)
    lead = text[text.rfind("\n", 0, place) + 1 : place]
    separator = ", " if lead.strip() else "," + newline(text) + lead
    return Edit(place, place, added + separator)


def _key_of(parent: Node, child: Node) -> str:
    return next((tree.text(key) for key, value in tree.pairs(parent) if value is child), "")


def _span(text: str, parent: Node, child: Node) -> tuple[int, int]:
    """From where to where in the text a child stands, with its key or dash."""
    if isinstance(parent, MappingNode):
        key = next(key for key, value in parent.value if value is child)
        return tree.start(key), tree.end(child)
    place = next(number for number, node in enumerate(parent.value) if node is child)
    begin = tree.start(child) if tree.flow(parent) else _dash(text, parent, place)
    return begin, tree.end(child)


def _from_flow(parent: Node, child: Node, begin: int, finish: int) -> Edit:
    nodes = [pair if isinstance(pair, tuple) else (pair, pair) for pair in parent.value]
    place = next(number for number, (_, value) in enumerate(nodes) if value is child)
    if place + 1 < len(nodes):
        return Edit(begin, tree.start(nodes[place + 1][0]), "")
    if place:
        return Edit(tree.end(nodes[place - 1][1]), finish, "")
    return Edit(begin, finish, "")


def _from_block(text: str, begin: int, finish: int) -> Edit:
    while text[finish - 1] in "\r\n":  # a block scalar's end is behind its line's
        finish -= 1
    column = _column(text, begin)
    rest = _REST.match(text, finish)
    next_line = rest.end() if rest else len(text)
    if text[begin - column : begin].strip():
        # Behind a dash: what comes next takes its place.
        return Edit(begin, next_line + column, "")
    begin -= column
    if rest is None and begin:
        begin -= len(newline(text))
    return Edit(begin, next_line, "")


def _dash(text: str, sequence: Node, place: int) -> int:
    """Where the dash of an item of block style is."""
    if place:
        found = list(_DASH.finditer(text, tree.end(sequence.value[place - 1]), tree.start(sequence.value[place]) + 1))
        return found[0].start(1) if found else text.rfind("-", 0, tree.start(sequence.value[place]))
    begin = tree.start(sequence)
    if text[begin] == "-":
        return begin
    found_first = _DASH.search(text, begin)  # behind an anchor or a tag
    assert found_first is not None
    return found_first.start(1)


def _column(text: str, place: int) -> int:
    begin = text.rfind("\n", 0, place) + 1
    # A byte order mark takes no column.
    return place - begin - (begin == 0 and text.startswith("\ufeff"))
