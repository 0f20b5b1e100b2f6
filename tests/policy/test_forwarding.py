"""What the upstream is told of the client, and whom we believe about it."""

from __future__ import annotations

import pytest

from sidecar.forwarding import NO_ADDRESS, Forwarding
from sidecar.headers import index

PRIVATE = ("10.0.0.0/8", "fd00::/8")
CLAIMS = {
    b"host": b"a.example",
    b"x-forwarded-for": b"192.0.2.1, 10.0.0.9",
    b"x-forwarded-host": b"outer.example",
    b"x-forwarded-proto": b"https",
    b"forwarded": b"for=192.0.2.1",
}


def told(known: dict[bytes, bytes], peer: str, *, trusted: bool, forwarded: bool = False) -> dict[bytes, bytes]:
    """What the upstream is told, by lower-case name; no field comes twice."""
    lines = Forwarding(PRIVATE, forwarded=forwarded).fields(known, peer, trusted=trusted)
    assert lines.count(b"\r\n") == len(index(lines))
    return index(lines)


def test_a_stranger_is_the_client_whatever_it_claims() -> None:
    """Its claims are replaced by what we see."""
    assert told(CLAIMS, "192.0.2.7", trusted=False) == {
        b"x-forwarded-proto": b"http",
        b"x-forwarded-for": b"192.0.2.7",
        b"x-forwarded-host": b"a.example",
    }


def test_a_trusted_proxy_is_passed_on_and_added() -> None:
    """Its claims about scheme and host hold; its own address ends the chain."""
    assert told(CLAIMS, "10.0.0.1", trusted=True) == {
        b"x-forwarded-proto": b"https",
        b"x-forwarded-for": b"192.0.2.1, 10.0.0.9, 10.0.0.1",
        b"x-forwarded-host": b"outer.example",
    }


def test_a_trusted_proxy_that_claims_nothing_is_the_client() -> None:
    """As a stranger is."""
    assert told({b"host": b"a"}, "10.0.0.1", trusted=True) == {
        b"x-forwarded-proto": b"http",
        b"x-forwarded-for": b"10.0.0.1",
        b"x-forwarded-host": b"a",
    }


def test_a_client_without_host_has_none_forwarded() -> None:
    """HTTP/1.0 may leave it out."""
    assert b"x-forwarded-host" not in told({}, "192.0.2.7", trusted=False)


def test_a_local_socket_has_no_address_to_tell() -> None:
    """The chain is left out, the rest told."""
    assert told({b"host": b"a"}, NO_ADDRESS, trusted=False) == {
        b"x-forwarded-proto": b"http",
        b"x-forwarded-host": b"a",
    }


@pytest.mark.parametrize(
    ("peer", "trusted"),
    [
        ("10.0.0.0", True),
        ("10.255.255.255", True),
        ("11.0.0.0", False),
        ("::ffff:10.1.2.3", True),
        ("::ffff:11.1.2.3", False),
        ("fd00::1", True),
        ("fd00::1%eth0", True),
        ("fe80::1%eth0", False),
        ("::1", False),
        (NO_ADDRESS, False),
        ("", False),
        ("010.0.0.1", False),
        ("10.0.0.1:80", False),
        ("\u0661\u0660.0.0.1", False),
    ],
)
def test_trust_is_by_network(peer: str, trusted: bool) -> None:
    """IPv4 in IPv6 clothing is IPv4, and what is no address is never trusted."""
    assert Forwarding(PRIVATE).trusts(peer) is trusted


def test_nobody_is_trusted_unless_it_is_said() -> None:
    """Not even this machine."""
    assert not Forwarding().trusts("127.0.0.1")
    assert Forwarding(("127.0.0.1",)).trusts("127.0.0.1")
    assert Forwarding(("10.1.2.3/8",)).trusts("10.9.9.9")


@pytest.mark.parametrize(
    ("chain", "client"),
    [
        (b"192.0.2.1", "192.0.2.1"),
        (b"192.0.2.1, 10.0.0.9", "192.0.2.1"),
        (b"203.0.113.9, 192.0.2.1, 10.0.0.9, 10.0.0.8", "192.0.2.1"),
        (b"10.0.0.9, 10.0.0.8", "10.0.0.9"),
        (b" 192.0.2.1\t,\t10.0.0.9 ", "192.0.2.1"),
        (b"2001:db8::1, fd00::9", "2001:db8::1"),
        (b"192.0.2.1, unknown, 10.0.0.9", "10.0.0.9"),
        (b"192.0.2.1, , 10.0.0.9", "10.0.0.9"),
        (b"unknown", "10.0.0.1"),
        (b"", "10.0.0.1"),
        (b"\xff", "10.0.0.1"),
        (b"192.0.2.1:80", "10.0.0.1"),
        ("\u0661\u0669\u0662.0.2.1".encode(), "10.0.0.1"),
    ],
)
def test_the_client_is_the_last_address_that_nobody_of_ours_has(chain: bytes, client: str) -> None:
    """Read from the right: what stands left of the first stranger is only claimed; nonsense ends the walk."""
    assert Forwarding(PRIVATE).client({b"x-forwarded-for": chain}, "10.0.0.1") == client


def test_without_a_chain_the_peer_is_the_client() -> None:
    """Trusted or not."""
    assert Forwarding(PRIVATE).client({}, "10.0.0.1") == "10.0.0.1"


def test_forwarded_is_told_only_when_asked() -> None:
    """One element for this hop (RFC 7239); of a stranger's, nothing."""
    assert b"forwarded" not in told(CLAIMS, "192.0.2.7", trusted=False)
    assert told(CLAIMS, "192.0.2.7", trusted=False, forwarded=True)[b"forwarded"] == (
        b'for=192.0.2.7;proto=http;host="a.example"'
    )


def test_forwarded_goes_on_behind_a_trusted_proxy() -> None:
    """Element after element."""
    assert told(CLAIMS, "10.0.0.1", trusted=True, forwarded=True)[b"forwarded"] == (
        b'for=192.0.2.1, for=10.0.0.1;proto=https;host="outer.example"'
    )


@pytest.mark.parametrize(
    ("peer", "node"),
    [("2001:db8::1", b'for="[2001:db8::1]"'), (NO_ADDRESS, b"for=unknown"), ("192.0.2.7", b"for=192.0.2.7")],
)
def test_forwarded_quotes_ipv6(peer: str, node: bytes) -> None:
    """In brackets; who has no address is unknown."""
    assert told({}, peer, trusted=False, forwarded=True)[b"forwarded"] == node + b";proto=http"


@pytest.mark.parametrize("forwarded", [True, False])
def test_an_empty_claim_is_no_claim(forwarded: bool) -> None:
    """No element and no value is empty."""
    empty = {b"host": b"a", b"x-forwarded-for": b"", b"x-forwarded-proto": b"", b"forwarded": b""}

    assert told(empty, "10.0.0.1", trusted=True, forwarded=forwarded) == told(
        {b"host": b"a"}, "10.0.0.1", trusted=True, forwarded=forwarded
    )
