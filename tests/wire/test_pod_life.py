"""What a pod does with a running sidecar besides signals: waiting for it, asking it for the application, ending it."""

from __future__ import annotations

import signal

from sidecar.cli import main
from tests.support.client import Client
from tests.support.processes import GoService, Proxy
from tests.support.waiting import eventually
from tests.wire.conftest import Start
from tests.wire.test_life import drained


def admin_of(proxy: Proxy) -> str:
    """The address of its admin port, for command lines."""
    return "{}:{}".format(*proxy.admin)


def held(client: Client, proxy: Proxy, key: str) -> None:
    """A request is in flight until it is released."""
    client.ask(f"/hold/{key}")
    eventually(lambda: proxy.status()["in_flight"] == 1)


def release(go: GoService, key: str) -> None:
    """Let it be answered."""
    with Client(go.address) as client:
        assert client.post(f"/_release/{key}").status == 204


def test_drain_exit_ends_it(start: Start, go: GoService, request_id: str) -> None:
    """What is in flight is finished, then the process leaves with 0 although no signal came."""
    proxy = start(url=go.url)
    with proxy.client() as client:
        held(client, proxy, request_id)
        assert main(["drain", "--exit", "--admin", admin_of(proxy)]) == 0
        release(go, request_id)
        answer = client.read()
        assert (answer.status, answer["Connection"]) == (200, "close")
    assert proxy.wait() == 0
    report = drained(proxy)
    assert (report["in_flight_at_start"], report["finished"], report["cut"]) == (1, 1, 0)
    assert str(report["cause"]).startswith("POST /quitquitquit from 127.0.0.1")


def test_a_signal_after_it_is_the_first(start: Start, go: GoService, request_id: str) -> None:
    """SIGTERM joins the end that was asked for; only a second signal hurries it."""
    proxy = start(url=go.url)
    with proxy.client() as client:
        held(client, proxy, request_id)
        assert proxy.page("/quitquitquit", "POST")[0] == 202
        proxy.signal(signal.SIGTERM)
        assert client.quiet(0.2)
        release(go, request_id)
        assert client.read().status == 200
    assert proxy.wait() == 0
    assert drained(proxy)["cut"] == 0
    assert not proxy.events("second signal: not waiting any longer")


def test_wait_and_the_real_thing(start: Start) -> None:
    """`wait` sees a sidecar that serves, and with --ready that its service is up."""
    proxy = start()
    assert main(["wait", "--admin", admin_of(proxy)]) == 0
    assert main(["wait", "--admin", admin_of(proxy), "--ready"]) == 0


def test_the_application_is_asked_beside_the_traffic(start: Start, go: GoService) -> None:
    """/app/livez and /app/readyz give the status of the paths that are set, and leave no trace in the figures."""
    proxy = start(url=go.url, SIDECAR_HEALTH__APP_LIVEZ="/status/200", SIDECAR_HEALTH__APP_READYZ="/status/503")
    eventually(lambda: proxy.page("/readyz")[0] == 200)
    before = proxy.metrics()
    for _ in range(10):
        assert proxy.page("/app/livez") == (200, b"")
        assert proxy.page("/app/readyz") == (503, b"")
    after = proxy.metrics()
    figures = ("http_requests", "sidecar_answers", "sidecar_upstream", "sidecar_circuit", "sidecar_limit")
    assert [name for name in after if name.startswith(figures) and after[name] != before.get(name)] == []
    with proxy.client() as client:
        client.get("/hello")
    grown = proxy.metrics()
    assert [name for name in grown if name.startswith(figures) and grown[name] != after.get(name)]
