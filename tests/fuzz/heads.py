"""Targets `request` and `response`: a head is refused, or read as h11 reads it and written on so that h11 agrees."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, Final, cast

import h11

from sidecar.errors import SidecarError
from sidecar.exchange import Exchange, FixedBody, Request, Response
from sidecar.forwarding import Forwarding, Peer
from sidecar.http1.answer_head import answer_head, interim_head
from sidecar.http1.heads import HeadError, HeadReader
from sidecar.http1.pool import Pool
from sidecar.http1.refusals import refusal, why_hopeless
from sidecar.http1.upstream import Http1Upstream
from tests.fuzz import peer
from tests.fuzz.finding import bounded, demand, dice

LIMIT: Final = 2048  # bytes of a head, so that inputs reach it
_HEADERS: Final = 20
_LONG: Final = 10_000  # bytes of a body, of which one that is announced to be longer is not tried to its end
_ID: Final = b"0" * 32
# What is written behind the fields that came: names of our own, and those that the hop needs.
_OURS: Final = frozenset(
    b"x-request-id x-forwarded-proto x-forwarded-for x-forwarded-host x-envoy-attempt-count host x-request-timeout-ms "
    b"x-envoy-expected-rq-timeout-ms transfer-encoding connection upgrade te".split()
)
_READERS: Final = {"request": HeadReader(_HEADERS), "response": HeadReader(_HEADERS)}


def request(data: bytes) -> None:
    """Bytes from a client, up to its first empty line."""
    with bounded():
        end = data.find(b"\r\n\r\n") + 4
        refused_early = _refused_early(data if end < 4 else data[: end - 1])
        if end < 4 or end > LIMIT:
            return
        head = data[:end]
        try:
            read = _READERS["request"].request(head)
        except HeadError as error:
            _demand_refusal(refusal(error, head))
            return
        demand(not refused_early, "a head that is believed was given up before it was whole", head)
        asked, minor, length, chunked, keep_alive = read
        theirs = _first(peer.requests(head), head)
        demand((theirs.first.decode(), theirs.minor) == (asked.method, minor), "another method or version", head)
        demand(asked.target == _origin_form(theirs), "another target", asked.target, theirs.target)
        demand(_length(theirs) == (length or None if not chunked else -1), "another framing", length, chunked, head)
        demand(keep_alive is not theirs.last, "another end of the connection", head)
        _demand_written(asked, theirs, length, chunked)


def _refused_early(data: bytes) -> bool:
    """Whether some beginning of `data`, which is no whole head, is not waited for."""
    cuts = {1, len(data), LIMIT + 1, *(dice(data).randint(1, max(1, len(data))) for _ in range(6))}
    errors = [error for cut in cuts if data[:cut] and (error := why_hopeless(data[:cut], 0, LIMIT)) is not None]
    for error in errors:
        _demand_refusal(error)
    return bool(errors)


def _demand_refusal(error: SidecarError) -> None:
    demand(error.reason.close and 400 <= error.reason.status < 500, "a refusal that goes on", error)


def _first(reading: peer.Reading, head: bytes) -> peer.Message:
    demand(reading.messages, "believed here, refused by h11", reading.error, head)
    return reading.messages[0]


def _origin_form(theirs: peer.Message) -> bytes:
    """RFC 9112 section 3.2, for what may have been accepted."""
    target = theirs.target
    if target.startswith(b"/") or target == b"*":
        return target
    authority, slash, path = target.partition(b"://")[2].partition(b"/")
    authority, question, query = authority.partition(b"?")
    demand([authority.lower()] == [host.lower() for host in theirs.all(b"host")], "another host", theirs)
    path = question + query + slash + path if question else slash + path
    if not path and theirs.first == b"OPTIONS":
        return b"*"
    return path if path.startswith(b"/") else b"/" + path


def _length(theirs: peer.Message) -> int | None:
    """-1 for chunked, None for no body."""
    if theirs.all(b"transfer-encoding"):
        demand(not theirs.all(b"content-length"), "two framings are believed", theirs)
        return -1
    lengths = theirs.all(b"content-length")
    return int(lengths[0]) or None if lengths else None


class _Unframed(FixedBody):
    """A body of which the head has to be written."""

    length: int | None  # type: ignore[assignment]  # a stream's is not known

    def __init__(self, length: int | None) -> None:
        super().__init__()
        self.length = length


class _Pool:
    """Of a pool, what an attempt asks for; and of a connection. Keeps the head that was sent."""

    answered_once = False
    head = b""

    def take(self, *, surely: bool) -> _Pool:
        return self

    def send(self, head: bytes, *_: object) -> _Pool:
        self.head = head
        return self

    def __await__(self) -> Generator[None, None, None]:
        yield from ()


def written(asked: Request, length: int, *, chunked: bool) -> bytes:
    """The head that the upstream gets."""
    if chunked or length:
        asked.body = _Unframed(None if chunked else length)
    exchange = Exchange(asked, _ID, "192.0.2.7", 0.0, cast(Any, None))
    exchange.forwarded = Peer(Forwarding(), "192.0.2.7").fields(asked.headers.known)
    pool = _Pool()
    attempt = Http1Upstream(cast(Pool, pool), "http://upstream:80")(exchange)
    try:
        attempt.send(None)
    except StopIteration:
        pass
    return pool.head


def _demand_written(asked: Request, theirs: peer.Message, length: int, chunked: bool) -> None:
    head = written(asked, length, chunked=chunked)
    body, _ = _probe(length, chunked=chunked, bodiless=False)
    behind = b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n" if length <= _LONG else b""
    reading = peer.requests(head + body + behind)
    onward = _first(reading, head)
    demand((onward.first, onward.target) == (theirs.first, asked.target), "written on otherwise", head)
    fields = peer.onward(theirs)
    demand(onward.fields[: len(fields)] == fields, "other fields are written on", fields, onward.fields)
    added = {name for name, _ in onward.fields[len(fields) :]}
    demand(added <= _OURS, "fields are added", added)
    demand(len(onward.all(b"host")) == 1, "not exactly one Host", onward.fields)
    if behind:
        demand(onward.complete and onward.body == (b"a" if chunked else body), "another body", head)
        after = [message.target for message in reading.messages[1:]]
        demand(after == [b"/next"], "another end", head)
    else:
        demand(not onward.complete and len(onward.body) == _LONG, "another end", head)


def response(data: bytes) -> None:
    """Bytes from the upstream, up to the first empty line, in answer to GET and to HEAD."""
    with bounded():
        end = data.find(b"\r\n\r\n") + 4
        if end >= 4:
            for method in ("GET", "HEAD"):
                _response(data[:end], method)


def _response(head: bytes, method: str) -> None:
    try:
        told, length, chunked, bodiless, keep_alive = _READERS["response"].response(head, method)
    except HeadError as error:
        demand(error.detail, "a refusal without a reason")
        return
    body, ended = _probe(length, chunked=chunked, bodiless=bodiless)
    theirs = _told(head, body, method, told.status, ended=ended)
    demand(theirs.first == b"%d" % told.status, "another status", head)
    demand(told.phrase in (theirs.target, b""), "another phrase", told.phrase, theirs.target)
    demand(keep_alive is not theirs.last, "another end of the connection", head)
    if not bodiless:
        demand(_length(theirs) == (-1 if chunked else length or None), "another framing", head)
    fields = peer.back(theirs)
    if told.status < 200 or told.status == 204:
        fields = [(name, value) for name, value in fields if name != b"content-length"]
    _demand_told(told, fields, method, bodiless=bodiless, length=length)


def _probe(length: int | None, *, chunked: bool, bodiless: bool) -> tuple[bytes, bool]:
    """A body as it was announced, and whether the stream ends behind it."""
    if bodiless:
        return b"", False
    if chunked:
        return b"1\r\na\r\n0\r\n\r\n", False
    return (b"aa", True) if length is None else (b"a" * min(length, _LONG), False)


def _told(head: bytes, body: bytes, method: str, status: int, *, ended: bool) -> peer.Message:
    """The answer as h11 reads it: with this body it ends, and not before."""
    if 100 <= status < 200 and status != 101:
        return _interim(head)
    message = _first(peer.answers(head + body, [method], ended=ended), head)
    demand(message.complete or len(body) == _LONG, "does not end where it should", head, body[:20])
    return message


def _interim(head: bytes) -> peer.Message:
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method="GET", target="/", headers=[("Host", "a")]))
    client.receive_data(head)
    event = client.next_event()
    demand(isinstance(event, h11.InformationalResponse), "an interim answer that is none", head)
    assert isinstance(event, h11.InformationalResponse)
    minor = 1 if event.http_version == b"1.1" else 0
    return peer.Message(b"%d" % event.status_code, event.reason, minor, list(event.headers))


def _demand_told(told: Response, fields: peer.Fields, method: str, *, bodiless: bool, length: int | None) -> None:
    """What the client is told of it."""
    if told.status < 200 and told.status != 101:
        seen = _interim(interim_head(told))
        demand(seen.fields == fields, "other fields in an interim answer", seen.fields)
        return
    if told.status == 101:
        told.tunnel = cast(Any, told)
        given = (told.headers.known.get(b"upgrade", b""),)
        seen = _told(answer_head(told, _ID, chunked=False, close=False, minor=1), b"", method, 101, ended=False)
        demand(seen.listed(b"connection") == {b"upgrade"}, "a tunnel that is not told", seen)
        demand(tuple(seen.all(b"upgrade")) == given, "another protocol is told", seen)
        return
    for minor in (0, 1):
        for close in (False, True):
            chunked = length is None and not bodiless and minor == 1
            # Without a length or chunks only the close can end it: the caller sees to that.
            last = close or (length is None and not bodiless and not chunked)
            head = answer_head(told, _ID, chunked=chunked, close=last, minor=minor, attempts=1)
            body, ended = _probe(length, chunked=chunked, bodiless=bodiless)
            seen = _told(head, body, method, told.status, ended=ended)
            demand(seen.first == b"%d" % told.status, "another status is told", head)
            demand(seen.fields[: len(fields)] == fields, "other fields are told", seen.fields, fields)
            demand(b"close" in seen.listed(b"connection") or not last, "the end is not told", head)
