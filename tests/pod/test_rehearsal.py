"""A pod's life with the chart's default numbers, by real processes: who starts and ends when, and what is lost."""

from __future__ import annotations

import pytest

from tests.pod.rehearsal import Rehearsal, rehearse


@pytest.fixture(scope="module")
def pods() -> dict[str, Rehearsal]:
    """One pod of each kind; they wait more than they work, so they live at the same time."""
    modes = ("native", "classic", "hasty")
    return dict(zip(modes, rehearse(*modes), strict=True))


def moments(rehearsal: Rehearsal, *events: str) -> list[float]:
    """When each event happened that is to have happened once."""
    found = []
    for event in events:
        (when,) = [when for when, what in rehearsal.kubelet.log if what.startswith(event)]
        found.append(when)
    return found


def order(rehearsal: Rehearsal, *events: str) -> None:
    """These events happened, in this order."""
    log = [what for _, what in rehearsal.kubelet.log]
    places = [next(place for place, what in enumerate(log) if what.startswith(event)) for event in events]
    assert places == sorted(places), log


def test_native(pods: dict[str, Rehearsal]) -> None:
    """The sidecar is up before the app starts and goes after it has ended; nobody loses a request."""
    pod = pods["native"]
    assert pod.crowd.failures == []
    assert pod.crowd.refused == 0
    assert pod.kubelet.killed == []
    order(pod, "sidecar: startup probe holds", "app: started", "sidecar: ready", "pod: deleted")
    order(pod, "pod: deleted", "sidecar: preStop `sidecar drain", "app: SIGTERM", "app: ended with 0")
    order(pod, "app: ended with 0", "sidecar: SIGTERM", "sidecar: ended with 0")
    hook, app = moments(pod, "sidecar: preStop", "app: SIGTERM")
    assert hook < app


def test_classic(pods: dict[str, Rehearsal]) -> None:
    """Both are told to end at once; with the numbers that the chart asks for, nobody loses a request either."""
    pod = pods["classic"]
    assert pod.crowd.failures == []
    assert pod.crowd.refused == 0
    assert pod.kubelet.killed == []
    order(pod, "sidecar: preStop", "sidecar: SIGTERM", "app: SIGTERM", "app: ended with 0")
    assert pod.kubelet.of("sidecar").code == 0


def test_what_the_chart_protects_from(pods: dict[str, Rehearsal]) -> None:
    """A classic sidecar that does not outwait its app cuts what the app would have answered."""
    pod = pods["hasty"]
    assert {one.kind for one in pod.crowd.asked.values() if one.end == "cut"} == {"long"}
