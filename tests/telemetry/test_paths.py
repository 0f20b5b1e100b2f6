"""Which label a path becomes, and that clients cannot make many."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.telemetry.paths import LIMIT, OTHER, PathTemplates, template


@pytest.mark.parametrize(
    ("path", "made"),
    [
        ("/users/42", "/users/{id}"),
        ("/users/42/orders/7", "/users/{id}/orders/{id}"),
        ("/users/-42", "/users/{id}"),
        ("/report/2024-01-15", "/report/{id}"),
        ("/a/550e8400-e29b-41d4-a716-446655440000/b", "/a/{id}/b"),
        ("/blobs/deadbeef", "/blobs/{id}"),
        ("/commit/3f2a9b7c0d1e", "/commit/{id}"),
        ("/watch/dQw4w9WgXcQ", "/watch/{id}"),
        ("/customers/cus_NffrFeUfNV2Hib", "/customers/{id}"),
        ("/tokens/NffrFeUfNVxHibAA", "/tokens/{id}"),
        ("/ulid/01ARZ3NDEKTSV4RRFFQ69G5FAV", "/ulid/{id}"),
        ("/blob/QmFzZTY0IHNvbWV0aGluZw==", "/blob/{id}"),
        ("/pods/api-7d4b9c6f5-x2x4z", "/pods/{id}"),
        ("/users/user1234", "/users/{id}"),
        ("/mail/someone@example.org", "/mail/{id}"),
        ("/search/two%20words", "/search/{id}"),
        ("/x/" + "a" * 33, "/x/{id}"),
        ("/static/main.3f2a9b7c.js", "/static/{id}"),
        ("/items/123:cancel", "/items/{id}"),
    ],
)
def test_identifiers_become_one_label(path: str, made: str) -> None:
    """What differs from thing to thing is replaced."""
    assert template(path) == made


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "*",
        "/a//b/",
        "/api/v1/users",
        "/api/v1beta1/users",
        "/api/v2.1/users",
        "/oauth2/callback",
        "/shop.Orders/GetOrderV2",
        "/items:batchGet",
        "/.well-known/openid-configuration",
        "/webauthn-register-v2",
        "/getUserAccountDetails",
        "/internationalization",
        "/favicon.ico",
        "/s3/mp3-to-mp4",
        "/page10",
    ],
)
def test_names_stay(path: str) -> None:
    """What somebody wrote into a route is kept as it is."""
    assert template(path) == path


def test_only_what_the_upstream_owns_gets_a_label() -> None:
    """A path that was never answered but with 404 is `other`; once it was, a 404 under it counts there."""
    templates = PathTemplates()

    assert templates.of("/wp-admin", may_add=False) == OTHER
    assert templates.of("/users/1", may_add=True) == "/users/{id}"
    assert templates.of("/users/2", may_add=False) == "/users/{id}"


def test_the_hundred_and_first_template_is_other() -> None:
    """Those known keep their labels when there is no room for more."""
    templates = PathTemplates()
    made = [templates.of(f"/{chr(97 + i % 26)}/{chr(97 + i // 26)}", may_add=True) for i in range(LIMIT + 50)]

    assert len(set(made[:LIMIT])) == LIMIT
    assert set(made[LIMIT:]) == {OTHER}
    assert templates.of("/a/a", may_add=False) == "/a/a"


def test_what_is_no_route_takes_no_place() -> None:
    """`other` is not one of the templates."""
    templates = PathTemplates(limit=1)
    templates.of("/" + "a" * 2000, may_add=True)

    assert templates.of("/a", may_add=True) == "/a"


def test_a_path_too_long_for_a_route_is_other() -> None:
    """Neither a long path nor one of many short parts makes a long label."""
    assert template("/" + "a/" * 30_000) == OTHER
    assert template("/" + "a" * 1024) == OTHER
    assert template("/" + "/".join(["part"] * 50)) == OTHER


paths = st.one_of(
    st.text(max_size=60).map(lambda text: "/" + text),
    st.lists(st.text(alphabet='abcXYZ019-._~%@{}\\"\n\0', max_size=12), max_size=8).map("/".join),
    st.binary(max_size=60).map(lambda data: "/" + data.decode("ascii", "replace")),
)


@given(st.lists(paths, min_size=1, max_size=300))
def test_no_client_can_make_many_labels(asked: list[str]) -> None:
    """Whatever the paths: at most the limit and `other`, each of bounded length and printable."""
    templates = PathTemplates(limit=10)
    made = {templates.of(path, may_add=True) for path in asked}

    assert len(made) <= 11
    assert all(len(label) <= 200 and label.isascii() and label.isprintable() for label in made)


@given(paths)
def test_the_template_of_a_template_is_itself(path: str) -> None:
    """And the short cut for numbers, taken when a path is first seen, leads to the same label."""
    made = template(path)

    assert template(made) == made
    assert PathTemplates().of(path, may_add=True) == made


def test_ever_new_paths_do_not_grow_the_memory() -> None:
    """The cache is emptied when full and never keeps a long path."""
    templates = PathTemplates()
    for number in range(5_000):
        templates.of(f"/users/{number}/{'x' * 100}", may_add=True)
        templates.of(f"/users/{number}/{'/y' * 150}", may_add=True)

    kept = templates._made
    assert len(kept) <= 4096
    assert max(map(len, kept)) <= 256
    assert sum(map(sys.getsizeof, kept)) < 2 * 1024 * 1024
