"""Whose bucket a request takes from."""

from __future__ import annotations

import pytest

from sidecar.throttle.keys import key_reader
from tests.throttle.support import exchange


def key(kind: str, client: str = "192.0.2.7", block: bytes = b"") -> bytes:
    """The key of a request."""
    read = key_reader(kind)
    assert read is not None
    return read(exchange(client, block))


def test_without_a_key_there_is_nothing_to_read() -> None:
    """All share one bucket."""
    assert key_reader("") is None


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.7", "192.0.2.8", False),
        ("2001:db8::1", "2001:DB8:0:0:ffff::2", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.7", "192.0.2.7", True),
        ("::ffff:192.0.2.7", "::ffff:192.0.2.8", False),
        ("fe80::1%eth0", "fe80::1", True),
        ("unix", "unix", True),
        ("no:address", "no:address", True),
    ],
)
def test_a_client_is_an_ipv4_address_or_an_ipv6_network(one: str, other: str, same: bool) -> None:
    """Whoever has one address of a /64 has them all."""
    assert (key("client", one) == key("client", other)) is same


def test_a_header_is_read_whatever_its_case() -> None:
    """Names of fields have none."""
    assert key("header:X-Key", block=b"x-KEY: a\r\n") == b"a"


def test_those_without_the_header_are_alike() -> None:
    """One bucket for all of them."""
    assert key("header:x-key") == key("header:x-key", block=b"X-Key: \r\n") == b""


def test_long_keys_are_bounded_and_stay_apart() -> None:
    """However long the header, its key takes little memory, and is no other's."""
    long = [key("header:x-key", block=b"X-Key: " + b"a" * 4000 + end + b"\r\n") for end in (b"b", b"c")]

    assert long[0] != long[1]
    assert all(len(one) <= 64 and one.startswith(b"\0") for one in long)  # no header holds a NUL
    assert key("header:x-key", block=b"X-Key: " + b"a" * 64 + b"\r\n") == b"a" * 64
