"""The workloads and Services of a stream, wherever they stand in it. Reads nodes, decides nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from sidecar.inject import tree
from sidecar.inject.tree import Node

# Where a workload keeps its pod's metadata and spec, and the API that its kind is of: other APIs have kinds of the
# same name.
_WORKLOADS: Final = {
    "Pod": ("v1", ()),
    "ReplicationController": ("v1", ("spec", "template")),
    "Deployment": ("apps|extensions", ("spec", "template")),
    "StatefulSet": ("apps", ("spec", "template")),
    "DaemonSet": ("apps|extensions", ("spec", "template")),
    "ReplicaSet": ("apps|extensions", ("spec", "template")),
    "Job": ("batch", ("spec", "template")),
    "CronJob": ("batch", ("spec", "jobTemplate", "spec", "template")),
}

_NESTED: Final = 8  # lists within lists that are looked into


class Place(NamedTuple):
    """Where something stands: the document's number, the path within it, and what is at it, for messages."""

    document: int
    path: str
    what: str
    line: int

    def __str__(self) -> str:
        return f"document {self.document}, {self.what}, line {self.line}"

    def at(self, *keys: str) -> str:
        """The place and a path within what is there."""
        return f"{self}: {'.'.join(part for part in (self.path, *keys) if part)}"


class Workload(NamedTuple):
    """A pod, or what makes pods. `above` are the nodes from the document's root down to `template`."""

    place: Place
    kind: str
    above: list[Node]
    keys: tuple[str, ...]  # from the object down to its template
    annotations: Mapping[str, str]
    labels: Mapping[str, str]
    namespace: str

    @property
    def template(self) -> Node:
        """What holds the pod's metadata and spec."""
        return self.above[-1]

    def at(self, inner: str) -> str:
        """The place and a path within the template."""
        return self.place.at(*self.keys, inner)


class Fragment(NamedTuple):
    """A workload without what makes its pods, as a patch may be. `keys` lead to the first that is missing.

    `above` are the nodes from the document's root down to the object.
    """

    place: Place
    above: list[Node]
    keys: tuple[str, ...]
    annotations: Mapping[str, str]

    def at(self, inner: str) -> str:
        """The place and a path within the object."""
        return self.place.at(inner)


class Service(NamedTuple):
    """A Service that selects pods."""

    place: Place
    above: list[Node]
    selector: Mapping[str, str]
    namespace: str
    headless: bool  # its name stands for the pods themselves, and nothing translates ports

    def selects(self, workload: Workload) -> bool:
        """Whether the pods of the workload are its own."""
        return self.namespace == workload.namespace and self.selector.items() <= workload.labels.items()


def objects(roots: list[Node | None]) -> Iterator[Workload | Fragment | Service]:
    """Every one of the stream, each node once: what an alias shows a second time is the same text."""
    seen: set[int] = set()
    for number, root in enumerate(roots, 1):
        for above, path in _listed([root] if root is not None else [], "", _NESTED):
            found = _read(number, above, path)
            if found is not None and id(found.above[-1]) not in seen:
                seen.add(id(found.above[-1]))
                yield found


def pod_spec(workload: Workload) -> Node | None:
    """What says which containers there are."""
    return tree.find(workload.template, "spec")


def _listed(above: list[Node], path: str, depth: int) -> Iterator[tuple[list[Node], str]]:
    if not above:
        return
    root = above[-1]
    if not (tree.text(tree.find(root, "kind")).endswith("List") and depth):
        yield above, path
        return
    listed = tree.find(root, "items")
    for number, item in enumerate(tree.items(listed)):
        assert listed is not None
        yield from _listed([*above, listed, item], f"{path}.items[{number}]".lstrip("."), depth - 1)


def _read(document: int, above: list[Node], path: str) -> Workload | Fragment | Service | None:
    root = above[-1]
    kind, api = tree.text(tree.find(root, "kind")), tree.text(tree.find(root, "apiVersion"))
    metadata = tree.find(root, "metadata")
    name = tree.text(tree.find(metadata, "name")) or tree.text(tree.find(metadata, "generateName")) or "(no name)"
    place = Place(document, path, f"{kind}/{name}", tree.line(root))
    namespace = tree.text(tree.find(metadata, "namespace"))
    if kind == "Service" and api == "v1":
        selector = tree.texts(tree.find(root, "spec", "selector"))
        headless = tree.text(tree.find(root, "spec", "clusterIP")) == "None"
        return Service(place, above, selector, namespace, headless) if selector else None
    known, inner = _WORKLOADS.get(kind, ("", ()))
    if not known or not re.fullmatch(known, api.partition("/")[0]):
        return None
    annotations = tree.texts(tree.find(metadata, "annotations"))
    whole = above
    for number, key in enumerate(inner, 1):
        below = tree.find(above[-1], key)
        if below is None:
            return Fragment(place, whole, inner[:number], annotations)
        above = [*above, below]
    own = tree.find(above[-1], "metadata")
    annotations |= tree.texts(tree.find(own, "annotations"))
    return Workload(place, kind, above, inner, annotations, tree.texts(tree.find(own, "labels")), namespace)
