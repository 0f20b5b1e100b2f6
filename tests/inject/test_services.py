"""What `sidecar inject` makes of Services: which it leads to the sidecar, and what it says of the others."""

from __future__ import annotations

import pytest

from sidecar.inject.stream import inject, uninject
from tests.inject.support import DEPLOYMENT, SERVICE, annotated, injected, loaded, refused


@pytest.mark.parametrize(
    ("port", "led"),
    [
        ("port: 80\n    targetPort: http", 8900),
        ("port: 80\n    targetPort: 8080", 8900),
        ("targetPort: '8080'  # theirs\n    port: 80", 8900),
        ("port: 8080", 8900),
        ("{port: 8080}", 8900),
        ("port: 80", None),
        ("port: 80\n    targetPort: 9090", 9090),
        ("port: 80\n    targetPort: http\n    protocol: UDP", "http"),
    ],
)
def test_a_service_leads_to_the_sidecar(port: str, led: object) -> None:
    """Every port that went to the application's goes to the sidecar, whatever it was called; others do not."""
    text = f"{DEPLOYMENT}---\n{SERVICE.partition('port: 80')[0]}{port}\n"
    made = inject(text, {})
    assert made.problems == []
    assert loaded(made.text)[1]["spec"]["ports"][0].get("targetPort") == led
    assert uninject(made.text).text == text
    told = [note for note in made.notes if "targetPort" in note]
    if led == 8900:
        assert told == ["document 2, Service/web, line 18: targetPort is 8900 now, the sidecar's"]
    else:
        assert told == [
            "document 1, Deployment/web, line 1: no Service here leads to it; give its Service targetPort 8900"
        ]


@pytest.mark.parametrize("selector", [" {app: other}", " {app: web, more: labels}", " {}", ""])
def test_a_service_of_others_stays(selector: str) -> None:
    """Where the labels do not fit, or there is no selector, nothing is changed."""
    service = SERVICE.replace("\n    app: web", selector)
    assert injected(f"{DEPLOYMENT}---\n{service}").endswith(service)


def test_what_is_merged_counts() -> None:
    """Labels and ports that a merge brings are the object's own."""
    text = DEPLOYMENT.replace("        app: web", "        <<: [{app: web}, {app: other, more: x}]")
    text = text.replace(
        "        - containerPort: 8080\n          name: http", "        - <<: {containerPort: 8080, name: http}"
    )
    service = SERVICE.replace("    app: web", "    <<: {app: web}").replace(
        "targetPort: http", "<<: {targetPort: http}"
    )
    made = injected(f"{text}---\n{service}")
    assert loaded(made)[1]["spec"]["ports"][0]["targetPort"] == 8900
    assert uninject(made).text == f"{text}---\n{service}"


def test_a_service_of_another_namespace_stays() -> None:
    """Labels mean something within one namespace only."""
    service = SERVICE.replace("  name: web\n", "  name: web\n  namespace: other\n")
    assert injected(f"{DEPLOYMENT}---\n{service}").endswith(service)


def test_a_service_of_pods_with_and_without_stays() -> None:
    """One port cannot lead to the sidecar of one pod and to the application of the other."""
    text = f"{DEPLOYMENT}---\n{annotated(inject='false')}---\n{SERVICE}"
    made = inject(text, {})
    assert made.text.endswith(SERVICE)
    assert any("selects pods with and without this sidecar" in note for note in made.notes)


def test_a_headless_service_leads_nobody() -> None:
    """Its clients dial the pods, at a port of their own choice; only who looks its port up gets the sidecar's."""
    headless = SERVICE.replace("spec:\n", "spec:\n  clusterIP: None\n")
    made = inject(f"{DEPLOYMENT}---\n{headless}", {})
    assert loaded(made.text)[1]["spec"]["ports"][0]["targetPort"] == 8900
    where = "document 2, Service/web, line 18"
    told = f"{where}: is headless (clusterIP: None), and nothing translates its ports: clients have to use port 8900"
    assert told in made.notes
    unled = "document 1, Deployment/web, line 1: no Service here leads to it; give its Service targetPort 8900"
    assert unled in made.notes

    notes = inject(f"{made.text}---\n{SERVICE}", {}).notes  # another one may lead there
    assert told in notes
    assert unled not in notes


def test_a_port_that_is_anothers_too_is_refused() -> None:
    """What would be put in there would be put into the other as well."""
    service = SERVICE.replace("port: 80\n    targetPort: http", "port: &p 8080\n  - name: b\n    port: *p")
    (problem,) = refused(f"{DEPLOYMENT}---\n{service}")
    assert problem.startswith("document 2, Service/web, line 18: line 26: port shares its value by an anchor")
