"""Values that cannot both be meant, and values that may surprise."""

from __future__ import annotations

import pytest

from sidecar.settings import Admin, Settings, SettingsError, Timeouts, load
from sidecar.settings.checks import contradictions, notes

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


def test_an_admin_port_open_to_others_is_noted() -> None:
    """An admin port that others reach is allowed without a token, but said."""
    assert len(notes(Settings(upstream=UPSTREAM, admin=Admin(listen=":1")))) == 1
    assert notes(Settings(upstream=UPSTREAM, admin=Admin(listen=":1", token="x"))) == []
    assert notes(Settings(upstream=UPSTREAM)) == []
