"""A whole stream: the sidecar put into every pod of it, or taken out of all. Pure: text in, text out.

What was injected before is taken out first. So doing it twice is doing it once, and a changed flag changes what stands
there. A stream in which anything is wrong gets no sidecar at all: half a stream applied is worse than none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from sidecar.inject import pods, services, tree
from sidecar.inject.edits import Edit, StyleError, apply
from sidecar.inject.objects import Fragment, Service, Workload, objects, pod_spec
from sidecar.inject.options import Chosen, from_annotations, opted_out
from sidecar.inject.tree import StreamError

_SHOWN: Final = 100  # characters of a line
# What is meant to be so, and what makes it so by mistake.
_WHOLE: Final = ", as patches are; in a whole workload, look at the indentation"


class Result(NamedTuple):
    """The new text, and what to know of it; or `problems`, and then the text is the old one."""

    text: str
    notes: list[str]
    problems: list[str]


def inject(text: str, flags: Mapping[str, str]) -> Result:
    """Put the sidecar into every pod of the stream. `flags` are good values by name of option."""
    try:
        base, notes = _without(text)
        found = list(objects(tree.documents(base)))
        edits, told, problems = _everywhere(base, found, flags)
        if problems:
            return Result(text, [], problems)
        return _checked(base, apply(base, edits), notes + told)
    except (StreamError, StyleError) as error:
        return Result(text, [], [str(error)])


def uninject(text: str) -> Result:
    """Take the sidecar out of every pod of the stream."""
    try:
        return Result(*_without(text), [])
    except StreamError as error:
        return Result(text, [], [str(error)])


def _without(text: str) -> tuple[str, list[str]]:
    edits: list[Edit] = []
    notes: list[str] = []
    for one in objects(tree.documents(text)):
        if isinstance(one, Fragment):
            continue
        undone = pods.remove(text, one) if isinstance(one, Workload) else services.restore(text, one)
        edits += undone[0]
        notes += undone[1]
    return apply(text, edits), notes


def _everywhere(
    text: str, found: list[Workload | Fragment | Service], flags: Mapping[str, str]
) -> tuple[list[Edit], list[str], list[str]]:
    """The edits for all of these, notes and problems."""
    edits: list[Edit] = []
    notes: list[str] = []
    problems: list[str] = []
    injected: list[tuple[Workload, pods.Injection]] = []
    workloads = [one for one in found if isinstance(one, Workload)]
    for workload in found:
        if isinstance(workload, Service):
            continue
        try:
            made = _injection(text, workload, flags, notes)
        except pods.CannotError as error:
            problems += error.reasons
            continue
        if made is None or isinstance(workload, Fragment):
            continue
        injected.append((workload, made))
        edits += made.edits
        notes += made.notes
    services = [one for one in found if isinstance(one, Service)]
    return [*edits, *_lead(text, services, workloads, injected, notes)], notes, problems


def _injection(
    text: str, workload: Workload | Fragment, flags: Mapping[str, str], notes: list[str]
) -> pods.Injection | None:
    """What puts the sidecar into a workload; None where it wants none, or has no pod."""
    try:
        if opted_out(workload.annotations):
            return None
    except ValueError as error:
        raise pods.CannotError(f"{workload.at('metadata')}: {error}") from None
    values, wrong = from_annotations(workload.annotations)
    if wrong:
        raise pods.CannotError(*(f"{workload.at('metadata')}: {each}" for each in wrong))
    if isinstance(workload, Fragment):
        notes.append(f"{workload.place.at(*workload.keys)}: there is none here; left alone{_WHOLE}")
        return None
    if not tree.items(tree.find(pod_spec(workload), "containers")):
        notes.append(f"{workload.at('spec.containers')}: there are none here; left alone{_WHOLE}")
        return None
    try:
        return pods.inject(text, workload, Chosen(flags, values))
    except StyleError as error:
        raise pods.CannotError(f"{workload.place}: {error}") from None


def _lead(
    text: str,
    found: list[Service],
    workloads: list[Workload],
    injected: list[tuple[Workload, pods.Injection]],
    notes: list[str],
) -> list[Edit]:
    """The edits that lead Services to the sidecars; says which pods no Service here leads to."""
    edits: list[Edit] = []
    led: set[int] = set()
    for service in found:
        mine = [(number, made) for number, (workload, made) in enumerate(injected) if service.selects(workload)]
        if not mine:
            continue
        ports = frozenset[str]().union(*(made.ports for _, made in mine))
        listens = {made.listen for _, made in mine}
        if len(mine) < sum(map(service.selects, workloads)) or len(listens) > 1:
            notes.append(f"{service.place}: selects pods with and without this sidecar; its targetPort stays as it is")
            continue
        try:
            redirection = services.redirect(text, service, ports, min(listens))
        except StyleError as error:
            raise StyleError(f"{service.place}: {error}") from None
        edits += redirection.edits
        if redirection.edits:
            notes.append(f"{service.place}: targetPort is {min(listens)} now, the sidecar's")
        if service.headless:
            notes.append(
                f"{service.place}: is headless (clusterIP: None), and nothing translates its ports: "
                f"clients have to use port {min(listens)}"
            )
        elif redirection.found:
            led.update(number for number, _ in mine)
    notes += [
        f"{workload.place}: no Service here leads to it; give its Service targetPort {made.listen}"
        for number, (workload, made) in enumerate(injected)
        if number not in led and made.ports and workload.kind not in pods.TO_COMPLETION
    ]
    return edits


def _checked(base: str, made: str, notes: list[str]) -> Result:
    """The result, having seen that it can be read, and whether it can be undone."""
    restored, _ = _without(made)
    if restored != base:
        notes = [*notes, "--uninject will not restore this stream byte for byte: " + _difference(base, restored)]
    return Result(made, notes, [])


def _difference(one: str, other: str) -> str:
    lines, others = one.splitlines(), other.splitlines()
    for number, (line, counterpart) in enumerate(zip(lines, others, strict=False), 1):
        if line != counterpart:
            return f"line {number}, {line.strip()[:_SHOWN]!r}, will be {counterpart.strip()[:_SHOWN]!r}"
    return f"it will have {len(others)} lines in place of {len(lines)}"
