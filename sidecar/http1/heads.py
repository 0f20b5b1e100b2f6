"""Reads HTTP/1.x message heads: bytes in, facts out, and whatever has two readings is refused.

Sans-I/O. llhttp (through httptools) checks the grammar: field names, control bytes, bare CR or LF, folded lines. The
rules that it does not have, and every field that decides framing, are ours: two readers must agree before a head is
believed. Nothing here sees a body.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

import httptools

from sidecar.exchange import Request, Response
from sidecar.headers import HOP_BY_HOP, Headers, tokens, without


class HeadError(Exception):
    """The head cannot be believed. `too_large`: it broke a limit rather than a rule."""

    def __init__(self, detail: str, *, too_large: bool = False) -> None:
        super().__init__(detail)
        self.detail = detail
        self.too_large = too_large


# (request, minor version, length, chunked, keep-alive): the body is `length` bytes, or chunked; neither means none.
# A plain tuple here and below: a named one costs half a microsecond.
RequestHead = tuple[Request, int, int, bool, bool]

# (response, length, chunked, bodiless, keep-alive): the body is `length` bytes, chunked, or (neither) up to the close;
# `bodiless` says that none follows whatever the fields say.
ResponseHead = tuple[Response, int | None, bool, bool, bool]


# The target is a path with its query, or (other) something that wants a closer look.
_REQUEST_LINE: Final = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+) (?:(/[!\"$-~]*)|([!-~]+)) HTTP/1\.([01])\r\n")
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: ([\t -~\x80-\xff]*))?\r\n")
_LENGTH: Final = re.compile(rb"0|[1-9][0-9]{0,17}")
# RFC 3986 section 3.2, without user information, and without the comma, which some read as a list.
_AUTHORITY: Final = re.compile(rb"(?:[A-Za-z0-9._~!$&'()*+;=%-]*|\[[0-9A-Fa-f:.]+\])(?::[0-9]{0,5})?")
_ABSOLUTE: Final = re.compile(rb"https?://([^/?]*)(.*)", re.IGNORECASE)

# Fields of a request that end here: the hop's own, ours, and those that are written anew for the upstream.
_REWRITTEN: Final = frozenset(
    {
        b"forwarded",
        b"x-forwarded-for",
        b"x-forwarded-host",
        b"x-forwarded-proto",
        b"x-request-id",
        b"x-request-timeout-ms",
        b"x-envoy-attempt-count",
        b"x-envoy-expected-rq-timeout-ms",
    }
)
_READ: Final = frozenset(
    {b"host", b"content-length", b"expect", b"idempotency-key", b"grpc-timeout", b"connect-timeout-ms"}
)
_BODILESS: Final = frozenset({204, 304})
_TWICE_REFUSED: Final = frozenset({b"host", b"content-length", b"transfer-encoding", b"expect"})
# To name these in Connection would have the next hop frame or route another message than this one.
_NOT_PER_HOP: Final = frozenset({b"host", b"content-length"})


_METHODS: Final = {
    method.encode("ascii"): method for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
}


def _line_finder(names: Iterable[bytes]) -> re.Pattern[bytes]:
    """A pattern for the lines of these fields and our own, for a lower-case head.

    Grouped by first letter, as the engine skips an alternative on its first byte: 2 µs a head less.
    """
    rests: dict[bytes, list[bytes]] = {}
    for name in sorted(names):
        rests.setdefault(name[:1], []).append(re.escape(name[1:]).replace(b"\\-", b"[-_]"))
    rests[b"x"].append(rb"[-_]sidecar[-_][^:\r\n]*")
    groups = b"|".join(first + b"(?:" + b"|".join(alternatives) + b")" for first, alternatives in rests.items())
    return re.compile(rb"\r\n(" + groups + rb"):([^\r\n]*)")


_REQUEST_FIELDS: Final = _line_finder(HOP_BY_HOP | _REWRITTEN | _READ)
_RESPONSE_FIELDS: Final = _line_finder(HOP_BY_HOP | {b"content-length", b"x-request-id", b"x-envoy-attempt-count"})


class HeadReader:
    """Reads heads within limits. One serves a whole event loop.

    `max_headers` counts field lines. The size limit is the caller's, who has to stop collecting bytes.
    """

    __slots__ = ("_complete", "_last_host", "_max_headers")

    def __init__(self, max_headers: int) -> None:
        self._max_headers = max_headers
        self._complete = False
        self._last_host = b""  # found to be well-formed; most requests repeat it

    def on_headers_complete(self) -> None:
        """llhttp's call: the head's empty line was where it says."""
        self._complete = True

    def request(self, head: bytes) -> RequestHead:
        """Read a request head that ends with its empty line. Raises HeadError."""
        self._check(head, httptools.HttpRequestParser(self))
        line = _REQUEST_LINE.match(head)
        if line is None and head.startswith(b"\r\n"):
            line = _REQUEST_LINE.match(head, 2)  # RFC 9112 section 2.2: one empty line in front is read past
        if line is None:
            raise HeadError("the request line is not METHOD TARGET HTTP/1.1 (or 1.0)")
        method, target, other, version = line.groups()
        minor = 1 if version == b"1" else 0
        block, known, connection = _collect(head, line.end(), _REQUEST_FIELDS)
        if target is None or method == b"CONNECT":
            target = _origin_form(method, target or other, known)
        host = known.get(b"host")
        if host is None:
            if minor:
                raise HeadError("Host is missing")
        elif host != self._last_host:
            if not _AUTHORITY.fullmatch(host):
                raise HeadError("Host is not a host and port")
            self._last_host = host
        length, chunked = _framing(known, minor)
        request = Request(_METHODS.get(method) or method.decode("ascii"), target, Headers(block, known))
        if minor and (connection or b"te" in known):
            _per_hop_wishes(request, connection, bodiless=not length and not chunked)
        return request, minor, length or 0, chunked, _keeps_alive(connection, minor) if connection else minor == 1

    def response(self, head: bytes, method: str) -> ResponseHead:
        """Read the head of a response to a `method` request. Raises HeadError."""
        self._check(head, httptools.HttpResponseParser(self))
        end = head.find(b"\n") + 1
        line = head[:end]
        minor, status, phrase = _known_status_line(line) if end <= _USUAL_LINE else _status_line(line)
        block, known, connection = _collect(head, end, _RESPONSE_FIELDS)
        length, chunked = _framing(known, minor)
        bodiless = method == "HEAD"
        if status in _BODILESS or status < 200:
            bodiless = True
            if status != 304:
                if length or chunked:
                    raise HeadError(f"a {status} answer that announces a body")
                if length is not None:
                    block = without(block, (b"content-length",))
        response = Response(status, phrase, Headers(block, known))
        return response, length, chunked, bodiless, _keeps_alive(connection, minor) if connection else minor == 1

    def _check(self, head: bytes, parser: httptools.HttpRequestParser | httptools.HttpResponseParser) -> None:
        # Whether there can be so many at all is a cheaper question: the shortest line has four bytes.
        if len(head) > 4 * self._max_headers:
            fields = head.count(b"\n") - 2
            if fields > self._max_headers:
                raise HeadError(f"{fields} header fields, {self._max_headers} are allowed", too_large=True)
        self._complete = False
        try:
            parser.feed_data(head)
        except httptools.HttpParserUpgrade:
            pass
        except httptools.HttpParserError as error:
            raise HeadError(str(error) or type(error).__name__) from None
        if not self._complete:
            raise HeadError("the head does not end where its empty line is")


def _status_line(line: bytes) -> tuple[int, int, bytes]:
    """(minor version, status, phrase)."""
    found = _STATUS_LINE.fullmatch(line)
    if found is None:
        raise HeadError("the status line is not HTTP/1.1 (or 1.0), three digits, a phrase")
    phrase = found[3] or b""
    # Nobody reads it, so one that is no phrase is not passed on: what is remembered of answers needs a bound.
    return 1 if found[1] == b"1" else 0, int(found[2]), phrase if len(phrase) <= _USUAL_LINE else b""


_USUAL_LINE: Final = 80  # bytes
_known_status_line: Final = lru_cache(maxsize=256)(_status_line)  # an upstream has a handful of them


def _collect(head: bytes, start: int, finder: re.Pattern[bytes]) -> tuple[bytes, dict[bytes, bytes], frozenset[bytes]]:
    """Take the fields that matter here out of a head: (end-to-end block, values by lower-case name, Connection)."""
    known: dict[bytes, bytes] = {}
    kept: list[bytes] | None = None
    position = start
    for match in finder.finditer(head.lower(), start - 2):
        name = match[1]
        begin, end = match.span(2)
        value = head[begin:end].strip(b" \t")
        if name in known:
            if name in _TWICE_REFUSED:
                raise HeadError(f"{name.decode('ascii')} is there twice")
            value = known[name] + b", " + value
        known[name] = value
        if name not in _READ:
            if kept is None:
                kept = []
            kept.append(head[position : match.start() + 2])
            position = end + 2
    if kept is None:
        return head[start:-2], known, _NONE
    kept.append(head[position:-2])
    if b"trailer" in known and b"transfer-encoding" in known:
        # Announces what the chunked body brings: it goes with the body, and so is the hop's no more than the body.
        kept.append(b"Trailer: " + known[b"trailer"] + b"\r\n")
    block = b"".join(kept)
    if b"connection" not in known:
        return block, known, _NONE
    connection = frozenset(tokens(known[b"connection"]))
    if not connection <= _PLAIN:
        block = _without_named(block, connection, known)
    return block, known, connection


def _keeps_alive(connection: frozenset[bytes], minor: int) -> bool:
    """Whether the sender of this Connection field goes on using the connection (RFC 9112 section 9.3)."""
    return b"close" not in connection and (minor == 1 or b"keep-alive" in connection)


_NONE: Final[frozenset[bytes]] = frozenset()
_PLAIN: Final = frozenset({b"close", b"keep-alive", b"upgrade", b"te", b"http2-settings"})


def _without_named(block: bytes, named: frozenset[bytes], known: dict[bytes, bytes]) -> bytes:
    """`block` less the fields that Connection names (RFC 9110 section 7.6.1)."""
    if not named.isdisjoint(_NOT_PER_HOP):
        raise HeadError("Connection names a field that frames or routes the message")
    for name in named - HOP_BY_HOP:
        known.pop(name, None)
    return without(block, named)


def _framing(known: dict[bytes, bytes], minor: int) -> tuple[int | None, bool]:
    """(Content-Length, chunked) by RFC 9112 section 6.3, refusing everything with two readings."""
    length = known.get(b"content-length")
    if b"transfer-encoding" in known:
        if length is not None:
            raise HeadError("both Transfer-Encoding and Content-Length")
        if not minor:
            raise HeadError("Transfer-Encoding in HTTP/1.0")
        if known[b"transfer-encoding"].lower() != b"chunked":
            raise HeadError("a Transfer-Encoding other than exactly chunked")
        return None, True
    if length is None:
        return None, False
    if not _LENGTH.fullmatch(length):
        raise HeadError("Content-Length is not a plain decimal number")
    return int(length), False


def _origin_form(method: bytes, target: bytes, known: dict[bytes, bytes]) -> bytes:
    """A target that does not simply begin with a slash, as the upstream shall see it (RFC 9112 section 3.2)."""
    if b"#" in target:
        raise HeadError("a fragment in the request target")
    if target == b"*" and method == b"OPTIONS":
        return target
    absolute = _ABSOLUTE.fullmatch(target)
    if absolute is None or method == b"CONNECT":
        raise HeadError("the request target is neither a path nor a URL: this is no forward proxy")
    authority, path = absolute.groups()
    if not authority or authority.lower() != known.get(b"host", b"").lower():
        raise HeadError("the request target names another host than Host does")
    if path[:1] == b"/":
        return path
    return b"*" if not path and method == b"OPTIONS" else b"/" + path


def _per_hop_wishes(request: Request, connection: frozenset[bytes], *, bodiless: bool) -> None:
    """What an HTTP/1.1 client asks of this hop: trailers, a tunnel."""
    known = request.headers.known
    if b"te" in known:
        request.accepts_trailers = b"trailers" in tokens(known[b"te"])
    if b"upgrade" in known and b"upgrade" in connection and bodiless:
        # h2c would carry requests past everything that this proxy decides, so that wish is not passed on.
        wished = known[b"upgrade"]
        request.upgrade = b"" if b"h2c" in tokens(wished) else wished
