"""The upstream's name comes to mean another address, or cannot be resolved, while the proxy runs and as it starts.

Names are resolved in C below the event loop; here one step above it, by a file (`child/sitecustomize.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.faults.account import Account, new_id
from tests.faults.bent import Bent
from tests.support.processes import GoService, Proxy
from tests.support.waiting import eventually
from tests.wire.conftest import PLAIN
from tests.wire.policies import kill

NAME = "service.faults"


class Town:
    """A service at the name, and room for another one on the same port of another address."""

    def __init__(self, stack: ExitStack, file: Path) -> None:
        self._stack = stack
        self.old = stack.enter_context(GoService("127.0.0.1:0"))
        self._port = int(self.old.address[1])
        self.names = Bent(file, "FAULTS_NAMES", f"{NAME} 127.0.0.1")

    def another(self) -> GoService:
        """It is there; the name does not mean it yet."""
        return self._stack.enter_context(GoService(f"127.0.0.2:{self._port}"))

    def proxy(self, *flags: str, **env: str) -> Proxy:
        """A proxy that was told the name."""
        url = f"http://{NAME}:{self._port}"
        env = {"SIDECAR_HEALTH__INTERVAL": "1h"} | self.names.env | env
        return self._stack.enter_context(Proxy(url, *flags, **env))


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    """The name leads to a service."""
    with ExitStack() as stack:
        yield Town(stack, tmp_path / "names")


def asked(proxy: Proxy, go: GoService) -> bool:
    """Whether the next request reaches this one; it is answered in any case."""
    request = new_id()
    with proxy.client() as client:
        assert client.get("/hello", f"X-Request-ID: {request}").status == 200
    return bool(go.record(request))


def test_replaced_on_another_address(town: Town) -> None:
    """A service that is gone and back elsewhere under its name is found by the next request."""
    proxy = town.proxy(*PLAIN)
    assert asked(proxy, town.old)
    new = town.another()
    kill(town.old)
    town.names.write(f"{NAME} 127.0.0.2")
    assert asked(proxy, new)


def test_a_name_that_moves_while_both_live(town: Town) -> None:
    """Connections to an address that the name has no more are left within seconds, though they would still work."""
    proxy = town.proxy(*PLAIN)
    assert asked(proxy, town.old)
    new = town.another()
    town.names.write(f"{NAME} 127.0.0.2")
    eventually(lambda: asked(proxy, new), "the new one to be asked")
    assert asked(proxy, new)


def test_the_resolver_is_away(town: Town) -> None:
    """Without name resolution the address that is known serves on, for new connections too, and is not called down."""
    proxy = town.proxy(*PLAIN, SIDECAR_POOL__IDLE="10ms", SIDECAR_HEALTH__INTERVAL="10ms")
    assert asked(proxy, town.old)
    account = Account(proxy)
    town.names.write("")
    for _ in range(10):
        eventually(lambda: proxy.pool()["connections"] == 0)
        assert asked(proxy, town.old)
    account.comes_to({"upstream": 10}, {"2xx": 10})
    assert proxy.page("/readyz")[0] == 200
    assert not proxy.events("upstream is down")
    new = town.another()
    kill(town.old)
    town.names.write(f"{NAME} 127.0.0.2")
    assert asked(proxy, new)


def test_the_resolver_is_away_at_the_start(town: Town) -> None:
    """A proxy that starts without name resolution says why it cannot answer, and answers once it can."""
    town.names.write("")
    proxy = town.proxy(*PLAIN, SIDECAR_TIMEOUTS__STARTUP="0s")
    with proxy.client() as client:
        answer = client.get("/hello")
        assert (answer.status, answer["X-Sidecar-Reason"]) == (502, "connect_failed")
        assert b"name resolution" in answer.body
        assert proxy.page("/readyz")[0] == 503
        town.names.write(f"{NAME} 127.0.0.1")
        assert client.get("/hello").status == 200
    eventually(lambda: proxy.page("/readyz")[0] == 200)
    assert not proxy.events("a background task failed")
