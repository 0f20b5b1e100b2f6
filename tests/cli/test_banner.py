"""What is said at the start."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sidecar import __version__
from sidecar.banner import banner, started_fields
from sidecar.settings import Loaded, load

BOUND = ("127.0.0.1:40001", "127.0.0.1:40002")


@pytest.fixture
def loaded() -> Loaded:
    """Settings with some that are not at their default, a secret among them."""
    flags = {"upstream": "http://app:8080", "listen": "127.0.0.1:0", "timeouts.request": "5s"}
    return load(flags, {"SIDECAR_ADMIN__TOKEN": "hush", "SIDECAR_POOL__IDLE": "2s"}, None)


def test_banner_says_where_and_how(loaded: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    """The banner names the bound addresses, the timeouts and limits in force, and what is not at its default."""
    monkeypatch.setenv("NO_COLOR", "1")
    lines = banner(loaded, *BOUND).splitlines()
    assert lines[0] == f"sidecar {__version__}"
    assert lines[1].split() == ["listening", "http://127.0.0.1:40001", "->", "http://app:8080"]
    assert "http://127.0.0.1:40002/readyz" in lines[2]
    assert "request 5s, attempt off, connect 1s" in lines[3]
    assert "head 60KiB / 100 lines, body off" in lines[4]
    assert lines[5].split(maxsplit=1) == [
        "policies",
        "rate off, concurrency 1024, retry 2 (budget 20%), breaker 5 failures or 50% of 20 (open 30s)",
    ]
    assert "delay 0s, timeout 25s" in lines[6]
    assert [line.split(maxsplit=1)[1] for line in lines[7:]] == [
        "timeouts.request = 5s (flag --timeout)",
        "pool.idle = 2s (env SIDECAR_POOL__IDLE)",
        "admin.token = *** (env SIDECAR_ADMIN__TOKEN)",
    ]


@pytest.mark.parametrize(
    ("env", "policies"),
    [
        ({"RATE__LIMIT": "90/m", "RATE__BURST": "5"}, "rate 90/m (burst 5), concurrency"),
        ({"RATE__LIMIT": "9/s", "RATE__MODE": "shadow"}, "rate 9/s in shadow, concurrency"),
        ({"RATE__LIMIT": "9/s", "RATE__MODE": "off"}, "rate off, concurrency"),
        ({"CONCURRENCY__MAX": "0"}, "rate off, concurrency off, retry"),
        ({"CONCURRENCY__ADAPTIVE": "true"}, "rate off, concurrency 2 to 1024, retry"),
        (
            {"CONCURRENCY__MODE": "shadow", "RETRY__ATTEMPTS": "0"},
            "rate off, concurrency 1024 in shadow, retry off, br",
        ),
        ({"RETRY__BUDGET": "1"}, "rate off, concurrency 1024, retry 2 (budget 100%), breaker"),
        (
            {"RETRY__MODE": "off", "BREAKER__FAILURES": "0", "BREAKER__OPEN_FOR": "5s"},
            "rate off, concurrency 1024, retry off, breaker 50% of 20 (open 5s)",
        ),
        (
            {"RETRY__MODE": "off", "BREAKER__RATIO": "0", "BREAKER__MODE": "shadow"},
            "rate off, concurrency 1024, retry off, breaker 5 failures (open 30s) in shadow",
        ),
        (
            {"RETRY__MODE": "off", "BREAKER__RATIO": "0", "BREAKER__FAILURES": "0"},
            "rate off, concurrency 1024, retry off, ",
        ),
    ],
)
def test_policies_that_hold_are_named_with_what_decides(env: dict[str, str], policies: str) -> None:
    """Each policy is named with the numbers that decide and its mode; one that does nothing is off, whatever for."""
    loaded = load({"upstream": "http://app:8080"}, {f"SIDECAR_{name}": value for name, value in env.items()}, None)
    told = started_fields(loaded, *BOUND)["policies"]
    assert str(told).startswith(policies)
    assert f"{told}\n" in banner(loaded, *BOUND)


def test_routes_are_named(tmp_path: Path) -> None:
    """Routes are counted and named, the first of them on a terminal; what each has, `config show` tells."""
    file = tmp_path / "sidecar.yaml"
    routes = [f"{{name: r{number}, path: /{number}, retry: {{attempts: 1}}}}" for number in range(10)]
    file.write_text(f"upstream: http://app:1\nroutes: [{', '.join(routes)}]\n")
    loaded = load({}, {}, file)
    text = banner(loaded, *BOUND)
    assert "10: r0, r1, r2, r3, r4, r5, r6, r7, …\n" in text
    assert "routes[" not in text
    fields = started_fields(loaded, *BOUND)
    assert fields["routes"] == [f"r{number}" for number in range(10)]
    assert fields["set"] == {"upstream": {"value": "http://app:1", "from": f"file {file}"}}


def test_colours_are_left_out_when_asked(loaded: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    """NO_COLOR leaves the escape sequences out and changes nothing else."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    coloured = banner(loaded, *BOUND)
    monkeypatch.setenv("NO_COLOR", "1")
    plain = banner(loaded, *BOUND)
    assert "\x1b[" in coloured
    assert "\x1b" not in plain
    assert re.sub(r"\x1b\[\d+m", "", coloured) == plain


def test_wildcard_and_socket_addresses_can_be_used_as_shown() -> None:
    """A wildcard is shown as an address that a browser can open, a socket file as itself."""
    loaded = load({"upstream": "unix:///run/a.sock", "admin.listen": ":1"}, {}, None)
    text = banner(loaded, "unix:/run/s.sock", ":8901")
    assert "unix:/run/s.sock" in text
    assert "http://127.0.0.1:8901/readyz" in text
    assert "reachable from outside" in text


def test_started_fields_say_the_same(loaded: Loaded) -> None:
    """The log line has the same facts as fields, without secrets."""
    fields = started_fields(loaded, *BOUND)
    assert (fields["listen"], fields["admin"], fields["upstream"]) == (*BOUND, "http://app:8080")
    assert fields["set"] == {
        "upstream": {"value": "http://app:8080", "from": "flag --upstream"},
        "listen": {"value": "127.0.0.1:0", "from": "flag --listen"},
        "timeouts.request": {"value": "5s", "from": "flag --timeout"},
        "pool.idle": {"value": "2s", "from": "env SIDECAR_POOL__IDLE"},
        "admin.token": {"value": "***", "from": "env SIDECAR_ADMIN__TOKEN"},
    }
    assert "hush" not in str(fields)
