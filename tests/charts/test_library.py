"""The chart as a part of another one, as its README shows it."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import helm_python as helm
import pytest
import yaml

from tests.charts.rendering import CHART, Rendered, check_schema, over, render
from tests.charts.restricted import violations
from tests.charts.test_container import SIDECAR

README = (CHART / "README.md").read_text()
BLOCKS = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)

DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata:
  name: parent
spec:
  selector:
    matchLabels: {app: parent}
"""


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A chart that depends on this one, made of what the README says."""
    place = tmp_path_factory.mktemp("charts")
    shutil.copytree(CHART, place / "sidecar")
    chart = place / "parent"
    (chart / "templates").mkdir(parents=True)
    (manifest,) = [block for block in BLOCKS if block.startswith("# Chart.yaml")]
    dependencies, _, values = manifest.partition("# values.yaml\n")
    (chart / "Chart.yaml").write_text("apiVersion: v2\nname: parent\nversion: 0.1.0\n" + dependencies)
    (chart / "values.yaml").write_text(values)
    (template,) = [block for block in BLOCKS if block.startswith("  template:")]
    labelled = template.replace("      labels:\n", "      labels:\n        app: parent\n")
    (chart / "templates" / "deployment.yaml").write_text(DEPLOYMENT + labelled)
    helm.dependency_update(chart)
    return chart


def rendered(parent: Path, values: str = "{}") -> Rendered:
    """The parent with these values for the sidecar."""
    own = helm.values_from_yaml((parent / "values.yaml").read_text())
    return render(over(own, {"sidecar": yaml.safe_load(values)}), parent)


def test_the_readmes_example(parent: Path) -> None:
    """A chart that includes the named templates has the same sidecar, its settings, and a pod that Kubernetes takes."""
    found = rendered(parent)
    pod = found.pod
    assert pod["spec"]["initContainers"] == [SIDECAR]
    assert pod["spec"]["terminationGracePeriodSeconds"] == 45
    (volume,) = pod["spec"]["volumes"]
    assert volume["configMap"]["name"] == found.one("ConfigMap")["metadata"]["name"] == "orders-sidecar"
    assert [document["kind"] for document in found.documents if document["kind"] != "ConfigMap"] == ["Deployment"]
    check_schema(found.one("Deployment"), "1.33")
    assert [what for what in violations(pod["spec"]) if what.startswith("sidecar")] == []


def test_a_classic_sidecar_in_it(parent: Path) -> None:
    """In classic mode it is among the parent's containers, and the list of init containers is empty."""
    spec = rendered(parent, "{mode: classic, config: {drain: {timeout: 27s}}}").pod["spec"]
    assert spec["initContainers"] is None
    assert [one["name"] for one in spec["containers"]] == ["app", "sidecar"]


def test_its_metrics_are_found(parent: Path) -> None:
    """The PodMonitor of the dependency selects the parent's pods."""
    found = rendered(parent, "metrics: {podMonitor: {enabled: true}}")
    wanted = found.one("PodMonitor")["spec"]["selector"]["matchLabels"]
    assert wanted.items() <= found.pod["metadata"]["labels"].items()


def test_the_arithmetic_holds_there_too(parent: Path) -> None:
    """Numbers that lose requests are refused within another chart as well."""
    with pytest.raises(helm.HelmError, match="gracePeriodSeconds is 30"):
        rendered(parent, "shutdown: {gracePeriodSeconds: 30}")
