"""A resolver that does not answer at all: no error comes, and a thread of the proxy waits for it.

It waits in the C library: that opens a file of aliases for each name without a dot, and this one is a pipe into which
nobody writes.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.faults.account import Account, new_id
from tests.faults.test_names import NAME, Town
from tests.support.processes import GoService, Proxy
from tests.support.waiting import eventually
from tests.wire.conftest import PLAIN
from tests.wire.policies import kill, release

pytestmark = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="other C libraries know no aliases, so nothing holds them up"
)

CONNECT = 300  # milliseconds


class Resolver:
    """What the proxy's C library asks; it has answered so far."""

    def __init__(self, town: Town, folder: Path) -> None:
        self.town = town
        self._aliases = folder / "aliases"
        os.mkfifo(self._aliases)
        self._env = {"HOSTALIASES": str(self._aliases), "RES_OPTIONS": "timeout:1 attempts:1"}

    def proxy(self, *flags: str, **env: str) -> Proxy:
        """A proxy that asks it what its upstream's name means."""
        env = {"SIDECAR_TIMEOUTS__CONNECT": f"{CONNECT}ms"} | self._env | env
        return self.town.proxy(*PLAIN, *flags, **env)

    def hang(self) -> None:
        """From now on it says nothing."""
        self.town.names.write(f"{NAME} nowhere")

    def answer(self, address: str = "127.0.0.1") -> None:
        """It answers again; who has waited is told that there is no such name."""
        self.town.names.write(f"{NAME} {address}")
        waited_for = os.open(self._aliases, os.O_RDWR)
        self._aliases.unlink()
        os.close(waited_for)


@pytest.fixture
def resolver(tmp_path: Path) -> Iterator[Resolver]:
    """In front of a service that has a name."""
    with ExitStack() as stack:
        yield Resolver(Town(stack, tmp_path / "names"), tmp_path)


def reaches(proxy: Proxy, go: GoService) -> bool:
    """Whether the next request is served, and by this one."""
    request = new_id()
    with proxy.client() as client:
        return client.get("/hello", f"X-Request-ID: {request}").status == 200 and bool(go.record(request))


def test_it_hangs_at_the_start(resolver: Resolver) -> None:
    """Requests are told so in time and nothing else stands still; once it answers, they are served."""
    resolver.hang()
    proxy = resolver.proxy(SIDECAR_HEALTH__INTERVAL="100ms", SIDECAR_HEALTH__TIMEOUT="100ms")
    account = Account(proxy)
    requests = [new_id() for _ in range(6)]
    with proxy.client() as client:
        for request in requests:
            answer = client.get("/hello", f"X-Request-ID: {request}")
            assert (answer.status, answer["X-Sidecar-Reason"]) == (504, "connect_timeout")
            assert b"has a name that was not resolved in 0.3 s" in answer.body
            assert proxy.access(request)["duration_ms"] < 5 * CONNECT
            assert [proxy.page(page)[0] for page in ("/livez", "/startupz", "/readyz")] == [200, 200, 503]
        account.comes_to({"connect_timeout": 6}, {"connect_timeout": 6})
        resolver.answer()
        eventually(lambda: client.get("/hello").status == 200)
        eventually(lambda: proxy.page("/readyz")[0] == 200)
        assert [client.get("/hello").status for _ in range(5)] == [200] * 5


@pytest.mark.parametrize("path", ["", "/hello"])
def test_it_hangs_later(resolver: Resolver, path: str) -> None:
    """What the name meant before serves on, by kept connections and new ones, and is not called down."""
    town = resolver.town
    proxy = resolver.proxy(SIDECAR_POOL__IDLE="1m", SIDECAR_HEALTH__INTERVAL="10ms", SIDECAR_HEALTH__PATH=path)
    with proxy.client() as client, proxy.client() as other:
        assert client.get("/hello").status == 200
        account, held = Account(proxy), new_id()
        resolver.hang()
        assert [client.get("/hello").status for _ in range(5)] == [200] * 5
        assert proxy.pool()["connections"] == 1
        client.ask("/hold/resolver", fields=[f"X-Request-ID: {held}"])
        town.old.running(held)
        assert [other.get("/hello").status for _ in range(5)] == [200] * 5
        assert proxy.pool()["connections"] == 2
        release(town.old, "resolver")
        assert client.read().status == 200
    account.comes_to({"upstream": 11}, {"2xx": 11})
    assert proxy.page("/readyz")[0] == 200
    assert not proxy.events("upstream is down")

    new = town.another()
    kill(town.old)
    resolver.answer("127.0.0.2")
    eventually(lambda: reaches(proxy, new), "the new one to be asked")


def test_new_connections_while_it_hangs(resolver: Resolver) -> None:
    """Each leads to where the name led before; none but the first waits half of its time for that."""
    proxy = resolver.proxy(SIDECAR_TIMEOUTS__CONNECT="4s", SIDECAR_POOL__IDLE="10ms")
    with proxy.client() as client:
        assert client.get("/hello").status == 200
        resolver.hang()
        for number in range(10):
            eventually(lambda: proxy.pool()["connections"] == 0)
            request = new_id()
            assert client.get("/hello", f"X-Request-ID: {request}").status == 200
            assert number == 0 or proxy.access(request)["duration_ms"] < 2000


@pytest.mark.parametrize("loop", ["as installed", "asyncio"])
def test_it_does_not_hold_up_the_end(resolver: Resolver, loop: str) -> None:
    """SIGTERM drains and ends, however many threads still wait for it, and what waits for it is told before."""
    resolver.hang()
    proxy = resolver.proxy(FAULTS_LOOP=loop)
    with proxy.client() as client, proxy.client() as last:
        for _ in range(6):
            assert client.get("/hello").status == 504
        last.ask("/hello")
        eventually(lambda: proxy.status()["in_flight"] == 1)
        proxy.signal()
        assert last.read().status == 504
        assert proxy.wait(10) == 0
    assert proxy.events("drained")
