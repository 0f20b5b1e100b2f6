"""Workloads without a pod template, or containers in it: patches, and what a wrong indentation makes of them."""

from __future__ import annotations

from textwrap import dedent

import pytest

from sidecar.inject.stream import inject, uninject
from tests.inject.support import DEPLOYMENT, refused

WHERE = "document 1, Deployment/web, line 1: "
PATCH = "left alone, as patches are; in a whole workload, look at the indentation"
HEAD = DEPLOYMENT.partition("spec:\n")[0]
CRON = HEAD.replace("apps/v1", "batch/v1").replace("Deployment", "CronJob")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            DEPLOYMENT.partition("      containers:\n")[0] + "      nodeName: a\n",
            f"{WHERE}spec.template.spec.containers: there are none here",
        ),
        (HEAD + "spec:\n  replicas: 3\n", f"{WHERE}spec.template: there is none here"),
        (HEAD + "spec: {template: null}\n", f"{WHERE}spec.template: there is none here"),
        (HEAD + dedent(DEPLOYMENT.partition("spec:\n")[2]), f"{WHERE}spec: there is none here"),
        (
            CRON + "spec:\n  jobTemplate: {}\n",
            "document 1, CronJob/web, line 1: spec.jobTemplate.spec: there is none here",
        ),
        (
            "apiVersion: v1\nkind: List\nitems:\n- apiVersion: apps/v1\n  kind: DaemonSet\n  spec: {}\n",
            "document 1, DaemonSet/(no name), line 4: items[0].spec.template: there is none here",
        ),
    ],
)
def test_workloads_without_containers_are_left_alone(text: str, said: str) -> None:
    """A patch is no workload; the rest of the stream gets its sidecars, and a word says what did not."""
    made = inject(text, {})
    assert made == (text, [f"{said}; {PATCH}"], [])
    assert uninject(text) == (text, [], [])

    made = inject(f"{text}---\n{DEPLOYMENT}", {})
    assert made.text.startswith(f"{text}---\n")
    assert made.text.count("sidecar/injected") == 1
    assert made.notes[0] == f"{said}; {PATCH}"


def test_what_a_patch_says_of_the_sidecar_counts() -> None:
    """One that wants none is left alone without a word, and annotations with a mistake are refused in it too."""
    text = HEAD + "  annotations: {{sidecar/{}}}\nspec:\n  replicas: 3\n"
    assert inject(text.format('inject: "false"'), {})[1:] == ([], [])
    (problem,) = refused(text.format("upstraem: x"))
    assert problem == f"{WHERE}metadata: annotation sidecar/upstraem is not known; did you mean sidecar/upstream?"
