"""Values that cannot both be meant, and values that may surprise."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sidecar.settings import (
    Admin,
    Breaker,
    Rate,
    Redis,
    Route,
    Settings,
    SettingsError,
    Timeouts,
    load,
)
from sidecar.settings.checks import contradictions, notes
from tests.settings.support import complaints, read

UPSTREAM = "http://127.0.0.1:8080"


def test_an_attempt_must_fit_into_its_request() -> None:
    """An attempt timeout above the request timeout would never act, so it is refused."""
    (found,) = contradictions(Settings(upstream=UPSTREAM, timeouts=Timeouts(request=1, attempt=2)))
    assert (found.path, found.value) == ("timeouts.attempt", "2s")
    assert "write at most 1s" in found.wrong


@pytest.mark.parametrize(("request_timeout", "attempt"), [(0, 5), (5, 0), (5, 5)])
def test_timeouts_that_are_off_or_equal_do_not_contradict(request_timeout: float, attempt: float) -> None:
    """Where one of the two is off, or they are equal, there is nothing to refuse."""
    timeouts = Timeouts(request=request_timeout, attempt=attempt)
    assert contradictions(Settings(upstream=UPSTREAM, timeouts=timeouts)) == []


@pytest.mark.parametrize(
    ("listen", "admin", "same"),
    [
        ("127.0.0.1:1", "127.0.0.1:1", True),
        (":1", "127.0.0.1:1", True),
        ("127.0.0.1:1", "[::]:1", True),
        ("unix:/a", "unix:/a", True),
        ("127.0.0.1:0", "127.0.0.1:0", False),
        ("127.0.0.1:1", "127.0.0.1:2", False),
        ("127.0.0.1:1", "127.0.0.2:1", False),
        ("unix:/a", "unix:/b", False),
        ("unix:/a", "127.0.0.1:1", False),
    ],
)
def test_listen_and_admin_must_not_take_the_same_port(listen: str, admin: str, same: bool) -> None:
    """The two listeners may not ask for one port, a wildcard for its own included."""
    found = contradictions(Settings(upstream=UPSTREAM, listen=listen, admin=Admin(listen=admin)))
    assert [item.path for item in found] == (["admin.listen"] if same else [])


@pytest.mark.parametrize(
    ("upstream", "listen", "loop"),
    [
        ("http://127.0.0.1:1", "127.0.0.1:1", True),
        ("http://localhost:1", ":1", True),
        ("http://[::1]:1", "0.0.0.0:1", True),
        ("http://app:1", "app:1", True),
        ("unix:///a", "unix:/a", True),
        ("http://app:1", ":1", False),
        ("http://127.0.0.1:2", "127.0.0.1:1", False),
        ("unix:///b", "unix:/a", False),
    ],
)
def test_the_upstream_must_not_be_the_sidecar(upstream: str, listen: str, loop: bool) -> None:
    """An upstream that is the sidecar's own address would make it call itself."""
    found = contradictions(Settings(upstream=upstream, listen=listen))
    assert [item.path for item in found] == (["upstream"] if loop else [])


def test_a_contradiction_is_blamed_on_what_was_written() -> None:
    """Where one of two contradicting values is a default, the other one's origin is told."""
    with pytest.raises(SettingsError, match=r"^admin\.listen: 127\.0\.0\.1:8901: .* \[flag --listen\]$"):
        load({"upstream": UPSTREAM, "listen": "127.0.0.1:8901"}, {}, None)


def test_token_and_token_file_exclude_each_other() -> None:
    """Of two tokens nobody could say which counts."""
    (found,) = contradictions(Settings(upstream=UPSTREAM, admin=Admin(token="a", token_file="/b")))
    assert found.path == "admin.token_file"


@pytest.mark.parametrize(
    ("section", "path", "wrong"),
    [
        (
            {"timeouts": {"request": "1s", "attempt": "2s"}},
            "timeouts.attempt",
            "2s: is longer than timeouts.request (1s)",
        ),
        (
            {"timeouts": {"request": "1s"}, "retry": {"hedge": "1s"}},
            "retry.hedge",
            "1s: is not before timeouts.request",
        ),
        ({"retry": {"base": "3s"}}, "retry.cap", "2s: is shorter than the first backoff, retry.base (3s); write at l"),
        ({"retry": {"cap": "50ms"}}, "retry.cap", "50ms: is shorter than the first backoff, retry.base (100ms)"),
        (
            {"retry": {"conditions": "reset,retriable-status-codes"}},
            "retry.conditions",
            "reset,retriable-status-codes: names retriable-status-codes, which retry.statuses lists and are none;",
        ),
        (
            {"retry": {"conditions": "retriable-headers"}},
            "retry.conditions",
            "retriable-headers: names retriable-headers, which retry.h",
        ),
        (
            {"retry": {"statuses": "503"}},
            "retry.statuses",
            "503: means nothing while retry.conditions does not name retriable-s",
        ),
        (
            {"retry": {"headers": "X-A"}},
            "retry.headers",
            "X-A: means nothing while retry.conditions does not name retriable-h",
        ),
        ({"rate": {"shared": "true"}}, "rate.shared", "true: needs a Redis to share it in; give redis.url, or write"),
        (
            {"concurrency": {"adaptive": "on", "max": "0"}},
            "concurrency.adaptive",
            "true: has no bounds to find a limit",
        ),
        ({"concurrency": {"adaptive": "on", "max": "1"}}, "concurrency.min", "2: is more than concurrency.max (1)"),
    ],
)
@pytest.mark.parametrize("prefix", ["", "routes[0]."])
def test_policies_that_contradict_themselves(
    tmp_path: Path, section: dict[str, dict[str, str]], path: str, wrong: str, prefix: str
) -> None:
    """Values of policies that cannot both be meant are told with path and remedy, those of a route by its own path."""
    text = json.dumps({"routes": [{"name": "a", "path": "/a", **section}]} if prefix else section)
    (told,) = complaints(tmp_path, text)
    for name in ("timeouts.request", "retry.", "concurrency."):
        wrong = wrong.replace(f" {name}", f" {prefix}{name}")
    assert told.startswith(f"{prefix}{path}: {wrong}")


def test_what_a_route_has_from_the_sidecar_may_come_to_nothing(tmp_path: Path) -> None:
    """A quick route need not say again what is off for it when its time is shorter, or its conditions others."""
    text = """
timeouts: {attempt: 5s}
retry: {hedge: 2s, conditions: [retriable-status-codes], statuses: [429]}
routes: [{name: quick, path: /quick, timeouts: {request: 1s}, retry: {conditions: [reset]}}]
"""
    (route,) = read(tmp_path, text).settings.routes
    assert (route.timeouts.request, route.timeouts.attempt, route.retry.hedge) == (1, 5, 2)


def test_a_contradiction_of_the_sidecars_own_is_told_once(tmp_path: Path) -> None:
    """Routes that have both values from the sidecar do not repeat it."""
    (told,) = complaints(tmp_path, "retry: {base: 3s}\nroutes: [{name: a, path: /a}, {name: b, path: /b}]\n")
    assert told.startswith("retry.cap: 2s: ")


def test_a_redis_in_a_file_is_one(tmp_path: Path) -> None:
    """A shared rate may have its Redis from `redis.url_file`, but not from both."""
    shared = Rate(shared=True)
    assert contradictions(Settings(upstream=UPSTREAM, rate=shared, redis=Redis(url_file="/a"))) == []
    (found,) = contradictions(Settings(upstream=UPSTREAM, rate=shared, redis=Redis(url="redis://h", url_file="/a")))
    assert found.path == "redis.url_file"


def test_defaults_contradict_nothing() -> None:
    """Neither the sidecar's defaults nor those of a route are told to be wrong, or noted."""
    settings = Settings(upstream=UPSTREAM, routes=(Route(name="a", path="/a"),))
    assert contradictions(settings) == []
    assert notes(settings) == []


def test_a_breaker_that_opens_at_nothing_is_noted_once() -> None:
    """With neither failures nor ratio a breaker never opens, which is allowed, but said; routes do not repeat it."""
    idle = Breaker(failures=0, ratio=0)
    route = Route(name="a", path="/a", breaker=idle)
    note = "breaker opens at nothing: its failures and its ratio are 0"
    assert notes(Settings(upstream=UPSTREAM, breaker=idle, routes=(route,))) == [note]
    assert notes(Settings(upstream=UPSTREAM, routes=(route,))) == [f"routes[0].{note}"]
    assert notes(Settings(upstream=UPSTREAM, breaker=Breaker(mode="off", failures=0, ratio=0))) == []


def test_a_burst_without_a_limit_is_noted() -> None:
    """A burst alone limits nothing, which whoever gave it may not know."""
    (note,) = notes(Settings(upstream=UPSTREAM, rate=Rate(burst=5)))
    assert note == "rate.burst 5 holds nothing back: rate.limit is 0"
    assert notes(Settings(upstream=UPSTREAM, rate=Rate(limit=1, burst=5))) == []


def test_an_admin_port_open_to_others_is_noted() -> None:
    """An admin port that others reach is allowed without a token, but said."""
    assert len(notes(Settings(upstream=UPSTREAM, admin=Admin(listen=":1")))) == 1
    assert notes(Settings(upstream=UPSTREAM, admin=Admin(listen=":1", token="x"))) == []
    assert notes(Settings(upstream=UPSTREAM)) == []


def test_a_token_on_the_command_line_is_noted() -> None:
    """`ps` shows it to everybody on the machine; the other ways are named, and the token is not."""
    settings = Settings(upstream=UPSTREAM, admin=Admin(token="hush"))
    (note,) = notes(settings, {"admin.token": "flag --admin-token"})

    assert "SIDECAR_ADMIN__TOKEN" in note
    assert "admin.token_file" in note
    assert "hush" not in note
    assert notes(settings, {"admin.token": "env SIDECAR_ADMIN__TOKEN"}) == []
