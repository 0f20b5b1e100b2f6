"""Header rules, as pure functions on bytes: what is ours, what ends at each hop, what the upstream is told.

A header block is kept as it came: lines `Name: value\\r\\n`, in order, hop-by-hop lines already taken out. Work on
bytes only: Python's text methods know Unicode, HTTP does not.
"""

from __future__ import annotations

import os
import re
from collections.abc import Container, Mapping
from functools import lru_cache
from typing import Final

_LINE: Final = re.compile(rb"([^:\r\n]+):[ \t]*([^\r\n]*?)[ \t]*\r\n")

# RFC 9110 section 7.6.1, with the two proxy credentials, which are meant for one hop and are not for the upstream.
HOP_BY_HOP: Final = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"http2-settings",
    }
)

# RFC 9110 section 6.5.1: fields that frame, route, authenticate or describe content have no place in trailers.
NOT_IN_TRAILERS: Final = HOP_BY_HOP | {
    b"authorization",
    b"cache-control",
    b"content-encoding",
    b"content-length",
    b"content-range",
    b"content-type",
    b"cookie",
    b"expect",
    b"forwarded",
    b"host",
    b"max-forwards",
    b"range",
    b"set-cookie",
    b"www-authenticate",
    b"x-envoy-attempt-count",
    b"x-envoy-expected-rq-timeout-ms",
    b"x-forwarded-for",
    b"x-forwarded-host",
    b"x-forwarded-proto",
    b"x-request-id",
    b"x-request-timeout-ms",
}

# The prefix of our own fields: stripped from what clients and upstreams send. Underscores too, because many
# frameworks read both spellings as one name.
_OURS: Final = re.compile(rb"x[-_]sidecar[-_]")

_REQUEST_ID: Final = re.compile(rb"[!-~]{1,128}")


class Headers:
    """A header block with its lookups. `known` holds the fields that the parser has looked at already."""

    __slots__ = ("_index", "block", "known")

    def __init__(self, block: bytes = b"", known: Mapping[bytes, bytes] | None = None) -> None:
        self.block = block
        self.known: Mapping[bytes, bytes] = known if known is not None else {}
        self._index: dict[bytes, bytes] | None = None

    def get(self, name: bytes) -> bytes | None:
        """The value of `name` (given in lower case); repeated fields are joined by a comma (RFC 9110 section 5.3)."""
        value = self.known.get(name)
        if value is not None:
            return value
        if self._index is None:
            # A quick look first: most fields that are asked for are not there, and the index costs ten times as much.
            low = self.block.lower()
            if low.find(b"\n%b:" % name) < 0 and not low.startswith(name + b":"):
                return None
            self._index = index(self.block)
        return self._index.get(name)

    def __repr__(self) -> str:
        # Names only: values may be secret.
        names = b" ".join(name for name, _ in fields(self.block)).decode("latin-1")
        return f"<Headers {names}>"


def fields(block: bytes) -> list[tuple[bytes, bytes]]:
    """The (name, value) pairs of a header block, as they were spelt."""
    return _LINE.findall(block)


def index(block: bytes) -> dict[bytes, bytes]:
    """A header block as a mapping from lower-case names to values, repeated ones joined by a comma."""
    found: dict[bytes, bytes] = {}
    for name, value in fields(block):
        key = name.lower()
        found[key] = found[key] + b", " + value if key in found else value
    return found


def without(block: bytes, names: Container[bytes]) -> bytes:
    """A header block less the fields with these (lower-case) names."""
    lines = block.split(b"\r\n")[:-1]
    return b"".join([line + b"\r\n" for line in lines if line.partition(b":")[0].lower() not in names])


def is_ours(name: bytes) -> bool:
    """Whether a (lower-case) field name is one that only the sidecar may set."""
    return _OURS.match(name) is not None


def tokens(value: bytes) -> list[bytes]:
    """The lower-case elements of a comma-separated list of tokens (RFC 9110 section 5.6.1)."""
    return [part for item in value.lower().split(b",") if (part := item.strip(b" \t"))]


def clean_trailers(block: bytes) -> bytes:
    """A trailer block without the fields that must not come in trailers, and without ours."""
    kept = [
        b"%s: %s\r\n" % (name, value)
        for name, value in fields(block)
        if (low := name.lower()).replace(b"_", b"-") not in NOT_IN_TRAILERS and not is_ours(low)
    ]
    return b"".join(kept)


@lru_cache(maxsize=16)
def attempt_count(attempts: int) -> bytes:
    """The line that tells upstream and client how many attempts there were; nothing where there was none."""
    return b"x-envoy-attempt-count: %d\r\n" % attempts if attempts else b""


class RequestIds:
    """Gives each request its ID. Randomness is fetched for many at a time: the system call is what costs."""

    __slots__ = ("_pool",)

    def __init__(self) -> None:
        self._pool: list[bytes] = []

    def of(self, incoming: bytes | None) -> bytes:
        """The client's request ID where it is well-formed (at most 128 visible ASCII bytes), else 32 hex digits."""
        if incoming is not None and _REQUEST_ID.fullmatch(incoming):
            return incoming
        if not self._pool:
            digits = os.urandom(16 * 64).hex().encode("ascii")
            self._pool = [digits[start : start + 32] for start in range(0, len(digits), 32)]
        return self._pool.pop()
