"""What an injection did that its result does not show: kept as an annotation, so that it can be undone.

    sidecar/injected: '{"version":"0.1.0","was":{"terminationGracePeriodSeconds":["30","45"]},"made":[]}'

`was`: each change of a value, as the text that was there, None for nothing, and the text that is there now. `made`: the
keys that had not been there; they go again, unless somebody has put something of his own under them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import NamedTuple

from sidecar import __version__
from sidecar.inject import tree
from sidecar.inject.edits import Edit, add_entries, cut, fill
from sidecar.inject.options import RECORD
from sidecar.inject.tree import MappingNode, Node


class Change(NamedTuple):
    """A value that was changed."""

    was: str | None
    now: str


class Record(NamedTuple):
    """What was done."""

    was: Mapping[str, Change]
    made: tuple[str, ...] = ()


def read(holder: Node) -> Record | None:
    """What is recorded in the metadata of this node; None where nothing was injected."""
    said = tree.texts(tree.find(holder, "metadata", "annotations")).get(RECORD)
    if said is None:
        return None
    try:
        record = json.loads(said)
        return Record({name: Change(*change) for name, change in record["was"].items()}, tuple(record["made"]))
    except (ValueError, KeyError, TypeError, AttributeError):
        return Record({})  # somebody has edited it: the values that stand there now stay


def write(text: str, holder: Node, record: Record) -> Edit:
    """Put the record into the metadata of this node, and of what is made for that."""
    metadata = tree.find(holder, "metadata")
    if metadata is None:
        return _make(text, holder, ("metadata", "annotations"), record, "spec")
    annotations = tree.find(metadata, "annotations")
    if annotations is None:
        return _make(text, metadata, ("annotations",), record, "")
    assert isinstance(annotations, MappingNode)
    return add_entries(text, annotations, _entry(record))


def erase(text: str, above: list[Node], record: Record) -> Edit:
    """Take the record out of the last of these nodes."""
    metadata = tree.find(above[-1], "metadata")
    annotations = tree.find(metadata, "annotations")
    found = tree.entry(annotations, RECORD)
    assert metadata is not None
    assert annotations is not None
    assert found is not None
    return cut(text, [*above, metadata, annotations], found[1], record.made)


def _make(text: str, parent: Node, keys: tuple[str, ...], record: Record, before: str) -> Edit:
    """Give the parent these keys, one within the other, and the record within them."""
    assert isinstance(parent, MappingNode)
    found = tree.entry(parent, keys[0])
    if found is None:
        record = record._replace(made=(*record.made, *keys))
    value: dict[str, object] = _entry(record)
    for key in reversed(keys[1:]):
        value = {key: value}
    if found is not None:
        return fill(text, found, value)
    return add_entries(text, parent, {keys[0]: value}, before)


def _entry(record: Record) -> dict[str, object]:
    said = {"version": __version__, "was": record.was, "made": record.made}
    return {RECORD: json.dumps(said, separators=(",", ":"))}
