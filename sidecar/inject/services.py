"""A Service's ports led to the sidecar, and back to the application. Pure: gives edits.

The number is written, not a name: a port's name is looked up in ordinary containers first, and by older control planes
in them alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from sidecar.inject import record, tree
from sidecar.inject.edits import Edit, add_after, cut, set_scalar
from sidecar.inject.objects import Service
from sidecar.inject.record import Change, Record
from sidecar.inject.tree import MappingNode, Node


class Redirection(NamedTuple):
    """What leads a Service to the sidecar; `found` = it has a port of the application, or of the sidecar already."""

    edits: list[Edit]
    found: bool


def redirect(text: str, service: Service, ports: frozenset[str], listen: int) -> Redirection:
    """Lead every port that goes to one of the application's `ports` to the sidecar's."""
    changes, edits, found = {}, [], False
    for number, port in _ports(service):
        target = tree.entry(port, "targetPort")
        said = tree.text(tree.find(port, "targetPort")) or number
        found = found or said == str(listen)
        if said not in ports or said == str(listen):
            continue
        found = True
        if target is None:
            edits.append(add_after(text, port, "port", {"targetPort": listen}))
            changes[number] = Change(None, str(listen))
        else:
            changes[number] = Change(text[tree.start(target[1]) : tree.end(target[1])], str(listen))
            edits.append(set_scalar(target, str(listen)))
    if edits:
        edits.append(record.write(text, service.above[-1], Record(changes)))
    return Redirection(edits, found)


def restore(text: str, service: Service) -> tuple[list[Edit], list[str]]:
    """Lead them back, and say which have been changed since."""
    root = service.above[-1]
    done = record.read(root)
    if done is None:
        return [], []
    edits, notes = [record.erase(text, service.above, done)], []
    parents = [*service.above, *_between(root)]
    for number, port in _ports(service):
        change, target = done.was.get(number), tree.entry(port, "targetPort")
        if change is None or target is None:
            continue
        if tree.text(target[1]) != change.now:
            notes.append(f"{service.place}: targetPort of port {number} has been changed since; left as it is")
        elif change.was is None:
            edits.append(cut(text, [*parents, port], target[1]))
        else:
            edits.append(set_scalar(target, change.was))
    return edits, notes


def _ports(service: Service) -> Iterator[tuple[str, MappingNode]]:
    """The ports over TCP, with their numbers."""
    for port in tree.items(tree.find(service.above[-1], "spec", "ports")):
        if isinstance(port, MappingNode) and tree.text(tree.find(port, "protocol")) in ("", "TCP"):
            yield tree.text(tree.find(port, "port")), port


def _between(root: Node) -> list[Node]:
    spec = tree.find(root, "spec")
    ports = tree.find(spec, "ports")
    return [node for node in (spec, ports) if node is not None]
