"""Other settings while requests are served: each way to bring them in, and what goes on as it was.

The upstream is told how much time it has. Timeouts here are tens of seconds, so that what it was told says which
version of the settings a request went by, however slow the machine is.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from threading import Event, Thread
from time import sleep
from typing import Any, NamedTuple

import pytest

from sidecar.units import format_duration
from tests.support import processes
from tests.support.client import Answer, Client
from tests.support.processes import Proxy, spawn
from tests.support.upstream import OK, Peer, Seen, Upstream, always
from tests.support.waiting import eventually
from tests.wire.conftest import Start

RELOADED = "settings reloaded"
REFUSED = "settings not reloaded: they are not good"


def put(file: Path, text: str) -> None:
    """Write it anew, all at once."""
    new = file.with_suffix(".new")
    new.write_text(text)
    new.rename(file)


def timeout(seconds: int) -> str:
    """Settings by which a request has so many seconds."""
    return f"timeouts: {{request: {seconds}s}}\n"


def told(seen: Seen) -> int:
    """The seconds that the upstream was told, to the next ten: nothing here takes ten seconds."""
    said = seen.get("x-request-timeout-ms")
    assert said is not None
    return -(-int(said) // 10_000) * 10


class Filed(NamedTuple):
    """A proxy, the file that its settings are in, and the upstream behind it."""

    proxy: Proxy
    file: Path
    upstream: Upstream

    def ask(self, target: str = "/", *fields: str) -> Answer:
        """A request on a connection of its own."""
        with self.proxy.client() as client:
            return client.get(target, *fields)

    def told(self) -> int:
        """Seconds that a request has now."""
        assert self.ask().status == 200
        return told(self.upstream.seen[-1])

    def reload(self, text: str, status: int = 200) -> dict[str, Any]:
        """New settings, and what is said of them."""
        put(self.file, text)
        code, body = self.proxy.page("/config/reload", "POST")
        said: dict[str, Any] = json.loads(body)
        assert code == status, said
        return said

    def config(self) -> list[str]:
        """The settings in force, line by line without blanks at the ends."""
        code, body = self.proxy.page("/config")
        assert code == 200
        return [line.strip() for line in body.decode().splitlines()]

    def gate(self) -> dict[str, Any]:
        """The state of the one cap on what is in flight."""
        (gate,) = self.proxy.status()["policies"]["concurrency"].values()
        found: dict[str, Any] = gate
        return found

    def reloads(self, result: str) -> int:
        """How many have had this result."""
        return int(self.proxy.metrics()[f'sidecar_config_reloads_total{{result="{result}"}}'])

    def with_id(self, request_id: str) -> list[Seen]:
        """What the upstream has seen of one request."""
        return [seen for seen in self.upstream.seen if seen.get("X-Request-ID") == request_id]


Begin = Callable[[str], Filed]


@pytest.fixture
def begin(start: Start, upstream: Upstream, tmp_path: Path) -> Begin:
    """Starts a proxy with these settings."""

    def begin(text: str) -> Filed:
        file = tmp_path / "sidecar.yaml"
        put(file, text)
        return Filed(start("-c", str(file)), file, upstream)

    return begin


# ── the ways


@pytest.fixture(scope="module")
def mounted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Filed]:
    """A proxy whose file is in a mounted ConfigMap; the tests of this section share it, each with a timeout of its own.

    As the kubelet makes it: the file leads to `..data`, and that to the directory of the version that holds.
    """
    mount = tmp_path_factory.mktemp("mount")
    (mount / "..1").mkdir()
    (mount / "..1" / "sidecar.yaml").write_text(timeout(1000))
    (mount / "..data").symlink_to("..1")
    file = mount / "sidecar.yaml"
    file.symlink_to("..data/sidecar.yaml")
    with Upstream() as upstream, Proxy(upstream.url, "-c", str(file), SIDECAR_HEALTH__INTERVAL="1h") as proxy:
        yield Filed(proxy, file, upstream)


def swap(filed: Filed, text: str) -> str:
    """A new version of the ConfigMap; the one before is removed."""
    data = filed.file.parent / "..data"
    before = data.resolve()
    new = data.with_name(f"..{int(before.name.strip('.')) + 1}")
    new.mkdir()
    (new / "sidecar.yaml").write_text(text)
    (temporary := data.with_name("..data_tmp")).symlink_to(new.name)
    temporary.rename(data)
    (before / "sidecar.yaml").unlink()
    before.rmdir()
    return "the file changed"


def edit(filed: Filed, text: str) -> str:
    """Write into the file, in two pieces."""
    with filed.file.open("w") as file:
        file.write(text[:5])
        file.flush()
        file.write(text[5:])
    return "the file changed"


def rename(filed: Filed, text: str) -> str:
    """Write a new file and rename it; where there was a link, there is a file now."""
    put(filed.file, text)
    return "the file changed"


def hang_up(filed: Filed, text: str) -> str:
    """SIGHUP."""
    filed.file.write_text(text)
    filed.proxy.process.send_signal(signal.SIGHUP)
    return "SIGHUP"


def post(filed: Filed, text: str) -> str:
    """POST /config/reload."""
    filed.file.write_text(text)
    assert filed.proxy.page("/config/reload", "POST")[0] == 200
    return "POST /config/reload from 127.0.0.1"


def command(filed: Filed, text: str) -> str:
    """`sidecar reload`."""
    filed.file.write_text(text)
    assert not isinstance(filed.proxy.admin, str)
    with spawn("reload", "--admin", "{}:{}".format(*filed.proxy.admin)) as process:
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (0, b"reloaded: changed timeouts.request\n", b"")
    return "POST /config/reload from 127.0.0.1"


@pytest.mark.parametrize("way", [swap, edit, rename, hang_up, post, command], ids=lambda way: way.__name__)
def test_each_way(mounted: Filed, way: Callable[[Filed, str], str], request: pytest.FixtureRequest) -> None:
    """New settings take effect without a restart, and the log says what brought them and what is different."""
    seconds = mounted.told() + 10
    pid, before = mounted.proxy.pid, len(mounted.proxy.events(RELOADED))
    good = mounted.reloads("success")
    cause = way(mounted, timeout(seconds))
    assert eventually(lambda: mounted.told() == seconds, "the new timeout")
    assert mounted.proxy.pid == pid
    event = mounted.proxy.wait_event(RELOADED, before + 1)
    assert (event["cause"], event["changed"], event["restart_needed"]) == (cause, ["timeouts.request"], [])
    assert mounted.reloads("success") == good + 1
    assert f"request: {format_duration(seconds)} " in " ".join(mounted.config())


def heads_of_many_lines(client: Client) -> int:
    """Ten lines."""
    return client.get("/", *(f"X-{number}: 1" for number in range(9))).status


def long_heads(client: Client) -> int:
    """About two kilobytes."""
    return client.get("/", "X: " + "x" * 2000).status


def long_bodies(client: Client) -> int:
    """Ten bytes."""
    return client.post("/", b"x" * 10).status


def more_than_one(client: Client) -> int:
    """The second of two."""
    client.get("/")
    return client.get("/").status


@pytest.mark.parametrize(
    ("knob", "ask", "status"),
    [
        ("http: {max_headers: 5}", heads_of_many_lines, 431),
        ("http: {max_header_bytes: 1KiB}", long_heads, 431),
        ("http: {max_body: 5}", long_bodies, 413),
        ("rate: {limit: 1/h, burst: 1}", more_than_one, 429),
        ("routes: [{name: all, path: '/{rest...}', rate: {limit: 1/h, burst: 1}}]", more_than_one, 429),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_connections_that_are_open(shared: Filed, knob: str, ask: Callable[[Client], int], status: int) -> None:
    """What is asked next on a connection from before goes by the new settings, and back again."""
    with shared.proxy.client() as before:
        assert before.get("/").status == 200
        shared.reload(knob)
        assert ask(before) == status
    with shared.proxy.client() as between:
        assert ask(between) == status
        shared.reload("")
    with shared.proxy.client() as after:
        assert ask(after) == 200


def test_probes_and_drain(begin: Begin, request_id: str) -> None:
    """Which requests are probes, how long clients may idle or take for a head and how long a drain takes can change."""
    filed = begin("")
    held = Held(filed.upstream)
    assert filed.ask("/probe").status == 200
    filed.reload("probes: {paths: [/probe]}\ntimeouts: {keep_alive: 500ms, head: 100ms}\ndrain: {timeout: 0s}\n")
    assert filed.ask("/probe").status == 200
    with filed.proxy.client() as client:
        assert client.get("/").status == 200
        assert client.end() == "end"
    with filed.proxy.client() as client:
        client.send(b"GET / HTTP/1.1\r\n")
        assert client.read().status == 408
    assert sum(value for name, value in filed.proxy.metrics().items() if name.startswith("http_requests_total")) == 3
    with in_flight(filed, held, request_id):
        filed.proxy.signal()
        assert filed.proxy.wait() == 0
        assert filed.proxy.events("drained")[0]["cut"] == 1
        held.let.set()


def test_a_file_that_is_not_watched(start: Start, upstream: Upstream, tmp_path: Path) -> None:
    """What stands in a file that the settings name is read again when somebody says so; secrets are not told."""
    secret = tmp_path / "token"
    secret.write_text("first-secret\n")
    proxy = start(SIDECAR_ADMIN__TOKEN_FILE=str(secret))
    secret.write_text("second-secret\n")
    proxy.process.send_signal(signal.SIGHUP)
    assert proxy.wait_event(RELOADED)["changed"] == ["admin.token"]
    told = proxy.err.text + proxy.page("/config")[1].decode() + proxy.page("/status")[1].decode()
    assert "-secret" not in told


# ── what is not good

BAD = """\
timeouts: {request: 20s, connect: never}
retry: {attempt: 1}
routes:
  - name: orders
    path: orders
"""


def test_bad_settings_change_nothing(begin: Begin) -> None:
    """They are logged with all that is wrong, and counted; the old ones stay, and good ones that follow are taken."""
    filed = begin(timeout(10))
    put(filed.file, BAD)
    event = filed.proxy.wait_event(REFUSED)
    assert event["level"] == "error"
    wrong = event["problems"]
    assert [problem.partition(":")[0] for problem in wrong] == ["retry.attempt", "timeouts.connect", "routes[0].path"]
    assert all(str(filed.file) in problem for problem in wrong)
    assert filed.told() == 10
    said = filed.reload(BAD, 422)
    assert (said["reason"], said["problems"]) == ("bad_settings", wrong)
    filed.proxy.process.send_signal(signal.SIGHUP)
    assert filed.proxy.wait_event(REFUSED, 3)["cause"] == "SIGHUP"
    assert (filed.told(), filed.reloads("failure"), filed.reloads("success")) == (10, 3, 0)
    put(filed.file, timeout(30))
    filed.proxy.wait_event(RELOADED)
    assert (filed.told(), filed.reloads("failure"), filed.reloads("success")) == (30, 3, 1)


@pytest.mark.parametrize("text", ["", "timeouts:\n", "a: " + "[" * 2000, "\x00", "- 1\n", "{", "*x", "routes: [1]"])
def test_whatever_the_file_holds(shared: Filed, text: str) -> None:
    """Good or not, it is told; and the next version is taken, also by who follows the file."""
    put(shared.file, text)
    code, _ = shared.proxy.page("/config/reload", "POST")
    assert code == (200 if text in ("", "timeouts:\n") else 422)
    assert shared.ask().status == 200


def test_it_still_follows(shared: Filed) -> None:
    """Whatever the file held before, and where it was gone for a while."""
    shared.file.unlink()
    code, body = shared.proxy.page("/config/reload", "POST")
    assert (code, b"cannot be read" in body) == (422, True)
    before = shared.told()
    failures = shared.reloads("failure")
    shared.file.write_text("a: " + "[" * 2000)
    assert eventually(lambda: shared.reloads("failure") > failures)
    shared.file.write_text(timeout(before + 10))
    assert eventually(lambda: shared.told() == before + 10)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Filed]:
    """A proxy whose file may be anything."""
    file = tmp_path_factory.mktemp("shared") / "sidecar.yaml"
    file.write_text(timeout(10))
    with Upstream() as upstream, Proxy(upstream.url, "-c", str(file), SIDECAR_HEALTH__INTERVAL="1h") as proxy:
        yield Filed(proxy, file, upstream)


def test_one_after_another(shared: Filed) -> None:
    """What was read later holds, also where it is read in less time than what was read before."""
    shared.reload(timeout(10))
    long = ", ".join(f"/{number}" for number in range(5000))
    put(shared.file, timeout(20) + f"probes: {{paths: [{long}]}}\n")
    slow = Thread(target=shared.proxy.page, args=("/config/reload", "POST"))
    slow.start()
    sleep(0.05)  # if it has not been read by now, this proves nothing
    shared.reload(timeout(30))
    slow.join()
    assert shared.told() == 30


# ── what is in flight


class Held:
    """An upstream's script that answers only when it is let."""

    def __init__(self, upstream: Upstream) -> None:
        self.let = Event()
        self.upstream = upstream
        upstream.script = self

    def __call__(self, peer: Peer, seen: Seen) -> None:
        if seen.target.startswith("/held"):
            assert self.let.wait(20)
        peer.send(OK)

    def has(self, request_id: str) -> None:
        """Wait until it has this request."""
        eventually(lambda: [seen for seen in self.upstream.seen if seen.get("X-Request-ID") == request_id])


@contextmanager
def in_flight(filed: Filed, held: Held, request_id: str, target: str = "/held", **asked: Any) -> Iterator[Client]:
    """A request that the upstream holds back."""
    with filed.proxy.client() as client:
        client.ask(target, fields=[f"X-Request-ID: {request_id}"], **asked)
        held.has(request_id)
        yield client


@pytest.mark.parametrize(
    ("knobs", "shorter"),
    [
        ("timeouts: {request: 100s}", "timeouts: {request: 200ms}"),
        ("timeouts: {attempt: 10s}", "retry: {attempts: 0}\ntimeouts: {attempt: 200ms}"),
        ("", "retry: {attempts: 0}\ntimeouts: {request: 200ms}"),
        ("routes: [{name: a, path: '/{rest...}', timeouts: {request: 100s}}]", "timeouts: {request: 200ms}"),
    ],
)
def test_what_is_in_flight_ends_as_it_began(begin: Begin, knobs: str, shorter: str, request_id: str) -> None:
    """A request that is under way keeps the time it had; the next one has what is said now."""
    filed = begin(knobs)
    held = Held(filed.upstream)
    with in_flight(filed, held, request_id) as client:
        filed.reload(shorter)
        late = filed.ask("/held/too")
        assert late.status == 504, "the next one goes by the new settings, and the one before has outlived it"
        held.let.set()
        assert client.read().status == 200
    assert filed.proxy.access(request_id)["status"] == 200


def test_bodies_under_way_keep_their_bounds(begin: Begin, request_id: str) -> None:
    """Neither the longest body nor the longest pause changes for a body that has begun to flow."""
    filed = begin("")
    began, let = Event(), Event()

    def script(peer: Peer, seen: Seen) -> None:
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nok")
        began.set()
        assert let.wait(20)
        peer.send(b"ok")

    filed.upstream.script = script
    with filed.proxy.client() as up, filed.proxy.client() as down:
        down.ask("/")
        assert began.wait(20)
        up.ask("/up", "POST", [f"X-Request-ID: {request_id}", "Transfer-Encoding: chunked"])
        up.send(b"5\r\nhello\r\n")
        eventually(lambda: any(b"hello" in peer.received for peer in filed.upstream.peers), "the upload's beginning")
        filed.reload("http: {max_body: 8}\ntimeouts: {stream_idle: 100ms}")
        with filed.proxy.client() as late:
            assert late.post("/", b"123456789").status == 413
        with filed.proxy.client() as late:
            # A body that stops: the new bound is known to hold when this one has been cut by it.
            late.ask("/", "POST", ["Content-Length: 5"])
            assert late.read().status == 408
        let.set()
        assert down.read().body == b"okok"
        up.send(b"5\r\nhello\r\n0\r\n\r\n")
        assert up.read("POST").status == 200
    (seen,) = filed.with_id(request_id)
    assert seen.body == b"hellohello"


# ── what there is of state

ELSE = "timeouts: {request: 40s}\n"  # what is changed beside


def burn(filed: Filed, *targets: str) -> list[int]:
    """The statuses of requests for these."""
    return [filed.ask(target).status for target in targets]


def test_a_used_up_bucket_stays_so(begin: Begin) -> None:
    """The sidecar's, a client's and a route's: over a reload of anything else. What is changed itself begins anew."""
    rate = "rate: {limit: 2/h, burst: 2, key: 'header:X-Key'}\n"
    route = "routes: [{name: own, path: /own, rate: {limit: 3/h, burst: 3}}]\n"
    filed = begin(rate + route)
    others = count()

    def key(name: str) -> list[int]:
        return [filed.ask("/", f"X-Key: {name}").status for _ in range(3)]

    def own() -> list[int]:
        return [filed.ask("/own", f"X-Key: {next(others)}").status for _ in range(4)]

    assert (key("a"), own()) == ([200, 200, 429], [200, 200, 200, 429])
    filed.reload(rate + route + ELSE)
    assert (key("a"), own()) == ([429, 429, 429], [429, 429, 429, 429])
    assert key("b") == [200, 200, 429], "another key has its own"
    # The route's limit is another now, the sidecar's is not; then the other way round.
    filed.reload(rate + route.replace("3/h", "4/h"))
    assert (key("a"), own()) == ([429, 429, 429], [200, 200, 200, 429])
    filed.reload(rate.replace("burst: 2", "burst: 1") + route.replace("3/h", "4/h"))
    assert key("a") == [200, 429, 429]


def test_an_open_circuit_stays_open(begin: Begin) -> None:
    """Over a reload of anything else, and while its mode alone changes; other settings of its own begin anew."""
    breaker = "breaker: {failures: 2, open_for: 1h}\nretry: {attempts: 0}\n"
    routes = "routes: [{name: a, path: /a}, {name: b, path: /b}]\n"
    filed = begin(breaker + routes)
    assert burn(filed, "/a", "/b") == [200, 200]
    filed.upstream.script = always(b"HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n")
    assert burn(filed, "/a", "/a", "/a", "/b") == [500, 500, 503, 500]
    since = filed.proxy.status()["policies"]["breaker"]["a"]["for_seconds"]
    filed.reload(breaker + routes + ELSE)
    assert burn(filed, "/a") == [503]
    assert filed.proxy.status()["policies"]["breaker"]["a"]["for_seconds"] > since
    assert burn(filed, "/b", "/b") == [500, 503], "a failure from before counts too"
    filed.reload(breaker.replace("{", "{mode: shadow, ", 1) + routes)
    assert burn(filed, "/a") == [500]
    filed.reload(breaker + routes)
    assert burn(filed, "/a") == [503]
    filed.reload(breaker.replace("failures: 2", "failures: 3") + routes)
    assert burn(filed, "/a") == [500]
    # By hand, it takes a hand.
    assert filed.proxy.page("/breaker/open?circuit=b", "POST")[0] == 200
    filed.reload(breaker + routes)
    assert burn(filed, "/b", "/a") == [503, 500]


def test_places_that_are_taken_stay_so(begin: Begin, request_id: str) -> None:
    """A cap counts what was in flight before; a higher one lets in what there is room for, also who waits already."""
    filed = begin("concurrency: {max: 1, queue_wait: 20s}\n")
    held = Held(filed.upstream)
    with in_flight(filed, held, request_id) as first, filed.proxy.client() as second:
        second.ask("/held/second")
        eventually(lambda: filed.gate()["queued"] == 1)
        filed.reload("concurrency: {max: 1, queue_wait: 0s}\n" + ELSE)
        assert burn(filed, "/") == [503]
        assert len(filed.upstream.seen) == 1
        filed.reload("concurrency: {max: 2, queue_wait: 0s}\n")
        eventually(lambda: len(filed.upstream.seen) == 2, "the one that waited to be let in")
        assert burn(filed, "/") == [503]
        held.let.set()
        assert [first.read().status, second.read().status] == [200, 200]
    gate = filed.gate()
    assert (gate["in_flight"], gate["queued"]) == (0, 0)


def test_a_spent_retry_budget_stays_so(begin: Begin) -> None:
    """Over a reload of anything else."""
    rule = "retry: {attempts: 1, budget: 0.01, base: 1ms}\nbreaker: {mode: off}\n"
    filed = begin(rule)
    filed.upstream.script = always(b"HTTP/1.1 503 X\r\nContent-Length: 0\r\n\r\n")

    def attempts() -> int:
        before = len(filed.upstream.seen)
        filed.ask()
        return len(filed.upstream.seen) - before

    assert [attempts() for _ in range(4)] == [2, 2, 2, 1]
    filed.reload(rule + ELSE)
    assert attempts() == 1
    filed.reload(rule.replace("base: 1ms", "base: 2ms"))
    assert attempts() == 2


def test_routes_come_and_go(begin: Begin, request_id: str) -> None:
    """A route that is new is taken, one that is gone is not; the first that matches is a request's."""
    filed = begin("")

    def route(path: str) -> str:
        filed.ask(path, f"X-Request-ID: {request_id}{path}")
        return str(json.loads(filed.proxy.page(f"/explain/{request_id}{path}")[1])["exchanges"][0]["route"])

    assert route("/a/1") == ""
    said = filed.reload("routes: [{name: a, path: '/a/{id}'}]\n")
    assert said["changed"] == ["routes[a] added"]
    assert (route("/a/2"), route("/b")) == ("a", "")
    said = filed.reload("routes: [{name: all, path: '/{rest...}'}, {name: a, path: '/a/{id}'}]\n")
    assert route("/a/3") == "all"
    said = filed.reload("routes: [{name: b, path: /b}]\n")
    assert said["changed"] == ["routes[b] added", "routes[all] removed", "routes[a] removed"]
    assert route("/a/4") == ""
    in_force = filed.proxy.page("/config")[1].decode()
    assert filed.reload(in_force)["changed"] == [], "what is shown can be used as it is"


# ── what only a restart brings about


def test_what_needs_a_restart(
    upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request_id: str
) -> None:
    """It is named, each time, and stays as it is, in what is shown too; all else in the same file is taken."""
    file = tmp_path / "sidecar.yaml"
    put(file, f"upstream: {upstream.url}\nlisten: 127.0.0.1:0\nadmin: {{listen: 127.0.0.1:0}}\n" + timeout(10))
    # Everything is to come from the file: what flags say, no file can change.
    monkeypatch.setattr(processes, "spawn", lambda *_, **env: spawn("-c", str(file), **env))
    with Upstream() as other, Proxy(upstream.url) as proxy:
        filed = Filed(proxy, file, upstream)
        before = [line for line in filed.config() if line.startswith(("upstream:", "listen:", "idle:"))]
        changed = f"upstream: {other.url}\nlisten: 127.0.0.1:1\nadmin: {{listen: 127.0.0.1:0}}\npool: {{idle: 9s}}\n"
        for seconds in (20, 30):
            said = filed.reload(changed + timeout(seconds))
            assert said["restart_needed"] == ["upstream", "listen", "pool.idle"]
            assert (said["ok"], said["changed"], said["problems"]) == (True, ["timeouts.request"], [])
            assert filed.told() == seconds
        assert [line for line in filed.config() if line.startswith(("upstream:", "listen:", "idle:"))] == before
        assert any(line.startswith("idle: 3s") and line.endswith("# default") for line in before)
        assert filed.proxy.status()["upstream"]["address"] == upstream.url
        assert other.speaking == []
        event = proxy.wait_event(RELOADED)
        assert event["restart_needed"] == ["upstream", "listen", "pool.idle"]


# ── a great many

RELOADS = 200
LOADERS = 3


class Loader(Thread):
    """A client that asks and asks on one connection. `faults` is what was not as it should be."""

    def __init__(self, proxy: Proxy, stop: Event) -> None:
        super().__init__(daemon=True)
        self._proxy = proxy
        self._leave = stop
        self.asked = 0
        self.faults: list[object] = []

    def run(self) -> None:
        try:
            with self._proxy.client() as client:
                self._ask(client)
        except Exception as error:
            self.faults.append(error)

    def _ask(self, client: Client) -> None:
        before = 0
        while not self._leave.is_set():
            self.asked += 1
            answer = client.get("/") if self.asked % 2 else client.post("/", b"x" * 100)
            if answer.status != 200:
                self.faults.append(answer)
                return
            seconds = int(answer.body)
            if seconds < before:
                self.faults.append(f"{before} s was followed by {seconds} s")
            before = seconds

    def __repr__(self) -> str:
        return f"<Loader {self.asked} asked, faults: {self.faults}>"


def test_two_hundred_reloads_under_load(begin: Begin) -> None:
    """Each is seen in the next request; none fails a request, goes back to an older version or leaves anything."""
    rest = "guard: {mode: off}\nrate: {limit: 1000000/s}\nroutes: [{name: a, path: /a, retry: {attempts: 1}}]\n"
    filed = begin(timeout(1000) + rest)

    def script(peer: Peer, seen: Seen) -> None:
        body = b"%d" % told(seen)
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

    filed.upstream.script = script
    stop = Event()
    loaders = [Loader(filed.proxy, stop) for _ in range(LOADERS)]
    for loader in loaders:
        loader.start()
    eventually(lambda: all(loader.asked > 10 for loader in loaders), "the load")
    kinds = {name: len(state) for name, state in filed.proxy.status()["policies"].items()}
    asked_before = sum(loader.asked for loader in loaders)
    with filed.proxy.client() as client:
        for number in range(1, RELOADS + 1):
            seconds, most = 1000 + number * 10, 1000 + number
            said = filed.reload(timeout(seconds) + f"http: {{max_body: {most}}}\n" + rest)
            assert said["changed"] == ["timeouts.request", "http.max_body"]
            assert int(client.post("/", b"x" * most).body) == seconds
            if number % 20 == 0:
                with filed.proxy.client() as other:
                    assert other.post("/", b"x" * (most + 1)).status == 413
    asked = sum(loader.asked for loader in loaders) - asked_before
    stop.set()
    for loader in loaders:
        loader.join(20)
    assert [loader for loader in loaders if loader.faults or loader.is_alive()] == []
    assert asked > RELOADS, "there was load"
    assert (filed.reloads("success"), filed.reloads("failure")) == (RELOADS, 0)
    status = filed.proxy.status()
    assert {name: len(state) for name, state in status["policies"].items()} == kinds, "limiters and circuits are kept"
    assert status["in_flight"] == 0
    assert filed.gate()["in_flight"] == 0
    # Two numbers of which every answer counts in one.
    answers = {name: value for name, value in filed.proxy.metrics().items() if name.startswith("sidecar_answers_total")}
    total = sum(loader.asked for loader in loaders) + RELOADS
    assert answers == {
        'sidecar_answers_total{reason="upstream"}': total,
        'sidecar_answers_total{reason="body_too_large"}': RELOADS // 20,
    }
