"""What is told of requests: one line each, figures that add up, and never a secret."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from tests.support.client import CutError
from tests.support.processes import GoService, Proxy
from tests.support.upstream import always
from tests.support.waiting import eventually
from tests.wire.conftest import Start
from tests.wire.raw import Raw

FIELDS = {
    "ts",
    "level",
    "event",
    "method",
    "path",
    "status",
    "reason",
    "attempts",
    "duration_ms",
    "upstream_ms",
    "overhead_ms",
    "bytes_in",
    "bytes_out",
    "request_id",
    "upstream",
    "client",
}


def test_a_line(proxy: Proxy, go: GoService, request_id: str) -> None:
    """A request leaves one line with what was asked, what was answered, how long it took and how much it moved."""
    with proxy.client() as client:
        client.post("/upload?hash=0", b"x" * 1234, f"X-Request-ID: {request_id}")
    line = proxy.access(request_id)
    assert set(line) == FIELDS
    assert (line["event"], line["level"]) == ("request", "info")
    assert (line["method"], line["path"], line["status"]) == ("POST", "/upload", 200)
    assert (line["reason"], line["attempts"]) == ("upstream", 1)
    assert (line["bytes_in"], line["bytes_out"]) == (1234, len('{"bytes":1234}\n'))
    assert (line["upstream"], line["client"]) == (go.url, "127.0.0.1")
    assert 0 < line["upstream_ms"] <= line["duration_ms"] < 10_000
    assert 0 < line["overhead_ms"] <= line["duration_ms"]


def test_bytes_of_chunked_bodies(proxy: Proxy, request_id: str) -> None:
    """Sizes are those of the payload, without its framing."""
    with proxy.client() as client:
        lines = ["Transfer-Encoding: chunked", f"X-Request-ID: {request_id}"]
        client.ask("/echo", "POST", lines)
        client.send(b"5;ext\r\nhello\r\n6\r\n world\r\n0\r\n\r\n")
        assert client.read().body == b"hello world"
    line = proxy.access(request_id)
    assert (line["bytes_in"], line["bytes_out"]) == (11, 11)


def test_a_refused_head_leaves_a_line(raw: Raw) -> None:
    """What could not be read as a request is logged and counted like any other, without its bytes."""
    with raw.client() as client:
        client.send(b"GET /s3cret HTTP/9.9\r\n\r\n")
        answer = client.read()
    line = raw.proxy.access(answer["X-Request-ID"])
    assert (line["status"], line["reason"], line["attempts"]) == (400, "bad_request", 0)
    assert "s3cret" not in json.dumps(line)


def test_odd_paths_are_one_valid_line(raw: Raw, request_id: str) -> None:
    """Whatever a path holds, its line is one line of valid JSON."""
    with raw.client() as client:
        client.get('/"quoted"\\{}<>\'%00%0a;`|^', f"X-Request-ID: {request_id}")
    assert raw.proxy.access(request_id)["path"] == '/"quoted"\\{}<>\'%00%0a;`|^'


def test_absolute_targets_are_logged_as_paths(raw: Raw, request_id: str) -> None:
    """A URL as target is logged as its path, without host and query."""
    with raw.client() as client:
        client.get("http://service.test/a/b?c=d", f"X-Request-ID: {request_id}")
    assert raw.proxy.access(request_id)["path"] == "/a/b"


SECRET = "s3cr3t"  # what must turn up nowhere


def test_no_secret_is_logged(start: Start, go: GoService) -> None:
    """Query strings, headers, bodies and trailers reach neither stdout nor stderr, whatever becomes of the request."""
    proxy = start("--log-level", "debug", "--max-body", "100", "--timeout", "500ms", url=go.url)
    head = f"Host: x\r\nAuthorization: Bearer {SECRET}\r\nCookie: a={SECRET}\r\nX-Key: {SECRET}\r\n"
    kinds = [
        f"GET /hello?token={SECRET} HTTP/1.1\r\n{head}\r\n",
        f"GET http://x/hello?token={SECRET} HTTP/1.1\r\n{head}\r\n",
        f"GET /status/500?token={SECRET} HTTP/1.1\r\n{head}\r\n",
        f"GET /hang?token={SECRET} HTTP/1.1\r\n{head}\r\n",
        f"GET /abort?token={SECRET} HTTP/1.1\r\n{head}\r\n",
        f"GET /flaky/1?status=0&token={SECRET} HTTP/1.1\r\n{head}\r\n",
        f"POST /echo?token={SECRET} HTTP/1.1\r\n{head}Content-Length: 6\r\n\r\n{SECRET}",
        f"POST /echo?token={SECRET} HTTP/1.1\r\n{head}Content-Length: 600\r\n\r\n{SECRET}",
        f"POST /echo HTTP/1.1\r\n{head}Transfer-Encoding: chunked\r\n\r\n{SECRET}\r\n",
        f"POST /headers HTTP/1.1\r\n{head}Transfer-Encoding: chunked\r\n\r\n0\r\nX-T: {SECRET}\r\n\r\n",
        f"GET /{SECRET}\x01 HTTP/1.1\r\n{head}\r\n",
        f"GET /a HTTP/1.1\r\n{head}Content-Length: {SECRET}\r\n\r\n",
        f"GET /a HTTP/1.1\r\n{head}Bad {SECRET}: x\r\n\r\n",
        f"GET /a#{SECRET} HTTP/1.1\r\n{head}\r\n",
        f"GET http://user:{SECRET}@x/ HTTP/1.1\r\n{head}\r\n",
        f"GET /a HTTP/1.1\r\n{head}X-Request-ID: {SECRET} {SECRET}\r\n\r\n",
    ]
    for text in kinds:
        with proxy.client() as client:
            client.send(text.encode("latin-1"))
            try:
                client.read()
            except CutError:
                pass
    eventually(lambda: len(proxy.out.raw) == len(kinds))
    assert SECRET.encode() not in proxy.page("/metrics")[1]
    assert SECRET.encode() not in proxy.page("/status")[1]
    proxy.stop()
    assert SECRET not in proxy.out.text
    assert SECRET not in proxy.err.text
    assert "?" not in proxy.out.text


def test_query_strings_on_wish(start: Start, request_id: str) -> None:
    """`log.query` brings the query back."""
    proxy = start(SIDECAR_LOG__QUERY="true")
    with proxy.client() as client:
        client.get("/a?b=c", f"X-Request-ID: {request_id}")
    assert proxy.access(request_id)["path"] == "/a?b=c"


def test_only_errors_are_logged_on_wish(start: Start, go: GoService) -> None:
    """`--access-log errors` leaves the good ones out, `off` all."""
    for mode, lines in (("errors", 2), ("off", 0)):
        proxy = start("--access-log", mode, url=go.url)
        with proxy.client() as client:
            for target in ("/hello", "/status/404", "/status/500", "/status/503"):
                client.get(target)
        proxy.stop()
        assert [line["status"] for line in proxy.out.json()] == [500, 503][:lines]


def test_the_figures_add_up(start: Start, go: GoService) -> None:
    """Each request is in one sample of http_requests_total and one of sidecar_answers_total, and in one line."""
    proxy = start("--timeout", "400ms", "--max-body", "1000", url=go.url)
    sent: Counter[tuple[int, str]] = Counter()

    def note(status: int, reason: str, times: int = 1) -> None:
        sent[status, reason] += times

    with proxy.client() as client:
        for _ in range(30):
            client.get("/hello")
        note(200, "upstream", 30)
        for status in (204, 304, 404, 500, 503):
            client.get(f"/status/{status}")
            note(status, "upstream")
        client.post("/upload", b"x" * 100)
        note(200, "upstream")
        assert client.get("/hang").status == 504
        note(504, "deadline_exceeded")
        client.get("/close")
        note(200, "upstream")
    with proxy.client() as client:
        client.post("/upload", b"x" * 2000)
        note(413, "body_too_large")
    with proxy.client() as client:
        client.send(b"nonsense\r\n\r\n")
        assert client.read().status == 400
        note(400, "bad_request")
    with proxy.client() as client:
        client.ask("/abort?after=10")
        with pytest.raises(CutError):
            client.read()
        note(200, "connection_lost")
    with proxy.client() as client:
        client.ask("/sleep/60s")
        eventually(lambda: proxy.status()["in_flight"] == 1)
    note(499, "client_gone")
    with proxy.client() as client:
        client.ask("/raw-upgrade", fields=["Connection: Upgrade", "Upgrade: echo"])
        assert client.read_head().status == 101
        client.half_close()
        assert client.end() == "end"
        note(101, "upstream")
    with proxy.client() as client:
        client.get("/hello", "User-Agent: kube-probe/1.30")  # served, and not counted
    total = sum(sent.values())
    eventually(lambda: len(proxy.out.raw) >= total)

    eventually(lambda: proxy.metrics()["sidecar_requests_in_flight"] == 0)
    metrics = proxy.metrics()
    by_status: Counter[str] = Counter()
    by_reason: Counter[str] = Counter()
    durations = 0.0
    for name, value in metrics.items():
        if name.startswith("http_requests_total{"):
            by_status[name.partition('status="')[2].partition('"')[0]] += int(value)
        elif name.startswith("sidecar_answers_total{"):
            by_reason[name.partition('reason="')[2].partition('"')[0]] += int(value)
        elif name.startswith("http_request_duration_seconds_count{"):
            durations += value
    expected_status: Counter[str] = Counter()
    expected_reason: Counter[str] = Counter()
    for (status, reason), times in sent.items():
        expected_status[str(status)] += times
        expected_reason[reason] += times
    assert +by_status == expected_status
    assert +by_reason == expected_reason
    assert total - 1 <= durations <= total  # tunnels stay out of it

    proxy.stop()
    lines = Counter((line["status"], line["reason"]) for line in proxy.out.json())
    assert lines == sent


def test_attempts_are_counted(raw: Raw) -> None:
    """Each attempt is in sidecar_upstream_attempts_total, by what became of it."""

    def attempts() -> float:
        return sum(v for k, v in raw.proxy.metrics().items() if k.startswith("sidecar_upstream_attempts_total{"))

    before = attempts()
    with raw.client() as client:
        for _ in range(3):
            client.get("/")
        raw.upstream.script = always(b"nonsense\r\n\r\n")
        client.get("/")
    assert attempts() - before == 4


def test_gauges(proxy: Proxy) -> None:
    """The gauges show the moment: connections, requests in flight, the upstream."""
    with proxy.client() as one, proxy.client() as two:
        one.ask("/sleep/30s")
        two.get("/hello")
        eventually(lambda: proxy.metrics()["sidecar_requests_in_flight"] >= 1)
        metrics = proxy.metrics()
        assert metrics["sidecar_upstream_up"] == 1
        assert metrics["sidecar_draining"] == 0
        assert metrics['sidecar_connections{side="client"}'] >= 2
        assert metrics['sidecar_connections{side="upstream"}'] >= 1
    eventually(lambda: proxy.metrics()["sidecar_requests_in_flight"] == 0)
