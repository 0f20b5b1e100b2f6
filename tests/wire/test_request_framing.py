"""Requests that two readers could read differently are refused, and no byte of them reaches the upstream."""

from __future__ import annotations

import json

import pytest

from tests.support.client import Answer
from tests.support.upstream import Upstream
from tests.wire.conftest import Start
from tests.wire.raw import Raw

CHUNKED = "Transfer-Encoding: chunked"


def refused(raw: Raw, data: bytes, status: int = 400) -> Answer:
    """The answer to `data`, checked: the sidecar's own, the connection's last, and nothing went upstream."""
    with raw.client() as client:
        client.send(data)
        answer = client.read()
        assert answer.status == status, answer
        assert answer["Content-Type"] == "application/problem+json"
        assert answer["Connection"] == "close"
        assert answer["X-Sidecar-Reason"]
        assert client.end() == "end"
    assert raw.bytes_seen() == b""
    # Nothing was on its way either: a sentinel behind it is the first thing that the upstream sees.
    with raw.client() as client:
        assert client.get("/sentinel").status == 200
    assert [seen.target for seen in raw.seen] == ["/sentinel"]
    return answer


def with_fields(*lines: str, body: bytes = b"", method: str = "POST", version: str = "1.1") -> bytes:
    """A request that has these lines beside Host."""
    head = [f"{method} /bad HTTP/{version}", "Host: service.test", *lines, "", ""]
    return "\r\n".join(head).encode("latin-1") + body


SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"

AMBIGUOUS = {
    "TE and CL": with_fields(CHUNKED, "Content-Length: 5", body=b"0\r\n\r\n" + SMUGGLED),
    "CL and TE": with_fields("Content-Length: 5", CHUNKED, body=b"0\r\n\r\n" + SMUGGLED),
    "CL 0 and TE": with_fields("Content-Length: 0", CHUNKED, body=b"0\r\n\r\n"),
    "two different CL": with_fields("Content-Length: 3", "Content-Length: 5", body=b"abcde"),
    "two equal CL": with_fields("Content-Length: 3", "Content-Length: 3", body=b"abc"),
    "a list of CL": with_fields("Content-Length: 3, 3", body=b"abc"),
    "a list of different CL": with_fields("Content-Length: 3, 5", body=b"abc"),
    "CL with plus": with_fields("Content-Length: +3", body=b"abc"),
    "CL negative": with_fields("Content-Length: -3", body=b"abc"),
    "CL with a space in it": with_fields("Content-Length: 1 0", body=b"0123456789"),
    "CL with an underscore": with_fields("Content-Length: 1_0", body=b"0123456789"),
    "CL in hex": with_fields("Content-Length: 0x3", body=b"abc"),
    "CL with a leading zero": with_fields("Content-Length: 03", body=b"abc"),
    "CL empty": with_fields("Content-Length:", body=b"abc"),
    "CL no number": with_fields("Content-Length: three", body=b"abc"),
    "CL with a fraction": with_fields("Content-Length: 3.0", body=b"abc"),
    "CL with an exponent": with_fields("Content-Length: 1e1", body=b"0123456789"),
    "CL of 64 bits and more": with_fields("Content-Length: 18446744073709551619", body=b"abc"),
    "CL in other digits": with_fields("Content-Length: \u00b2", body=b"ab"),
    "CL behind a tab in it": with_fields("Content-Length: 3\t3", body=b"abc"),
    "CL repeated in another spelling": with_fields("Content-Length: 3", "CONTENT-LENGTH: 4", body=b"abc"),
    "TE gzip": with_fields("Transfer-Encoding: gzip", body=b"0\r\n\r\n"),
    "TE gzip, chunked": with_fields("Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n"),
    "TE chunked, gzip": with_fields("Transfer-Encoding: chunked, gzip", body=b"0\r\n\r\n"),
    "TE chunked twice": with_fields(CHUNKED, CHUNKED, body=b"0\r\n\r\n"),
    "TE chunked, chunked": with_fields("Transfer-Encoding: chunked, chunked", body=b"0\r\n\r\n"),
    "TE identity": with_fields("Transfer-Encoding: identity", body=b""),
    "TE xchunked": with_fields("Transfer-Encoding: xchunked", body=b"0\r\n\r\n"),
    "TE chunkedx": with_fields("Transfer-Encoding: chunkedx", body=b"0\r\n\r\n"),
    "TE quoted": with_fields('Transfer-Encoding: "chunked"', body=b"0\r\n\r\n"),
    "TE with a parameter": with_fields("Transfer-Encoding: chunked;q=1", body=b"0\r\n\r\n"),
    "TE empty": with_fields("Transfer-Encoding:", body=b"0\r\n\r\n"),
    "TE with a vertical tab": with_fields("Transfer-Encoding: \x0bchunked", body=b"0\r\n\r\n"),
    "TE in HTTP/1.0": with_fields(CHUNKED, body=b"0\r\n\r\n", version="1.0"),
    "TE with a space before the colon": with_fields("Transfer-Encoding : chunked", body=b"0\r\n\r\n"),
    "TE folded": with_fields("Transfer-Encoding:", " chunked", body=b"0\r\n\r\n"),
    "TE behind a name with a space": with_fields("X Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
    "CL with a space before the colon": with_fields("Content-Length : 3", body=b"abc"),
    "Connection names Host": with_fields("Connection: close, Host", method="GET"),
    "Connection names Content-Length": with_fields("Connection: content-length", "Content-Length: 3", body=b"abc"),
    "Expect twice": with_fields("Expect: 100-continue", "Expect: 100-continue", "Content-Length: 3", body=b"abc"),
}

LINES = {
    "LF ends the request line": b"GET /bad HTTP/1.1\nHost: x\r\n\r\n",
    "LF ends a field": b"GET /bad HTTP/1.1\r\nHost: x\nX-A: b\r\n\r\n",
    "LF LF ends the head": b"GET /bad HTTP/1.1\r\nHost: x\r\nX-A: b\n\r\n\r\n",
    "CR in a value": b"GET /bad HTTP/1.1\r\nHost: x\r\nX-A: b\rc\r\n\r\n",
    "CR CR LF": b"GET /bad HTTP/1.1\r\nHost: x\r\nX-A: b\r\r\n\r\n",
    "CR in a name": b"GET /bad HTTP/1.1\r\nHost: x\r\nX\rA: b\r\n\r\n",
    "CR in the target": b"GET /b\rad HTTP/1.1\r\nHost: x\r\n\r\n",
    "NUL in a value": b"GET /bad HTTP/1.1\r\nHost: x\r\nX-A: b\0c\r\n\r\n",
    "NUL in a name": b"GET /bad HTTP/1.1\r\nHost: x\r\nX\0A: b\r\n\r\n",
    "NUL in the target": b"GET /b\0ad HTTP/1.1\r\nHost: x\r\n\r\n",
    "a control byte in a value": b"GET /bad HTTP/1.1\r\nHost: x\r\nX-A: b\x01c\r\n\r\n",
    "escape in a value": b"GET /bad HTTP/1.1\r\nHost: x\r\nX-A: \x1b[31m\r\n\r\n",
    "DEL in a value": b"GET /bad HTTP/1.1\r\nHost: x\r\nX-A: b\x7fc\r\n\r\n",
    "a vertical tab in a value": b"GET /bad HTTP/1.1\r\nHost: x\r\nX-A: b\x0bc\r\n\r\n",
    "a control byte in a name": b"GET /bad HTTP/1.1\r\nHost: x\r\nX\x01A: b\r\n\r\n",
    "a letter outside ASCII in a name": b"GET /bad HTTP/1.1\r\nHost: x\r\nX-\xc3\xa4: b\r\n\r\n",
    "obs-fold": b"GET /bad HTTP/1.1\r\nHost: x\r\nX-A: b\r\n c\r\n\r\n",
    "obs-fold with a tab": b"GET /bad HTTP/1.1\r\nHost: x\r\nX-A: b\r\n\tc\r\n\r\n",
    "the first field folded": b"GET /bad HTTP/1.1\r\n Host: x\r\nHost: x\r\n\r\n",
    "space before the colon": b"GET /bad HTTP/1.1\r\nHost: x\r\nX-A : b\r\n\r\n",
    "tab before the colon": b"GET /bad HTTP/1.1\r\nHost: x\r\nX-A\t: b\r\n\r\n",
    "no colon": b"GET /bad HTTP/1.1\r\nHost: x\r\nX-A\r\n\r\n",
    "an empty name": b"GET /bad HTTP/1.1\r\nHost: x\r\n: b\r\n\r\n",
    "a name with a bracket": b"GET /bad HTTP/1.1\r\nHost: x\r\nX(A): b\r\n\r\n",
}

HOSTS = {
    "no Host": b"GET /bad HTTP/1.1\r\n\r\n",
    "no Host beside others": b"GET /bad HTTP/1.1\r\nX-Host: x\r\n\r\n",
    "two Hosts": b"GET /bad HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "the same Host twice": b"GET /bad HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
    "two Hosts in 1.0": b"GET /bad HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n",
    "Host with a path": b"GET /bad HTTP/1.1\r\nHost: a/b\r\n\r\n",
    "Host with a user": b"GET /bad HTTP/1.1\r\nHost: me@a\r\n\r\n",
    "Host with a list": b"GET /bad HTTP/1.1\r\nHost: a, b\r\n\r\n",
    "Host with a space": b"GET /bad HTTP/1.1\r\nHost: a b\r\n\r\n",
    "Host with a bad port": b"GET /bad HTTP/1.1\r\nHost: a:http\r\n\r\n",
    "Host with two ports": b"GET /bad HTTP/1.1\r\nHost: a:1:2\r\n\r\n",
    "Host with a scheme": b"GET /bad HTTP/1.1\r\nHost: http://a\r\n\r\n",
    "Host with a query": b"GET /bad HTTP/1.1\r\nHost: a?b\r\n\r\n",
    "Host outside ASCII": b"GET /bad HTTP/1.1\r\nHost: \xc3\xa4\r\n\r\n",
    "Host in an open bracket": b"GET /bad HTTP/1.1\r\nHost: [::1\r\n\r\n",
}

TARGETS = {
    "another host in the target": b"GET http://other.test/bad HTTP/1.1\r\nHost: service.test\r\n\r\n",
    "another port in the target": b"GET http://service.test:81/bad HTTP/1.1\r\nHost: service.test\r\n\r\n",
    "a user in the target": b"GET http://me@service.test/bad HTTP/1.1\r\nHost: service.test\r\n\r\n",
    "an empty authority": b"GET http:///bad HTTP/1.1\r\nHost: service.test\r\n\r\n",
    "another scheme": b"GET ftp://service.test/bad HTTP/1.1\r\nHost: service.test\r\n\r\n",
    "authority form": b"GET service.test:80 HTTP/1.1\r\nHost: service.test\r\n\r\n",
    "CONNECT": b"CONNECT service.test:443 HTTP/1.1\r\nHost: service.test:443\r\n\r\n",
    "CONNECT to a path": b"CONNECT /bad HTTP/1.1\r\nHost: service.test\r\n\r\n",
    "an asterisk for GET": b"GET * HTTP/1.1\r\nHost: x\r\n\r\n",
    "a fragment": b"GET /bad#part HTTP/1.1\r\nHost: x\r\n\r\n",
    "a fragment in a URL": b"GET http://x/bad#part HTTP/1.1\r\nHost: x\r\n\r\n",
    "no target": b"GET HTTP/1.1\r\nHost: x\r\n\r\n",
    "a path without slash": b"GET bad HTTP/1.1\r\nHost: x\r\n\r\n",
    "a space in the target": b"GET /b ad HTTP/1.1\r\nHost: x\r\n\r\n",
    "bytes outside ASCII in the target": b"GET /b\xc3\xa4d HTTP/1.1\r\nHost: x\r\n\r\n",
    "two spaces": b"GET  /bad HTTP/1.1\r\nHost: x\r\n\r\n",
    "a tab between": b"GET\t/bad HTTP/1.1\r\nHost: x\r\n\r\n",
    "a space behind the version": b"GET /bad HTTP/1.1 \r\nHost: x\r\n\r\n",
    "a space before the method": b" GET /bad HTTP/1.1\r\nHost: x\r\n\r\n",
}

VERSIONS = {
    "HTTP/0.9": b"GET /bad\r\n\r\n",
    "HTTP/0.9 by number": b"GET /bad HTTP/0.9\r\nHost: x\r\n\r\n",
    "HTTP/2.0": b"GET /bad HTTP/2.0\r\nHost: x\r\n\r\n",
    "HTTP/1.2": b"GET /bad HTTP/1.2\r\nHost: x\r\n\r\n",
    "HTTP/1.10": b"GET /bad HTTP/1.10\r\nHost: x\r\n\r\n",
    "HTTP/1": b"GET /bad HTTP/1\r\nHost: x\r\n\r\n",
    "http in lower case": b"GET /bad http/1.1\r\nHost: x\r\n\r\n",
    "RTSP": b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n",
    "RTSP method": b"DESCRIBE /bad RTSP/1.0\r\nCSeq: 1\r\n\r\n",
    "ICE": b"SOURCE /bad ICE/1.0\r\nHost: x\r\n\r\n",
    "a lower-case method": b"get /bad HTTP/1.1\r\nHost: x\r\n\r\n",
    "an unknown method": b"FETCH /bad HTTP/1.1\r\nHost: x\r\n\r\n",
    "a method with a bracket": b"GE(T /bad HTTP/1.1\r\nHost: x\r\n\r\n",
    "SMTP": b"EHLO example.test\r\n\r\n",
    "garbage": b"\x00\x01\x02\x03\r\n\r\n",
    "SSH": b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
}


def _cases(*tables: dict[str, bytes]) -> list[object]:
    return [pytest.param(data, id=name.replace(" ", "-")) for table in tables for name, data in table.items()]


@pytest.mark.parametrize("data", _cases(AMBIGUOUS, LINES, HOSTS, TARGETS, VERSIONS))
def test_refused_heads(raw: Raw, data: bytes) -> None:
    """A head with two readings, or none, gets 400 and a closed connection; the upstream sees nothing of it."""
    answer = refused(raw, data)
    problem = json.loads(answer.body)
    assert problem["reason"] == "bad_request"
    assert problem["detail"]


@pytest.mark.parametrize("data", _cases(AMBIGUOUS, LINES))
def test_refused_heads_byte_by_byte(raw: Raw, data: bytes) -> None:
    """How the bytes arrive changes nothing about a refusal."""
    with raw.client() as client:
        try:
            for position in range(0, len(data), 7):
                client.send(data[position : position + 7])
        except OSError:
            pass  # refused before its end
        assert client.read().status == 400
    assert raw.bytes_seen() == b""


def test_bare_lf_is_refused_at_once(raw: Raw) -> None:
    """A head whose lines end in LF alone is not waited for: it gets 400."""
    with raw.client() as client:
        client.sock.settimeout(2)
        client.send(b"GET /bad HTTP/1.1\nHost: x\n\n")
        assert client.read().status == 400


def test_a_refused_request_takes_those_behind_it_along(raw: Raw) -> None:
    """What is pipelined behind a refused request is not believed to be a request."""
    refused(raw, AMBIGUOUS["CL and TE"] + SMUGGLED)


def test_a_refusal_behind_good_requests(raw: Raw) -> None:
    """Requests before a bad one on the same connection are answered, then the bad one is refused."""
    with raw.client() as client:
        client.send(b"GET /good HTTP/1.1\r\nHost: x\r\n\r\n" + AMBIGUOUS["two different CL"])
        assert client.read().status == 200
        assert client.read().status == 400
        assert client.end() == "end"
    assert [seen.target for seen in raw.seen] == ["/good"]


# ── broken chunks: the head was good and may be upstream already, but the request never becomes whole there

CHUNKS = {
    "plus": b"+5\r\nabcde\r\n0\r\n\r\n",
    "0x": b"0x5\r\nabcde\r\n0\r\n\r\n",
    "negative": b"-1\r\nabcde\r\n0\r\n\r\n",
    "space in front": b" 5\r\nabcde\r\n0\r\n\r\n",
    "space behind": b"5 \r\nabcde\r\n0\r\n\r\n",
    "underscore": b"0_5\r\nabcde\r\n0\r\n\r\n",
    "17 digits": b"10000000000000005\r\nabcde\r\n0\r\n\r\n",
    "16 digits": b"ffffffffffffffff\r\nabcde\r\n0\r\n\r\n",
    "no number": b"xyz\r\nabcde\r\n0\r\n\r\n",
    "empty size": b"\r\nabcde\r\n0\r\n\r\n",
    "no CRLF behind the chunk": b"5\r\nabcde0\r\n\r\n",
    "a longer chunk than said": b"5\r\nabcdefgh\r\n0\r\n\r\n",
    "LF behind the size": b"5\nabcde\r\n0\r\n\r\n",
    "LF behind the chunk": b"5\r\nabcde\n0\r\n\r\n",
    "CR behind the size": b"5\rabcde\r\n0\r\n\r\n",
    "LF in an extension": b"5;a\nb\r\nabcde\r\n0\r\n\r\n",
    "NUL in an extension": b"5;a\0b\r\nabcde\r\n0\r\n\r\n",
    "an extension without semicolon": b"5 a=b\r\nabcde\r\n0\r\n\r\n",
    "an endless size line": b"5;" + b"x" * 100_000,
    "a trailer without colon": b"5\r\nabcde\r\n0\r\nX-Trailer\r\n\r\n",
    "a folded trailer": b"5\r\nabcde\r\n0\r\nX-A: b\r\n c\r\n\r\n",
    "a trailer with LF": b"5\r\nabcde\r\n0\r\nX-A: b\nX-C: d\r\n\r\n",
    "a trailer with NUL": b"5\r\nabcde\r\n0\r\nX-A: \0\r\n\r\n",
    "a trailer with a space before the colon": b"5\r\nabcde\r\n0\r\nX-A : b\r\n\r\n",
    "LF ends the trailers": b"5\r\nabcde\r\n0\r\n\n",
    "endless trailers": b"5\r\nabcde\r\n0\r\n" + b"X-A: b\r\n" * 10_000,
}


@pytest.mark.parametrize("chunks", _cases(CHUNKS))
def test_broken_chunks(raw: Raw, chunks: bytes) -> None:
    """Broken chunks get 400 and a closed connection, and the upstream never sees the request as whole."""
    with raw.client() as client:
        client.send(with_fields(CHUNKED))
        try:
            client.send(chunks + SMUGGLED)
        except OSError:
            pass
        answer = client.read()
        assert (answer.status, answer["X-Sidecar-Reason"]) == (400, "bad_request")
        assert answer["Connection"] == "close"
    with raw.client() as client:
        assert client.get("/sentinel").status == 200
    assert [seen.target for seen in raw.seen] == ["/sentinel"]
    assert b"/smuggled" not in raw.bytes_seen()


@pytest.mark.parametrize("size", [1, 2, 3, 5])
@pytest.mark.parametrize("chunks", _cases(CHUNKS))
def test_broken_chunks_in_pieces(raw: Raw, chunks: bytes, size: int) -> None:
    """However broken chunks arrive, the upstream never sees the request as whole."""
    if len(chunks) > 1000:
        chunks = chunks[:20] + chunks[-20_000:]
        size *= 500
    else:
        chunks += SMUGGLED
    with raw.client() as client:
        client.send(with_fields(CHUNKED))
        try:
            for position in range(0, len(chunks), size):
                client.send(chunks[position : position + size])
        except OSError:
            pass
        assert client.read().status == 400
    assert raw.seen == []


GOOD_CHUNKS = {
    "plain": b"5\r\nabcde\r\n0\r\n\r\n",
    "leading zeros": b"0005\r\nabcde\r\n000\r\n\r\n",
    "upper case": b"A\r\n0123456789\r\n0\r\n\r\n",
    "extension": b"5;name=value\r\nabcde\r\n0\r\n\r\n",
    "quoted extension": b'5;name="a b"\r\nabcde\r\n0\r\n\r\n',
    "extension on the last chunk": b"5\r\nabcde\r\n0;last\r\n\r\n",
    "extension behind spaces": b"5 ; a\r\nabcde\r\n0\r\n\r\n",
    "mixed": b"3\r\nabc\r\n1;x\r\nd\r\n1\r\ne\r\n0\r\n\r\n",
    "with a trailer": b"5\r\nabcde\r\n0\r\nX-Sum: 1\r\n\r\n",
}


@pytest.mark.parametrize("chunks", _cases(GOOD_CHUNKS))
def test_good_chunks(raw: Raw, chunks: bytes) -> None:
    """Well-formed chunks arrive with the same payload; extensions are accepted and not passed on."""
    for pieces in ([chunks], [bytes([byte]) for byte in chunks]):
        with raw.client() as client:
            client.send(with_fields(CHUNKED))
            for piece in pieces:
                client.send(piece)
            assert client.read().status == 200
            assert client.get("/after").status == 200
    bodies = [seen.body for seen in raw.seen if seen.target == "/bad"]
    assert bodies[0] == bodies[1]
    assert bodies[0] in (b"abcde", b"0123456789")
    assert not any(b";" in seen.raw_body for seen in raw.seen)


# ── targets that are fine

FINE_TARGETS = {
    "/a?b=c&d": "/a?b=c&d",
    "//a//b": "//a//b",
    "/a/../b/./c": "/a/../b/./c",
    "/%2e%2e/%00": "/%2e%2e/%00",
    "/a?b?c": "/a?b?c",
    "/?": "/?",
    "/a;p=1,2'()*!$&+=:@|[]{}^`\"<>\\": "/a;p=1,2'()*!$&+=:@|[]{}^`\"<>\\",
    "http://service.test/abs?q=1": "/abs?q=1",
    "HTTP://Service.TEST/abs": "/abs",
    "https://service.test/abs": "/abs",
    "http://service.test": "/",
    "http://service.test?q": "/?q",
}


@pytest.mark.parametrize(("target", "seen"), FINE_TARGETS.items())
def test_targets(raw: Raw, target: str, seen: str) -> None:
    """A path passes byte for byte; a URL that agrees with Host reaches the upstream in origin form."""
    with raw.client() as client:
        assert client.get(target).status == 200
    assert raw.seen[0].target == seen
    assert raw.seen[0].get("Host") == "service.test"


def test_options_asterisk(raw: Raw) -> None:
    """`OPTIONS *` passes, in asterisk form or as a URL without a path."""
    with raw.client() as client:
        for target in ("*", "http://service.test"):
            client.ask(target, "OPTIONS")
            assert client.read().status == 200
    assert [seen.target for seen in raw.seen] == ["*", "*"]


@pytest.mark.parametrize("host", ["a", "a:80", "A.b-c_d.test", "[::1]", "[::1]:8080", "10.0.0.1:1", "", "a:"])
def test_hosts(raw: Raw, host: str) -> None:
    """A well-formed Host passes as it came."""
    with raw.client() as client:
        client.ask("/", host=host)
        assert client.read().status == 200
    assert raw.seen[0].get("Host") == host


@pytest.mark.parametrize(
    "method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "REPORT", "PURGE", "QUERY"]
)
def test_methods(raw: Raw, method: str) -> None:
    """Registered methods pass, with and without a body."""
    with raw.client() as client:
        for body in (None, b"abc"):
            client.ask("/", method, body=body)
            assert client.read().status == 200
    assert [(seen.method, seen.body) for seen in raw.seen] == [(method, b""), (method, b"abc")]


@pytest.mark.parametrize(
    "lines",
    [
        ["content_length: 99"],
        ["transfer_encoding: chunked"],
        ["Content_Length: 99", "Transfer_Encoding: chunked"],
    ],
)
def test_framing_fields_with_underscores(raw: Raw, lines: list[str]) -> None:
    """Spellings that some frameworks take for framing fields do not frame, and do not pass."""
    with raw.client() as client:
        client.ask("/", fields=lines)
        assert client.read().status == 200
        assert client.get("/").status == 200
    assert not raw.seen[0].names & {"content_length", "transfer_encoding"}


# ── limits


def test_head_size(raw: Raw) -> None:
    """A head of 60 KiB passes; one byte more is answered 431."""
    for extra, status in ((0, 200), (1, 431)):
        head = b"GET / HTTP/1.1\r\nHost: x\r\nX-Fill: "
        data = head + b"f" * (61440 - len(head) - 4 + extra) + b"\r\n\r\n"
        if status == 200:
            with raw.client() as client:
                client.send(data)
                assert client.read().status == 200
            raw.forget()
        else:
            problem = json.loads(refused(raw, data, 431).body)
            assert problem["reason"] == "headers_too_large"
            assert problem["limit"] == 61440


def test_endless_heads(raw: Raw) -> None:
    """A head without an end is answered 431 as soon as it is too large, however long the client goes on."""
    with raw.client() as client:
        try:
            for _ in range(100):
                client.send(b"GET /" + b"a" * 65536)
        except OSError:
            pass
        assert client.read().status == 431


def test_header_count(raw: Raw) -> None:
    """100 header lines pass; 101 are answered 431."""
    lines = [f"X-{number}: {number}" for number in range(99)]
    with raw.client() as client:
        assert client.get("/", *lines).status == 200
    raw.forget()
    answer = refused(raw, with_fields(*lines, "X-Last: 1", method="GET"), 431)
    assert json.loads(answer.body)["reason"] == "headers_too_large"


def test_limits_are_settings(start: Start, upstream: Upstream) -> None:
    """`http.max_header_bytes` and `http.max_headers` move the limits."""
    proxy = start(SIDECAR_HTTP__MAX_HEADER_BYTES="1KiB", SIDECAR_HTTP__MAX_HEADERS="3")
    with proxy.client() as client:
        assert client.get("/", "X-A: a", "X-B: b").status == 200
        assert client.get("/", "X-A: a", "X-B: b", "X-C: c").status == 431
    with proxy.client() as client:
        assert client.get("/", "X-A: " + "a" * 1024).status == 431
    assert len(upstream.seen) == 1


# ── clients that speak something else


def test_http_2_is_told(raw: Raw) -> None:
    """An HTTP/2 preface gets 400, in words that name gRPC."""
    answer = refused(raw, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
    assert "gRPC" in json.loads(answer.body)["detail"]


def test_tls_is_told(raw: Raw) -> None:
    """A TLS hello gets 400, in words that name TLS."""
    hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)) * 2
    answer = refused(raw, hello)
    assert "TLS" in json.loads(answer.body)["detail"]


# ── slow clients


def test_slow_heads(start: Start, upstream: Upstream) -> None:
    """A head that takes longer than the head timeout is answered 408, and so is one that trickles in."""
    proxy = start(SIDECAR_TIMEOUTS__HEAD="300ms")
    with proxy.client() as stuck, proxy.client() as trickling:
        stuck.send(b"GET / HTTP/1.1\r\nHost: x\r\n")
        trickling.send(b"GET / HTTP/1.1\r\nHost: x\r\n")
        while trickling.quiet(0.05):
            trickling.send(b"X-A: b\r\n")
        for client in (stuck, trickling):
            answer = client.read()
            assert (answer.status, answer["X-Sidecar-Reason"]) == (408, "request_timeout")
            assert answer["Connection"] == "close"
            assert client.end() == "end"
    assert upstream.speaking == []


def test_the_head_timeout_is_for_each_head(start: Start) -> None:
    """The time between two requests is not the second head's."""
    proxy = start(SIDECAR_TIMEOUTS__HEAD="300ms")
    with proxy.client() as client:
        assert client.get("/").status == 200
        assert client.quiet(0.5)
        assert client.get("/").status == 200


@pytest.mark.parametrize("framing", ["Content-Length: 10", CHUNKED])
def test_stalled_bodies(start: Start, upstream: Upstream, framing: str) -> None:
    """A request body that stops moving is answered 408, and the upstream sees it cut."""
    proxy = start(SIDECAR_TIMEOUTS__STREAM_IDLE="300ms")
    with proxy.client() as client:
        client.send(with_fields(framing, body=b"3\r\nabc\r\n" if framing == CHUNKED else b"abc"))
        answer = client.read()
        assert (answer.status, answer["X-Sidecar-Reason"]) == (408, "request_timeout")
        assert client.end() == "end"
    for peer in upstream.speaking:
        assert peer.gone.wait(10)
    assert upstream.seen == []


def test_slow_bodies_that_move_live(start: Start, upstream: Upstream) -> None:
    """A body that trickles in for longer than any timeout arrives, as long as it moves."""
    proxy = start("--timeout", "400ms", SIDECAR_TIMEOUTS__STREAM_IDLE="400ms", SIDECAR_TIMEOUTS__HEAD="400ms")
    with proxy.client() as client:
        client.send(with_fields("Content-Length: 10"))
        for _ in range(10):
            assert client.quiet(0.1)
            client.send(b"x")
        assert client.read().status == 200
    assert upstream.seen[0].body == b"x" * 10


def test_refusals_reach_clients_that_are_still_sending(raw: Raw) -> None:
    """A refusal is not lost to a reset while the client sends on."""
    with raw.client() as client:
        client.send(with_fields("Content-Length: 3", "Content-Length: 4"))
        try:
            for _ in range(64):
                client.send(b"x" * 65536)
        except OSError:
            pytest.fail("the connection was cut before the client had read its answer")
        assert client.read().status == 400


def test_one_client_cannot_hold_up_another(raw: Raw) -> None:
    """A client that sends half a head leaves the others alone."""
    with raw.client() as half, raw.client() as other:
        half.send(b"GET / HTT")
        assert other.get("/").status == 200
        half.send(b"P/1.1\r\nHost: x\r\n\r\n")
        assert half.read().status == 200
