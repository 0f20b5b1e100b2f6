"""Manifests to inject into, and what came of it as plain values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from sidecar.inject.stream import inject

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "kubernetes" / "app.yaml"
MANIFESTS = [*sorted((Path(__file__).parent / "manifests").iterdir()), EXAMPLE]

DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
spec:
  template:
    metadata:
      labels:
        app: web
    spec:
      containers:
      - name: web
        image: example/web
        ports:
        - containerPort: 8080
          name: http
"""

SERVICE = """\
apiVersion: v1
kind: Service
metadata:
  name: web
spec:
  selector:
    app: web
  ports:
  - port: 80
    targetPort: http
"""


def annotated(**said: str) -> str:
    """The Deployment with annotations of its pod template."""
    lines = "".join(f'        sidecar/{name}: "{value}"\n' for name, value in said.items())
    return DEPLOYMENT.replace("      labels:\n", f"      annotations:\n{lines}      labels:\n")


def injected(text: str, **flags: str) -> str:
    """The text with the sidecar; a flag's dashes are underscores here."""
    result = inject(text, {name.replace("_", "-"): value for name, value in flags.items()})
    assert result.problems == []
    return result.text


def refused(text: str, **flags: str) -> list[str]:
    """Why the text gets no sidecar; it is left as it is."""
    result = inject(text, {name.replace("_", "-"): value for name, value in flags.items()})
    assert result.text == text
    return result.problems


def loaded(text: str) -> list[Any]:
    """The documents, read as Kubernetes reads them (YAML 1.1)."""
    return [document for document in yaml.safe_load_all(text.removeprefix("\ufeff")) if document is not None]


def pods(value: Any) -> list[dict[str, Any]]:
    """Everything that has `containers`, wherever it is."""
    if isinstance(value, list):
        return [pod for inner in value for pod in pods(inner)]
    if not isinstance(value, dict):
        return []
    return ([value] if "containers" in value else []) + pods(list(value.values()))


def sidecar_of(text: str, key: str = "initContainers") -> dict[str, Any]:
    """The container that was put into the first pod."""
    container: dict[str, Any] = pods(loaded(text))[0][key][0]
    assert container["name"] == "sidecar"
    return container
