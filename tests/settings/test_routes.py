"""Routes: how the file gives them, what each takes from the sidecar, and which mistakes are told."""

from __future__ import annotations

from pathlib import Path

import pytest

from sidecar.settings import Breaker, Concurrency, Deadline, Rate, Retry, Settings, load
from sidecar.settings.checks import notes
from sidecar.settings.routes import covers
from tests.settings.support import UPSTREAM, complaints, read

ORDERS = "routes:\n- name: orders\n  path: /orders/{id}\n"


def test_a_route_needs_a_name_and_a_path(tmp_path: Path) -> None:
    """With these two alone, a route limits nothing of its own and is treated as the sidecar treats everything."""
    settings = read(tmp_path, ORDERS).settings
    (route,) = settings.routes
    assert (route.name, route.path, route.methods, route.headers) == ("orders", "/orders/{id}", (), ())
    assert (route.timeouts.request, route.timeouts.attempt) == (15, 0)
    assert (route.deadline, route.retry, route.breaker) == (Deadline(), Retry(), Breaker())
    assert (route.rate, route.concurrency) == (Rate(), Concurrency(max=0))


def test_without_routes_there_are_none(tmp_path: Path) -> None:
    """No list, an empty one, and one of which everything is commented out are the same."""
    assert read(tmp_path, "routes: []\n") == read(tmp_path, "routes:\n#- name: a\n") == read(tmp_path, "")
    assert load(UPSTREAM, {}, None).settings.routes == ()


def test_what_a_route_does_not_say_is_the_sidecars_whatever_gave_it(tmp_path: Path) -> None:
    """Field by field, a route has what flags, environment, file or defaults give the sidecar; each says so."""
    text = f"{ORDERS}  retry: {{base: 50ms}}\n  timeouts: {{attempt: 1s}}\nbreaker: {{failures: 7}}\n"
    env = {"SIDECAR_RETRY__ATTEMPTS": "4", "SIDECAR_RETRY__BASE": "300ms", "SIDECAR_DEADLINE__MODE": "enforce"}
    settings, origin = read(tmp_path, text, {**UPSTREAM, "timeouts.request": "9s"}, env)
    (route,) = settings.routes
    file = f"file {tmp_path}/sidecar.yaml"
    assert route.retry == Retry(attempts=4, base=0.05)
    assert (route.timeouts.request, route.timeouts.attempt) == (9, 1)
    assert route.breaker == settings.breaker == Breaker(failures=7)
    assert route.deadline.mode == "enforce"
    assert origin["routes[0].retry.attempts"] == "as retry.attempts"
    assert origin["routes[0].timeouts.request"] == "as timeouts.request"
    assert origin["routes[0].retry.base"] == origin["routes[0].name"] == file


def test_limits_of_a_route_are_its_own(tmp_path: Path) -> None:
    """The sidecar's rate and concurrency are not a route's, which has the plain defaults for what it leaves out."""
    text = f"rate: {{limit: 9/s, burst: 5, key: client}}\nconcurrency: {{max: 7, queue_wait: 1s}}\n{ORDERS}"
    settings, origin = read(tmp_path, text + "  rate: {limit: 1/s}\n  concurrency: {priority: X-Priority}\n")
    (route,) = settings.routes
    assert route.rate == Rate(limit=1)
    assert route.concurrency == Concurrency(max=0, priority="X-Priority")
    assert origin["routes[0].rate.burst"] == origin["routes[0].concurrency.max"] == "default"


def test_what_was_given_is_told_from_what_was_not(tmp_path: Path) -> None:
    """Neither defaults nor what a route has from the sidecar were given by anybody."""
    loaded = read(tmp_path, f"{ORDERS}  retry: {{attempts: 1}}\nretry: {{attempts: 3}}\n")
    expected = ["upstream", "retry.attempts", "routes[0].name", "routes[0].path", "routes[0].retry.attempts"]
    assert loaded.given() == expected


def test_routes_may_share_what_an_anchor_names(tmp_path: Path) -> None:
    """YAML's own way to say a thing once works between routes."""
    routes = "- name: a\n  path: /a\n  rate: {limit: 5}\n- path: b\n  retry: {cup: 1s}\n- {name: a, path: /c}\n"
    assert complaints(tmp_path, f"routes:\n{routes}pol: 1\n") == [
        "routes[1].retry.cup: is not a setting; did you mean routes[1].retry.cap? [line 6]",
        "pol: is not a setting; did you mean pool? [line 8]",
        "routes[0].rate.limit: 5: is not a rate; write it like 100/s, 90/m or 5000/h [line 4, route a]",
        "routes[1].path: b: is not a request path; write it like /healthz [line 5]",
        "routes[1].name: is not given; no route can do without [line 5]",
        "routes[2].name: a: is the name of routes[0] too; give each route its own [line 7, route a]",
    ]


@pytest.mark.parametrize("name", ["SIDECAR_ROUTES", "SIDECAR_ROUTES__0__NAME", "SIDECAR_ROUTE_PATH"])
def test_routes_come_from_the_file_alone(tmp_path: Path, name: str) -> None:
    """A variable that would be a route is told where routes belong."""
    assert complaints(tmp_path, "", {name: "x"}) == [
        f"{name}: is not a setting; routes come from the file alone, -c [environment]"
    ]


def test_a_service_called_sidecar_routes_is_no_mistake(tmp_path: Path) -> None:
    """What Kubernetes sets for such a Service is not a route that somebody wanted to set."""
    assert read(tmp_path, "", env={"SIDECAR_ROUTES_SERVICE_HOST": "10.0.0.1"}).settings.routes == ()


@pytest.mark.parametrize(
    ("earlier", "later", "told"),
    [
        ("path: /a", "path: /a", True),
        ("path: '/{rest...}'", "path: '/a/{id}'", True),
        ("path: '/a/{x}'", "path: /a/b", True),
        ("path: /a, methods: [GET]", "path: /a, methods: [HEAD]", True),
        ("path: /a, headers: [X]", "path: /a, headers: [x=1]", True),
        ("path: /a, headers: [X=1]", "path: /a, headers: [x=1, Y]", True),
        ("path: /a, methods: [GET]", "path: /a", False),
        ("path: /a, methods: [GET]", "path: /a, methods: [GET, PUT]", False),
        ("path: /a, headers: [X]", "path: /a", False),
        ("path: /a, headers: [X=1]", "path: /a, headers: [X=2]", False),
        ("path: /a, headers: [X=1]", "path: /a, headers: [X]", False),
        ("path: /a/b", "path: '/a/{x}'", False),
    ],
)
def test_a_route_that_is_never_reached_is_noted(tmp_path: Path, earlier: str, later: str, told: bool) -> None:
    """Where an earlier route plainly takes all that a later one would, a note names both."""
    settings = read(tmp_path, f"routes:\n- {{name: one, {earlier}}}\n- {{name: two, {later}}}\n").settings
    note = "routes[1] (two) is never reached: routes[0] (one) takes all it would"
    assert notes(settings) == ([note] if told else [])


@pytest.mark.parametrize(
    ("earlier", "later", "does"),
    [
        ("/{rest...}", "/", True),
        ("/a/{rest...}", "/a/", True),
        ("/a/{rest...}", "/a", False),
        ("/a/{x}", "/a/", False),
        ("/a/{x}", "/a/{rest...}", False),
        ("/a/{x}", "/a/{x}/b", False),
        ("/{x}/b", "/{y}/b", True),
        ("/{x}/b", "/a/{y}", False),
        ("/a/", "/a", False),
    ],
)
def test_templates_that_take_what_others_do(earlier: str, later: str, does: bool) -> None:
    """One template covers another if it takes whatever that takes."""
    assert covers(earlier, later) is does


def test_settings_without_a_file_have_no_routes() -> None:
    """The struct's own default is what loading gives."""
    assert load(UPSTREAM, {}, None).settings == Settings(upstream="http://app:8080")
