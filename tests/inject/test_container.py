"""What the injected container says in its arguments, its environment and its probes."""

from __future__ import annotations

import pytest

from sidecar.inject.stream import uninject
from tests.inject.support import DEPLOYMENT, injected, loaded, pods, sidecar_of


@pytest.mark.parametrize(("admin", "said"), [(":8901", None), (":9001", ":9001"), ("0.0.0.0:9001", "0.0.0.0:9001")])
def test_commands_within_the_container_find_another_admin_port(admin: str, said: str | None) -> None:
    """The environment says where it is, as nobody gives `kubectl exec` the flag."""
    container = sidecar_of(injected(DEPLOYMENT, admin=admin))
    env = {entry["name"]: entry["value"] for entry in container["env"]}
    assert env.get("SIDECAR_ADMIN__LISTEN") == said
    assert container["args"][container["args"].index("--admin") + 1] == admin


def test_a_sidecar_that_hangs_is_not_waited_for() -> None:
    """It obeys no SIGTERM, so a restart by its probe has a short grace period; the pod's end has that of the pod."""
    text = DEPLOYMENT.replace("      containers:\n", "      terminationGracePeriodSeconds: 300\n      containers:\n")
    made = injected(text)
    assert sidecar_of(made)["livenessProbe"]["terminationGracePeriodSeconds"] == 10
    assert pods(loaded(made))[0]["terminationGracePeriodSeconds"] == 300
    assert uninject(made).text == text


@pytest.mark.parametrize(
    ("flags", "drain"),
    [
        ({}, ["8s", "5s"]),
        ({"mode": "classic"}, ["8s", "27s"]),
        ({"drain-delay": "9s", "drain-timeout": "6s"}, ["9s", "6s"]),
    ],
)
def test_the_drain_is_what_the_grace_period_was_reckoned_with(flags: dict[str, str], drain: list[str]) -> None:
    """Also where a settings file says the rest, which may say nothing of it."""
    arguments = sidecar_of(
        injected(DEPLOYMENT, config_map="settings", **flags),
        "containers" if "mode" in flags else "initContainers",
    )["args"]
    assert [arguments[arguments.index(f"--drain-{what}") + 1] for what in ("delay", "timeout")] == drain
    assert "--trusted-proxies" not in arguments
