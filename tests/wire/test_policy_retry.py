"""Retries from end to end: what the upstream is asked again, what it is never asked twice, and what is told of it.

One proxy serves most of this. Each route has its own `retry` section, and so a budget of its own; what a request does
to the budget of its route is made up for before each test. The upstream closes after each answer: a request on a kept
connection that proves dead is another matter.
"""

from __future__ import annotations

import hashlib
import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event
from time import monotonic
from typing import Any, NamedTuple

import pytest

from tests.support.client import Client, CutError
from tests.support.processes import GoService, Proxy
from tests.support.upstream import Peer, Seen, Upstream, in_turn
from tests.support.waiting import eventually
from tests.wire.conftest import Start

ATTEMPTS = 2  # further ones

# What differs from the defaults: backoffs that take no time, and a budget that a request fills by itself.
SETTINGS = """\
breaker: {mode: off}
guard: {mode: off}
retry: {base: 1ms, cap: 2ms, budget: 1, max_body: 64KiB}
routes:
  - {name: once, path: "/once/{rest...}", retry: {attempts: 0}}
  - {name: small, path: "/small/{rest...}", retry: {max_body: 1KiB}}
  - {name: quick, path: "/quick/{rest...}", timeouts: {attempt: 400ms}}
  - {name: wide, path: "/wide/{rest...}", retry: {statuses: [418], headers: [X-Again],
     conditions: [5xx, retriable-4xx, retriable-status-codes, retriable-headers]}}
  - {name: narrow, path: "/narrow/{rest...}", retry: {conditions: [connect-failure]}}
  - {name: poor, path: "/poor/{rest...}", retry: {budget: 0.01, attempts: 5}}
  - {name: shadow, path: "/shadow/{rest...}", retry: {mode: shadow}}
  - {name: patient, path: "/patient/{rest...}", timeouts: {request: 0s}}
  - {name: limited, path: "/limited/{rest...}", rate: {limit: 1/h, burst: 1}}
  - {name: broken, path: "/broken/{rest...}", retry: {attempts: 1}, breaker: {mode: enforce, failures: 2, open_for: 1h}}
  - {name: hedged, path: "/hedged/{rest...}", retry: {hedge: 100ms}}
  - {name: slow, path: "/sleep/{rest...}", retry: {hedge: 300ms}}
"""

Script = Callable[[Peer, Seen], None]


def answer(status: int, *fields: str, body: bytes = b"") -> Script:
    """This, and the end of the connection."""
    lines = [f"HTTP/1.1 {status} X", "Connection: close", f"Content-Length: {len(body)}", *fields, "", ""]
    data = "\r\n".join(lines).encode() + body

    def script(peer: Peer, seen: Seen) -> None:
        peer.send(data)
        peer.close()

    return script


def reset(peer: Peer, seen: Seen) -> None:
    """Die with the request read."""
    peer.reset()


def close(peer: Peer, seen: Seen) -> None:
    """Close with the request read."""
    peer.close()


def half_a_head(peer: Peer, seen: Seen) -> None:
    """Die in the middle of the answer's head."""
    peer.send(b"HTTP/1.1 200 OK\r\nContent-Le")
    peer.close()


def nonsense(peer: Peer, seen: Seen) -> None:
    """An answer that is none."""
    peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n")
    peer.close()


def hang(peer: Peer, seen: Seen) -> None:
    """Never answer."""
    peer.wait_gone()


GOOD = answer(200, body=b"good")


class Tried(NamedTuple):
    """The proxy, and the upstream behind it that plays one script after another."""

    proxy: Proxy
    upstream: Upstream
    logged: dict[str, tuple[int, int]]  # by request ID, the attempts and status that its line in the log must have

    def client(self) -> Client:
        """A new connection to the proxy."""
        return self.proxy.client()

    def fill(self, *routes: str) -> None:
        """Have the budgets of these routes full."""
        self.upstream.script = GOOD
        with self.client() as client:
            for route in routes:
                for _ in range(ATTEMPTS):
                    assert client.get(route).status == 200
        self.upstream.seen.clear()

    def play(self, *scripts: Script) -> None:
        """What the upstream does with the requests to come, one after another; the last is for all that follow."""
        self.upstream.script = in_turn(*scripts)

    def retries(self) -> dict[tuple[str, str], int]:
        """The counts of `sidecar_retries_total`, by reason and result."""
        found = {}
        for name, value in self.proxy.metrics().items():
            if name.startswith("sidecar_retries_total{"):
                labels = dict(label.split("=") for label in name.partition("{")[2].rstrip("}").split(","))
                found[labels["reason"].strip('"'), labels["result"].strip('"')] = int(value)
        return found

    @property
    def seen(self) -> list[Seen]:
        """What reached the upstream, in its order."""
        return self.upstream.seen


@pytest.fixture(scope="module")
def _tried(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tried]:
    file = tmp_path_factory.mktemp("retry") / "sidecar.yaml"
    file.write_text(SETTINGS)
    with Upstream() as upstream, Proxy(upstream.url, "-c", str(file), SIDECAR_HEALTH__INTERVAL="1h") as proxy:
        yield Tried(proxy, upstream, {})


@pytest.fixture
def tried(_tried: Tried) -> Tried:
    """The pair, with a full budget for requests that take no route."""
    _tried.fill("/")
    return _tried


def since(before: dict[Any, int], after: dict[Any, int]) -> dict[Any, int]:
    """What was counted in between."""
    return {key: value - before.get(key, 0) for key, value in after.items() if value != before.get(key, 0)}


# ── which failures, which requests


class Case(NamedTuple):
    """What the upstream does at first (if that is made up for, it then answers well), and what comes of it."""

    name: str
    scripts: list[Script]
    status: int  # that the client gets
    asked: int  # how often the upstream is
    counted: dict[tuple[str, str], int]
    method: str = "GET"
    target: str = "/"
    fields: tuple[str, ...] = ()


def mended(reason: str) -> dict[tuple[str, str], int]:
    """One failure for this reason, after which all was well."""
    return {(reason, "success"): 1}


def in_vain(reason: str) -> dict[tuple[str, str], int]:
    """As many further attempts as there may be."""
    return {(reason, "failed"): ATTEMPTS, (reason, "exhausted"): 1}


SHED = answer(503)
KEY = ("Idempotency-Key: 8c1",)
PAST = "Retry-After: Sun, 06 Nov 1994 08:49:37 GMT"

CASES = [
    # whatever failed, a request that may be repeated is
    Case("reset", [reset], 200, 2, mended("reset")),
    Case("closed", [close], 200, 2, mended("reset")),
    Case("cut head", [half_a_head], 200, 2, mended("reset")),
    Case("502", [answer(502)], 200, 2, mended("gateway-error")),
    Case("503", [SHED], 200, 2, mended("gateway-error")),
    Case("504", [answer(504)], 200, 2, mended("gateway-error")),
    Case("several", [reset, SHED], 200, 3, {("reset", "failed"): 1, **mended("gateway-error")}),
    Case("now", [answer(503, "Retry-After: 0")], 200, 2, mended("gateway-error")),
    Case("a time that has passed", [answer(503, PAST)], 200, 2, mended("gateway-error")),
    Case("no time at all", [answer(503, "Retry-After: soon")], 200, 2, mended("gateway-error")),
    Case("HEAD", [SHED], 200, 2, mended("gateway-error"), "HEAD"),
    Case("OPTIONS", [SHED], 200, 2, mended("gateway-error"), "OPTIONS"),
    Case("DELETE", [SHED], 200, 2, mended("gateway-error"), "DELETE"),
    Case("PUT", [reset], 200, 2, mended("reset"), "PUT"),
    Case("POST with a key", [reset], 200, 2, mended("reset"), "POST", fields=KEY),
    Case("POST with a key, 503", [SHED], 200, 2, mended("gateway-error"), "POST", fields=KEY),
    Case("PATCH with a key", [answer(502)], 200, 2, mended("gateway-error"), "PATCH", fields=KEY),
    # an attempt's time is up
    Case("slow", [hang], 200, 2, mended("reset"), target="/quick/"),
    Case("slow each time", [hang], 504, 3, in_vain("reset"), target="/quick/"),
    Case("slow POST", [hang], 504, 1, {}, "POST", "/quick/"),
    # what is not done twice
    Case("POST reset", [reset], 502, 1, {}, "POST"),
    Case("POST closed", [close], 502, 1, {}, "POST"),
    Case("POST cut", [half_a_head], 502, 1, {}, "POST"),
    Case("POST 502", [answer(502)], 502, 1, {}, "POST"),
    Case("POST 503", [answer(503, "Retry-After: 0")], 503, 1, {}, "POST"),
    Case("POST 504", [answer(504)], 504, 1, {}, "POST"),
    Case("PATCH 503", [SHED], 503, 1, {}, "PATCH"),
    # what is no failure, or not one that another attempt may mend
    Case("500", [answer(500)], 500, 1, {}),
    Case("501", [answer(501)], 501, 1, {}),
    Case("429", [answer(429, "Retry-After: 0")], 429, 1, {}),
    Case("404", [answer(404)], 404, 1, {}),
    Case("409", [answer(409)], 409, 1, {}),
    Case("nonsense", [nonsense], 502, 1, {}),
    # as the settings say
    Case("none at all", [SHED], 503, 1, {}, target="/once/"),
    Case("only connects", [reset], 502, 1, {}, target="/narrow/"),
    Case("500 too", [answer(500)], 200, 2, mended("5xx"), target="/wide/"),
    Case("5xx is reset too", [reset], 200, 2, mended("5xx"), target="/wide/"),
    Case("409 too", [answer(409)], 200, 2, mended("retriable-4xx"), target="/wide/"),
    Case("418 too", [answer(418)], 200, 2, mended("retriable-status-codes"), target="/wide/"),
    Case("a header", [answer(200, "x-again: 1")], 200, 2, mended("retriable-headers"), target="/wide/"),
    Case("POST 500", [answer(500)], 500, 1, {}, "POST", "/wide/"),
    Case("only told", [SHED], 503, 1, {}, target="/shadow/"),
    # there is an end to it
    Case("again and again", [SHED], 503, 3, in_vain("gateway-error")),
    Case("reset again and again", [reset], 502, 3, in_vain("reset")),
    # a time that will not come
    Case("in an hour", [answer(503, "Retry-After: 3600")], 503, 1, {("gateway-error", "deadline"): 1}),
    Case("after our deadline", [answer(503, "Retry-After: 16")], 503, 1, {("gateway-error", "deadline"): 1}),
    Case(
        "after the client's",
        [answer(503, "Retry-After: 9")],
        503,
        1,
        {("gateway-error", "deadline"): 1},
        fields=("x-request-timeout-ms: 8000",),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_failures_and_requests(tried: Tried, request_id: str, case: Case) -> None:
    """The client's answer, the upstream's count, the numbers told both ways, the metric and the log agree."""
    method, target, asked = case.method, case.target, case.asked
    if target != "/":
        tried.fill(target)
    tried.play(*case.scripts, *([GOOD] if case.status == 200 else []))
    before = tried.retries()
    with tried.client() as client:
        client.ask(target, method, [f"X-Request-ID: {request_id}", "X-Envoy-Attempt-Count: 77", *case.fields])
        got = client.read(method)
    assert (got.status, len(tried.seen)) == (case.status, asked)
    assert [seen.get("x-envoy-attempt-count") for seen in tried.seen] == [str(n) for n in range(1, asked + 1)]
    assert got["x-envoy-attempt-count"] == str(asked)
    assert {(seen.line, seen.get("X-Request-ID")) for seen in tried.seen} == {
        (f"{method} {target} HTTP/1.1", request_id)
    }
    assert since(before, tried.retries()) == case.counted
    tried.logged[request_id] = asked, case.status


def test_the_last_answer_is_passed_on(tried: Tried) -> None:
    """With its status, fields and body; those before it leave no trace."""
    tried.play(*(answer(503, f"X-Number: {n}", "x-envoy-attempt-count: 55", body=b"no. %d" % n) for n in (1, 2, 3)))
    with tried.client() as client:
        got = client.get("/")
        assert (got.status, got["X-Number"], got.body, got["x-envoy-attempt-count"]) == (503, "3", b"no. 3", "3")
        assert "X-Sidecar-Reason" not in got
        tried.play(GOOD)
        assert client.get("/").body == b"good", "the connection goes on"


def test_an_answer_before_a_failure_is_passed_on(tried: Tried) -> None:
    """Where the last attempt has none, the client gets the last there was, as the upstream's own."""
    tried.play(answer(503, "X-Number: 1", body=b"one"), answer(502, "X-Number: 2", body=b"two"), reset)
    with tried.client() as client:
        got = client.get("/")
    assert (got.status, got.get("X-Number"), got.body, len(tried.seen)) == (502, "2", b"two", 3)
    assert "X-Sidecar-Reason" not in got


def test_an_answer_that_has_begun_is_not_replaced(tried: Tried, request_id: str) -> None:
    """A cut in the body reaches the client as a cut, and the upstream is asked once."""
    let = Event()

    def script(peer: Peer, seen: Seen) -> None:
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
        assert let.wait(20)
        peer.reset()

    tried.play(script)
    with tried.client() as client:
        client.ask("/", fields=[f"X-Request-ID: {request_id}"])
        head = client.read_head()
        assert (head.status, head["x-envoy-attempt-count"]) == (200, "1")
        let.set()
        with pytest.raises(CutError):
            client.read_body(head)
    assert (len(tried.seen), tried.proxy.access(request_id)["attempts"]) == (1, 1)


def test_a_long_answer_put_aside_is_let_go(tried: Tried) -> None:
    """The body of an answer that is tried again is not read to its end; its connection is closed."""
    ended = Event()

    def script(peer: Peer, seen: Seen) -> None:
        peer.send(b"HTTP/1.1 503 X\r\nContent-Length: 100000000\r\n\r\n" + b"x" * 100_000)
        peer.wait_gone()
        ended.set()

    tried.play(script, GOOD)
    with tried.client() as client:
        assert client.get("/").status == 200
    assert ended.wait(20)


def test_what_is_left_shrinks(tried: Tried) -> None:
    """Each attempt is told what is left of the client's time, waits between them included."""
    tried.play(answer(503, "Retry-After: 1"), GOOD)
    began = monotonic()
    with tried.client() as client:
        assert client.get("/", "x-request-timeout-ms: 9000").status == 200
    assert monotonic() - began >= 1
    first, second = (int(seen.get("x-request-timeout-ms") or 0) for seen in tried.seen)
    assert second <= first - 1000


# ── bodies


def body(size: int) -> bytes:
    """Bytes of which no two pieces are alike."""
    return b"".join(hashlib.sha256(b"%d" % n).digest() for n in range(size // 32 + 1))[:size]


@pytest.mark.parametrize("size", [0, 1, 5000, 65536])
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
@pytest.mark.parametrize("fails", [reset, answer(503)], ids=["reset", "503"])
def test_a_body_is_sent_again(tried: Tried, size: int, chunked: bool, fails: Script) -> None:
    """All of it, byte for byte, as often as it takes."""
    data = body(size)
    tried.play(fails, fails, GOOD)
    with tried.client() as client:
        if chunked:
            client.ask("/", "PUT", ["Transfer-Encoding: chunked"])
            for start in range(0, size, 4000):
                piece = data[start : start + 4000]
                client.send(b"%x\r\n%b\r\n" % (len(piece), piece))
            client.send(b"0\r\nX-Sum: 1\r\n\r\n")
            got = client.read("PUT")
        else:
            client.ask("/", "PUT", body=data)
            got = client.read("PUT")
    assert got.status == 200
    digests = [hashlib.sha256(seen.body).hexdigest() for seen in tried.seen]
    assert digests == [hashlib.sha256(data).hexdigest()] * 3
    if chunked:
        assert [seen.trailers for seen in tried.seen] == [tried.seen[0].trailers] * 3


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
@pytest.mark.parametrize(("target", "size"), [("/small/", 1025), ("/", 65537), ("/", 300_000)])
def test_a_long_body_is_sent_once(tried: Tried, target: str, size: int, chunked: bool) -> None:
    """One byte more than is kept, and a failure is passed on; counted as such. The body has arrived whole."""
    data = body(size)
    tried.play(answer(503, body=b"sorry"))
    before = tried.retries()
    with tried.client() as client:
        if chunked:
            client.ask(target, "PUT", ["Transfer-Encoding: chunked"])
            client.send(b"%x\r\n%b\r\n0\r\n\r\n" % (size, data))
            got = client.read("PUT")
        else:
            client.ask(target, "PUT", body=data)
            got = client.read("PUT")
    assert (got.status, got.body, got["x-envoy-attempt-count"]) == (503, b"sorry", "1")
    (seen,) = tried.seen
    assert seen.body == data
    assert since(before, tried.retries()) == {("gateway-error", "body"): 1}


def test_a_failure_before_the_body_has_come(tried: Tried) -> None:
    """The upstream fails at the head; the rest of the body, which comes later, goes to the next attempt with it."""
    data = body(2000)
    heads: list[Seen] = []

    def on_head(peer: Peer, seen: Seen) -> None:
        heads.append(seen)
        if len(heads) == 1:
            peer.reset()
            return
        assert peer.read_body(seen)
        GOOD(peer, seen)

    tried.upstream.on_head = on_head
    try:
        with tried.client() as client:
            client.ask("/", "PUT", [f"Content-Length: {len(data)}"])
            client.send(data[:700])
            eventually(lambda: len(heads) == 2, "the second attempt")
            client.send(data[700:])
            assert client.read("PUT").status == 200
    finally:
        tried.upstream.on_head = None
    assert heads[1].body == data


def test_a_client_that_waits_for_100(tried: Tried) -> None:
    """The upstream refuses at the head and is asked again; the client's body goes to the one that asks for it."""
    heads: list[Seen] = []

    def on_head(peer: Peer, seen: Seen) -> None:
        heads.append(seen)
        if len(heads) == 1:
            answer(503)(peer, seen)
            return
        peer.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert peer.read_body(seen)
        GOOD(peer, seen)

    tried.upstream.on_head = on_head
    try:
        with tried.client() as client:
            client.ask("/", "PUT", ["Expect: 100-continue", "Content-Length: 5"])
            assert client.read_head().status == 100
            client.send(b"hello")
            assert client.read("PUT").status == 200
    finally:
        tried.upstream.on_head = None
    assert (len(heads), heads[-1].body) == (2, b"hello")


# ── the upstream is not there


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_it_comes_back(start: Start, method: str, tmp_path: Path, request_id: str) -> None:
    """While nobody listens, a request of any method waits in its backoffs; the upstream gets it once."""
    file = tmp_path / "sidecar.yaml"
    file.write_text("breaker: {mode: off}\nretry: {attempts: 10, base: 100ms, budget: 1}\n")
    with socket.create_server(("127.0.0.1", 0)) as lent:
        port = lent.getsockname()[1]
    proxy = start("-c", str(file), url=f"http://127.0.0.1:{port}", SIDECAR_TIMEOUTS__STARTUP="0s")
    # Ten retries take ten tokens, of which a new budget has three. Each request brings one, and these take none.
    with proxy.client() as client:
        for _ in range(7):
            assert client.get("/", "Connection: upgrade", "Upgrade: any").status == 502
    refused = 'sidecar_upstream_attempts_total{outcome="connect_failed"}'
    before = proxy.metrics().get(refused, 0)
    with proxy.client() as client:
        client.ask("/", method, [f"X-Request-ID: {request_id}"], body(3000) if method == "POST" else None)
        eventually(lambda: proxy.metrics().get(refused, 0) > before + 1, "attempts in vain")
        with Upstream(sock=socket.create_server(("127.0.0.1", port))) as upstream:
            got = client.read(method)
            (seen,) = upstream.seen
    assert got.status == 200
    assert seen.body == (body(3000) if method == "POST" else b"")
    line = proxy.access(request_id)
    assert line["attempts"] == int(got["x-envoy-attempt-count"]) == int(seen.get("x-envoy-attempt-count") or 0) > 2
    assert line["backoff_ms"] > 0
    metrics = proxy.metrics()
    assert metrics['sidecar_retries_total{reason="connect-failure",result="success"}'] == 1


# ── when there is no further attempt


def test_own_refusals_are_final(tried: Tried, request_id: str) -> None:
    """Neither a rate limit nor an open circuit is tried again: the upstream is left alone, and nothing is counted."""
    tried.play(GOOD)
    with tried.client() as client:
        assert client.get("/limited/").status == 200
        before = tried.retries()
        got = client.get("/limited/", f"X-Request-ID: {request_id}")
        assert (got.status, got["X-Sidecar-Reason"], "x-envoy-attempt-count" in got) == (429, "rate_limited", False)
        assert tried.proxy.access(request_id)["attempts"] == 0
        # Two failures open the circuit: the first request's one retry is the second.
        tried.play(answer(503))
        assert client.get("/broken/").status == 503
        assert len(tried.seen) == 3
        got = client.get("/broken/")
        assert (got.status, got["X-Sidecar-Reason"]) == (503, "circuit_open")
    assert len(tried.seen) == 3
    assert since(before, tried.retries()) == {("gateway-error", "failed"): 1, ("gateway-error", "exhausted"): 1}


def test_a_circuit_that_opens_under_way(tried: Tried) -> None:
    """Each attempt asks leave: where the first opened the circuit, the client gets what the upstream said."""
    with tried.client() as client:
        tried.proxy.page("/breaker/close?circuit=broken", "POST")
        tried.play(answer(503, body=b"one"))
        assert client.get("/broken/").status == 503
        tried.proxy.page("/breaker/close?circuit=broken", "POST")
        # A POST, which is not tried again, is the first failure of two.
        assert client.post("/broken/").status == 503
        asked = len(tried.seen)
        tried.play(answer(503, body=b"the upstream's"))
        got = client.get("/broken/")
    assert (got.status, got.body, len(tried.seen) - asked) == (503, b"the upstream's", 1)
    assert "X-Sidecar-Reason" not in got


def test_a_spent_budget(tried: Tried) -> None:
    """Failures are passed on as they come, and counted: at the start there are three retries, then one in a hundred."""
    tried.play(answer(503, body=b"busy"))
    before = tried.retries()
    with tried.client() as client:
        got = [client.get("/poor/") for _ in range(20)]
    assert [(each.status, each.body) for each in got] == [(503, b"busy")] * 20
    assert [int(each["x-envoy-attempt-count"]) for each in got] == [4] + [1] * 19
    assert len(tried.seen) == 23
    assert since(before, tried.retries()) == {("gateway-error", "failed"): 3, ("gateway-error", "budget"): 20}


def test_a_client_that_leaves_in_a_backoff(tried: Tried, request_id: str) -> None:
    """It ends the waiting; the upstream is not asked again."""
    tried.play(answer(503, "Retry-After: 30"))
    with tried.client() as client:
        client.ask("/patient/", fields=[f"X-Request-ID: {request_id}"])
        eventually(lambda: tried.seen)
        eventually(lambda: tried.proxy.status()["pool"]["connections"] == 0)
        before = tried.retries()
    line = tried.proxy.access(request_id)
    assert (line["status"], line["reason"], line["attempts"]) == (499, "client_gone", 1)
    assert len(tried.seen) == 1
    assert since(before, tried.retries()) == {("gateway-error", "cancelled"): 1}
    assert tried.proxy.status()["in_flight"] == 0


# ── with the real service


def test_the_service_fails_twice(start: Start, go: GoService, tmp_path: Path, request_id: str) -> None:
    """It fails for a key's first requests, by a status or by a cut, then answers: a client never learns of it."""
    file = tmp_path / "sidecar.yaml"
    file.write_text(SETTINGS)
    proxy = start("-c", str(file), url=go.url)
    with proxy.client() as client:
        for status in (502, 503, 504, 0):
            name = f"{request_id}-{status}"
            got = client.get(f"/flaky/{name}?failures=2&status={status}", f"X-Request-ID: {name}")
            assert (got.status, json.loads(got.body)) == (200, {"attempt": 3})
            visits = go.record(name)
            assert [(visit["method"], visit["path"]) for visit in visits] == [("GET", f"/flaky/{name}")] * 3
            for _ in range(5):
                client.get("/hello")
        name = f"{request_id}-post"
        got = client.post(f"/flaky/{name}?status=0", b"x", f"X-Request-ID: {name}")
        assert (got.status, len(go.record(name))) == (502, 1)
        data = body(50_000)
        got = client.post("/upload", data, *KEY)
        assert json.loads(got.body) == {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


# ── hedging


def over(go: GoService, request_id: str) -> list[dict[str, Any]]:
    """What the service has seen of the request, once its handlers are done."""

    def look() -> list[dict[str, Any]]:
        visits = go.record(request_id)
        return visits if all(visit["finished"] for visit in visits) else []

    return eventually(look, f"the handlers of {request_id} to end")


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_a_slow_first_attempt(tried: Tried, request_id: str, method: str) -> None:
    """The upstream sees a second one, whose answer the client gets, once; the first is cancelled."""
    gone = Event()

    def slow(peer: Peer, seen: Seen) -> None:
        peer.wait_gone()
        gone.set()

    tried.play(slow, answer(200, "X-Which: second"))
    before = tried.retries()
    with tried.client() as client:
        client.ask("/hedged/", method, [f"X-Request-ID: {request_id}"])
        got = client.read(method)
        assert (got.status, got["X-Which"], got["x-envoy-attempt-count"]) == (200, "second", "2")
        assert gone.wait(20)
        tried.play(GOOD)
        assert client.get("/").body == b"good", "nothing of the other one follows"
    assert [seen.get("x-envoy-attempt-count") for seen in tried.seen[:2]] == ["1", "2"]
    assert len(tried.seen) == 3
    assert since(before, tried.retries()) == {("hedge", "success"): 1}
    tried.logged[request_id] = 2, 200


@pytest.mark.parametrize(("method", "fields", "data"), [("POST", KEY, None), ("DELETE", (), None), ("GET", (), b"x")])
def test_what_is_not_hedged(
    tried: Tried, method: str, fields: tuple[str, ...], data: bytes | None, request_id: str
) -> None:
    """Whatever is no safe request without a body waits for its one answer."""
    let = Event()

    def slow(peer: Peer, seen: Seen) -> None:
        let.wait(0.3)
        GOOD(peer, seen)

    tried.play(slow)
    with tried.client() as client:
        client.ask("/hedged/", method, fields, data)
        assert client.read(method).status == 200
    assert len(tried.seen) == 1


def test_the_first_wins_after_all(start: Start, go: GoService, tmp_path: Path, request_id: str) -> None:
    """Then the second is the loser: its handler's context ends, and the first one's does not."""
    file = tmp_path / "sidecar.yaml"
    file.write_text(SETTINGS)
    proxy = start("-c", str(file), url=go.url)
    with proxy.client() as client:
        got = client.get("/sleep/800ms", f"X-Request-ID: {request_id}")
    assert (got.status, json.loads(got.body)) == (200, {"slept": "800ms"})
    visits = over(go, request_id)
    assert [visit["context_ended"] for visit in visits] == [False, True]
    assert proxy.access(request_id)["attempts"] == 2
    assert proxy.metrics()['sidecar_retries_total{reason="hedge",result="cancelled"}'] == 1


def test_a_client_that_leaves_takes_both_along(start: Start, go: GoService, tmp_path: Path, request_id: str) -> None:
    """Both handlers' contexts end."""
    file = tmp_path / "sidecar.yaml"
    file.write_text(SETTINGS)
    proxy = start("-c", str(file), url=go.url)
    with proxy.client() as client:
        client.ask("/sleep/1h", fields=[f"X-Request-ID: {request_id}"])
        eventually(lambda: len(go.record(request_id)) == 2, "the second attempt")
    visits = over(go, request_id)
    assert [visit["context_ended"] for visit in visits] == [True, True]
    line = proxy.access(request_id)
    assert (line["status"], line["attempts"]) == (499, 2)
    assert eventually(lambda: proxy.pool()["connections"] == 0)


# ── all together


def test_the_log_agrees(tried: Tried) -> None:
    """The access log has one line for each of these requests, with all its attempts. Lines are written in blocks."""
    lines = {request_id: tried.proxy.access(request_id) for request_id in tried.logged}
    assert {name: (line["attempts"], line["status"]) for name, line in lines.items()} == tried.logged
