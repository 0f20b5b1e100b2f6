"""Every file in ci/ and every platform's: rendered, linted, held against Kubernetes' own schemas and Pod Security."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import helm_python as helm
import pytest
import yaml

from sidecar.settings import load
from tests.charts.rendering import (
    CHART,
    CI_FILES,
    DEFAULT,
    PLATFORM_FILES,
    SCHEMA_ERROR,
    check_schema,
    pods,
    render,
    values_of,
)
from tests.charts.restricted import violations
from tests.support.processes import ROOT

FILES = [*CI_FILES, *PLATFORM_FILES]
# The first with native sidecars by default, the first where they are stable, and the newest that Helm's library knows.
VERSIONS = ["1.29", "1.33", "1.36"]

every_file = pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)


def values(file: Path, version: str = "") -> dict[str, Any]:
    """The file's values, on what has to be said in any case."""
    found = values_of(DEFAULT, file)
    return found | ({"kubeVersion": f"v{version}.0"} if version and "kubeVersion" not in found else {})


@every_file
@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_knows_all_of_it(file: Path, version: str) -> None:
    """Every document fulfils the strict schema of each version; those of other projects have none."""
    checked = 0
    for document in render(values(file, version)).documents:
        if document["apiVersion"].startswith("monitoring.coreos.com/"):
            continue
        check_schema(document, version)
        checked += 1
    assert checked


def test_the_classic_form_fits_an_old_cluster() -> None:
    """What ci/classic renders is known to Kubernetes 1.27, and what a native sidecar needs is not."""
    for document in render(values(CHART / "ci" / "classic-values.yaml")).documents:
        check_schema(document, "1.27")
    with pytest.raises(SCHEMA_ERROR):
        check_schema(render(values(DEFAULT)).one("Deployment"), "1.27")


@every_file
def test_every_pod_may_run_where_security_is_restricted(file: Path) -> None:
    """Pods of the app and of `helm test`: with a read-only root, bounded memory, no token, under "restricted"."""
    for where, pod in pods(render(values(file)).documents):
        assert violations(pod) == [], where
        assert pod["automountServiceAccountToken"] is False
        for one in [*pod.get("initContainers", ()), *pod["containers"]]:
            assert one["securityContext"]["readOnlyRootFilesystem"] is True
            assert one["resources"]["requests"].keys() == {"cpu", "memory"}
            assert one["resources"]["limits"].keys() == {"memory"}


@every_file
def test_helm_has_nothing_to_say(file: Path) -> None:
    """`helm lint --strict` has neither errors nor warnings."""
    report = helm.lint(CHART, values(file), strict=True)
    assert report["errors"] == []
    assert [message for message in report["messages"] if message["severity"] > 1] == []


@every_file
def test_the_sidecar_takes_the_settings(file: Path, tmp_path: Path) -> None:
    """The mounted file is one that the sidecar reads without a complaint."""
    settings = tmp_path / "sidecar.yaml"
    settings.write_text(render(values(file)).settings)
    load({"upstream": "http://127.0.0.1:8080"}, {}, settings)


@every_file
def test_names_are_short_enough_and_said_once(file: Path) -> None:
    """No two documents are the same object, and every name fits a label."""
    documents = render(values(file)).documents
    names = [(d["kind"], d["metadata"].get("namespace", "shop"), d["metadata"]["name"]) for d in documents]
    assert len(set(names)) == len(names)
    assert all(len(name) <= 63 for _, _, name in names)


def test_the_dockerfile_has_no_findings() -> None:
    """hadolint finds nothing, not even of the kind "info"."""
    done = subprocess.run(
        [Path(sys.executable).with_name("hadolint"), "--format", "json", ROOT / "Dockerfile"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (json.loads(done.stdout), done.returncode) == ([], 0), done.stderr


def test_embedded_files_arrive_as_they_are() -> None:
    """Rules and dashboard, whose braces are not the chart's, are rendered unchanged."""
    rendered = render(values(CHART / "ci" / "monitoring-values.yaml"))
    rules = (CHART / "files" / "rules.yaml").read_text()
    assert rendered.one("PrometheusRule")["spec"] == yaml.safe_load(rules)
    (board,) = [d for d in rendered.all("ConfigMap") if d["metadata"].get("namespace") == "grafana"]
    assert board["metadata"]["labels"]["grafana_dashboard"] == "yes"
    assert board["data"]["sidecar.json"] == (CHART / "files" / "dashboard.json").read_text()
    json.loads(board["data"]["sidecar.json"])
