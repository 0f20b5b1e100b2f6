"""Caps on what is in flight, of the running program: how many the service has in hand, who waits, and who is refused.

Requests for `/hold/…` stay where they are until the test lets them go, so that nothing here depends on time.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from hashlib import sha256
from typing import Any

import pytest

from tests.support.client import Answer, Client
from tests.support.processes import GoService, Proxy
from tests.support.waiting import eventually
from tests.wire.policies import (
    PROBE,
    at_once,
    clients,
    decisions,
    figure,
    in_turn,
    most_at_once,
    of,
    policy,
    refusal,
    release,
    route,
    running,
    shadows,
    statuses,
    visits,
)

NO_WAIT = {"queue_wait": "0s"}
LONG_WAIT = {"queue_wait": "60s"}  # longer than any test

CAPS: dict[str, dict[str, Any]] = {
    "queue": {"max": 4, **LONG_WAIT},
    "order": {"max": 4, **LONG_WAIT},
    "timeout": {"max": 2, "queue_wait": "150ms"},
    "no-wait": {"max": 2, **NO_WAIT},
    "storm": {"max": 4, **LONG_WAIT},
    "leave": {"max": 2, **LONG_WAIT},
    "late": {"max": 1, **LONG_WAIT},
    "failing": {"max": 1, **NO_WAIT},
    "upload": {"max": 1, **LONG_WAIT},
    "body": {"max": 1, **NO_WAIT},
    "tunnel": {"max": 1, **NO_WAIT},
    "classes": {"max": 20, "priority": "X-Priority", **NO_WAIT},
    "displaced": {"max": 2, "priority": "X-Priority", **LONG_WAIT},
    "shadow": {"max": 1, "mode": "shadow", **NO_WAIT},
    "off": {"max": 1, "mode": "off", **NO_WAIT},
    "unlimited": {"max": 0, **NO_WAIT},
}


@pytest.fixture(scope="module")
def proxy(service: GoService) -> Iterator[Proxy]:
    """Each cap is a route's."""
    routes = [route(name, concurrency=cap, breaker={"mode": "off"}) for name, cap in CAPS.items()]
    with running(service.url, {"routes": routes}) as proxy:
        yield proxy


def gate(proxy: Proxy, case: str) -> tuple[int, int]:
    """How many of a case are in flight, and how many wait."""
    found = policy(proxy, "concurrency")[case]
    return found["in_flight"], found["queued"]


def hold(proxy: Proxy, service: GoService, crowd: list[Client], case: str, *fields: str) -> None:
    """Have these requests in hand at the service."""
    before = len(visits(service, case))
    for client in crowd:
        client.ask(f"/hold/{case}", fields=of(case, *fields))
    eventually(lambda: len(visits(service, case)) == before + len(crowd))


def queue(proxy: Proxy, crowd: list[Client], case: str, targets: list[str], *fields: str) -> None:
    """Have these requests wait, in their order."""
    for client, target in zip(crowd, targets, strict=True):
        _, before = gate(proxy, case)
        client.ask(target, fields=of(case, *fields))
        eventually(partial(_waits, proxy, case, before + 1))


def _waits(proxy: Proxy, case: str, count: int) -> bool:
    return gate(proxy, case)[1] == count


def refused(answer: Answer, limiter: str, reason: str = "overloaded", **facts: object) -> dict[str, Any]:
    """The problem of a refusal by this cap, which says how it stood."""
    problem = refusal(answer, 503, reason)
    assert problem["limiter"] == limiter
    assert {name: problem[name] for name in facts} == facts
    assert "Connection" not in answer, "the connection is as good as before"
    return problem


# ── places and the queue for them


def test_four_at_once_four_in_the_queue_and_the_rest_refused(proxy: Proxy, service: GoService) -> None:
    """The service never has more than the cap in hand; as many wait, and who finds no place in the queue goes."""
    with clients(proxy, 4) as holding, clients(proxy, 4) as waiting:
        hold(proxy, service, holding, "queue")
        queue(proxy, waiting, "queue", ["/hold/queue"] * 4)
        for answer in at_once(proxy, "queue", 5):
            refused(answer, "queue", limit=4, in_flight=4, queued=4, waited_ms=0)
        assert gate(proxy, "queue") == (4, 4)
        assert len(visits(service, "queue")) == 4
        release(service, "queue")
        assert statuses([client.read() for client in holding + waiting]) == [200] * 8
    assert len(visits(service, "queue")) == 8
    assert most_at_once(service, "queue") == 4
    eventually(lambda: gate(proxy, "queue") == (0, 0))
    assert decisions(proxy, "concurrency.queue") == {"admitted": 4, "queued": 4, "refused": 5}
    assert figure(proxy, "sidecar_answers_total", reason="overloaded") >= 5


def test_first_come_first_served(proxy: Proxy, service: GoService) -> None:
    """Who waits is served in the order of the queue."""
    with clients(proxy, 3) as holding, clients(proxy, 5) as others:
        hold(proxy, service, holding, "order")
        # One place more, through which those who wait go one by one.
        others[0].ask("/hold/order-first", fields=of("order"))
        eventually(lambda: len(visits(service, "order")) == 4)
        targets = [f"/items/{number}" for number in range(4)]
        queue(proxy, others[1:], "order", targets)
        release(service, "order-first")
        assert statuses([client.read() for client in others]) == [200] * 5
        assert visits(service, "order")[4:] == targets
        release(service, "order")
        assert statuses([client.read() for client in holding]) == [200] * 3


def test_who_has_waited_long_enough_is_refused(proxy: Proxy, service: GoService) -> None:
    """After `queue_wait` it is over, for those who wait; who holds a place is served on."""
    with clients(proxy, 2) as holding:
        hold(proxy, service, holding, "timeout")
        for answer in at_once(proxy, "timeout", 2):
            problem = refused(answer, "timeout", "queue_timeout", limit=2, in_flight=2)
            assert 145 < problem["waited_ms"] < 5000
        assert gate(proxy, "timeout") == (2, 0)
        release(service, "timeout")
        assert statuses([client.read() for client in holding]) == [200] * 2
    assert statuses(in_turn(proxy, "timeout", ["/hello"])) == [200]
    assert len(visits(service, "timeout")) == 3
    assert decisions(proxy, "concurrency.timeout") == {"admitted": 3, "timed_out": 2}


def test_without_a_queue_nobody_waits(proxy: Proxy, service: GoService) -> None:
    """Where `queue_wait` is 0 what finds no place is refused at once."""
    with clients(proxy, 2) as holding:
        hold(proxy, service, holding, "no-wait")
        refused(in_turn(proxy, "no-wait", ["/hello"])[0], "no-wait", limit=2, in_flight=2, queued=0)
        release(service, "no-wait")
        assert statuses([client.read() for client in holding]) == [200] * 2
    assert decisions(proxy, "concurrency.no-wait") == {"admitted": 2, "refused": 1}


def test_a_storm_is_within_the_cap(proxy: Proxy, service: GoService) -> None:
    """Of many at once the service has no more than four in hand, and what was not refused is answered by it."""
    answers = [answer for _ in range(3) for answer in at_once(proxy, "storm", 40, "/sleep/20ms")]
    served = statuses(answers).count(200)
    for answer in answers:
        if answer.status != 200:
            refused(answer, "storm", limit=4)
    assert 3 * 8 <= served == len(visits(service, "storm"))
    assert most_at_once(service, "storm") == 4
    eventually(lambda: gate(proxy, "storm") == (0, 0))


@pytest.mark.parametrize("case", ["off", "unlimited"])
def test_without_a_cap_all_are_served(proxy: Proxy, service: GoService, case: str) -> None:
    """And nothing is decided."""
    with clients(proxy, 4) as crowd:
        hold(proxy, service, crowd, case)
        release(service, case)
        assert statuses([client.read() for client in crowd]) == [200] * 4
    assert most_at_once(service, case) == 4
    assert decisions(proxy, f"concurrency.{case}") == {}
    assert case not in policy(proxy, "concurrency")


def test_shadow_lets_all_through_and_counts(proxy: Proxy, service: GoService) -> None:
    """What would have been refused is counted, and served."""
    would = shadows(proxy, "concurrency")
    with clients(proxy, 4) as crowd:
        hold(proxy, service, crowd, "shadow")
        release(service, "shadow")
        assert statuses([client.read() for client in crowd]) == [200] * 4
    assert most_at_once(service, "shadow") == 4
    assert shadows(proxy, "concurrency") - would == 3
    assert decisions(proxy, "concurrency.shadow") == {"admitted": 1}
    eventually(lambda: gate(proxy, "shadow") == (0, 0))


# ── places come back


def test_places_come_back_when_clients_leave(proxy: Proxy, service: GoService) -> None:
    """Who leaves gives back his place, in flight or in the queue, and the service is told to stop."""
    with clients(proxy, 2) as waiting:
        with clients(proxy, 2) as holding:
            hold(proxy, service, holding, "leave")
            queue(proxy, waiting, "leave", ["/hello", "/hello"])
            waiting[0].close()
            eventually(lambda: gate(proxy, "leave") == (2, 1))
        assert waiting[1].read().status == 200
    eventually(lambda: gate(proxy, "leave") == (0, 0))
    record = eventually(
        lambda: [v for v in service.record("leave") if v["finished"]] if len(visits(service, "leave")) == 3 else []
    )
    assert [visit["context_ended"] for visit in record if visit["path"] == "/hold/leave"] == [True, True]
    assert decisions(proxy, "concurrency.leave") == {"admitted": 2, "queued": 1, "abandoned": 1}


def test_the_clients_deadline_ends_its_wait(proxy: Proxy, service: GoService) -> None:
    """A wait that is longer than the client's own deadline ends with that, and never reaches the service."""
    with clients(proxy, 1) as holding:
        hold(proxy, service, holding, "late")
        (answer,) = in_turn(proxy, "late", ["/hello"], "x-request-timeout-ms: 150")
        assert refusal_of_deadline(answer)
        eventually(lambda: gate(proxy, "late") == (1, 0))
        release(service, "late")
        assert statuses([client.read() for client in holding]) == [200]
    assert visits(service, "late") == ["/hold/late"]


def refusal_of_deadline(answer: Answer) -> bool:
    """Whether it says that a deadline has passed."""
    return (answer.status, answer["X-Sidecar-Reason"]) == (504, "deadline_exceeded")


def test_places_come_back_from_failures(proxy: Proxy, service: GoService) -> None:
    """However an exchange ends, the one place there is comes back."""
    targets = ["/status/500", "/flaky/failing?failures=9&status=0", "/status/204", "/close", "/hello"]
    for _ in range(2):
        for target in targets:
            (answer,) = in_turn(proxy, "failing", [target])
            assert answer.get("X-Sidecar-Reason") != "overloaded", target
    eventually(lambda: gate(proxy, "failing") == (0, 0))
    (answer,) = in_turn(proxy, "failing", ["/hang"], "x-request-timeout-ms: 100")
    assert refusal_of_deadline(answer)
    assert statuses(in_turn(proxy, "failing", ["/hello"])) == [200]


def test_a_place_is_held_until_the_body_has_ended(proxy: Proxy) -> None:
    """A stream holds its place while it runs, and gives it back when its client leaves."""
    with proxy.client() as stream:
        stream.ask("/sse?n=0&every=20ms", fields=of("body"))
        assert stream.read_head().status == 200
        assert stream.read_chunk()
        refused(in_turn(proxy, "body", ["/hello"])[0], "body", limit=1, in_flight=1)
    eventually(lambda: gate(proxy, "body") == (0, 0))
    assert statuses(in_turn(proxy, "body", ["/hello"])) == [200]


def test_a_tunnel_holds_no_place(proxy: Proxy) -> None:
    """A WebSocket gives its place back as it begins; tunnels have a cap of their own."""
    handshake = ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AA=="]
    with proxy.client() as tunnel:
        tunnel.ask("/ws", fields=of("tunnel", *handshake))
        assert tunnel.read_head().status == 101
        assert statuses(in_turn(proxy, "tunnel", ["/hello"] * 3)) == [200] * 3
        assert policy(proxy, "concurrency")["tunnel"]["tunnels"] == 1
        assert refusal(in_turn(proxy, "tunnel", ["/ws"], *handshake)[0], 503, "overloaded")["limiter"] == "tunnel"
    eventually(lambda: policy(proxy, "concurrency")["tunnel"]["tunnels"] == 0)
    with proxy.client() as tunnel:
        tunnel.ask("/ws", fields=of("tunnel", *handshake))
        assert tunnel.read_head().status == 101
    eventually(lambda: gate(proxy, "tunnel") == (0, 0))


def test_an_upload_waits_for_its_place(proxy: Proxy, service: GoService) -> None:
    """A body that comes while its request waits is held back, and arrives whole in its turn."""
    body = b"0123456789" * 200_000
    with clients(proxy, 1) as holding, clients(proxy, 1) as waiting:
        hold(proxy, service, holding, "upload")
        with ThreadPoolExecutor(1) as other:
            answer = other.submit(waiting[0].post, "/upload", body, *of("upload"))
            eventually(lambda: gate(proxy, "upload") == (1, 1))
            assert visits(service, "upload") == ["/hold/upload"]
            release(service, "upload")
            assert answer.result().status == 200
            assert json.loads(answer.result().body)["sha256"] == sha256(body).hexdigest()
        assert holding[0].read().status == 200
    assert most_at_once(service, "upload") == 1


# ── classes


def test_the_last_places_are_for_higher_classes(proxy: Proxy, service: GoService) -> None:
    """Of twenty places low may fill 16, normal 19, high all; whatever else the header says is normal."""
    with clients(proxy, 16) as low, clients(proxy, 3) as normal, clients(proxy, 1) as high:
        hold(proxy, service, low, "classes", "X-Priority: low")
        one_more = in_turn(proxy, "classes", ["/hello"], "X-Priority: LOW")[0]
        assert refused(one_more, "classes", limit=16, in_flight=16)["class"] == "low"
        hold(proxy, service, normal, "classes")
        for fields in ([], ["X-Priority: urgent"], ["X-Priority: normal"]):
            one_more = in_turn(proxy, "classes", ["/hello"], *fields)[0]
            assert refused(one_more, "classes", limit=19, in_flight=19)["class"] == "normal"
        hold(proxy, service, high, "classes", "X-Priority: high")
        one_more = in_turn(proxy, "classes", ["/hello"], "X-Priority: high")[0]
        assert refused(one_more, "classes", limit=20, in_flight=20)["class"] == "high"
        release(service, "classes")
        assert statuses([client.read() for client in low + normal + high]) == [200] * 20
    assert most_at_once(service, "classes") == 20


def test_a_higher_class_takes_a_lower_ones_place_in_the_queue(proxy: Proxy, service: GoService) -> None:
    """In a full queue the youngest of the lowest class has to go, and the higher ones are served first."""
    with clients(proxy, 2) as holding, clients(proxy, 2) as low, clients(proxy, 1) as high:
        hold(proxy, service, holding, "displaced", "X-Priority: high")
        queue(proxy, low, "displaced", ["/items/1", "/items/2"], "X-Priority: low")
        high[0].ask("/items/3", fields=of("displaced", "X-Priority: high"))
        problem = refused(low[1].read(), "displaced")
        assert problem["class"] == "low"
        assert "higher class" in problem["detail"]
        assert gate(proxy, "displaced") == (2, 2)
        release(service, "displaced")
        assert statuses([client.read() for client in (*holding, low[0], high[0])]) == [200] * 4
    assert visits(service, "displaced")[2:] == ["/items/3", "/items/1"]


# ── the whole sidecar's


def test_a_route_has_its_cap_on_top_of_the_sidecars(service: GoService) -> None:
    """Both must have a place: a crowded route leaves the others theirs; and a full sidecar lets health probes pass."""
    settings = {
        "concurrency": NO_WAIT,
        "routes": [route("top-own", concurrency={"max": 2, **NO_WAIT}), route("top-free")],
    }
    with running(service.url, settings, "--max-concurrency", "3") as proxy:
        with clients(proxy, 2) as own, clients(proxy, 1) as free:
            hold(proxy, service, own, "top-own")
            refused(in_turn(proxy, "top-own", ["/hello"])[0], "top-own", limit=2, in_flight=2)
            hold(proxy, service, free, "top-free")
            refused(in_turn(proxy, "top-free", ["/hello"])[0], "sidecar", limit=3, in_flight=3)
            refused(in_turn(proxy, "top-none", ["/hello"])[0], "sidecar", limit=3, in_flight=3)
            assert statuses(in_turn(proxy, "top-own", ["/hello"], PROBE)) == [200]
            assert proxy.page("/readyz")[0] == 200
            release(service, "top-own")
            assert statuses([client.read() for client in own]) == [200] * 2
            eventually(lambda: gate(proxy, "top-own") == (0, 0))
            with clients(proxy, 2) as more:
                for client in more:
                    client.ask("/hold/top-free", fields=of("top-free"))
                eventually(lambda: len(visits(service, "top-free")) == 3)
                # Its route had a place for it; that is given back.
                refused(in_turn(proxy, "top-own", ["/hello"])[0], "sidecar", limit=3, in_flight=3)
                eventually(lambda: gate(proxy, "top-own") == (0, 0))
                release(service, "top-free")
                assert statuses([client.read() for client in more]) == [200] * 2
            assert free[0].read().status == 200
        assert decisions(proxy, "concurrency.top-own") == {"admitted": 3, "refused": 1}
        assert decisions(proxy, "concurrency") == {"admitted": 5, "refused": 3}


def test_a_drain_loses_nobody_who_waits(service: GoService) -> None:
    """What waits for a place at SIGTERM has it in its turn, and is answered before the sidecar leaves."""
    with (
        running(service.url, {"concurrency": {"max": 2, **LONG_WAIT}}) as proxy,
        clients(proxy, 2) as holding,
        clients(proxy, 2) as waiting,
    ):
        hold(proxy, service, holding, "drained")
        for client in waiting:
            client.ask("/hold/drained", fields=of("drained"))
        eventually(lambda: policy(proxy, "concurrency")["sidecar"]["queued"] == 2)
        proxy.signal()
        proxy.wait_event("draining")
        release(service, "drained")
        answers = [client.read() for client in holding + waiting]
        assert statuses(answers) == [200] * 4
        assert [answer["Connection"] for answer in answers] == ["close"] * 4
        assert proxy.wait() == 0
        (report,) = proxy.events("drained")
        assert (report["in_flight_at_start"], report["finished"], report["cut"]) == (4, 4, 0)
    assert len(visits(service, "drained")) == 4
    assert most_at_once(service, "drained") == 2
