"""The checker of Pod Security "restricted": that it lets through what the standard does, and nothing else."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from tests.charts.restricted import Spec, violations

GOOD: Spec = {
    "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
    "initContainers": [],
    "containers": [
        {
            "name": "app",
            "ports": [{"containerPort": 80}],
            "livenessProbe": {"httpGet": {"path": "/", "port": 80}},
            "securityContext": {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]},
            },
        }
    ],
    "volumes": [{"name": "a", "configMap": {"name": "a"}}, {"name": "b", "emptyDir": {}}],
}


def changed(path: str, value: Any) -> Spec:
    """The good pod with one thing changed; a number in the path is a place in a list, None takes the thing away."""
    pod = deepcopy(GOOD)
    *way, last = [int(part) if part.isdecimal() else part for part in path.split(".")]
    node: Any = pod
    for part in way:
        node = node[part] if isinstance(part, int) else node.setdefault(part, {})
    if value is None:
        del node[last]
    else:
        node[last] = value
    return pod


def test_a_pod_that_may_run() -> None:
    """A pod that does what the standard asks has no violations; what the pod says holds for its containers."""
    assert violations(GOOD) == []
    assert violations(changed("containers.0.securityContext.runAsUser", 1000)) == []


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("hostNetwork", True, "hostNetwork"),
        ("hostPID", True, "hostPID"),
        ("volumes.1", {"name": "b", "hostPath": {"path": "/"}}, "volume b is a hostPath"),
        ("securityContext.runAsNonRoot", False, "app: runAsNonRoot is not true"),
        ("securityContext.runAsUser", 0, "runAsUser is 0"),
        ("securityContext.seccompProfile", None, "app: seccompProfile is not RuntimeDefault"),
        ("securityContext.sysctls", [{"name": "kernel.msgmax"}], "sysctls"),
        ("securityContext.seLinuxOptions.role", "r", "seLinuxOptions"),
        ("securityContext.windowsOptions.hostProcess", True, "hostProcess"),
        ("containers.0.securityContext.privileged", True, "app: privileged"),
        ("containers.0.securityContext.procMount", "Unmasked", "app: procMount"),
        ("containers.0.securityContext.runAsNonRoot", False, "app: runAsNonRoot is not true"),
        ("containers.0.securityContext.allowPrivilegeEscalation", None, "app: allowPrivilegeEscalation is not false"),
        ("containers.0.securityContext.capabilities.drop", ["KILL"], "app: capabilities.drop lacks ALL"),
        ("containers.0.securityContext.capabilities.add", ["SYS_ADMIN"], "app: capabilities.add"),
        ("containers.0.securityContext.appArmorProfile.type", "Unconfined", "app: appArmorProfile"),
        ("containers.0.ports.0.hostPort", 80, "app: hostPort 80"),
        ("containers.0.livenessProbe.httpGet.host", "127.0.0.1", "app: livenessProbe names a host"),
        ("containers.0.lifecycle.preStop", {"tcpSocket": {"host": "x"}}, "app: preStop names a host"),
    ],
)
def test_what_the_standard_refuses(path: str, value: Any, said: str) -> None:
    """Each thing that the standard forbids is told, and where."""
    assert violations(changed(path, value)) == [said]


@pytest.mark.parametrize("key", ["initContainers", "ephemeralContainers"])
def test_every_kind_of_container_is_looked_at(key: str) -> None:
    """Init and ephemeral containers have to fulfil the same."""
    assert violations(changed(key, [{"name": "x"}])) == [
        "x: allowPrivilegeEscalation is not false",
        "x: capabilities.drop lacks ALL",
    ]
