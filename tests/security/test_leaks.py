"""No secret that passes through, or that the sidecar is told, shows in anything it writes: a proxy that is told secrets
everywhere and goes through everything that can go wrong, and then a search for each of them.

What is logged by design is planted nowhere: paths, methods, request IDs, the peers' addresses.
"""

from __future__ import annotations

import io
import json
import os
import select
import signal
import socket
from contextlib import redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from typing import Final
from unittest import mock

import pytest

from sidecar.cli import main
from tests.support.client import CutError, connect
from tests.support.processes import Proxy, spawn
from tests.support.upstream import OK, Peer, Seen, Upstream, always
from tests.support.waiting import eventually

_JWT: Final = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ0b2RvIn0"

# What is planted, by where. Each value is found by its middle, whatever stands around it.
PLANTED: Final = {
    "admin token": "Xadmin7tokenX",
    "other admin token": "Xwrong7tokenX",
    "redis password": "Xredis7passwordX",
    "health query": "Xhealth7tokenX",
    "route match": "Xroute7keyX",
    "authorization": f"{_JWT}.Xbearer7X",
    "cookie": "Xcookie7X",
    "api key": "Xapi7keyX",
    "query": "Xquery7tokenX",
    "request body": "Xbody7passwordX",
    "userinfo": "Xuserinfo7X",
    "trailer": "Xtrailer7X",
    "response cookie": "Xset7cookieX",
    "response body": "Xanswer7bodyX",
    "response head": "Xstatus7lineX",
    "bad head": "Xbad7headX",
    "bad chunk": "Xbad7chunkX",
    "reloaded file": "Xreload7fileX",
    "environment": "Xenviron7X",
}

SETTINGS: Final = f"""
timeouts: {{attempt: 300ms}}
http: {{max_body: 4KiB}}
health: {{path: "/health?token={PLANTED["health query"]}", interval: 1s}}
log: {{level: debug}}
redis: {{url: "redis://sidecar:{PLANTED["redis password"]}@127.0.0.1:REDIS/0"}}
retry: {{attempts: 1, base: 1ms}}
routes:
  - name: keyed
    path: /keyed
    headers: ["X-Api-Key={PLANTED["route match"]}"]
  - name: limited
    path: /limited
    rate: {{limit: 1/m, burst: 1, key: "header:X-Api-Key"}}
  - name: shared
    path: /shared
    rate: {{limit: 1000/s, key: "header:Authorization", shared: true}}
"""

# Files that are not good, each in its way: the old settings stay, and it is said why.
BROKEN: Final = (
    "admin: {token: *Xreload7fileX}",
    "admin: {token: !Xreload7fileX!a b}",
    "admin: {token:Xreload7fileX}",
    "admin:\n  token:Xreload7fileX",
    "admin: Xreload7fileX",
    "admin: {tokn: Xreload7fileX}",
    "admin: {token: {a: Xreload7fileX}}",
    "redis: {url: 'http://:Xreload7fileX@h'}",
    "redis: {url: ':Xreload7fileX@h'}",
    "health: {path: 'h?token=Xreload7fileX'}",
    "probes: {paths: ['h?token=Xreload7fileX']}",
    "routes: [{name: a, path: /, headers: ['Cookie=Xreload7fileXé']}]",
    '\x00 admin: {token: "Xreload7fileX"}',
)
# The same of what flags and the environment say better here, so that no reload would complain.
OVERRULED: Final = (
    "admin: {token: Xreload7fileXé}",
    "admin: {token: [Xreload7fileX]}",
    "upstream: 'http://me:Xreload7fileX@h:1'",
    "upstream: 'me:Xreload7fileX@h:1'",
    "upstream: 'http://h:1/?api_key=Xreload7fileX'",
    "listen: 'me:Xreload7fileX@h:1'",
)

SECRETS: Final = (
    f"Authorization: Bearer {PLANTED['authorization']}",
    f"Cookie: session={PLANTED['cookie']}",
    f"X-Api-Key: {PLANTED['api key']}",
)

# Requests that are refused, or break off, with a secret in the part that is wrong or beside it.
_CHUNKED: Final = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
_BAD: Final = PLANTED["bad head"].encode()
REFUSED: Final = (
    b"GET / HTTP/1.1\r\nHost: a\r\nAuthorization Bearer " + _BAD + b"\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nAuthorization: a\x00" + _BAD + b"\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: " + _BAD + b"\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: " + _BAD + b"\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: " + _BAD + b"/\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nHost: " + _BAD + b"\r\n\r\n",
    b"GET / HTTP/1.1\nCookie: " + _BAD + b"\n\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nCookie : " + _BAD + b"\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nCookie: a\r\n " + _BAD + b"\r\n\r\n",
    b"GET /?token=" + _BAD + b" HTTP/9.9\r\nHost: a\r\n\r\n",
    b"GET /#token=" + _BAD + b" HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET / " + _BAD + b"\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close, content-length\r\nCookie: " + _BAD + b"\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nCookie: " + _BAD * 10_000 + b"\r\n\r\n",
    b"GET /?token=" + _BAD + b" HTTP/1.1\r\n" + b"A: b\r\n" * 200 + b"\r\n",
    _CHUNKED + PLANTED["bad chunk"].encode() + b"\r\n\r\n",
    _CHUNKED + b"1;a=" + PLANTED["bad chunk"].encode() + b"\r\nabc\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"
    + PLANTED["bad chunk"].encode()
    + b"\r\n\r\n",
    f"GET http://me:{PLANTED['userinfo']}@a/ HTTP/1.1\r\nHost: a\r\n\r\n".encode(),
    f"CONNECT me:{PLANTED['userinfo']}@a:1 HTTP/1.1\r\nHost: a\r\n\r\n".encode(),
    b"POST /half?token=%b HTTP/1.1\r\nHost: a\r\nContent-Length: 99\r\n\r\n" % PLANTED["query"].encode() + _BAD,
    b"\x16\x03\x01\x02\x00" + _BAD,
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _BAD,
)

_COOKIE: Final = f"Set-Cookie: s={PLANTED['response cookie']}\r\n".encode()
_HEAD: Final = PLANTED["response head"].encode()
_BODY: Final = PLANTED["response body"].encode()

# Upstream's answers by path; what follows closes the connection.
ANSWERS: Final = {
    "/fail": b"HTTP/1.1 500 " + _HEAD + b"\r\n" + _COOKIE + b"Content-Length: 13\r\n\r\n" + _BODY,
    "/status": b"HTTP/1.1 " + _HEAD + b"\r\n" + _COOKIE + b"\r\n",
    "/field": b"HTTP/1.1 200 OK\r\nSet-Cookie " + _HEAD + b"\r\n\r\n",
    "/length": b"HTTP/1.1 200 OK\r\nContent-Length: " + _HEAD + b"\r\n\r\n",
    "/chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + _HEAD + b"\r\n",
    "/cut": b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n" + _COOKIE + b"\r\n" + _BODY,
    "/nothing": b"",
}


def service(peer: Peer, seen: Seen) -> None:
    """Answers by path: well, badly, or not at all."""
    path = seen.target.partition("?")[0]
    if path == "/slow":
        peer.wait_gone()
    elif path in ANSWERS:
        peer.send(ANSWERS[path])
        peer.close()
    else:
        peer.send(OK)


class Written:
    """Everything that was written, by where it was found."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}

    def note(self, where: str, text: str | bytes) -> None:
        """Add it."""
        self.texts[where] = self.texts.get(where, "") + (text if isinstance(text, str) else text.decode("latin-1"))

    def holding(self, secret: str) -> list[str]:
        """Where the secret is, with what stands before it."""
        return [f"{where}: …{text[: text.find(secret)][-200:]}" for where, text in self.texts.items() if secret in text]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    """All of it, of a proxy that went through everything."""
    file = tmp_path_factory.mktemp("leaks") / "sidecar.yaml"
    with socket.create_server(("127.0.0.1", 0)) as closed:
        redis = closed.getsockname()[1]
    good = SETTINGS.replace("REDIS", str(redis))
    file.write_text(good, encoding="utf-8")
    written = Written()
    with Upstream() as upstream:
        upstream.script = service
        proxy = Proxy(upstream.url, "-c", str(file), SIDECAR_ADMIN__TOKEN=PLANTED["admin token"])
        with proxy:
            traffic(proxy, written)
            admin(proxy, written)
            for text in BROKEN[::3]:
                reload(proxy, file, text)
            file.write_text(good, encoding="utf-8")
            commands(proxy, file, written)
            upstream.script = always(ANSWERS["/field"], close=True)
            proxy.wait_event("upstream is down")
            written.note("page /readyz", proxy.page("/readyz")[1])
        written.note("stdout", proxy.out.text)
        written.note("stderr", proxy.err.text)
    return written


def traffic(proxy: Proxy, written: Written) -> None:
    """Requests of all kinds; what the sidecar answers of its own accord is noted."""
    body = f'{{"password": "{PLANTED["request body"]}"}}'.encode()
    for number, path in enumerate(("/", "/keyed", "/limited", "/limited", "/shared", "/slow", *ANSWERS)):
        for method in ("GET", "POST"):
            target = f"{path}?access_token={PLANTED['query']}"
            fields = [*SECRETS, f"X-Request-ID: leak-{number}-{method}"]
            with proxy.client() as client, suppress(CutError):
                client.ask(target, method, fields, body if method == "POST" else None)
                answer = client.read(method)
                if "X-Sidecar-Reason" in answer:
                    written.note(f"answer {path}", answer.head + answer.body)
    with proxy.client() as client:
        client.post("/large", body * 500, *SECRETS)
    with proxy.client() as client:
        client.send(_CHUNKED + b"1\r\na\r\n0\r\nX-Token: " + PLANTED["trailer"].encode() + b"\r\n\r\n")
        client.read("POST")
    for number, head in enumerate(REFUSED):
        written.note(f"refusal {number}", exchange(proxy.address, head, end=True))


def exchange(address: tuple[str, int] | str, data: bytes, *, end: bool = False) -> bytes:
    """Everything that is answered to these bytes, and an `end` behind them if that is asked for."""
    received = b""
    with connect(address) as sock, suppress(OSError):
        sock.sendall(data)
        if end:
            sock.shutdown(socket.SHUT_WR)
        while piece := sock.recv(65536):
            received += piece
    return received


def admin(proxy: Proxy, written: Written) -> None:
    """Each page, and what the admin port makes of requests that are wrong."""
    for page in ("/", "/livez", "/readyz", "/healthz", "/metrics", "/status", "/routes", "/config", "/requests"):
        written.note(f"page {page}", proxy.page(page)[1])
    rows = json.loads(proxy.page("/requests?limit=1000")[1])["requests"]
    assert len(rows) > 20
    for row in rows:
        written.note("page /explain", proxy.page(f"/explain/{row['request_id']}")[1])
    wrong = PLANTED["other admin token"].encode()
    host = b"Host: 127.0.0.1\r\n"
    for number, head in enumerate(
        (
            b"GET /status HTTP/1.1\r\n" + host + b"Authorization: Bearer " + wrong + b"\r\nConnection: close\r\n\r\n",
            b"POST /drain HTTP/1.0\r\n" + host + b"Authorization: Basic " + wrong + b"\r\nContent-Length: 0\r\n\r\n",
            b"GET /status HTTP/1.1\r\n" + host + b"Authorization " + wrong + b"\r\n\r\n",
            b"GET /status HTTP/1.1\r\n" + host + b"Authorization: a\x00" + wrong + b"\r\n\r\n",
            b"GET /status HTTP/1.1\r\n" + host + b"Authorization: " + wrong * 2_000 + b"\r\n\r\n",
            b"GET /status?token=" + wrong + b" HTTP/9\r\n" + host + b"\r\n",
            b"POST /drain HTTP/1.1\r\n" + host + b"Content-Length: " + wrong + b"\r\n\r\n",
            b"POST /drain HTTP/1.1\r\n" + host + b"Transfer-Encoding: chunked\r\n\r\n" + wrong + b"\r\n",
        )
    ):
        answer = exchange(proxy.admin, head)
        assert answer[8:12] == (b" 401" if number < 2 else b" 400"), (head, answer)
        written.note(f"admin refusal {number}", answer)


def reload(proxy: Proxy, file: Path, text: str) -> None:
    """New settings that are not good, by both ways there are."""
    failures = len(proxy.events("settings not reloaded: they are not good"))
    file.write_text(f"{text}\n", encoding="utf-8")
    code, _ = proxy.page("/config/reload", "POST")
    assert code == 422, text
    proxy.wait_event("settings not reloaded: they are not good", failures + 1)


def commands(proxy: Proxy, file: Path, written: Written) -> None:
    """What the command line says of it all; of a running proxy, with the token."""
    where = ["--admin", proxy.events("started")[0]["admin"], "--admin-token", PLANTED["admin token"]]
    for arguments in (
        ["status", "--json", *where],
        ["status", *where],
        ["top", "--once", *where],
        ["explain", "leak-0-GET", *where],
        ["status", *where[:3], PLANTED["other admin token"]],
        ["reload", *where],
        ["config", "show", "-c", str(file)],
        ["check", "-c", str(file)],
        ["status", "--admin-tokn", PLANTED["admin token"]],
        ["status", f"--admin-tokn={PLANTED['admin token']}"],
        ["drain", "--admin", f"http://me:{PLANTED['userinfo']}@127.0.0.1:1"],
        ["--admin-tokn", PLANTED["admin token"]],
        [f"http://me:{PLANTED['userinfo']}@127.0.0.1:1"],
        ["--help"],
        ["status", "--help"],
    ):
        token = "SIDECAR_ADMIN__TOKEN" if arguments[0] == "config" else "SIDECAR_ADMIN__TOKN"
        env = {"SIDECAR_UPSTREAM": "http://127.0.0.1:1", token: PLANTED["environment"]}
        written.note(f"command {arguments[0]}", command(arguments, env))
    tap(proxy, where, written)


def command(arguments: list[str], env: dict[str, str]) -> str:
    """What a command says, on both channels."""
    said = io.StringIO()
    with mock.patch.dict(os.environ, env), redirect_stdout(said), redirect_stderr(said), suppress(SystemExit):
        main(arguments)
    assert said.getvalue(), arguments
    return said.getvalue()


def tap(proxy: Proxy, where: list[str], written: Written) -> None:
    """What `tap` shows of a request."""
    with spawn("tap", "--json", *where) as process:
        assert process.stdout is not None
        output = process.stdout.fileno()
        try:
            eventually(lambda: ask_once(proxy) and readable(output), "a line of tap")
            written.note("command tap", os.read(output, 65536))
        finally:
            process.send_signal(signal.SIGINT)


def ask_once(proxy: Proxy) -> bool:
    """One good request with all the secrets that a request has."""
    with proxy.client() as client:
        return client.get(f"/?token={PLANTED['query']}", *SECRETS).status == 200


def readable(descriptor: int) -> bool:
    """Whether something came, within a little while."""
    return bool(select.select([descriptor], [], [], 0.1)[0])


@pytest.mark.parametrize("text", [*BROKEN, *OVERRULED])
def test_no_secret_is_shown_by_check(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever is wrong with a file, and wherever in it the secret went."""
    file = tmp_path / "sidecar.yaml"
    file.write_text(text, encoding="utf-8")

    with pytest.raises(SystemExit):
        main(["check", "-c", str(file)])
    said = capsys.readouterr().err
    assert str(file) in said
    assert "Xreload7file" not in said


@pytest.mark.parametrize("what", PLANTED)
def test_no_secret_is_written(written: Written, what: str) -> None:
    """Neither to stdout and stderr nor on a page of the admin port, by a command, or in an answer of the sidecar's."""
    assert written.holding(PLANTED[what]) == []


def test_the_search_would_find_something(written: Written) -> None:
    """What is told by design is there: the path and the ID of a request, that a reload failed, the masked settings."""
    assert "/limited" in written.texts["stdout"]
    assert "leak-0-GET" in written.texts["stdout"]
    assert "redis is away" in written.texts["stderr"]
    assert written.texts["stderr"].count("settings not reloaded") >= len(BROKEN[::3])
    assert "redis://sidecar:***@127.0.0.1" in written.texts["page /config"]
    assert "/health?token=***" in written.texts["page /config"]
    assert "X-Api-Key=***" in written.texts["page /config"]
    assert "the answer is not valid HTTP" in written.texts["page /readyz"]
    assert "bad_request" in written.texts["refusal 0"]
    assert '"path":"/"' in written.texts["command tap"]
    for reason in ("rate_limited", "attempt_timeout", "bad_response", "connection_lost", "body_too_large"):
        assert reason in written.texts["stdout"]
