"""Short versions of the long proofs: `python -m tests.load.drain`, `make soak`, `python -m tests.load.overload`."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.load.agreement import disagreements, requests
from tests.load.crowd import Background, Crowd
from tests.load.drain import SETTINGS, Stage
from tests.load.people import MIXED
from tests.load.soak import Soak
from tests.support.processes import GoService, Proxy
from tests.support.waiting import eventually

RELOADS = 200
_CROWD = 600


@pytest.fixture(scope="module")
def go() -> Iterator[GoService]:
    """The example service."""
    with GoService() as service:
        yield service


def test_drains_under_mixed_load(go: GoService, tmp_path: Path) -> None:
    """Clients that never ask twice lose nothing, with a delay and without; what is cut is reported so."""
    stage = Stage(go, tmp_path)
    for delay, cut in ((0.0, False), (0.4, False), (0.0, True)):
        result = stage.round(delay=delay, cut=cut)
        assert result.wrong() == [], str(result)


def test_two_hundred_reloads_under_mixed_load(go: GoService, tmp_path: Path) -> None:
    """Not one request, stream, upload or tunnel fails of them, and the log has each as its client saw it."""
    file = tmp_path / "sidecar.yaml"
    file.write_text(SETTINGS)
    with Proxy(go.url, "-c", str(file)) as proxy:
        assert not isinstance(proxy.address, str)
        crowd = Crowd(proxy.address, MIXED, "reload")
        with Background(crowd):
            eventually(crowd.begun, "all kinds of load")
            before = len(crowd.asked)
            for number in range(RELOADS):
                if number == RELOADS - 1:
                    eventually(lambda: crowd.have_asked(1, before), "all kinds of load between two reloads")
                changed = f"timeouts: {{request: {10 + number}s}}\nhttp: {{max_headers: {101 + number}}}\n"
                file.write_text(SETTINGS + changed)
                code, body = proxy.page("/config/reload", "POST")
                assert (code, len(json.loads(body)["changed"])) == (200, 2)
    assert (crowd.failures, crowd.refused) == ([], 0)
    assert disagreements(crowd.asked, requests(proxy.out.json())) == []


def test_a_short_soak() -> None:
    """All figures agree, and nothing is left."""
    soak = Soak(seconds=6.0, every=1.0, seed=7)
    soak.run()
    assert [check for check in soak.checks if not check.good] == [], soak.report()


def test_more_than_can_wait_at_once(go: GoService, tmp_path: Path) -> None:
    """Those who came when the line was full are refused as overloaded; all others are served, the first 16 at once."""
    file = tmp_path / "sidecar.yaml"
    file.write_text("guard: {wait: 1ms, lag: 0s}\nbreaker: {mode: off}\ntimeouts: {connect: 20s}\n")
    with Proxy(go.url, "-c", str(file)) as proxy:
        clients = [proxy.client() for _ in range(_CROWD)]
        eventually(lambda: proxy.status()["connections"] == _CROWD, "all connections")
        # Stopped, the process reads nothing: all will have come in the same moment.
        proxy.process.send_signal(signal.SIGSTOP)
        for client in clients:
            client.ask("/")
        proxy.process.send_signal(signal.SIGCONT)
        answers = [client.read() for client in clients]
        for client in clients:
            client.close()
        served = [answer for answer in answers if answer.status == 200]
        refused = [answer for answer in answers if answer.status == 503]
        assert len(served) + len(refused) == _CROWD
        assert len(served) >= 16 + 256
        assert {(answer["X-Sidecar-Reason"], answer["Retry-After"]) for answer in refused} == {("overloaded", "1")}
        decisions = proxy.metrics()
        assert decisions['sidecar_limit_decisions_total{decision="refused",limiter="guard"}'] == len(refused)
