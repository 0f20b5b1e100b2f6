"""What differs between two versions of the settings, and what of it needs a restart."""

from __future__ import annotations

from pathlib import Path

import pytest

from sidecar.settings import Settings
from sidecar.settings.changes import RESTART, changes, needs_restart
from sidecar.settings.knobs import knobs
from tests.settings.support import read

A, B, C = ("{name: a, path: /a}", "{name: b, path: /b}", "{name: c, path: /c}")


@pytest.mark.parametrize(
    ("old", "new", "changed"),
    [
        ("", "", []),
        ("retry: {attempts: 2}", "", []),
        ("timeouts: {request: 1s, head: 1s}", "timeouts: {request: 1000ms}", ["timeouts.head"]),
        ("admin: {token: a}", "admin: {token: b}", ["admin.token"]),
        ("routes: [{name: a, path: /a}]", "routes: [{name: a, path: /b}]", ["routes[a].path"]),
        (f"routes: [{A}]", f"routes: [{B}, {A}]", ["routes[b] added"]),
        (f"routes: [{A}, {B}]", f"routes: [{B}]", ["routes[a] removed"]),
        (f"routes: [{A}]", f"routes: [{C}]", ["routes[c] added", "routes[a] removed"]),
        (f"routes: [{A}, {B}]", f"routes: [{B}, {A}]", ["routes reordered"]),
        (f"routes: [{A}, {B}]", f"routes: [{B}, {C}, {A}]", ["routes[c] added", "routes reordered"]),
        (f"routes: [{A}]", f"routes: [{A}]\nretry: {{attempts: 3}}", ["retry.attempts"]),
        (f"routes: [{A}]", "routes: [{name: a, path: /a, retry: {attempts: 2}}]", []),
        (
            "routes: [{name: a, path: /a, retry: {attempts: 1}}]",
            f"routes: [{A}]\nretry: {{attempts: 3}}",
            ["retry.attempts", "routes[a].retry.attempts"],
        ),
        (f"routes: [{A}]", "routes: [{name: a, path: /a, rate: {limit: 1/s}}]", ["routes[a].rate.limit"]),
    ],
)
def test_changes_are_named(tmp_path: Path, old: str, new: str, changed: list[str]) -> None:
    """Every knob that has another value is named once, with the routes that come, go, or change places."""
    assert changes(read(tmp_path, old), read(tmp_path, new)) == changed


def test_what_is_bound_or_built_once_needs_a_restart() -> None:
    """Ports, pool, log, forwarding and health are as they were at the start; all else changes while running."""
    paths = ["upstream", "listen", "admin.listen", "pool.idle", "log.level", "forwarding.forwarded", "health.path"]
    live = ["admin.token", "timeouts.request", "retry.attempts", "routes[a].rate.limit", "routes[log] added"]
    live += ["routes reordered", "redis.url", "rate.limit", "drain.delay", "probes.paths", "http.max_body"]
    assert needs_restart([*live, *paths]) == paths


def test_what_needs_a_restart_exists() -> None:
    """The table names sections and knobs, none twice."""
    assert {name for name in RESTART if "." not in name} <= set(Settings.__struct_fields__)
    assert {name for name in RESTART if "." in name} <= set(knobs())
