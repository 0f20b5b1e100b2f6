"""The chart as Helm renders it, through Helm's own library: no binary, no cluster."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any, Final

import helm_python as helm
import kubernetes_validate  # type: ignore[import-untyped]  # it has no types
import yaml

from tests.support.processes import ROOT

CHART: Final = ROOT / "charts" / "sidecar"
CI_FILES: Final = sorted((CHART / "ci").glob("*-values.yaml"))
PLATFORM_FILES: Final = sorted((CHART / "platforms").glob("*.yaml"))

# What has to be said in any case; the other files in ci/ and those of the platforms stand on it.
DEFAULT: Final = CHART / "ci" / "default-values.yaml"

SCHEMA_ERROR: Final[type[Exception]] = kubernetes_validate.ValidationError

Values = dict[str, Any]
Document = dict[str, Any]


class Rendered:
    """One rendering: the documents by template, and the notes."""

    def __init__(self, output: Mapping[str, str]) -> None:
        self.notes = next((text for path, text in output.items() if path.endswith("NOTES.txt")), "")
        self.texts = {path: text for path, text in output.items() if not path.endswith("NOTES.txt")}
        self.documents: list[Document] = [
            document for text in self.texts.values() for document in yaml.safe_load_all(text) if document is not None
        ]

    def all(self, kind: str) -> list[Document]:
        """The documents of this kind."""
        return [document for document in self.documents if document["kind"] == kind]

    def one(self, kind: str) -> Document:
        """The only document of this kind."""
        (document,) = self.all(kind)
        return document

    @property
    def pod(self) -> Document:
        """The pod of the Deployment: metadata and spec."""
        template: Document = self.one("Deployment")["spec"]["template"]
        return template

    @property
    def settings(self) -> str:
        """The settings file that is mounted."""
        (text,) = [d["data"]["sidecar.yaml"] for d in self.all("ConfigMap") if "sidecar.yaml" in d.get("data", ())]
        assert isinstance(text, str)
        return text


def values_of(*files: Path) -> Values:
    """The values of these files, later ones over earlier ones, as `helm -f a -f b` merges them."""
    merged: Values = {}
    for file in files:
        merged = over(merged, helm.values_from_yaml(file.read_text(encoding="utf-8")))
    return merged


def over(below: Values, above: Mapping[str, Any]) -> Values:
    """`above` laid over `below`, key by key."""
    merged = deepcopy(below)
    for key, value in above.items():
        known = merged.get(key)
        merged[key] = over(known, value) if isinstance(known, dict) and isinstance(value, dict) else deepcopy(value)
    return merged


def render(values: Values | None = None, chart: Path = CHART) -> Rendered:
    """The release `orders` in the namespace `shop`. Raises what Helm raises."""
    with helm.Chart.load(chart) as loaded:
        return Rendered(loaded.render(values or {}, name="orders", namespace="shop", is_install=True))


def with_defaults(text: str = "") -> Values:
    """What has to be said, and this YAML over it."""
    return over(values_of(DEFAULT), helm.values_from_yaml(text) if text else {})


def check_schema(document: Document, version: str) -> None:
    """Hold a document against the strict schema of a Kubernetes version. Raises `SCHEMA_ERROR`."""
    kubernetes_validate.validate(document, version, strict=True)


def pods(documents: list[Document]) -> Iterator[tuple[str, Document]]:
    """Every pod that these documents make, with where it stands."""
    for document in documents:
        name = f"{document['kind']}/{document['metadata']['name']}"
        spec = document.get("spec") or {}
        if document["kind"] == "Pod":
            yield name, spec
        elif document["kind"] == "CronJob":
            yield name, spec["jobTemplate"]["spec"]["template"]["spec"]
        elif "template" in spec:
            yield name, spec["template"]["spec"]


def container(pod: Document, name: str) -> Document:
    """A container of a pod, wherever it stands."""
    (found,) = [one for key in ("initContainers", "containers") for one in pod.get(key, ()) if one["name"] == name]
    assert isinstance(found, dict)
    return found
