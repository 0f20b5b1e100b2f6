"""More connections than there may be: who is refused, and that all the rest goes on."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.client import Client, CutError
from tests.support.waiting import eventually
from tests.wire.conftest import Start

REFUSED = 'sidecar_connections_refused_total{reason="%s"}'


def test_a_connection_above_the_cap(start: Start) -> None:
    """It is told why when it asks, is counted and logged, and is no request; the others are served."""
    proxy = start(SIDECAR_HTTP__MAX_CONNECTIONS="2")
    with proxy.client() as first, proxy.client() as second:
        assert first.get("/").status == second.get("/").status == 200
        with proxy.client() as third:
            answer = third.post("/", b"x" * 10_000)
            assert (answer.status, answer["X-Sidecar-Reason"], answer["Connection"]) == (503, "overloaded", "close")
            assert json.loads(answer.body)["request_id"] == answer["X-Request-ID"]
            assert third.end() == "end"
        assert first.get("/").status == 200
    assert proxy.metrics()[REFUSED % "max_connections"] == 1
    assert proxy.metrics()['sidecar_answers_total{reason="upstream"}'] == 3
    line = proxy.wait_event("connections refused")
    assert (line["reason"], line["limit"], line["last_client"]) == ("max_connections", 2, "127.0.0.1")
    eventually(lambda: proxy.status()["connections"] == 0)
    with proxy.client() as client:
        assert client.get("/").status == 200


def test_a_client_above_its_cap(start: Start) -> None:
    """Counted for its address."""
    proxy = start(SIDECAR_HTTP__MAX_CONNECTIONS_PER_CLIENT="1")
    with proxy.client() as first, proxy.client() as second:
        assert first.get("/").status == 200
        assert second.get("/")["X-Sidecar-Reason"] == "overloaded"
    assert proxy.metrics()[REFUSED % "max_connections_per_client"] == 1


def test_a_unix_socket_has_no_single_client(start: Start, tmp_path: Path) -> None:
    """Whoever comes over it has no address to count for."""
    path = str(tmp_path / "s")
    start(listen=f"unix:{path}", SIDECAR_HTTP__MAX_CONNECTIONS_PER_CLIENT="1")
    with Client(path) as first, Client(path) as second:
        assert first.get("/").status == second.get("/").status == 200


def test_a_trusted_proxy_is_no_single_client(start: Start) -> None:
    """It brings everybody's requests."""
    proxy = start("--trusted-proxies", "127.0.0.0/8", SIDECAR_HTTP__MAX_CONNECTIONS_PER_CLIENT="1")
    with proxy.client() as first, proxy.client() as second:
        assert first.get("/").status == second.get("/").status == 200


@pytest.mark.parametrize("descriptors", [128, 600])
def test_descriptors_do_not_run_out(start: Start, descriptors: int) -> None:
    """Where there are few, clients are refused before: the upstream and the admin port can be reached all the time."""
    proxy = start(descriptors=str(descriptors))
    most = proxy.status()["max_connections"]
    assert descriptors / 5 < most < descriptors / 2
    with ExitStack() as stack:
        clients = [stack.enter_context(proxy.client()) for _ in range(descriptors + 50)]
        eventually(lambda: proxy.metrics()[REFUSED % "max_connections"] == len(clients) - most)
        assert proxy.page("/livez")[0] == proxy.page("/readyz")[0] == 200
        for some in (clients[:10], clients[most - 10 : most]):
            for client in some:
                client.ask("/")
            assert [client.read().status for client in some] == [200] * 10
        with pytest.raises(CutError):
            clients[-1].get("/")
    eventually(lambda: proxy.status()["connections"] == 0)
    with proxy.client() as client:
        assert client.get("/").status == 200
