"""The proxy's own memory at its limit (`guard.memory`): nine in ten are refused, and served again when it has sunk."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from tests.faults.account import Account, new_id
from tests.faults.bent import CHILD
from tests.support.client import Answer
from tests.support.processes import Proxy
from tests.support.upstream import Upstream
from tests.support.waiting import eventually
from tests.wire.conftest import Start
from tests.wire.test_reload import put

MIB = 1 << 20
PASSES = 10  # one request in so many, all the same
PROBE = "User-Agent: kube-probe/1.29"
PAGES = ("/livez", "/readyz", "/startupz", "/app/livez", "/app/readyz")
DECISIONS = 'sidecar_limit_decisions_total{{decision="{}",limiter="guard"}}'


class Ballast:
    """Memory that a proxy has on top of what it needs; `env` is what it has to be started with."""

    def __init__(self, pipe: Path) -> None:
        os.mkfifo(pipe)
        self._pipe = pipe
        self.env = {"PYTHONPATH": str(CHILD), "FAULTS_BALLAST": str(pipe)}

    def weigh(self, size: int) -> None:
        """So many MiB from now on."""
        with open(self._pipe, "w") as lines:
            lines.write(f"{size}\n")


def guard(proxy: Proxy) -> dict[str, Any]:
    """What /status says of it."""
    found: dict[str, Any] = proxy.status()["policies"]["guard"]
    return found


def decisions(proxy: Proxy) -> tuple[int, int]:
    """How many requests the guard has let pass while it was tripped, and refused."""
    counted = proxy.metrics()
    return int(counted[DECISIONS.format("admitted")]), int(counted[DECISIONS.format("refused")])


def ask(proxy: Proxy, times: int = PASSES) -> list[Answer]:
    """The answers to so many requests."""
    with proxy.client() as client:
        return [client.get("/hello", f"X-Request-ID: {new_id()}") for _ in range(times)]


def all_served(proxy: Proxy) -> bool:
    """Whether as many requests are served as one would pass of."""
    return {answer.status for answer in ask(proxy)} == {200}


def refuses(proxy: Proxy, upstream: Upstream, limit: int) -> None:
    """Nine in ten are told why, and when to come again; the service sees the tenth, and all probes."""
    eventually(lambda: guard(proxy)["tripped"], "the memory to be seen")
    account, seen = Account(proxy), len(upstream.seen)
    answers = ask(proxy, 2 * PASSES)
    refused = [answer for answer in answers if answer.status != 200]
    assert len(refused) == 18
    assert len(upstream.seen) - seen == 2
    account.comes_to({"upstream": 2, "overloaded": 18}, {"2xx": 2})
    assert decisions(proxy) == (2, 18)
    for answer in refused:
        assert (answer.status, answer["X-Sidecar-Reason"], answer["Retry-After"]) == (503, "overloaded", "1")
        told = json.loads(answer.body)
        assert told["detail"] == "the sidecar's own memory is used up"
        assert told["memory_limit_bytes"] == limit < told["memory_bytes"]
        assert account.line(answer["X-Request-ID"]) == (503, "overloaded", 0)
    with proxy.client() as client:
        assert [client.get("/livez", PROBE).status for _ in range(PASSES)] == [200] * PASSES
    assert [proxy.page(page)[0] for page in PAGES] == [200] * len(PAGES)
    assert decisions(proxy) == (2, 18)


def test_memory_that_rises_and_falls(start: Start, upstream: Upstream, tmp_path: Path) -> None:
    """Above its limit the proxy refuses nine in ten; below it again, all are served without anybody's doing."""
    ballast = Ballast(tmp_path / "ballast")
    proxy = start(SIDECAR_GUARD__MEMORY="192MiB", **ballast.env)
    assert all_served(proxy)
    ballast.weigh(192)
    refuses(proxy, upstream, 192 * MIB)
    ballast.weigh(0)
    eventually(lambda: not guard(proxy)["tripped"], "the memory to have sunk")
    account = Account(proxy)
    assert all_served(proxy)
    account.comes_to({"upstream": PASSES}, {"2xx": PASSES})


def test_a_limit_that_is_raised(start: Start, upstream: Upstream, tmp_path: Path) -> None:
    """Where the limit is below what the proxy takes from the start, a reload with a higher one serves all at once."""
    file = tmp_path / "sidecar.yaml"
    file.write_text("guard: {memory: 1MiB}\n")
    proxy = start("-c", str(file))
    refuses(proxy, upstream, MIB)
    put(file, "guard: {memory: 1GiB}\n")
    assert proxy.page("/config/reload", "POST")[0] == 200
    assert all_served(proxy)
