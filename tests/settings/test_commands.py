"""What `sidecar check` and `sidecar config` say of policies and routes."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from sidecar.cli import main
from tests.settings.support import read

FILE = """
upstream: http://app:1
redis: {url: "redis://me:hush@h:6379/0"}
rate: {burst: 5}
routes:
- {name: all, path: "/{rest...}", rate: {limit: 90/m, shared: true}}
- {name: late, path: /a}
"""


@pytest.fixture(autouse=True)
def _no_settings_around(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("SIDECAR_"):
            monkeypatch.delenv(name)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A settings file with routes and a secret."""
    path = tmp_path / "sidecar.yaml"
    path.write_text(FILE)
    return path


def test_check_tells_what_was_given_and_what_may_surprise(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`check` prints what somebody gave, routes included, passwords masked, and every note."""
    assert main(["check", "-c", str(file), "--retries", "1"]) == 0
    assert capsys.readouterr().out.replace(f"file {file}", "file").splitlines() == [
        "OK: 127.0.0.1:8900 -> http://app:1, admin 127.0.0.1:8901",
        "  upstream = http://app:1  (file)",
        "  rate.burst = 5  (file)",
        "  redis.url = redis://me:***@h:6379/0  (file)",
        "  retry.attempts = 1  (flag --retries)",
        "  routes[0].name = all  (file)",
        "  routes[0].path = /{rest...}  (file)",
        "  routes[0].rate.limit = 90/m  (file)",
        "  routes[0].rate.shared = true  (file)",
        "  routes[1].name = late  (file)",
        "  routes[1].path = /a  (file)",
        "  everything else is at its default; `sidecar config show` prints it",
        "  note: rate.burst 5 holds nothing back: rate.limit is 0",
        "  note: routes[1] (late) is never reached: routes[0] (all) takes all it would",
    ]


def test_check_tells_every_mistake_in_routes(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`check` exits with 78 and prints each mistake with path, value, remedy, line and route."""
    file.write_text("upstream: http://app:1\nroutes:\n- {name: a, path: b}\n- name: a\n  path: /a\n  rat: {limit: 5}\n")
    with pytest.raises(SystemExit, match="78"):
        main(["check", "-c", str(file)])
    assert capsys.readouterr().err.replace(f"file {file} ", "").splitlines() == [
        "sidecar check: routes[1].rat: is not a setting; did you mean routes[1].rate? [line 6, route a]",
        "sidecar check: routes[0].path: b: is not a request path; write it like /healthz [line 3, route a]",
        "sidecar check: routes[1].name: a: is the name of routes[0] too; give each route its own [line 4, route a]",
    ]


def test_a_limits_flag_that_means_nothing_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    """A policy's flag is read like all others: exit code 2 and what to write."""
    with pytest.raises(SystemExit, match="2"):
        main(["check", "--upstream", "http://app:1", "--rate-limit", "100", "--breaker", "on"])
    assert capsys.readouterr().err.splitlines() == [
        "sidecar check: rate.limit: 100: is not a rate; write it like 100/s, 90/m or 5000/h [flag --rate-limit]",
        "sidecar check: breaker.mode: on: is not one of the choices; write enforce, shadow or off [flag --breaker]",
    ]


def test_show_prints_routes_and_no_password(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`config show` prints a good file with all routes, and hides the password of Redis."""
    assert main(["config", "show", "-c", str(file)]) == 0
    out = capsys.readouterr().out
    assert "hush" not in out
    assert [route.name for route in read(tmp_path, out, {}).settings.routes] == ["all", "late"]


def test_schema_and_template_know_routes(capsys: pytest.CaptureFixture[str]) -> None:
    """`config schema` describes routes, `config template` shows one."""
    assert main(["config", "schema"]) == 0
    assert "items" in json.loads(capsys.readouterr().out)["properties"]["routes"]
    assert main(["config", "template"]) == 0
    assert "\n#routes:\n#  - name: " in capsys.readouterr().out
