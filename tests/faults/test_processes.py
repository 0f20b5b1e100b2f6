"""The upstream's process killed, stopped, started anew, its socket's file replaced; the proxy is never restarted."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.faults.account import Account, new_id
from tests.support.client import CutError
from tests.support.processes import GoService, Proxy
from tests.support.waiting import eventually
from tests.wire.conftest import PLAIN
from tests.wire.policies import kill, release
from tests.wire.test_bodies import pattern

SLOWLY = "/slow-bytes/100000?chunk=1000&every=10ms"


class Service:
    """A Go service that can be killed and started again where it was."""

    def __init__(self, listen: str, stack: ExitStack) -> None:
        self._stack = stack
        self.go = stack.enter_context(GoService(listen))
        self._listen = self.go.url.removeprefix("http://").replace("unix://", "unix:")

    def kill(self) -> None:
        """It is gone without a word."""
        kill(self.go)

    def start(self) -> None:
        """Another one, in its place."""
        self.go = self._stack.enter_context(GoService(self._listen))


@pytest.fixture(params=["tcp", "unix"])
def service(request: pytest.FixtureRequest) -> Iterator[Service]:
    """On a port, and on a socket's file."""
    with ExitStack() as stack:
        folder = stack.enter_context(TemporaryDirectory(prefix="go"))
        yield Service("127.0.0.1:0" if request.param == "tcp" else f"unix:{folder}/s", stack)


def test_killed_in_the_middle(service: Service) -> None:
    """A killed upstream cuts what it was sending, refuses what follows, and serves as soon as it is there again."""
    request = new_id()
    with Proxy(service.go.url, *PLAIN, SIDECAR_HEALTH__INTERVAL="1h") as proxy, proxy.client() as client:
        account = Account(proxy)
        client.ask(SLOWLY, fields=[f"X-Request-ID: {request}"])
        client.read_head()
        service.kill()
        with pytest.raises(CutError):
            client.take(200_000)
        with proxy.client() as next_client:
            for _ in range(3):
                answer = next_client.get("/hello")
                assert (answer.status, answer["X-Sidecar-Reason"]) == (502, "connect_failed")
            assert proxy.page("/readyz")[0] == 503
            service.start()
            assert next_client.get("/bytes/100000").body == pattern(100_000)
        assert account.line(request) == (200, "connection_lost", 1)
        account.comes_to({"connection_lost": 1, "connect_failed": 3, "upstream": 1}, {"2xx": 2, "connect_failed": 3})
        assert proxy.page("/readyz")[0] == 200


def test_killed_with_a_circuit_that_opens(service: Service) -> None:
    """A circuit that the outage opened for long is left as soon as a probe has found the upstream again."""
    flags = ("--breaker-open-for", "10m", "--retries", "0")
    with Proxy(service.go.url, *flags, SIDECAR_HEALTH__INTERVAL="50ms") as proxy, proxy.client() as client:
        assert client.get("/hello").status == 200
        service.kill()
        reasons = [client.get("/hello")["X-Sidecar-Reason"] for _ in range(7)]
        assert set(reasons) <= {"stale_connection", "connect_failed", "circuit_open"}
        assert reasons[-1] == "circuit_open"
        service.start()
        eventually(lambda: client.get("/hello").status == 200)
        assert [client.get("/hello").status for _ in range(5)] == [200] * 5


def stands_still(pid: int) -> bool:
    """Whether every thread of a process has been stopped; a signal takes its time."""
    threads = Path(f"/proc/{pid}/task").iterdir()
    return all((thread / "stat").read_text().rpartition(")")[2].split()[0] == "T" for thread in threads)


def test_stopped_and_continued(service: Service) -> None:
    """A process that stands still ends requests by their deadline; afterwards nobody is given a late answer."""
    with Proxy(service.go.url, *PLAIN, SIDECAR_HEALTH__INTERVAL="1h") as proxy, proxy.client() as client:
        assert client.get("/hello").status == 200
        account = Account(proxy)
        os.kill(service.go.process.pid, signal.SIGSTOP)
        try:
            eventually(lambda: stands_still(service.go.process.pid), "it to stand still")
            for _ in range(3):
                answer = client.get("/items/late", "x-request-timeout-ms: 200")
                assert (answer.status, answer["X-Sidecar-Reason"]) == (504, "deadline_exceeded")
            client.ask("/items/waited")
            eventually(lambda: proxy.status()["in_flight"] == 1)
        finally:
            os.kill(service.go.process.pid, signal.SIGCONT)
        assert client.read().body.startswith(b'{"id":"waited"')
        for number in range(10):
            assert client.get(f"/items/{number}").body.startswith(b'{"id":"%d"' % number)
        account.comes_to({"deadline_exceeded": 3, "upstream": 11}, {"deadline_exceeded": 3, "2xx": 11})


def test_a_socket_file_that_is_replaced() -> None:
    """Without its file a socket takes no more connections; those that it has are served, and a new file is used."""
    with ExitStack() as stack:
        folder = stack.enter_context(TemporaryDirectory(prefix="go"))
        path = Path(folder) / "s"
        old = stack.enter_context(GoService(f"unix:{path}"))
        proxy = stack.enter_context(Proxy(old.url, *PLAIN, SIDECAR_HEALTH__INTERVAL="1h"))
        client, other = stack.enter_context(proxy.client()), stack.enter_context(proxy.client())
        client.ask("/hold/replaced")
        eventually(lambda: proxy.pool()["connections"] == 1)
        moved = path.rename(path.with_name("old"))
        answer = other.get("/hello")
        assert (answer.status, answer["X-Sidecar-Reason"]) == (502, "connect_failed")
        new = stack.enter_context(GoService(f"unix:{path}"))
        request = new_id()
        assert other.get("/hello", f"X-Request-ID: {request}").status == 200
        assert len(new.record(request)) == 1
        old.address = str(moved)
        release(old, "replaced")
        assert client.read().status == 200
