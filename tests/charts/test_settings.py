"""The settings in the chart and in the program: one schema, one text, one list of what needs a restart."""

from __future__ import annotations

import json
import re
from pathlib import Path

import helm_python as helm
import pytest
import yaml

from sidecar.forwarding import Forwarding
from sidecar.settings import load
from sidecar.settings.changes import RESTART
from tests.charts import reference
from tests.charts.rendering import CHART, CI_FILES, DEFAULT, PLATFORM_FILES, render, values_of, with_defaults

# These are arguments, so a change of them is one of the pod in any case.
ARGUMENTS = {"upstream", "listen", "admin.listen"}


def test_the_schema_is_the_programs() -> None:
    """`config` may hold exactly what the program's own schema allows (python -m tests.charts.reference writes it)."""
    assert reference.SCHEMA.read_text() == reference.values_schema()


def test_the_readme_has_every_value() -> None:
    """The table is that of values.yaml (python -m tests.charts.reference writes it)."""
    assert reference.README.read_text() == reference.readme()


def test_every_value_has_a_meaning() -> None:
    """Each value, or something that it is part of, is explained, with a sentence."""
    rows = reference.values()
    assert all(value.meaning.endswith(".") for value in rows)
    explained = {value.path for value in rows} | {"config.drain", "config.forwarding"}
    bare = [path for path in paths(helm.values_from_yaml(reference.VALUES.read_text())) if not covered(path, explained)]
    assert bare == []


def test_every_value_is_tried_out() -> None:
    """Each value that is explained is set by a file in ci/ or platforms/, so none goes unrendered."""
    told = {path for file in [*CI_FILES, *PLATFORM_FILES] for path in paths(values_of(file))}
    assert [value.path for value in reference.values() if not any(covered(path, {value.path}) for path in told)] == []


def test_the_schema_has_every_value() -> None:
    """What values.yaml has, the schema has, and nothing else."""
    root = json.loads(reference.SCHEMA.read_text())
    del root["properties"]["config"], root["properties"]["global"]
    stated = set(_stated(root))
    rows = {value.path for value in reference.values()} - {"config"}
    assert stated == rows


def _stated(node: dict[str, object], prefix: str = "") -> list[str]:
    properties = node.get("properties")
    if not isinstance(properties, dict):
        return [prefix.rstrip(".")]
    return [path for name, inner in properties.items() for path in _stated(inner, f"{prefix}{name}.")]


def paths(node: dict[str, object], prefix: str = "") -> list[str]:
    """The dotted paths of what has no keys of its own."""
    found = []
    for key, value in node.items():
        found += paths(value, f"{prefix}{key}.") if isinstance(value, dict) and value else [f"{prefix}{key}"]
    return found


def covered(path: str, by: set[str]) -> bool:
    """Whether the path, or what it is part of, is among these."""
    return any(path == other or path.startswith(f"{other}.") for other in by)


def test_settings_arrive_as_they_were_meant(tmp_path: Path) -> None:
    """Numbers, texts that look like switches, lists and routes reach the sidecar unchanged."""
    rendered = render(values_of(DEFAULT, CHART / "ci" / "settings-values.yaml"))
    file = tmp_path / "sidecar.yaml"
    file.write_text(rendered.settings)
    settings = load({"upstream": "http://127.0.0.1:8080"}, {}, file).settings
    assert settings.http.max_body == 1024**2
    assert settings.log.access == "off"
    assert (settings.retry.budget, settings.retry.conditions) == (0.25, ("connect-failure", "reset"))
    assert (settings.rate.limit, settings.rate.burst) == (500, 1000)
    assert [route.name for route in settings.routes] == ["search", "orders"]
    assert settings.routes[1].breaker.mode == "shadow"
    assert settings.drain.delay == 8


def test_client_addresses_survive(tmp_path: Path) -> None:
    """An ingress controller in the cluster, with a private address, is believed by default; a public client is not."""
    file = tmp_path / "sidecar.yaml"
    file.write_text(render(with_defaults()).settings)
    rule = Forwarding(load({"upstream": "http://127.0.0.1:8080"}, {}, file).settings.forwarding.trusted_proxies)
    assert all(rule.trusts(address) for address in ("10.42.0.7", "172.20.1.1", "192.168.3.4", "100.64.0.9", "fd00::7"))
    assert not any(rule.trusts(address) for address in ("203.0.113.7", "2001:db8::1", "172.32.0.1"))


def test_what_needs_a_restart_is_one_list() -> None:
    """The chart rolls the pods for exactly those settings that the program cannot take over while it runs."""
    helpers = (CHART / "templates" / "_helpers.tpl").read_text()
    (picked,) = re.findall(r"pick \(\.Values\.config \| default dict\)((?: \"\w+\")+)", helpers)
    assert set(re.findall(r'"(\w+)"', picked)) == RESTART - ARGUMENTS


@pytest.mark.parametrize(
    ("change", "rolls"),
    [("timeouts: {request: 1s}", False), ("health: {interval: 1s}", True), ("pool: {idle: 1s}", True)],
)
def test_pods_are_rolled_only_for_what_needs_it(change: str, rolls: bool) -> None:
    """A change that is taken over while the sidecar runs leaves the pods alone; one that is not replaces them."""
    before, after = render(with_defaults()), render(with_defaults(f"config: {{{change}}}"))
    assert before.settings != after.settings
    assert (before.pod != after.pod) == rolls


def test_yaml_of_the_values_is_good() -> None:
    """No key stands twice in a file of values, where the last would win in silence."""
    for file in [reference.VALUES, *CI_FILES, *PLATFORM_FILES]:
        _unique(yaml.compose(file.read_text()))


def _unique(node: yaml.Node | None) -> None:
    if isinstance(node, yaml.MappingNode):
        keys = [key.value for key, _ in node.value]
        assert len(set(keys)) == len(keys), keys
        for _, value in node.value:
            _unique(value)
