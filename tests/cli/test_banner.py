"""What is said at the start."""

from __future__ import annotations

import re

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
    assert "delay 0s, timeout 25s" in lines[5]
    assert [line.split(maxsplit=1)[1] for line in lines[6:]] == [
        "timeouts.request = 5s (flag --timeout)",
        "pool.idle = 2s (env SIDECAR_POOL__IDLE)",
        "admin.token = *** (env SIDECAR_ADMIN__TOKEN)",
    ]


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
