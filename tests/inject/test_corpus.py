"""Manifests of many styles: what is put in is all that changes, once and not twice, and can be taken out again."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from sidecar.inject.stream import uninject
from tests.inject.support import MANIFESTS, injected, loaded, pods, refused

VARIANTS: dict[str, Callable[[str], str]] = {
    "as it is": lambda text: text,
    "Windows": lambda text: text.replace("\n", "\r\n"),
    "byte order mark": lambda text: "\ufeff" + text,
    "no last line end": lambda text: text.rstrip("\n"),
}

FLAGS: list[dict[str, str]] = [
    {},
    {"config_map": "settings", "image": "registry.example.com/sidecar@sha256:" + "0" * 64},
    {"mode": "classic", "config_map": "settings"},
]

every = pytest.mark.parametrize("file", MANIFESTS, ids=lambda file: str(file.name))
any_variant = pytest.mark.parametrize("variant", VARIANTS)


def text_of(file: Path, variant: str) -> str:
    """The manifest in this variant."""
    return VARIANTS[variant](file.read_text(encoding="utf-8"))


def possible(file: Path, flags: dict[str, str]) -> bool:
    """Whether this mode is allowed in these manifests: a Job would never end, an alias's list is another's too."""
    return flags.get("mode") != "classic" or file.name not in ("jobs.yaml", "anchors.yaml")


@every
@any_variant
def test_it_is_taken_out_byte_for_byte(file: Path, variant: str) -> None:
    """`--uninject` gives back what there was, and leaves what was never injected."""
    text = text_of(file, variant)
    made = injected(text)
    assert made != text
    assert uninject(made) == (text, [], [])
    assert uninject(text) == (text, [], [])


@every
@pytest.mark.parametrize("flags", FLAGS[1:], ids=["config map", "classic"])
def test_whatever_was_asked_for_is_taken_out(file: Path, flags: dict[str, str]) -> None:
    """The same with a volume, and in classic mode."""
    text = file.read_text(encoding="utf-8")
    if not possible(file, flags):
        assert refused(text, **flags)
        return
    assert uninject(injected(text, **flags)) == (text, [], [])


@every
def test_twice_is_once(file: Path) -> None:
    """Injecting again changes nothing, and with other flags it gives what those give at once."""
    text = file.read_text(encoding="utf-8")
    made = injected(text)
    assert injected(made) == made
    assert injected(made, **FLAGS[1]) == injected(text, **FLAGS[1])
    assert injected(injected(text, **FLAGS[1])) == made


@every
@pytest.mark.parametrize("variant", ["as it is", "Windows"])
def test_what_was_there_stays(file: Path, variant: str) -> None:
    """Every line but those of a changed value is still there, in its order, with its line end; none ends otherwise."""
    text = text_of(file, variant)
    made = injected(text)
    if variant == "Windows":
        assert made.count("\n") == made.count("\r\n")
    lines, place, lost = made.splitlines(keepends=True), 0, []
    for line in text.splitlines(keepends=True):
        if line in lines[place:]:
            place = lines.index(line, place) + 1
        else:
            lost.append(line)
    assert all(re.search(r"targetPort|terminationGracePeriodSeconds|[{[]", line) for line in lost)


@every
def test_every_pod_has_it_first(file: Path) -> None:
    """Before all other init containers, so that they are started beside it; nothing else of a pod is touched."""
    text = file.read_text(encoding="utf-8")
    before, after = loaded(text), loaded(injected(text))
    assert len(before) == len(after)
    found = [(old, new) for old, new in zip(pods(before), pods(after), strict=True) if old != new]
    assert found
    for old, new in found:
        first, *others = new["initContainers"]
        assert (first["name"], first["restartPolicy"]) == ("sidecar", "Always")
        assert others == old.get("initContainers", [])
        new.pop("initContainers"), old.pop("initContainers", None)
        new.pop("terminationGracePeriodSeconds", None), old.pop("terminationGracePeriodSeconds", None)
        assert new == old


def test_json_stays_json() -> None:
    """What `kubectl get -o json` gave can be read by whatever reads JSON."""
    (file,) = [file for file in MANIFESTS if file.suffix == ".json"]
    for flags in FLAGS:
        document = json.loads(injected(file.read_text(encoding="utf-8"), **flags))
        assert "sidecar" in json.dumps(document)


@every
def test_it_survives_the_cluster(file: Path) -> None:
    """Sorted keys, no comments, other indentation: out of what a cluster gives back it is taken as well."""
    text = file.read_text(encoding="utf-8")
    original = loaded(text)
    for style in (False, None):
        returned = yaml.safe_dump_all(loaded(injected(text)), sort_keys=True, default_flow_style=style)
        restored = loaded(uninject(returned).text)
        assert without_empty(restored) == without_empty(original)


def without_empty(value: Any) -> Any:
    """Less what is an empty list or mapping, which no cluster keeps."""
    if isinstance(value, dict):
        pruned = {key: without_empty(inner) for key, inner in value.items()}
        return {key: inner for key, inner in pruned.items() if inner not in ({}, [])}
    return [without_empty(inner) for inner in value] if isinstance(value, list) else value
