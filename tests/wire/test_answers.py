"""The sidecar's own answers: what they say, in which form, and the limit on bodies that makes one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from email.utils import parsedate_to_datetime

import pytest

from tests.support.client import Client
from tests.support.processes import Proxy
from tests.support.upstream import OK, Upstream, always
from tests.support.waiting import eventually
from tests.wire.conftest import Start
from tests.wire.raw import Raw

LIMIT = 1000


@pytest.fixture(scope="module")
def _limited() -> Iterator[Raw]:
    with (
        Upstream() as upstream,
        Proxy(upstream.url, "--max-body", str(LIMIT), SIDECAR_HEALTH__INTERVAL="1h") as proxy,
    ):
        yield Raw(proxy, upstream)


@pytest.fixture
def limited(_limited: Raw) -> Raw:
    """A proxy that allows bodies of a thousand bytes."""
    _limited.upstream.script = always(OK)
    _limited.forget()
    return _limited


# ── their form


def test_the_form_of_an_answer(raw: Raw, request_id: str) -> None:
    """An own answer is a problem document; X-Sidecar-Reason and Proxy-Status say the same."""
    raw.upstream.script = always(b"nonsense\r\n\r\n")
    with raw.client() as client:
        answer = client.get("/", f"X-Request-ID: {request_id}")
        assert answer.status == 502
        assert answer.phrase == "Bad Gateway"
        assert answer.framed == "length"
        assert answer["Content-Type"] == "application/problem+json"
        assert answer["Cache-Control"] == "no-store"
        assert answer["X-Sidecar-Reason"] == "bad_response"
        assert answer["Proxy-Status"] == "sidecar; error=http_protocol_error"
        assert answer["X-Request-ID"] == request_id
        assert parsedate_to_datetime(answer["Date"]).year > 2000
        problem = json.loads(answer.body)
        assert problem["type"] == "about:blank"
        assert problem["title"]
        assert problem["status"] == 502
        assert problem["reason"] == "bad_response"
        assert problem["request_id"] == request_id
        assert "detail" in problem
        # It is no reason to part.
        assert "Connection" not in answer
        raw.upstream.script = always(OK)
        assert client.get("/").status == 200


def test_own_answers_to_head(raw: Raw) -> None:
    """An own answer to HEAD has the head it would have had, and no body."""
    raw.upstream.script = always(b"nonsense\r\n\r\n")
    with raw.client() as client:
        client.ask("/", "HEAD")
        answer = client.read("HEAD")
        assert answer.status == 502
        assert int(answer["Content-Length"]) > 100
        assert answer["X-Sidecar-Reason"] == "bad_response"
        raw.upstream.script = always(OK)
        assert client.get("/").status == 200


def test_own_answers_to_1_0(raw: Raw) -> None:
    """An own answer to an HTTP/1.0 client ends its connection, unless it asked to keep it."""
    raw.upstream.script = always(b"nonsense\r\n\r\n")
    with raw.client() as client:
        client.ask("/", version="1.0", fields=["Connection: keep-alive"])
        assert client.read()["Connection"] == "keep-alive"
        client.ask("/", version="1.0")
        assert client.read()["Connection"] == "close"
        assert client.end() == "end"


def test_an_upstreams_own_error_is_its_own(raw: Raw) -> None:
    """An upstream's 502, 503 or 504 passes as it is, without any sign of ours."""
    for status in (500, 502, 503, 504, 429, 404):
        raw.upstream.script = always(
            f"HTTP/1.1 {status} Mine\r\nContent-Length: 4\r\nRetry-After: 7\r\nProxy-Status: other\r\n\r\nmine".encode()
        )
        with raw.client() as client:
            answer = client.get("/")
        assert (answer.status, answer.phrase, answer.body) == (status, "Mine", b"mine")
        assert answer["Retry-After"] == "7"
        assert answer["Proxy-Status"] == "other"
        assert "X-Sidecar-Reason" not in answer


def test_own_answers_do_not_leak_the_request(raw: Raw) -> None:
    """A refusal repeats nothing of what it refused: no path, no value, no token."""
    with raw.client() as client:
        client.send(b"GET /s3cret?token=s3cret HTTP/1.1\r\nHost: s3cret, s3cret\r\nAuthorization: s3cret\r\n\r\n")
        answer = client.read()
    assert answer.status == 400
    assert b"s3cret" not in answer.head + answer.body


# ── --max-body


def test_bodies_up_to_the_limit_pass(limited: Raw) -> None:
    """A body of exactly the limit passes, with a length or chunked."""
    with limited.client() as client:
        assert client.post("/", b"x" * LIMIT).status == 200
        client.send(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        client.send(b"3e8\r\n" + b"x" * LIMIT + b"\r\n0\r\n\r\n")
        assert client.read().status == 200
    assert [len(seen.body) for seen in limited.seen] == [LIMIT, LIMIT]


@pytest.mark.parametrize("expect", [False, True])
@pytest.mark.parametrize("size", [LIMIT + 1, 10**6, 10**15])
def test_announced_bodies_above_the_limit(limited: Raw, size: int, expect: bool) -> None:
    """A body whose length is above the limit is answered 413 at its head, before anything reaches the upstream."""
    with limited.client() as client:
        client.ask("/", "POST", [f"Content-Length: {size}", *(["Expect: 100-continue"] if expect else [])])
        if not expect:
            client.send(b"x" * min(size, 10**6))
        answer = client.read("POST")
        assert (answer.status, answer["X-Sidecar-Reason"]) == (413, "body_too_large")
        assert answer["Connection"] == "close"
        assert not answer.interim
        problem = json.loads(answer.body)
        assert (problem["limit"], problem["length"]) == (LIMIT, size)
        assert client.end() == "end"
    assert limited.bytes_seen() == b""


@pytest.mark.parametrize("step", [1, 10, 1001, 5000])
def test_chunked_bodies_above_the_limit(limited: Raw, step: int) -> None:
    """A chunked body is answered 413 as soon as it is above the limit, and the upstream never sees it whole."""
    with limited.client() as client:
        client.send(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        data = b"%x\r\n%b\r\n" % (step, b"x" * step)
        try:
            for _ in range(LIMIT // step + 1):
                client.send(data)
        except OSError:
            pass
        answer = client.read("POST")
        assert (answer.status, answer["X-Sidecar-Reason"]) == (413, "body_too_large")
        assert json.loads(answer.body)["limit"] == LIMIT
    for peer in limited.upstream.speaking:
        assert peer.gone.wait(10)
    assert limited.seen == []


def test_413_to_a_body_without_end(limited: Raw) -> None:
    """A client that sends on and on is answered 413 and cut off in the end."""
    with limited.client() as client:
        client.send(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            _send_for_ever(client)
    eventually(lambda: limited.proxy.status()["connections"] == 0)


def _send_for_ever(client: Client) -> None:
    while True:
        client.send(b"10000\r\n" + b"x" * 65536 + b"\r\n")


def test_retry_after_where_it_helps(start: Start, upstream: Upstream) -> None:
    """Answers of a sidecar that is full say when to come again, in the head and in the problem."""
    upstream.script = lambda peer, seen: None
    proxy = start(SIDECAR_POOL__MAX_CONNECTIONS="1", SIDECAR_POOL__MAX_PENDING="0")
    with proxy.client() as busy, proxy.client() as client:
        busy.ask("/")
        eventually(lambda: upstream.seen)
        answer = client.get("/")
        assert (answer.status, answer["X-Sidecar-Reason"]) == (503, "overloaded")
        assert int(answer["Retry-After"]) == json.loads(answer.body)["retry_after"] >= 1
        assert answer["Proxy-Status"] == "sidecar; error=connection_limit_reached"
