"""Header rules on bytes."""

from __future__ import annotations

import re

import pytest

from sidecar.headers import (
    HOP_BY_HOP,
    NOT_IN_TRAILERS,
    Headers,
    RequestIds,
    clean_trailers,
    fields,
    index,
    is_ours,
    tokens,
    without,
)

BLOCK = b"Host: a\r\nAccept: x\r\nX-Empty:\r\naccept:\t y \r\nCookie: a=1; b=2\r\n"


@pytest.mark.parametrize(
    ("value", "elements"),
    [
        (b"", []),
        (b",, ,\t,", []),
        (b"close", [b"close"]),
        (b"Keep-Alive, Upgrade", [b"keep-alive", b"upgrade"]),
        (b" a\t,\tB ,", [b"a", b"b"]),
        (b"a b", [b"a b"]),
        (b"a\x0b,\xa0b", [b"a\x0b", b"\xa0b"]),
        ("İ".encode(), ["İ".encode()]),
    ],
)
def test_a_list_of_tokens_is_split_at_commas(value: bytes, elements: list[bytes]) -> None:
    """In lower case, blank means space or tab, empty elements are none, and no other alphabet is touched."""
    assert elements == tokens(value)


def test_a_block_is_kept_as_it_was_spelt() -> None:
    """Names and values in order; blanks around a value are not part of it."""
    expected = [(b"Host", b"a"), (b"Accept", b"x"), (b"X-Empty", b""), (b"accept", b"y"), (b"Cookie", b"a=1; b=2")]

    assert expected == fields(BLOCK)
    assert fields(b"") == []


def test_an_index_joins_repeated_fields() -> None:
    """With a comma, under the lower-case name."""
    assert index(BLOCK) == {b"host": b"a", b"accept": b"x, y", b"x-empty": b"", b"cookie": b"a=1; b=2"}


def test_a_value_may_hold_colons_and_any_high_byte() -> None:
    """Only the first colon divides."""
    assert index(b"X: a:b:\xff\r\n") == {b"x": b"a:b:\xff"}


def test_headers_answer_from_what_is_known_first() -> None:
    """Fields that the parser took out of the block are still there to be asked for."""
    headers = Headers(BLOCK, {b"te": b"trailers", b"host": b"known"})

    assert headers.get(b"te") == b"trailers"
    assert headers.get(b"host") == b"known"
    assert headers.get(b"accept") == b"x, y"
    assert headers.get(b"x-empty") == b""
    assert headers.get(b"absent") is None
    assert Headers().get(b"host") is None


def test_headers_show_no_value() -> None:
    """Values may be secret, so the representation has names only."""
    assert "Cookie" in repr(Headers(BLOCK))
    assert "a=1" not in repr(Headers(BLOCK))


def test_fields_are_left_out_by_their_names() -> None:
    """Whatever their spelling; the rest stays byte for byte."""
    assert without(BLOCK, {b"accept"}) == b"Host: a\r\nX-Empty:\r\nCookie: a=1; b=2\r\n"
    assert without(BLOCK, ()) == BLOCK
    assert without(b"", {b"a"}) == b""
    assert without(b"Accept-Encoding: x\r\n", {b"accept"}) == b"Accept-Encoding: x\r\n"


@pytest.mark.parametrize("name", [b"x-sidecar-reason", b"x_sidecar_reason", b"x-sidecar_x", b"x-sidecar-"])
def test_our_own_fields_are_known_in_both_spellings(name: bytes) -> None:
    """Many frameworks read an underscore as a hyphen."""
    assert is_ours(name)


@pytest.mark.parametrize("name", [b"x-sidecar", b"x-sidecars-x", b"my-x-sidecar-x", b"sidecar-x", b""])
def test_others_are_not_ours(name: bytes) -> None:
    """The whole prefix counts, from the start."""
    assert not is_ours(name)


@pytest.mark.parametrize("name", sorted(NOT_IN_TRAILERS))
def test_fields_that_mean_the_head_have_no_place_in_trailers(name: bytes) -> None:
    """Framing, routing, authentication, content: dropped, whatever the spelling."""
    assert clean_trailers(b"A: 1\r\n" + name.title() + b": x\r\nB: 2\r\n") == b"A: 1\r\nB: 2\r\n"


def test_trailers_that_mean_something_pass() -> None:
    """Checksums, gRPC's status, timings; ours do not."""
    assert clean_trailers(b"Grpc-Status: 0\r\nX-Sidecar-A: 1\r\nx_sidecar_b: 1\r\nX:  y \r\n") == (
        b"Grpc-Status: 0\r\nX: y\r\n"
    )
    assert clean_trailers(b"") == b""


def test_every_hop_by_hop_field_is_lower_case() -> None:
    """They are compared with lower-case names."""
    assert {name.lower() for name in HOP_BY_HOP} == HOP_BY_HOP < NOT_IN_TRAILERS


@pytest.mark.parametrize("good", [b"a", b"!~", b"x" * 128, b'0b1c-{}"\\'])
def test_a_well_formed_request_id_is_kept(good: bytes) -> None:
    """Up to 128 visible ASCII bytes."""
    assert RequestIds().of(good) == good


@pytest.mark.parametrize("bad", [None, b"", b"x" * 129, b"a b", b"a\tb", b"a\x7f", b"\xc3\xa9", b"a\n", b" a"])
def test_any_other_is_replaced(bad: bytes | None) -> None:
    """By 32 hexadecimal digits."""
    assert re.fullmatch(rb"[0-9a-f]{32}", RequestIds().of(bad))


def test_no_two_made_ids_are_alike() -> None:
    """They are random, whoever makes them."""
    one, other = RequestIds(), RequestIds()

    assert len({maker.of(None) for _ in range(500) for maker in (one, other)}) == 1000
