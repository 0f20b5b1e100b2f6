"""A manifest in any style that a YAML writer can give it is restored byte for byte."""

from __future__ import annotations

from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.inject.stream import uninject
from tests.inject.support import injected, loaded, pods

WORDS = st.sampled_from(["a", "b-c", "yes", "1", "# no comment", "two\nlines\n", "x: y", "", "'", '"', "é", "- z", "~"])
MAPPINGS = st.dictionaries(st.sampled_from(["app", "tier", "y", "long-" * 20]), WORDS, max_size=3)


@st.composite
def manifests(draw: st.DrawFn) -> list[dict[str, Any]]:
    """A workload with what may stand around the places that change, and a Service for it."""
    labels = {"app": draw(WORDS)}
    container = {"name": "web", "env": [{"name": "A", "value": draw(WORDS)}], "ports": [{"containerPort": 8080}]}
    pod: dict[str, Any] = {"containers": [container]}
    more = {
        "initContainers": [{"name": "first", "args": draw(st.lists(WORDS, max_size=3))}],
        "volumes": draw(st.lists(st.just({"name": "v", "emptyDir": {}}), max_size=2)),
        "terminationGracePeriodSeconds": draw(st.integers(0, 90)),
        "nodeSelector": draw(MAPPINGS),
    }
    pod |= {key: more[key] for key in draw(st.sets(st.sampled_from(sorted(more))))}
    template: dict[str, Any] = {"spec": pod, "metadata": {"labels": labels}}
    if draw(st.booleans()):
        template["metadata"]["annotations"] = draw(MAPPINGS)
    workload = {
        "kind": "Deployment",
        "apiVersion": "apps/v1",
        "metadata": {"name": "web"},
        "spec": {"template": template},
    }
    port: dict[str, Any] = {"port": 8080} if draw(st.booleans()) else {"port": 80, "targetPort": 8080}
    service = {"kind": "Service", "apiVersion": "v1", "metadata": {}, "spec": {"selector": labels, "ports": [port]}}
    both = draw(st.permutations([workload, service]))
    return [{"apiVersion": "v1", "kind": "List", "items": both}] if draw(st.booleans()) else both


@settings(max_examples=20, deadline=None)
@given(
    manifests(),
    st.sampled_from([None, True, False]),
    st.sampled_from([2, 4]),
    st.sampled_from([20, 80, 1000]),
    st.sampled_from(["\n", "\r\n"]),
    st.booleans(),
    st.booleans(),
)
def test_any_style_is_restored(
    documents: list[dict[str, Any]], flow: bool | None, indent: int, width: int, end: str, sort: bool, config: bool
) -> None:
    """Taken out again, the text is what it was, and what is between is what was asked for."""
    text = yaml.safe_dump_all(
        documents,
        default_flow_style=flow,
        indent=indent,
        width=width,
        line_break=end,
        sort_keys=sort,
        allow_unicode=True,
    )
    made = injected(text, **({"config_map": "settings"} if config else {}))
    (pod,) = pods(loaded(made))
    assert [one["name"] for one in pod["initContainers"]][:1] == ["sidecar"]
    assert ("sidecar-config" in [volume["name"] for volume in pod.get("volumes", [])]) == config
    assert uninject(made) == (text, [], [])
