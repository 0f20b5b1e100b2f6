"""Kinds of knobs: whatever the text, a value comes out that survives being written, or a reason why not."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sidecar.address import without_password
from sidecar.settings.kinds import LISTEN, MATCHES, PATH, REDIS, UPSTREAM, Kind
from sidecar.settings.knobs import Knob, knobs, route_knobs

TEXTS = st.text(max_size=30) | st.from_regex(r"[0-9.,:/\[\]a-zKMGi*-]{0,20}", fullmatch=True)


# Those in a route's sections are of the sidecar's kinds.
KNOBS = knobs() | {f"route.{path}": knob for path, knob in route_knobs().items() if not knob.section}


@pytest.mark.parametrize("knob", KNOBS.values(), ids=KNOBS)
@given(text=TEXTS)
@example(text="")
@example(text="0")
@example(text="\u00b2s")
@example(text="http://[::1%eth0]:80")
def test_any_text_is_a_value_or_a_reason(knob: Knob, text: str) -> None:
    """No text brings a reader down: it is a value that is read back from its own text, or refused with a remedy."""
    refusal = ""
    try:
        value = knob.read(text)
    except ValueError as error:
        refusal = str(error)
    if refusal:
        assert "; " in refusal  # "what is wrong; what to write instead"
    elif knob.kind.many:
        assert knob.read(list(value)) == value
    else:
        assert knob.read(knob.kind.write(value)) == value


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://h:6379/0", "redis://h:6379/0"),
        ("redis://:hush@h:6379/0", "redis://:***@h:6379/0"),
        ("rediss://me:hush@h", "rediss://me:***@h"),
        ("redis://me:hu@sh@h", "redis://me:***@h"),
        ("redis://me:hu/sh@h", "redis://me:***@h"),
        ("redis://me:hu?sh@h", "redis://me:***@h"),
        ("redis://hush@h", "redis://***@h"),
        ("me:hush@h:6379", "***@h:6379"),
        ("unix:///run/r.sock?db=1&password=hush", "unix:///run/r.sock?db=1&password=***"),
        ("redis://h?Password=hush&db=1", "redis://h?Password=***&db=1"),
        ("", ""),
    ],
)
def test_a_password_in_a_url_cannot_be_seen(url: str, shown: str) -> None:
    """However a URL holds its password, well-formed or not, it is masked and the rest can be read."""
    assert without_password(url) == REDIS.show(url) == shown


def test_what_is_no_url_is_shown_as_it_is() -> None:
    """An @ alone makes no password."""
    assert UPSTREAM.show("me@example.com") == "me@example.com"
    assert UPSTREAM.show("http://me:hush@app:80") == "http://me:***@app:80"


@pytest.mark.parametrize(
    ("kind", "text", "shown"),
    [
        (UPSTREAM, "me:hush@app:80", "***@app:80"),
        (UPSTREAM, "http://app/?api_key=hush&x=1", "http://app/?api_key=***&x=1"),
        (LISTEN, "me:hush@127.0.0.1:80", "***@127.0.0.1:80"),
        (PATH, "/health?access_token=hush&deep=1", "/health?access_token=***&deep=1"),
        (PATH, "/tokens/1?deep=1", "/tokens/1?deep=1"),
        (MATCHES, "Authorization=Bearer hush", "Authorization=***"),
        (MATCHES, "X-Api-Key=hush", "X-Api-Key=***"),
        (MATCHES, "X-Api-Key", "X-Api-Key"),
        (MATCHES, "X-Tenant=acme", "X-Tenant=acme"),
    ],
)
def test_what_looks_like_a_secret_is_masked(kind: Kind, text: str, shown: str) -> None:
    """Logins, parameters of queries and values of headers, as far as their names tell; the rest can be read."""
    assert kind.show(text) == shown
