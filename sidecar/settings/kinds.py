"""Kinds of knobs: how a value is read from text, written back, and described in JSON Schema.

Every source hands in text (a list knob may hand in a list of texts), so that a value means the same in a flag, in
the environment and in the file. Knows no single knob and no source. Readers raise `ValueError` with one sentence,
"what is wrong; what to write instead".
"""

from __future__ import annotations

import re
from collections.abc import Callable
from ipaddress import ip_network
from typing import Any, Final, NamedTuple

from sidecar.address import MASK, parse_listen, parse_upstream, without_password, without_secrets
from sidecar.units import (
    format_duration,
    format_rate,
    format_share,
    format_size,
    parse_duration,
    parse_rate,
    parse_share,
    parse_size,
)

_FIELD: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}"  # RFC 9110 section 5.1
_VISIBLE: Final = re.compile(r"[!-~]+")
_DOTS: Final = re.compile(r"(?:\.|%2[eE]){1,2}")
_LOGIN: Final = re.compile(":.*@")
# A header whose value is a credential, as far as its name tells.
_CREDENTIAL: Final = re.compile("auth|cookie|credential|key|passw|secret|session|token", re.IGNORECASE)


def openly(text: str) -> str:
    """What is no secret: as it is, unless it is a URL with a password."""
    return without_password(text) if "://" in text else text


def _without_login(address: str) -> str:
    """An address; whoever forgot the scheme may have written `user:password@host` all the same."""
    return without_password(address) if "://" in address or _LOGIN.search(address) else without_secrets(address)


def _hidden(text: str) -> str:
    return MASK if text else ""


def _without_credential(match: str) -> str:
    """A match of a header, without the value where that is a credential."""
    name, equals, _ = match.partition("=")
    return f"{name}={MASK}" if equals and _CREDENTIAL.search(name) else match


class Kind(NamedTuple):
    """One kind. `write` gives text that `read` takes; `schema` describes that text or plain YAML value.

    `show` makes of any text (of a list, each item), good or not, one that may be seen: secrets are masked.
    """

    name: str
    read: Callable[[str], Any]
    write: Callable[[Any], str]
    schema: dict[str, object]
    many: bool = False
    show: Callable[[str], str] = openly


def _matching(pattern: str, wrong: str) -> Callable[[str], str]:
    """Reads text that matches as a whole; of other text it says what is `wrong`."""
    whole = re.compile(pattern)

    def read(text: str) -> str:
        if not whole.fullmatch(text):
            raise ValueError(wrong)
        return text

    return read


def _optional(read: Callable[[str], str]) -> Callable[[str], str]:
    """Reads nothing as nothing."""
    return lambda text: read(text) if text else ""


def _read_integer(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,15}", text):
        raise ValueError("is not a whole number; write digits only")
    return int(text)


def _read_switch(text: str) -> bool:
    if text.lower() in ("true", "yes", "on", "1"):
        return True
    if text.lower() in ("false", "no", "off", "0"):
        return False
    raise ValueError("is neither true nor false; write true or false")


def _write_switch(value: bool) -> str:
    return "true" if value else "false"


def _read_upstream(text: str) -> str:
    return str(parse_upstream(text))


def _read_listen(text: str) -> str:
    return str(parse_listen(text))


def _read_network(text: str) -> str:
    try:
        return str(ip_network(text))
    except ValueError:
        pass
    try:
        nearest = ip_network(text, strict=False)
    except ValueError:
        raise ValueError("is not a network; write it like 10.0.0.0/8 or fd00::/8, or a single address") from None
    raise ValueError(f"has bits set behind its prefix; write {nearest}")


def _read_path(text: str) -> str:
    if not text.startswith("/") or not _VISIBLE.fullmatch(text) or "#" in text:
        raise ValueError("is not a request path; write it like /healthz")
    return text


def _read_prefix(text: str) -> str:
    # An empty prefix would match everybody.
    if not text:
        raise ValueError("is empty and would match every client; leave it out")
    return text


def _read_key(text: str) -> str:
    if text not in ("", "client"):
        kind, _, name = text.partition(":")
        if kind != "header" or not re.fullmatch(_FIELD, name):
            raise ValueError("is not a key; write client, or header:NAME")
    return text


def _read_match(text: str) -> str:
    name, equals, value = text.partition("=")
    if not re.fullmatch(_FIELD, name) or (equals and not re.fullmatch(r"[ -~]+", value)):
        raise ValueError("matches no header; write NAME for its presence, or NAME=VALUE")
    return text


def _read_template(text: str) -> str:
    path = _read_path(text)
    if "?" in path:
        raise ValueError("holds a query, which no route looks at; leave it out")
    parts = path.split("/")[1:]
    for place, part in enumerate(parts):
        if not re.fullmatch(r"[^{}]*|\{[A-Za-z_][A-Za-z0-9_]*(\.\.\.)?\}", part):
            raise ValueError("is not a path template; a part is text, or {name}: /orders/{id}")
        if _DOTS.fullmatch(part) or (not part and place != len(parts) - 1):
            raise ValueError("has an empty or dotted part, which no path keeps on its way; leave that part out")
        if part.endswith("...}") and place != len(parts) - 1:
            raise ValueError("has {name...} in the middle; it stands for all that is left, so put it last")
    return path


_read_field: Final = _matching(_FIELD, "is not a header's name; write it like X-Tenant")
_read_secret: Final = _matching(
    "[!-~]+", "holds characters that a header cannot carry; use visible ASCII without spaces"
)
_read_text: Final = _matching("[!-~]{0,256}", "is not plain text; use visible ASCII without spaces")
_read_name: Final = _matching(
    "[A-Za-z][A-Za-z0-9_.-]{0,63}", "is not a name; write letters, digits, - _ or . and begin with a letter"
)
_read_method: Final = _matching("[A-Z]{3,16}", "is not a method; write it in capitals, like GET")
_read_status: Final = _matching("[45][0-9]{2}", "is not a status to retry after; write one from 400 to 599")
_read_redis: Final = _matching(
    "(rediss?|unix)://[!-~]+", "is not a Redis URL; write redis://host:6379/0, rediss://... or unix:///path"
)


def choice(*options: str) -> Kind:
    """The kind of a knob that takes one of a few words."""

    def read(text: str) -> str:
        if text not in options:
            raise ValueError(f"is not one of the choices; write {', '.join(options[:-1])} or {options[-1]}")
        return text

    return Kind("|".join(options), read, str, {"type": "string", "enum": list(options)})


def _many(
    name: str,
    read: Callable[[str], str],
    items: dict[str, object] | None = None,
    show: Callable[[str], str] = openly,
) -> Kind:
    # One text with commas is a list too.
    schema: dict[str, object] = {"type": ["array", "string"], "items": items or {"type": "string"}}
    return Kind(name, read, str, schema, many=True, show=show)


def _words(name: str, *options: str) -> Kind:
    """The kind of a list whose items are some of a few words."""
    one = choice(*options)
    return _many(name, one.read, one.schema)


def _or_zero(pattern: str) -> dict[str, object]:
    # `0` in a file is a number to editors.
    return {"type": ["string", "integer"], "pattern": pattern, "minimum": 0, "maximum": 0}


_DURATION_TEXT: Final = r"^(0|([0-9]+(\.[0-9]+)?(ms|s|m|h))+)$"
_RATE_TEXT: Final = r"^(0|[0-9]+(\.[0-9]+)?/[smh])$"
_SIZE_TEXT: Final = r"^[0-9]+(KiB|MiB|GiB)?$"
_STATUS: Final[dict[str, object]] = {
    "type": ["integer", "string"],
    "minimum": 400,
    "maximum": 599,
    "pattern": "^[45][0-9]{2}$",
}

DURATION: Final = Kind("duration", parse_duration, format_duration, _or_zero(_DURATION_TEXT))
RATE: Final = Kind("rate", parse_rate, format_rate, _or_zero(_RATE_TEXT))
SIZE: Final = Kind("size", parse_size, format_size, {"type": ["string", "integer"], "pattern": _SIZE_TEXT})
INTEGER: Final = Kind("number", _read_integer, str, {"type": "integer"})
SWITCH: Final = Kind("true|false", _read_switch, _write_switch, {"type": "boolean"})
UPSTREAM: Final = Kind("URL", _read_upstream, str, {"type": "string", "pattern": "^(http|unix):"}, show=_without_login)
LISTEN: Final = Kind("address", _read_listen, str, {"type": "string"}, show=_without_login)
PATH: Final = Kind("path", _optional(_read_path), str, {"type": "string", "pattern": "^(/.*)?$"}, show=without_secrets)
FILE: Final = Kind("file", str, str, {"type": "string"})
SECRET: Final = Kind("secret", _optional(_read_secret), str, {"type": "string", "writeOnly": True}, show=_hidden)
NETWORKS: Final = _many("networks", _read_network)
PATHS: Final = _many("paths", _read_path, show=without_secrets)
PREFIXES: Final = _many("prefixes", _read_prefix)

RATIO: Final = Kind("share", parse_share, format_share, {"type": "number"})
TEXT: Final = Kind("text", _read_text, str, {"type": "string"})
NAME: Final = Kind("name", _read_name, str, {"type": "string"})
KEY: Final = Kind("client|header:NAME", _read_key, str, {"type": "string", "pattern": "^(|client|header:.+)$"})
REDIS: Final = Kind("redis", _optional(_read_redis), str, {"type": "string"}, show=without_password)
HEADER: Final = Kind("header", _optional(_read_field), str, {"type": "string"})
HEADERS: Final = _many("headers", _read_field)
MATCHES: Final = _many("matches", _read_match, show=_without_credential)
METHODS: Final = _many("methods", _read_method)
STATUSES: Final = _many("statuses", _read_status, _STATUS)
TEMPLATE: Final = Kind("template", _read_template, str, {"type": "string", "pattern": "^/"})
RETRY_ON: Final = _words(
    "conditions",
    *("connect-failure", "reset", "gateway-error", "5xx"),
    *("retriable-4xx", "retriable-status-codes", "retriable-headers"),
)
