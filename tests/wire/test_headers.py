"""Headers: what ends at this hop, what is ours, what the upstream is told of the client, what passes untouched."""

from __future__ import annotations

import json
import re

import pytest

from tests.support.client import Client, Fields
from tests.support.upstream import OK, Peer, Seen, Upstream, always
from tests.wire.conftest import Start
from tests.wire.raw import Raw


def answered_with(*lines: str) -> bytes:
    """A 200 with these lines."""
    return "\r\n".join(["HTTP/1.1 200 OK", *lines, "Content-Length: 2", "", "ok"]).encode("latin-1")


HOP_BY_HOP = [
    "Keep-Alive: timeout=5",
    "Proxy-Connection: keep-alive",
    "Proxy-Authorization: Basic c2VjcmV0",
    "Proxy-Authenticate: Basic",
    "TE: gzip",
    "Trailer: X-Sum",
    "Upgrade: something",
    "HTTP2-Settings: AAMA",
    "Connection: keep-alive",
]


@pytest.mark.parametrize("line", HOP_BY_HOP)
def test_hop_by_hop_fields_end_here(raw: Raw, line: str) -> None:
    """Hop-by-hop fields are passed on in neither direction, nor is their spelling with underscores."""
    name = line.partition(":")[0].lower()
    raw.upstream.script = always(answered_with("X-Kept: 1", line))
    with raw.client() as client:
        answer = client.get("/", "X-Kept: 1", line)
        assert name not in answer
        assert answer["X-Kept"] == "1"
        client.get("/", line.replace("-", "_", 1))
    assert name not in raw.seen[0].names
    assert raw.seen[0].get("X-Kept") == "1"
    assert name.replace("-", "_") not in raw.seen[1].names


@pytest.mark.parametrize("connection", ["X-Hop", "close, x-hop", "X-HOP ,keep-alive", ",,x-hop,,", "\tx-hop\t"])
def test_fields_that_connection_names_end_here(raw: Raw, connection: str) -> None:
    """A field that Connection names is for one hop, either way, however it is spelt."""
    raw.upstream.script = always(answered_with("X-Hop: 1", "X-Kept: 1", f"Connection: {connection}"))
    with raw.client() as client:
        answer = client.get("/", "X-Hop: 1", "x-hop: 2", "X-Kept: 1", f"Connection: {connection}")
    assert "X-Hop" not in answer
    assert answer["X-Kept"] == "1"
    assert not raw.seen[0].names & {"x-hop", "connection"}
    assert raw.seen[0].get("X-Kept") == "1"


def test_several_connection_fields(raw: Raw) -> None:
    """Connection may come in several lines."""
    with raw.client() as client:
        client.get("/", "Connection: x-one", "X-One: 1", "X-Two: 2", "Connection: x-two", "X-Three: 3")
    assert not raw.seen[0].names & {"x-one", "x-two"}
    assert raw.seen[0].get("X-Three") == "3"


OURS = ["X-Sidecar-Reason: forged", "x-sidecar-anything: 1", "X_Sidecar_Reason: forged", "X-SIDECAR_Odd: 1"]


@pytest.mark.parametrize("line", OURS)
def test_our_own_fields_are_stripped(raw: Raw, line: str) -> None:
    """Nobody but the sidecar may say `X-Sidecar-…`, in any spelling, either way."""
    raw.upstream.script = always(answered_with(line, "X-Sidecars: mine"))
    with raw.client() as client:
        answer = client.get("/", line, "X-Sidecars: mine")
    assert not [name for name, _ in answer.fields if re.match(r"x[-_]sidecar[-_]", name, re.IGNORECASE)]
    assert not [name for name in raw.seen[0].names if re.match(r"x[-_]sidecar[-_]", name)]
    assert answer["X-Sidecars"] == raw.seen[0].get("X-Sidecars") == "mine"


@pytest.mark.parametrize("given", ["abc", "!~" * 64, "a,b;c=d", "00-" + "f" * 32])
def test_request_ids_are_kept(raw: Raw, given: str) -> None:
    """A well-formed request ID is passed on, echoed and logged as it came."""
    with raw.client() as client:
        answer = client.get("/", f"x-request-id: {given}")
    assert answer["X-Request-ID"] == raw.seen[0].get("X-Request-ID") == given


@pytest.mark.parametrize("given", [None, "", "a b", "x" * 129, "\xe4", "a\tb"])
def test_request_ids_are_made(raw: Raw, given: str | None) -> None:
    """Without a well-formed request ID one is made: 32 hex digits, the same for upstream, client and log."""
    with raw.client() as client:
        answer = client.get("/", *([] if given is None else [f"X-Request-ID: {given}"]))
    made = answer["X-Request-ID"]
    assert re.fullmatch(r"[0-9a-f]{32}", made)
    assert raw.seen[0].get("X-Request-ID") == made
    raw.proxy.access(made)


def test_request_ids_differ(raw: Raw) -> None:
    """Each request gets an ID of its own."""
    with raw.client() as client:
        assert len({client.get("/")["X-Request-ID"] for _ in range(20)}) == 20


def test_the_request_id_is_echoed_once(raw: Raw, request_id: str) -> None:
    """An upstream that sends an X-Request-ID of its own does not make two of them: the client gets its own back."""
    raw.upstream.script = always(answered_with("X-Request-ID: other", "x_request_id: third"))
    with raw.client() as client:
        answer = client.get("/", f"X-Request-ID: {request_id}")
    assert answer.all("X-Request-ID") == [request_id]
    assert "x_request_id" not in answer


def test_repeated_request_ids(raw: Raw) -> None:
    """Two request IDs are none."""
    with raw.client() as client:
        answer = client.get("/", "X-Request-ID: a", "X-Request-ID: b")
    assert re.fullmatch(r"[0-9a-f]{32}", answer["X-Request-ID"])
    assert raw.seen[0].all("X-Request-ID") == [answer["X-Request-ID"]]


def test_everything_else_passes(raw: Raw) -> None:
    """Other fields pass both ways in their order, with their spelling, their repetitions and their bytes."""
    fields: Fields = [
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("tracestate", "a=1"),
        ("Via", "1.0 elsewhere"),
        ("Authorization", "Bearer token"),
        ("Cookie", "a=1; b=2"),
        ("X-Twice", "1"),
        ("x-twice", "2"),
        ("X-EMPTY", ""),
        ("X-Bytes", "\xe4\xff\x80"),
        ("Accept-Encoding", "gzip, br"),
        ("If-None-Match", '"x"'),
        ("Set-Cookie", "a=1"),
        ("Set-Cookie", "b=2"),
        ("Date", "Thu, 01 Jan 1970 00:00:00 GMT"),
        ("Server", "mine"),
        ("Content-Type", "text/plain"),
        ("Host_", "x"),
    ]
    lines = [f"{name}: {value}" for name, value in fields]
    raw.upstream.script = always(answered_with(*lines))
    with raw.client() as client:
        answer = client.get("/", *lines)
    ours = {"x-request-id", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "host"}
    ours |= {"x-request-timeout-ms", "x-envoy-expected-rq-timeout-ms", "x-envoy-attempt-count", "content-length"}
    assert [field for field in raw.seen[0].fields if field[0].lower() not in ours] == fields
    assert [field for field in answer.fields if field[0].lower() not in ours] == fields


def test_nothing_is_added_but_what_is_documented(raw: Raw) -> None:
    """The upstream is told the client, the time, the attempt and the ID; the client the attempts and the ID."""
    with raw.client() as client:
        answer = client.get("/")
    assert raw.seen[0].names == {
        "host",
        "x-request-id",
        "x-forwarded-for",
        "x-forwarded-proto",
        "x-forwarded-host",
        "x-request-timeout-ms",
        "x-envoy-expected-rq-timeout-ms",
        "x-envoy-attempt-count",
    }
    assert {name.lower() for name, _ in answer.fields} == {"content-length", "x-request-id", "x-envoy-attempt-count"}


# ── who the client is

CLAIMS = [
    "X-Forwarded-For: 203.0.113.9",
    "X-Forwarded-Proto: https",
    "X-Forwarded-Host: public.test",
    "Forwarded: for=203.0.113.9;proto=https",
]


def test_untrusted_claims_are_replaced(raw: Raw) -> None:
    """What a client that nobody trusts says of itself does not reach the upstream, in either spelling."""
    with raw.client() as client:
        client.get("/", *CLAIMS, "X_Forwarded_For: 203.0.113.9", "X-Forwarded_Proto: https")
        client.get("/", "X-Forwarded-For: 1.1.1.1", "X-Forwarded-For: 2.2.2.2")
    for seen in raw.seen:
        assert seen.get("X-Forwarded-For") == "127.0.0.1"
        assert seen.get("X-Forwarded-Proto") == "http"
        assert seen.get("X-Forwarded-Host") == "service.test"
        assert not seen.names & {"forwarded", "x_forwarded_for", "x-forwarded_proto"}


def test_trusted_claims_are_passed_on(start: Start, upstream: Upstream, request_id: str) -> None:
    """A trusted proxy's word is passed on with its own address added, and the log names the client behind it."""
    proxy = start(SIDECAR_FORWARDING__TRUSTED_PROXIES="127.0.0.1/32")
    with proxy.client() as client:
        client.get("/", *CLAIMS, f"X-Request-ID: {request_id}")
        client.get("/")
    seen = upstream.seen[0]
    assert seen.get("X-Forwarded-For") == "203.0.113.9, 127.0.0.1"
    assert seen.get("X-Forwarded-Proto") == "https"
    assert seen.get("X-Forwarded-Host") == "public.test"
    assert "forwarded" not in seen.names
    assert upstream.seen[1].get("X-Forwarded-For") == "127.0.0.1"
    assert proxy.access(request_id)["client"] == "203.0.113.9"


def test_forwarded_can_be_switched_on(start: Start, upstream: Upstream) -> None:
    """`Forwarded` (RFC 7239) is sent when it is switched on, and replaces a claim."""
    proxy = start(SIDECAR_FORWARDING__FORWARDED="true")
    with proxy.client() as client:
        client.get("/", *CLAIMS)
    assert upstream.seen[0].get("Forwarded") == 'for=127.0.0.1;proto=http;host="service.test"'


def test_the_host_of_each_request_is_told(raw: Raw) -> None:
    """Host and X-Forwarded-Host are each request's own, also on one connection."""
    with raw.client() as client:
        for host in ("a.test", "b.test:81", "a.test", "b.test"):
            client.ask("/", host=host)
            client.read()
    for field in ("Host", "X-Forwarded-Host"):
        assert [seen.get(field) for seen in raw.seen] == ["a.test", "b.test:81", "a.test", "b.test"]


# ── trailers


def test_te_trailers_is_passed_on(raw: Raw) -> None:
    """`TE: trailers` reaches the upstream as this hop's own; other transfer codings do not."""
    with raw.client() as client:
        client.get("/", "TE: trailers", "Connection: TE")
        client.get("/", "TE: gzip;q=0.5, trailers")
        client.get("/", "TE: gzip")
    assert [seen.get("TE") for seen in raw.seen] == ["trailers", "trailers", None]
    assert raw.seen[0].get("Connection") == "TE"


GOOD = [("X-Sum", "f00d"), ("x-count", "1"), ("X-Empty", ""), ("Grpc-Status", "0")]
FORBIDDEN = [
    "Content-Length: 5",
    "Transfer-Encoding: chunked",
    "Host: other",
    "Authorization: Bearer x",
    "Cookie: a=1",
    "Set-Cookie: a=1",
    "Connection: close",
    "Trailer: X",
    "TE: trailers",
    "Upgrade: x",
    "Content-Type: text/html",
    "Content-Encoding: gzip",
    "Content-Range: bytes 0-1/2",
    "Cache-Control: no-store",
    "Expect: 100-continue",
    "X-Request-ID: forged",
    "X-Sidecar-Reason: forged",
    "X_Sidecar_Reason: forged",
    "WWW-Authenticate: Basic",
    "Max-Forwards: 1",
    "Range: bytes=0-1",
]


def trailing() -> bytes:
    """A chunked body with good and forbidden trailers."""
    lines = [f"{name}: {value}" for name, value in GOOD] + FORBIDDEN
    return b"2\r\nok\r\n0\r\n" + "".join(f"{line}\r\n" for line in lines).encode() + b"\r\n"


def test_trailers_of_requests(raw: Raw) -> None:
    """A request's trailers reach the upstream, without those that frame, route or authenticate."""
    with raw.client() as client:
        client.send(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n" + trailing())
        assert client.read().status == 200
    assert raw.seen[0].body == b"ok"
    assert raw.seen[0].trailers == GOOD


def test_trailers_of_answers(raw: Raw) -> None:
    """An answer's trailers reach the client, without those that frame, route or authenticate."""
    raw.upstream.script = always(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n" + trailing()
    )
    with raw.client() as client:
        answer = client.get("/", "TE: trailers")
        assert answer.body == b"ok"
        assert answer.trailers == GOOD
        assert answer["Trailer"] == "X-Sum"
        assert client.get("/").status == 200


def test_trailers_do_not_reach_1_0(raw: Raw) -> None:
    """An HTTP/1.0 client gets the body without trailers."""
    raw.upstream.script = always(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + trailing())
    with raw.client() as client:
        client.ask("/", version="1.0")
        assert client.read().body == b"ok"


def test_trailers_in_pieces(raw: Raw) -> None:
    """Trailers that come split over many pieces are read like those that come at once."""

    def script(peer: Peer, seen: Seen) -> None:
        peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for byte in trailing():
            peer.send(bytes([byte]))

    raw.upstream.script = script
    with raw.client() as client:
        assert client.get("/").trailers == GOOD
        raw.upstream.script = always(OK)
        client.send(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        for byte in trailing():
            client.send(bytes([byte]))
        assert client.read().status == 200
    assert raw.seen[-1].trailers == GOOD


def test_own_answers_echo_the_id(raw: Raw, request_id: str) -> None:
    """The sidecar's own answers carry the ID too, in the head and in the problem."""
    raw.upstream.script = always(b"nonsense\r\n\r\n")
    with raw.client() as client:
        answer = client.get("/", f"X-Request-ID: {request_id}")
    assert answer["X-Request-ID"] == json.loads(answer.body)["request_id"] == request_id


def test_trailers_of_the_go_service(client: Client) -> None:
    """Trailers pass to and from a Go handler."""
    answer = client.get("/trailers", "TE: trailers")
    assert dict(answer.trailers) == {"X-Checksum": "f00d", "X-Count": "1"}
    client.send(
        b"POST /headers HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"
        b"2\r\nok\r\n0\r\nX-Sum: f00d\r\n\r\n"
    )
    seen = json.loads(client.read().body)
    assert seen["trailers"] == {"X-Sum": ["f00d"]}
    assert seen["transfer_encoding"] == ["chunked"]
