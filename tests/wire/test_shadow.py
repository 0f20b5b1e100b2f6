"""Shadow mode from end to end: the same requests to a proxy that enforces its policies and to one that only counts.

No clock decides here: limits refill in an hour, and what is held is held until the test lets go. Traces in which time
does decide are in `tests/flow/test_shadow.py`.
"""

from __future__ import annotations

import json
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from tests.support.processes import Proxy
from tests.support.upstream import OK, Peer, Seen, Upstream
from tests.support.waiting import eventually
from tests.wire.conftest import Start

SETTINGS = """\
retry: {{attempts: 0}}
breaker: {{mode: off}}
guard: {{mode: off}}
routes:
  - {{name: limited, path: "/limited/{{n}}", rate: {{mode: {mode}, limit: 2/h, burst: 2, key: "header:X-Key"}}}}
  - {{name: crowded, path: "/crowded/{{n}}", concurrency: {{mode: {mode}, max: 2, queue_wait: 0s}}}}
  - {{name: broken, path: "/broken/{{n}}", breaker: {{mode: {mode}, failures: 3, open_for: 1h}}}}
"""

LIMITED, CROWDED, BROKEN = 8, 5, 6  # requests for each

REASONS = {"rate_limited": "rate", "overloaded": "concurrency", "circuit_open": "breaker"}


class Service:
    """Answers; breaks on /broken; holds back on /crowded until it is let."""

    def __init__(self) -> None:
        self.let = Event()

    def __call__(self, peer: Peer, seen: Seen) -> None:
        if seen.target.startswith("/broken"):
            peer.send(b"HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n")
            return
        if seen.target.startswith("/crowded"):
            assert self.let.wait(20)
        peer.send(OK)


def drive(proxy: Proxy, upstream: Upstream) -> dict[str, int]:
    """Send the sequence, each request when all before it are where they will be; returns the statuses by path."""
    upstream.script = service = Service()
    statuses = {}
    with proxy.client() as client:
        assert client.get("/first", "X-Request-ID: /first").status == 200, "no failure counts before an answer"
        for number in range(LIMITED):
            path = f"/limited/{number}"
            statuses[path] = client.get(path, f"X-Request-ID: {path}", f"X-Key: {number % 3}").status
        for number in range(BROKEN):
            path = f"/broken/{number}"
            statuses[path] = client.get(path, f"X-Request-ID: {path}").status
    with ExitStack() as stack:
        clients = []
        for number in range(CROWDED):
            client = stack.enter_context(proxy.client())
            client.ask(f"/crowded/{number}", fields=[f"X-Request-ID: /crowded/{number}"])
            clients.append(client)
            # It is held, or was refused: either way it has gone through all decisions.
            eventually(lambda: len(story(proxy, f"/crowded/{number}").get("steps", [])) > 0)  # noqa: B023
        service.let.set()
        for number, client in enumerate(clients):
            statuses[f"/crowded/{number}"] = client.read().status
    return statuses


def story(proxy: Proxy, request_id: str) -> dict[str, Any]:
    """What is told of the one exchange with this ID; nothing while there is none."""
    code, body = proxy.page(f"/explain/{request_id}")
    if code == 404:
        return {}
    (told,) = json.loads(body)["exchanges"]
    found: dict[str, Any] = told
    return found


@pytest.fixture
def proxies(start: Start, tmp_path: Path) -> dict[str, Proxy]:
    """One by the mode that it is in."""
    found = {}
    for mode in ("enforce", "shadow"):
        file = tmp_path / f"{mode}.yaml"
        file.write_text(SETTINGS.format(mode=mode))
        found[mode] = start("-c", str(file))
    return found


def test_shadow_counts_what_enforce_refuses(proxies: dict[str, Proxy], upstream: Upstream) -> None:
    """The very same requests, under the same policy; and in shadow mode each has the upstream's own answer."""
    statuses = {mode: drive(proxy, upstream) for mode, proxy in proxies.items()}
    refused = {}
    for path in statuses["enforce"]:
        told = story(proxies["enforce"], path)
        if told["reason"] != "upstream":
            refused[path] = REASONS[told["reason"]]
        assert not [step for step in told["steps"] if step["verdict"] == "would refuse"]
    would = {}
    for path, status in statuses["shadow"].items():
        told = story(proxies["shadow"], path)
        assert (told["reason"], status, told["attempts"]) == ("upstream", 500 if "broken" in path else 200, 1)
        policies = [step["policy"] for step in told["steps"] if step["verdict"] == "would refuse"]
        if policies:
            (would[path],) = policies
            assert f"in shadow mode: {policies[0]} would refuse" in told["why"]
    assert would == refused
    counts = Counter(refused.values())
    assert counts == {"rate": LIMITED - 3 * 2, "concurrency": CROWDED - 2, "breaker": BROKEN - 3}
    metrics = {mode: proxy.metrics() for mode, proxy in proxies.items()}
    for policy, count in counts.items():
        name = f'sidecar_policy_shadow_total{{policy="{policy}"}}'
        assert (metrics["enforce"].get(name, 0), metrics["shadow"][name]) == (0, count)
    states = [metrics[mode]['sidecar_circuit_state{route="broken",state="open"}'] for mode in ("enforce", "shadow")]
    assert states == [1, 1], "the circuit's state is the same"
