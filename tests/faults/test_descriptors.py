"""No file descriptors left: what is open is served on, nobody is blamed, and it is over as soon as some are free."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec

import pytest

from tests.faults.account import Account
from tests.support.client import Client, CutError, connect
from tests.support.processes import Proxy
from tests.support.upstream import Upstream
from tests.support.waiting import eventually
from tests.wire.conftest import Start


def descriptors(proxy: Proxy) -> int:
    """How many it has."""
    return len(os.listdir(f"/proc/{proxy.pid}/fd"))


@contextmanager
def exhausted(proxy: Proxy) -> Iterator[None]:
    """Clients have taken all the descriptors that it may have, and as many more want one."""
    hard = resource.prlimit(proxy.pid, resource.RLIMIT_NOFILE)[1]
    room = 10
    limit = descriptors(proxy) + room
    resource.prlimit(proxy.pid, resource.RLIMIT_NOFILE, (limit, hard))
    with ExitStack() as crowd:
        for _ in range(2 * room):
            crowd.enter_context(connect(proxy.address))
        eventually(lambda: descriptors(proxy) >= limit - 1, "the last descriptor to be taken")
        yield
    # Those of the crowd come free; the limit stays.


@pytest.fixture
def proxy(start: Start) -> Proxy:
    """With a circuit that would open for long; its admin port is up, as no descriptor is needed for that any more."""
    proxy = start("--breaker-open-for", "10m", SIDECAR_HEALTH__INTERVAL="100ms", SIDECAR_POOL__IDLE="10ms")
    assert proxy.page("/readyz")[0] == 200
    return proxy


def ask(client: Client, times: int) -> list[tuple[int, str | None]]:
    """The status and reason of each answer."""
    answers = [client.get("/hello") for _ in range(times)]
    return [(answer.status, answer.get("X-Sidecar-Reason")) for answer in answers]


@pytest.mark.skipif(
    find_spec("uvloop") is None, reason="asyncio's own loop tries to accept 4096 times in a row, each with a traceback"
)
def test_without_descriptors(proxy: Proxy, upstream: Upstream) -> None:
    """Open connections are served or told that the machine is full; the upstream is not taken for dead for that."""
    with proxy.client() as client:
        assert ask(client, 1) == [(200, None)]
        eventually(lambda: proxy.pool()["connections"] == 0)
        account = Account(proxy)
        with exhausted(proxy), ExitStack() as more:
            used = proxy.cpu()
            # One descriptor may be free, for who comes first: this takes it.
            for _ in range(3):
                more.enter_context(connect(proxy.address))
            told = ask(client, 20)
            assert set(told) <= {(200, None), (503, "overloaded")}
            assert (503, "overloaded") in told, "there was a descriptor left"
            assert client.quiet(1)
            assert proxy.cpu() - used < 0.5
        eventually(lambda: answers_anew(proxy), "a new connection to be served")
        assert ask(client, 5) == [(200, None)] * 5
    assert proxy.page("/readyz")[0] == 200
    assert not proxy.events("upstream is down")
    assert set(account.answers) == {"upstream", "overloaded"}
    assert proxy.metrics()['sidecar_circuit_state{route="upstream",state="closed"}'] == 1


def answers_anew(proxy: Proxy) -> bool:
    """Whether a new connection is served."""
    try:
        with proxy.client() as client:
            return client.get("/hello").status == 200
    except (CutError, OSError):
        return False
