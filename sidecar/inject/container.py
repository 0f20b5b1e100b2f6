"""What is put into a pod: the container and the volume, as plain values. The chart renders the same by default."""

from __future__ import annotations

from typing import Any, Final

from sidecar.address import ListenAddress, parse_listen
from sidecar.inject.options import NATIVE, OPTIONS, Chosen

NAME: Final = "sidecar"
VOLUME: Final = "sidecar-config"

_DIRECTORY: Final = "/etc/sidecar"
_FILE: Final = f"{_DIRECTORY}/sidecar.yaml"
_ADMIN_PORT: Final = parse_listen(OPTIONS["admin"].default).port
_USER: Final = 65532

# A sidecar whose event loop does not turn neither answers preStop nor obeys SIGTERM: without a period of its own, its
# restart would wait for all of the pod's, and nothing would be served until then.
_LIVENESS: Final = {
    "terminationGracePeriodSeconds": 10,
    "periodSeconds": 10,
    "timeoutSeconds": 5,
    "failureThreshold": 3,
}

# Said in any case: where it listens, for whoever reads the manifest, and what the grace period was reckoned with. A
# settings file that says nothing of the drain would mean the defaults of the program, which lose requests in a pod.
_ALWAYS: Final = ("upstream", "listen", "admin", "drain-delay", "drain-timeout")


def container(chosen: Chosen, upstream: str) -> dict[str, Any]:
    """The container, in front of `upstream`."""
    listen, admin = parse_listen(chosen["listen"]), parse_listen(chosen["admin"])
    made: dict[str, Any] = {"name": NAME, "image": chosen["image"]}
    if chosen["pull-policy"]:
        made["imagePullPolicy"] = chosen["pull-policy"]
    if chosen["mode"] == NATIVE:
        made["restartPolicy"] = "Always"
    made |= {
        "args": _args(chosen, upstream),
        "env": _env(chosen["admin"]),
        "ports": [
            {"name": "http", "containerPort": listen.port, "protocol": "TCP"},
            {"name": "admin", "containerPort": admin.port, "protocol": "TCP"},
        ],
        "startupProbe": _probe("/startupz") | {"periodSeconds": 1, "failureThreshold": 30},
        "livenessProbe": _probe("/livez") | _LIVENESS,
        "readinessProbe": _probe("/readyz") | {"periodSeconds": 2, "timeoutSeconds": 2, "failureThreshold": 3},
        "lifecycle": {"preStop": {"exec": {"command": _drain(admin)}}},
        "resources": {
            "requests": {"cpu": chosen["cpu"], "memory": chosen["memory"]},
            "limits": {"memory": chosen["memory-limit"]},
        },
        "securityContext": _security(),
    }
    if chosen["config-map"]:
        made["volumeMounts"] = [{"name": VOLUME, "mountPath": _DIRECTORY, "readOnly": True}]
    return made


def volume(chosen: Chosen) -> dict[str, Any] | None:
    """The volume with the settings file; None without one."""
    return {"name": VOLUME, "configMap": {"name": chosen["config-map"]}} if chosen["config-map"] else None


def _args(chosen: Chosen, upstream: str) -> list[str]:
    found: list[str] = []
    for name, option in OPTIONS.items():
        # What else a settings file may say, no flag takes from it unless somebody asks for that. Whom to believe is
        # among it: a wide default must not win over a file that trusts one network.
        if name in _ALWAYS or (option.knob and (chosen.given(name) or (option.pods_own and not chosen["config-map"]))):
            found += [option.flag, upstream if name == "upstream" else chosen[name]]
    return [*found, "--config", _FILE] if chosen["config-map"] else found


def _env(admin: str) -> list[dict[str, str]]:
    env = [{"name": "SIDECAR_LOG__FORMAT", "value": "json"}]
    if parse_listen(admin).port != _ADMIN_PORT:
        # The program has its flag; this is for `kubectl exec POD -c sidecar -- sidecar status`.
        env.append({"name": "SIDECAR_ADMIN__LISTEN", "value": admin})
    return env


def _probe(path: str) -> dict[str, Any]:
    return {"httpGet": {"path": path, "port": "admin"}}


def _drain(admin: ListenAddress) -> list[str]:
    command = ["sidecar", "drain"]
    return command if admin.port == _ADMIN_PORT else [*command, "--admin", f"127.0.0.1:{admin.port}"]


def _security() -> dict[str, Any]:
    return {
        "runAsNonRoot": True,
        "runAsUser": _USER,
        "runAsGroup": _USER,
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
