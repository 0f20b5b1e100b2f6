"""Any settings, however they came about, survive `config show`: the file that it prints brings them about again."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sidecar.settings import Loaded, SettingsError, kinds, load, reference
from sidecar.settings.knobs import Knob, knobs, route_knobs
from sidecar.settings.schema import schema
from tests.settings.support import violations

VISIBLE = st.from_regex(r"[!-~]{0,12}", fullmatch=True)
FIELDS = st.from_regex(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,8}", fullmatch=True)
TEMPLATES = st.lists(st.from_regex(r"[a-z%~!:]{1,4}|\{[a-z]\}", fullmatch=True), min_size=1).map(
    lambda parts: "/" + "/".join(parts)
)
RETRY_ON = ("connect-failure", "reset", "5xx", "retriable-status-codes", "retriable-headers")
UPSTREAMS = ("http://app:80", "http://[::1]:1", "unix:///run/a.sock")
REDIS = ("", "redis://h:6379/0", "rediss://h?db=1", "unix:///run/r.sock")


def lists(items: st.SearchStrategy[str]) -> st.SearchStrategy[list[str]]:
    """Short lists of these."""
    return st.lists(items, max_size=3)


# Without what is masked: that is another test's.
PATHS = VISIBLE.map(lambda text: "/" + text.replace("#", "")).filter(lambda text: kinds.PATH.show(text) == text)
MATCHES = (
    st.tuples(FIELDS, st.from_regex(r"[ -~]{1,8}", fullmatch=True))
    .map("=".join)
    .filter(lambda text: kinds.MATCHES.show(text) == text)
)

BY_KIND: dict[str, st.SearchStrategy[Any]] = {
    kinds.RATE.name: st.from_regex(r"[1-9][0-9]{0,5}(\.[0-9]{1,3})?/[smh]|0", fullmatch=True),
    kinds.SWITCH.name: st.sampled_from(("true", "no")),
    kinds.UPSTREAM.name: st.sampled_from(UPSTREAMS),
    kinds.PATH.name: PATHS,
    kinds.TEXT.name: VISIBLE,
    kinds.NAME.name: st.from_regex(r"[A-Za-z][A-Za-z0-9_.-]{0,4}", fullmatch=True) | st.just("no") | st.just("null"),
    kinds.KEY.name: st.sampled_from(("", "client")) | FIELDS.map("header:{}".format),
    kinds.REDIS.name: st.sampled_from(REDIS),
    kinds.HEADER.name: FIELDS,
    kinds.HEADERS.name: lists(FIELDS),
    kinds.MATCHES.name: lists(FIELDS | MATCHES),
    kinds.METHODS.name: lists(st.sampled_from(("GET", "PUT", "PURGE"))),
    kinds.STATUSES.name: lists(st.integers(400, 599).map(str)),
    kinds.TEMPLATE.name: TEMPLATES | TEMPLATES.map("{}/{{rest...}}".format),
    kinds.RETRY_ON.name: lists(st.sampled_from(RETRY_ON)),
    kinds.NETWORKS.name: lists(st.sampled_from(("10.0.0.0/8", "::1"))),
    kinds.PATHS.name: lists(PATHS),
    kinds.PREFIXES.name: lists(st.text(min_size=1, max_size=5)),
}
# Files are not there, secrets are masked, and listeners may collide.
LEFT_OUT = (kinds.FILE, kinds.SECRET, kinds.LISTEN)


def texts(knob: Knob) -> st.SearchStrategy[Any]:
    """What somebody may write for it."""
    kind = knob.kind
    if kind.name in BY_KIND:
        return BY_KIND[kind.name]
    if "enum" in kind.schema:
        return st.sampled_from(kind.name.split("|"))
    scale = 10**6 if kind in (kinds.DURATION, kinds.RATIO) else 1
    least, most = (knob.least or 0) * scale, (30 if knob.most is None else knob.most) * scale
    numbers = st.integers(int(least), int(most))
    if kind is kinds.DURATION:
        return numbers.map(lambda number: f"{number // 1000}.{number % 1000:03}ms")
    return numbers.map(lambda number: f"{number / scale:.6f}" if kind is kinds.RATIO else str(number))


def sections(table: Iterable[Knob]) -> st.SearchStrategy[dict[str, Any]]:
    """Some of these knobs, as they are nested; those that must be given always."""
    needed: dict[str, st.SearchStrategy[Any]] = {}
    optional: dict[str, st.SearchStrategy[Any]] = {}
    for knob in table:
        if knob.kind not in LEFT_OUT:
            (needed if knob.default is None else optional)[knob.path] = texts(knob)
    return st.fixed_dictionaries(needed, optional=optional).map(nested)


def nested(values: dict[str, Any]) -> dict[str, Any]:
    """Dotted paths, as a file has them."""
    tree: dict[str, Any] = {}
    for path, value in values.items():
        section, _, name = path.rpartition(".")
        (tree.setdefault(section, {}) if section else tree)[name] = value
    return tree


@st.composite
def trees(draw: st.DrawFn) -> dict[str, Any]:
    """What a file may hold, contradictions included."""
    tree = draw(sections(knobs().values()))
    routes = draw(st.lists(sections(route_knobs().values()), max_size=2, unique_by=lambda route: route["name"]))
    return tree | {"routes": routes}


def without_contradictions(tree: dict[str, Any], file: Path) -> Loaded:
    """Its settings, once the sections that contradict themselves are left out: messages name them."""
    while True:
        file.write_text(yaml.safe_dump(tree), encoding="utf-8")
        try:
            return load({}, {}, file)
        except SettingsError as error:
            for problem in error.problems:
                place, inner = tree, problem.path
                if inner.startswith("routes["):
                    index, _, inner = inner.removeprefix("routes[").partition("].")
                    place = tree["routes"][int(index)]
                # Both may be at fault: a backoff and its cap, times and what has to fit in.
                for section in (inner.partition(".")[0], "timeouts"):
                    place.pop(section, None)


@given(trees())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_settings_survive_being_shown(tree: dict[str, Any]) -> None:
    """The settings in force, printed and read as a file, are the same, and editors find nothing wrong with them."""
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "sidecar.yaml"
        loaded = without_contradictions(tree, file)
        shown = reference.effective(loaded)
        file.write_text(shown, encoding="utf-8")
        again = load({}, {}, file)
    assert again.settings == loaded.settings
    assert violations(json.loads(schema()), yaml.safe_load(shown)) == []
