"""The pod as it is rendered: what other parts of the project rely on, and what the values change."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from sidecar import __version__
from sidecar.cli.commands import COMMANDS
from sidecar.settings.flags import FLAGS
from sidecar.settings.knobs import knobs
from tests.charts.rendering import CHART, DEFAULT, Document, container, render, values_of, with_defaults
from tests.image.dockerfile import read
from tests.support.processes import ROOT

NATIVE = render(with_defaults())
CLASSIC = render(with_defaults("{mode: classic, config: {drain: {timeout: 27s}}}"))

# The sidecar's container with all defaults. Whoever puts it into pods by other means puts in the same.
SIDECAR: Document = {
    "name": "sidecar",
    "image": f"sidecar:{__version__}",
    "restartPolicy": "Always",
    "args": [
        *("--upstream", "http://127.0.0.1:8080", "--listen", ":8900", "--admin", ":8901"),
        *("--config", "/etc/sidecar/sidecar.yaml"),
    ],
    "env": [{"name": "SIDECAR_LOG__FORMAT", "value": "json"}],
    "ports": [
        {"name": "http", "containerPort": 8900, "protocol": "TCP"},
        {"name": "admin", "containerPort": 8901, "protocol": "TCP"},
    ],
    "startupProbe": {"httpGet": {"path": "/startupz", "port": "admin"}, "periodSeconds": 1, "failureThreshold": 30},
    "livenessProbe": {
        "httpGet": {"path": "/livez", "port": "admin"},
        "terminationGracePeriodSeconds": 10,
        "periodSeconds": 10,
        "timeoutSeconds": 5,
        "failureThreshold": 3,
    },
    "readinessProbe": {
        "httpGet": {"path": "/readyz", "port": "admin"},
        "periodSeconds": 2,
        "timeoutSeconds": 2,
        "failureThreshold": 3,
    },
    "lifecycle": {"preStop": {"exec": {"command": ["sidecar", "drain"]}}},
    "resources": {"requests": {"cpu": "100m", "memory": "96Mi"}, "limits": {"memory": "256Mi"}},
    "securityContext": {
        "runAsNonRoot": True,
        "runAsUser": 65532,
        "runAsGroup": 65532,
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    },
    "volumeMounts": [{"name": "sidecar-config", "mountPath": "/etc/sidecar", "readOnly": True}],
}


def test_the_native_sidecar() -> None:
    """It is the one init container, keeps running, and its start gates that of the app."""
    assert NATIVE.pod["spec"]["initContainers"] == [SIDECAR]
    assert [one["name"] for one in NATIVE.pod["spec"]["containers"]] == ["app"]


def test_the_classic_sidecar() -> None:
    """It is the same container among the ordinary ones, without the restartPolicy that only init containers have."""
    expected = {key: value for key, value in SIDECAR.items() if key != "restartPolicy"}
    assert "initContainers" not in CLASSIC.pod["spec"]
    assert CLASSIC.pod["spec"]["containers"][1] == expected


def test_what_it_says_exists() -> None:
    """Flags, environment, commands and ports are the program's, user and ports the image's."""
    flags = [word for word in SIDECAR["args"] if word.startswith("--")]
    assert set(flags) <= {*FLAGS.values(), "--config"}
    assert {entry["name"] for entry in SIDECAR["env"]} <= {knob.env for knob in knobs().values()}
    assert SIDECAR["lifecycle"]["preStop"]["exec"]["command"][1] in COMMANDS
    image = read(ROOT / "Dockerfile")[-1]
    assert image.last("USER").rest == "{runAsUser}:{runAsGroup}".format(**SIDECAR["securityContext"])
    assert image.last("EXPOSE").words == [str(port["containerPort"]) for port in SIDECAR["ports"]]
    assert image.last("ENTRYPOINT").command[0] == SIDECAR["lifecycle"]["preStop"]["exec"]["command"][0]


def test_versions_agree() -> None:
    """Chart, program and the version that it deploys are one."""
    about = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert (about["version"], about["appVersion"]) == (__version__, __version__)


def test_the_service_leads_to_the_sidecar() -> None:
    """Requests go to the sidecar's port, by number, of the app's pods, and not to the pod of `helm test`."""
    service = NATIVE.one("Service")["spec"]
    assert service["ports"][0]["targetPort"] == 8900
    selector = service["selector"].items()
    assert selector <= NATIVE.pod["metadata"]["labels"].items()
    assert selector == NATIVE.one("Deployment")["spec"]["selector"]["matchLabels"].items()
    assert not selector <= NATIVE.one("Pod")["metadata"]["labels"].items()


def test_metrics_are_found() -> None:
    """The PodMonitor selects the pods by a label that they have, wherever they come from, and a port that exists."""
    rendered = render(with_defaults("metrics: {annotations: true, podMonitor: {enabled: true}}"))
    spec = rendered.one("PodMonitor")["spec"]
    assert spec["selector"]["matchLabels"].items() <= rendered.pod["metadata"]["labels"].items()
    assert spec["podMetricsEndpoints"][0]["port"] in [port["name"] for port in SIDECAR["ports"]]
    assert rendered.pod["metadata"]["annotations"]["prometheus.io/port"] == "8901"
    assert NATIVE.all("PodMonitor") == []


def test_scaling_looks_at_the_app_alone() -> None:
    """The autoscaler goes by the app's container, and the number of pods is left to it."""
    rendered = render(values_of(*(CHART / "ci" / f"{name}-values.yaml" for name in ("default", "scaling"))))
    (metric,) = rendered.one("HorizontalPodAutoscaler")["spec"]["metrics"]
    assert metric["containerResource"]["container"] == "app"
    assert "replicas" not in rendered.one("Deployment")["spec"]


def test_the_network_policy_leaves_no_way_around() -> None:
    """Only the sidecar's two ports are reached."""
    policy = render(with_defaults("networkPolicy: {enabled: true}")).one("NetworkPolicy")["spec"]
    assert [port["port"] for rule in policy["ingress"] for port in rule["ports"]] == [8900, 8901]
    assert "from" not in policy["ingress"][0]


@pytest.mark.parametrize(
    ("values", "action"),
    [
        ("{}", {"sleep": {"seconds": 10}}),
        ("kubeVersion: v1.29.4", {"exec": {"command": ["sleep", "10"]}}),
        ("kubeVersion: 1.30.0-eks-1234", {"sleep": {"seconds": 10}}),
        ("shutdown: {appPreStop: exec}", {"exec": {"command": ["sleep", "10"]}}),
    ],
)
def test_how_the_app_sleeps(values: str, action: dict[str, Any]) -> None:
    """Kubernetes sleeps where it can, so that the app's image needs no `sleep`; before 1.30 it has to."""
    app = container(render(with_defaults(values)).pod["spec"], "app")
    assert app["lifecycle"]["preStop"] == action


def test_another_admin_port() -> None:
    """Probes go by the port's name, and the hook is told the number."""
    rendered = render(with_defaults("{ports: {admin: 9001}, metrics: {annotations: true}}"))
    sidecar = container(rendered.pod["spec"], "sidecar")
    assert sidecar["args"][4:6] == ["--admin", ":9001"]
    assert sidecar["lifecycle"]["preStop"]["exec"]["command"] == ["sidecar", "drain", "--admin", "127.0.0.1:9001"]
    assert rendered.pod["metadata"]["annotations"]["prometheus.io/port"] == "9001"


def test_images_by_digest() -> None:
    """A digest wins over a tag."""
    digest = "sha256:" + "0" * 64
    pod = render(with_defaults(f"{{image: {{digest: '{digest}', tag: x}}, app: {{image: {{tag: 7}}}}}}")).pod["spec"]
    assert container(pod, "sidecar")["image"] == f"sidecar@{digest}"
    assert container(pod, "app")["image"] == "registry.example.com/orders:7"


def test_openshift_chooses_the_user() -> None:
    """There no user is named, as the platform gives each namespace its own."""
    values = values_of(CHART / "ci" / "default-values.yaml", CHART / "platforms" / "openshift.yaml")
    rendered = render(values)
    for pod in (rendered.pod["spec"], rendered.one("Pod")["spec"]):
        for one in [*pod.get("initContainers", ()), *pod["containers"]]:
            assert one["securityContext"].keys() & {"runAsUser", "runAsGroup"} == set()
            assert one["securityContext"]["runAsNonRoot"] is True


def test_surroundings_alone() -> None:
    """Without the app there are settings and monitoring, and nothing that runs."""
    rendered = render(values_of(CHART / "ci" / "surroundings-values.yaml"))
    kinds = [document["kind"] for document in rendered.documents]
    assert sorted(kinds) == ["ConfigMap", "ConfigMap", "PodMonitor", "PrometheusRule"]


def test_a_large_number_in_the_environment_is_written_out() -> None:
    """Not as 1.048576e+07, which is no size."""
    found = render(values_of(DEFAULT, CHART / "ci" / "everything-values.yaml"))
    (sidecar,) = found.pod["spec"]["initContainers"]
    env = {entry["name"]: entry.get("value") for entry in sidecar["env"]}
    assert env["SIDECAR_HTTP__MAX_BODY"] == "10485760"
    assert env["SIDECAR_ADMIN__LISTEN"] == ":9001"
