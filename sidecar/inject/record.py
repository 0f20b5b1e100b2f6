"""What an injection did that its result does not show: kept as an annotation, so that it can be undone.

    sidecar/injected: '{"version":"0.1.0","was":{"terminationGracePeriodSeconds":["30","45"]}}'

Each change of a value is kept as the text that was there, None for nothing, and the text that is there now.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final, NamedTuple

from sidecar import __version__
from sidecar.inject import tree
from sidecar.inject.edits import Edit, add_entries, cut, fill
from sidecar.inject.options import RECORD
from sidecar.inject.tree import MappingNode, Node


class Change(NamedTuple):
    """A value that was changed."""

    was: str | None
    now: str


Changes = Mapping[str, Change]

_NO_CHANGES: Final[Changes] = {}


def read(holder: Node) -> Changes | None:
    """The changes that are recorded in the metadata of this node; None where nothing was injected."""
    said = tree.texts(tree.find(holder, "metadata", "annotations")).get(RECORD)
    if said is None:
        return None
    try:
        return {name: Change(*change) for name, change in json.loads(said)["was"].items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        return _NO_CHANGES  # somebody has edited it: what stands there now stays


def write(text: str, holder: Node, changes: Changes) -> Edit:
    """Record the changes in the metadata of this node."""
    record = {RECORD: json.dumps({"version": __version__, "was": changes}, separators=(",", ":"))}
    for parent, key, missing, before in (
        (holder, "metadata", {"metadata": {"annotations": record}}, "spec"),
        (tree.find(holder, "metadata"), "annotations", {"annotations": record}, ""),
    ):
        assert isinstance(parent, MappingNode)
        found = tree.entry(parent, key)
        if found is None:
            return add_entries(text, parent, missing, before)
        if tree.null(found[1]):
            return fill(text, found, missing[key])
    annotations = tree.find(holder, "metadata", "annotations")
    assert isinstance(annotations, MappingNode)
    return add_entries(text, annotations, record)


def erase(text: str, above: list[Node]) -> Edit:
    """Take the record out of the last of these nodes."""
    metadata = tree.find(above[-1], "metadata")
    annotations = tree.find(metadata, "annotations")
    found = tree.entry(annotations, RECORD)
    assert metadata is not None
    assert annotations is not None
    assert found is not None
    return cut(text, [*above, metadata, annotations], found[1])
