"""The sidecar put into one workload's pod, and taken out of it. Pure: gives edits, and says what it cannot do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from sidecar.address import UpstreamAddress, parse_listen, parse_upstream
from sidecar.inject import grace, record, tree
from sidecar.inject.container import NAME, VOLUME, container, volume
from sidecar.inject.edits import Edit, add_entries, add_item, cut, fill, offset_of, set_scalar
from sidecar.inject.grace import Ending
from sidecar.inject.objects import Workload, pod_spec
from sidecar.inject.options import CLASSIC, NATIVE, OPT_OUT, Chosen
from sidecar.inject.record import Change, Record
from sidecar.inject.tree import MappingNode, Node, SequenceNode

GRACE: Final = "terminationGracePeriodSeconds"

_SLEEP: Final = re.compile(r"(?:.*\s)?sleep\s+([0-9]+)s?\s*;?")
TO_COMPLETION: Final = frozenset({"Job", "CronJob"})


class CannotError(Exception):
    """This workload gets no sidecar; each of `reasons` is a sentence that begins with where."""

    def __init__(self, *reasons: str) -> None:
        super().__init__("; ".join(reasons))
        self.reasons = reasons


class Injection(NamedTuple):
    """What puts the sidecar in. `ports` are the numbers and names that the application's port has in the pod."""

    edits: list[Edit]
    notes: list[str]
    ports: frozenset[str]
    listen: int


def inject(text: str, workload: Workload, chosen: Chosen) -> Injection:
    """The edits that put the sidecar into a pod without one. Raises `CannotError` and `StyleError`."""
    spec = pod_spec(workload)
    assert isinstance(spec, MappingNode)
    ending = _ending(spec, chosen)
    upstream = _checked(workload, spec, chosen, ending)
    values: dict[str, Any] = {"volumes": volume(chosen)}
    values["initContainers" if chosen["mode"] == NATIVE else "containers"] = container(chosen, str(upstream))
    added: dict[str, Any] = {}
    changes: dict[str, Change] = {}
    edits: list[Edit] = []
    raised = ending.needed > _grace(spec)
    was = tree.entry(spec, GRACE)
    if raised and was is None:
        added[GRACE] = ending.needed
        changes[GRACE] = Change(None, str(ending.needed))
    elif raised and was is not None:
        edits.append(set_scalar(was, str(ending.needed)))
        changes[GRACE] = Change(text[edits[0].start : edits[0].end], edits[0].text)
    for key, value in values.items():
        found = tree.entry(spec, key)
        if value is not None and found is None:
            added[key] = [value]
        elif value is not None and found is not None:
            edits.append(_first(text, spec, key, found, value))
    if added:
        edits.append(add_entries(text, spec, added, "containers", offset_of(text, spec, "containers")))
    done = Record(changes, tuple(key for key in values if key in added))
    edits.append(record.write(text, workload.template, done))
    notes = [*_hints(workload, spec, ending), *([_raised(workload, spec, ending)] if raised else [])]
    return Injection(edits, notes, _names(spec, upstream.port), parse_listen(chosen["listen"]).port)


def remove(text: str, workload: Workload) -> tuple[list[Edit], list[str]]:
    """The edits that take out what was injected, and what stays; nothing where there was no injection."""
    done, spec = record.read(workload.template), pod_spec(workload)
    if done is None or spec is None:
        return [], []
    edits, notes = [record.erase(text, workload.above, done)], []
    for listed, item in _ours(spec):
        edits.append(cut(text, [*workload.above, spec, listed], item, done.made))
    change, found = done.was.get(GRACE), tree.entry(spec, GRACE)
    if change is not None and found is not None:
        if tree.text(found[1]) != change.now:
            notes.append(f"{workload.at(f'spec.{GRACE}')}: was {change.now} and has been changed since; left as it is")
        elif change.was is None:
            edits.append(cut(text, [*workload.above, spec], found[1]))
        else:
            edits.append(set_scalar(found, change.was))
    return edits, notes


def _ours(spec: Node) -> list[tuple[Node, Node]]:
    """The lists with what was put into them: the container, and the volume that it mounts.

    Where it mounts none, a volume of that name is somebody else's.
    """
    found = _named(spec, "initContainers", NAME) + _named(spec, "containers", NAME)
    mounts = [mount for _, one in found for mount in tree.items(tree.find(one, "volumeMounts"))]
    mounted = any(tree.text(tree.find(mount, "name")) == VOLUME for mount in mounts)
    return found + (_named(spec, "volumes", VOLUME)[:1] if mounted else [])


def _named(spec: Node, key: str, name: str) -> list[tuple[Node, Node]]:
    """The list that the pod has itself under this key, with each item of this name."""
    listed = tree.entry(spec, key)
    if listed is None:
        return []
    return [(listed[1], item) for item in tree.items(listed[1]) if tree.text(tree.find(item, "name")) == name]


def _first(text: str, spec: Node, key: str, found: tree.Pair, value: dict[str, Any]) -> Edit:
    if isinstance(found[1], SequenceNode):
        return add_item(text, found[1], value, offset_of(text, spec, key))
    return fill(text, found, [value])


def _checked(workload: Workload, spec: Node, chosen: Chosen, ending: Ending) -> UpstreamAddress:
    """Where the sidecar leads to, if nothing is in its way."""
    reasons = [*_obstacles(workload, spec, chosen), *_of_text(workload, chosen), *_of_time(workload, ending)]
    upstream = _upstream(spec, chosen)
    if upstream is None:
        where = workload.at("spec.containers")
        reasons.append(f"{where}: no containerPort says where the application listens; give --upstream")
    elif upstream.unix:
        reasons.append(f"{workload.at('spec')}: a socket as upstream needs a volume that both containers mount")
    if reasons or upstream is None:
        raise CannotError(*reasons)
    return upstream


def _raised(workload: Workload, spec: Node, ending: Ending) -> str:
    return f"{workload.at(f'spec.{GRACE}')}: raised from {_grace(spec)} to {ending.needed} seconds"


def _obstacles(workload: Workload, spec: Node, chosen: Chosen) -> Iterator[str]:
    if tree.text(tree.find(spec, "hostNetwork")) == "true":
        yield (
            f"{workload.at('spec.hostNetwork')}: the pod has the node's network, so its ports would be the node's; "
            f'say {OPT_OUT}: "false" to leave it alone'
        )
    if chosen["mode"] == CLASSIC and workload.kind in TO_COMPLETION:
        yield f"{workload.at('spec')}: a {workload.kind} never ends beside a classic sidecar; use mode native"
    listen, admin = parse_listen(chosen["listen"]), parse_listen(chosen["admin"])
    for name, address in (("listen", listen), ("admin", admin)):
        if address.unix or address.port == 0 or (address.loopback and name == "listen"):
            yield f"{workload.at('spec')}: --{name} {address} cannot be reached from outside the pod; write :PORT"
    for path, one in _containers(spec):
        if tree.text(tree.find(one, "name")) == NAME:
            yield f"{workload.at(path)}: has a container {NAME} that was not injected; take it out, or rename it"
        for port in _ports(one):
            if port in (str(listen.port), str(admin.port)):
                yield f"{workload.at(f'{path}.ports')}: uses port {port} itself; give --listen and --admin others"
    for number, one in enumerate(tree.items(tree.find(spec, "volumes")) if chosen["config-map"] else ()):
        if tree.text(tree.find(one, "name")) == VOLUME:
            where = workload.at(f"spec.volumes[{number}]")
            yield f"{where}: is a volume {VOLUME} that was not injected; rename it, or give no --config-map"


def _of_text(workload: Workload, chosen: Chosen) -> Iterator[str]:
    """What is put into a text that is another's too would be put into that other."""
    changed = [("spec", "initContainers" if chosen["mode"] == NATIVE else "containers"), ("metadata", "annotations")]
    if chosen["config-map"]:
        changed.append(("spec", "volumes"))
    above = tree.elsewhere(workload.above[-1 - len(workload.keys)], *workload.keys)
    if above:
        yield f"{workload.at('spec')}: {above} is an alias (*) or merged (<<); write it out"
    for path in changed:
        if tree.elsewhere(workload.template, *path):
            yield f"{workload.at('.'.join(path))}: is an alias (*) or merged (<<); write it out"


def _of_time(workload: Workload, ending: Ending) -> Iterator[str]:
    if ending.timeout < ending.least_timeout:
        yield (
            f"{workload.at('spec')}: in classic mode the sidecar would end {ending.delay + ending.timeout:g} seconds "
            f"after the pod is told to, the application after up to {ending.pre_stop + ending.app_drain:g}; "
            f"give --drain-timeout {ending.least_timeout}s, or a shorter --app-drain"
        )


def _hints(workload: Workload, spec: Node, ending: Ending) -> Iterator[str]:
    if workload.kind in TO_COMPLETION:
        return
    for number, one in enumerate(tree.items(tree.find(spec, "containers"))):
        hook = tree.find(one, "lifecycle", "preStop")
        if _ports(one) and (hook is None or 0 < _sleep(hook) < ending.least_pre_stop):
            yield (
                f"{workload.at(f'spec.containers[{number}].lifecycle.preStop')}: until every load balancer knows that "
                "the pod leaves, new requests would meet an application that has stopped listening; let it sleep "
                f"{ending.least_pre_stop} seconds"
            )


def _containers(spec: Node) -> Iterator[tuple[str, Node]]:
    for key in ("initContainers", "containers"):
        for number, one in enumerate(tree.items(tree.find(spec, key))):
            yield f"spec.{key}[{number}]", one


def _ports(one: Node) -> list[str]:
    return [tree.text(tree.find(port, "containerPort")) for port in tree.items(tree.find(one, "ports"))]


def _upstream(spec: Node, chosen: Chosen) -> UpstreamAddress | None:
    if chosen["upstream"]:
        return parse_upstream(chosen["upstream"])
    for one in tree.items(tree.find(spec, "containers")):
        for port in _ports(one):
            if port.isascii() and port.isdigit():
                return UpstreamAddress("127.0.0.1", int(port))
    return None


def _names(spec: Node, upstream: int) -> frozenset[str]:
    """What a Service may call the application's port."""
    names = {str(upstream)}
    for one in tree.items(tree.find(spec, "containers")):
        for port in tree.items(tree.find(one, "ports")):
            if tree.text(tree.find(port, "containerPort")) == str(upstream):
                names.add(tree.text(tree.find(port, "name")))
    return frozenset(names - {""})


def _grace(spec: Node) -> int:
    said = tree.text(tree.find(spec, GRACE))
    return int(said) if said.isascii() and said.isdigit() else grace.DEFAULT


def _ending(spec: Node, chosen: Chosen) -> Ending:
    sleeps = (_sleep(tree.find(one, "lifecycle", "preStop")) for one in tree.items(tree.find(spec, "containers")))
    return Ending(
        native=chosen["mode"] == NATIVE,
        pre_stop=max(sleeps, default=0),
        app_drain=chosen.seconds("app-drain"),
        delay=chosen.seconds("drain-delay"),
        timeout=chosen.seconds("drain-timeout"),
    )


def _sleep(hook: Node | None) -> int:
    """How long a preStop hook sleeps, where that can be seen."""
    said = tree.text(tree.find(hook, "sleep", "seconds"))
    if said.isascii() and said.isdigit():
        return int(said)
    command = " ".join(map(tree.text, tree.items(tree.find(hook, "exec", "command"))))
    match = _SLEEP.fullmatch(command)
    return int(match[1]) if match else 0
