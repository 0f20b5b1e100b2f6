"""Messages as an independent, strict reader sees them: h11, and what a proxy may change, from the RFCs' tables.

Knows nothing of `sidecar`: what is compared with it must not come from it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import h11

Fields = list[tuple[bytes, bytes]]

# More than any input has, so that h11's own limit is never the answer.
_LARGEST: Final = 1 << 20

_HOP: Final = frozenset(
    b"connection keep-alive proxy-connection proxy-authenticate proxy-authorization te trailer transfer-encoding "
    b"upgrade http2-settings".split()
)
# Said anew to the next hop, so what came under these names ends here.
_SAID_ANEW: Final = frozenset(
    b"forwarded x-forwarded-for x-forwarded-host x-forwarded-proto x-request-id x-request-timeout-ms "
    b"x-envoy-attempt-count x-envoy-expected-rq-timeout-ms".split()
)
_ANSWERED_ANEW: Final = frozenset({b"x-request-id", b"x-envoy-attempt-count"})
# Read here and passed on; by another spelling, which many services take for the same name, they are not.
_READ: Final = frozenset(b"content-length idempotency-key grpc-timeout connect-timeout-ms".split())
_NOT_IN_TRAILERS: Final = frozenset(
    b"authorization cache-control content-encoding content-length content-range content-type cookie expect host "
    b"max-forwards range set-cookie www-authenticate".split()
)

# Where h11 refuses a body that is accepted here, each with its reason; matched against h11's own words, which are the
# same for a head: there is no excuse for one.
KNOWN: Final = {
    # RFC 9112 section 7.1.1 allows a blank before the semicolon; what has an extension is framed anew.
    "a blank before a chunk's extension": re.compile(r"illegal chunk header: bytearray\(b['\"][0-9A-Fa-f]+[ \\t]+;"),
    # A field that frames has no meaning in trailers, and is taken out of them before anybody can read it.
    "a framing field in trailers": re.compile(
        r"conflicting Content-Length|bad Content-Length|Transfer-Encoding: chunked is supported|"
        r"multiple Transfer-Encoding"
    ),
}


@dataclass
class Message:
    """One message. `first` is the method or the status; `complete` says that its end was read."""

    first: bytes
    target: bytes
    minor: int
    fields: Fields
    body: bytes = b""
    complete: bool = False
    trailers: Fields = field(default_factory=list)

    def all(self, name: bytes) -> list[bytes]:
        """The values of a field."""
        return [value for other, value in self.fields if other == name]

    def listed(self, name: bytes) -> set[bytes]:
        """The elements of a field that is a list of tokens."""
        elements = b",".join(self.all(name)).lower().split(b",")
        return {element.strip(b" \t") for element in elements} - {b""}

    @property
    def last(self) -> bool:
        """Whether its sender sends no other after it."""
        options = self.listed(b"connection")
        return b"close" in options or (self.minor == 0 and b"keep-alive" not in options)


class Reading(NamedTuple):
    """A stream's messages up to the first that is refused (`error` says why) or not there in full."""

    messages: list[Message]
    error: str
    rest: bytes

    @property
    def excused(self) -> bool:
        """Whether there is a known reason why h11 alone refuses: it has read the last message's head, not its body."""
        in_body = bool(self.messages) and not self.messages[-1].complete
        return in_body and any(pattern.search(self.error) for pattern in KNOWN.values())


def requests(data: bytes, most: int = 100) -> Reading:
    """What a client says; so many requests are read."""
    found: list[Message] = []
    while data and len(found) < most:
        server = h11.Connection(h11.SERVER, max_incomplete_event_size=_LARGEST)
        # RFC 9112, section 2.2: one empty line in front of a request is read past; h11 does not.
        server.receive_data(data.removeprefix(b"\r\n"))
        before = len(found)
        error = _read(server, found)
        if error or len(found) == before or not found[-1].complete:
            return Reading(found, error, b"")
        data = server.trailing_data[0]
        if found[-1].last:
            break
    return Reading(found, "", data)


def answers(data: bytes, methods: list[str], *, ended: bool) -> Reading:
    """What answers to these methods say, interim ones left out. `ended`: the stream has, and not by a reset."""
    found: list[Message] = []
    for method in methods:
        if not data:
            break
        client = h11.Connection(h11.CLIENT, max_incomplete_event_size=_LARGEST)
        wish = [("Host", "a"), ("Connection", "upgrade"), ("Upgrade", "x")]
        client.send(h11.Request(method=method, target="/", headers=wish))
        client.send(h11.EndOfMessage())
        client.receive_data(data)
        if ended:
            client.receive_data(b"")
        before = len(found)
        error = _read(client, found)
        if error or len(found) == before or not found[-1].complete:
            return Reading(found, error, b"")
        data = client.trailing_data[0]
        if found[-1].last or found[-1].first == b"101":
            break
    return Reading(found, "", data)


def _read(reader: h11.Connection, found: list[Message]) -> str:
    """Read one message into `found`; returns why it is refused. A cut is no refusal."""
    message: Message | None = None
    while True:
        try:
            event = reader.next_event()
        except h11.RemoteProtocolError as error:
            cut = "without sending complete message body" in str(error)
            return "" if cut else str(error)
        if isinstance(event, h11.Request):
            message = Message(event.method, event.target, _minor(event.http_version), list(event.headers))
        elif isinstance(event, h11.Response) or (isinstance(event, h11.InformationalResponse) and _switches(event)):
            message = Message(b"%d" % event.status_code, event.reason, _minor(event.http_version), list(event.headers))
        elif isinstance(event, h11.InformationalResponse):
            continue
        elif message is not None and isinstance(event, h11.Data):
            message.body += event.data
            continue
        elif message is not None and isinstance(event, h11.EndOfMessage):
            message.complete, message.trailers = True, list(event.headers)
            return ""
        else:
            return ""
        found.append(message)
        if message.first == b"101":
            message.complete = True
            return ""


def _switches(event: h11.InformationalResponse) -> bool:
    return event.status_code == 101


def _minor(version: bytes) -> int:
    return int(version.partition(b".")[2])


def onward(asked: Message) -> Fields:
    """The fields of a request that the next hop is to see, in their order."""
    return _passing(asked, _SAID_ANEW)


def back(told: Message) -> Fields:
    """The fields of a response that the client is to see, in their order."""
    return _passing(told, _ANSWERED_ANEW, ours_read=frozenset({b"content-length"}))


def _passing(message: Message, anew: frozenset[bytes], ours_read: frozenset[bytes] = _READ) -> Fields:
    named = message.listed(b"connection")
    kept = []
    for name, value in message.fields:
        plain = name.replace(b"_", b"-")
        ends = plain in _HOP or plain in anew or plain.startswith(b"x-sidecar-") or name in named
        if not ends and not (plain in ours_read and name != plain):
            kept.append((name, value))
    announced = message.all(b"trailer")
    if announced and message.all(b"transfer-encoding") and b"trailer" not in named:
        kept.append((b"trailer", b", ".join(announced).strip(b" \t")))
    return kept


def passing_trailers(trailers: Fields) -> Fields:
    """Of trailers, those that may go on."""
    kept = []
    for name, value in trailers:
        plain = name.replace(b"_", b"-")
        if plain not in _HOP | _SAID_ANEW | _NOT_IN_TRAILERS and not plain.startswith(b"x-sidecar-"):
            kept.append((name, value))
    return kept
