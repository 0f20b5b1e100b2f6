"""What is injected and what the chart renders are the same container."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.charts.rendering import CHART, DEFAULT, check_schema, render, values_of
from tests.charts.restricted import violations
from tests.inject.support import DEPLOYMENT, EXAMPLE, injected, loaded, pods, sidecar_of

# Mode, the list that has the container, and what the chart's values say beside the default ones.
MODES = [("native", "initContainers", DEFAULT), ("classic", "containers", CHART / "ci" / "classic-values.yaml")]


@pytest.mark.parametrize(("mode", "key", "values"), MODES, ids=["native", "classic"])
def test_container_volume_and_grace_period(mode: str, key: str, values: Path) -> None:
    """Image, arguments, probes, hooks, resources, rights, and what a pod needs around it: all of it."""
    release = render(values_of(DEFAULT, values))
    rendered, drain = release.pod["spec"], yaml.safe_load(release.settings)["drain"]
    (container,) = [one for one in rendered[key] if one["name"] == "sidecar"]
    (volume,) = [one for one in rendered["volumes"] if one["name"] == "sidecar-config"]
    sleep = "        lifecycle: {preStop: {sleep: {seconds: 10}}}\n"
    made = injected(DEPLOYMENT + sleep, mode=mode, config_map=volume["configMap"]["name"])
    (pod,) = pods(loaded(made))

    # Nobody knows what the settings file says that is injected; the chart writes its own.
    place = container["args"].index("--config")
    container["args"][place:place] = ["--drain-delay", drain["delay"], "--drain-timeout", drain["timeout"]]
    assert sidecar_of(made, key) == container
    assert pod["volumes"] == [volume]
    # In classic mode the chart leaves the number that is enough in native mode.
    enough = rendered["terminationGracePeriodSeconds"] if mode == "native" else 40
    assert pod["terminationGracePeriodSeconds"] == enough <= rendered["terminationGracePeriodSeconds"]


@pytest.mark.parametrize("version", ["1.29", "1.33", "1.36"])
@pytest.mark.parametrize("flags", [{}, {"config_map": "settings"}, {"mode": "classic"}])
def test_it_is_valid_and_restricted(flags: dict[str, str], version: str) -> None:
    """By the schemas of Kubernetes, strictly, and by Pod Security "restricted"."""
    for document in loaded(injected(EXAMPLE.read_text(encoding="utf-8"), **flags)):
        check_schema(document, version)
        if document["kind"] == "Deployment":
            assert violations(document["spec"]["template"]["spec"]) == []
