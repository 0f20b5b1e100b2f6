"""Circuits of the running program: what opens them and for whom, what the others are told, and how they close again.

Where a circuit is to stay open it does so for ten minutes; where it is to be tried again, that is after 300 ms.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from time import monotonic, sleep
from typing import Any, NamedTuple
from urllib.parse import quote

import pytest

from tests.support.client import Answer, Client
from tests.support.processes import GoService, Proxy
from tests.support.waiting import eventually
from tests.wire.policies import (
    PROBE,
    clients,
    figure,
    in_turn,
    kill,
    mortal,
    of,
    policy,
    refusal,
    release,
    route,
    running,
    samples,
    shadows,
    statuses,
    visits,
)

LONG = {"open_for": "10m"}
SHORT = {"open_for": "300ms"}

# What a letter of a case asks for.
ASKED: dict[str, tuple[str, ...]] = {
    "g": ("/hello",),
    "l": ("/flaky/lost?failures=1000&status=0",),  # the connection is lost
    "h": ("/hang",),  # until the sidecar's patience is over
    "s": ("/sleep/60ms",),
    "d": ("/hang", "x-request-timeout-ms: 40"),  # until the client's is
    "m": ("/hang", "x-request-timeout-ms: 1"),
    **{digit: (f"/status/50{digit}",) for digit in "0123456789"},
    **{letter: (f"/status/{code}",) for letter, code in {"c": 404, "r": 429, "x": 499}.items()},
}


class Case(NamedTuple):
    """Requests, a letter each, one after the other; from `opens` on they are refused, or None is."""

    name: str
    asked: str
    opens: int | None
    breaker: dict[str, Any] | None = None
    timeouts: dict[str, str] | None = None


RATIO = {"failures": 0, "ratio": 0.5, "requests": 10}

CASES = [
    # failures in a row
    Case("five", "00000gg0", 5),
    Case("gateway", "23456789g", 5),
    Case("three", "000g", 3, {"failures": 3}),
    Case("one", "0g", 1, {"failures": 1}),
    Case("good-between", "0000g0000c0000g", None, {"ratio": 0}),
    Case("in-all", "0000c0000g", None),
    # what counts as one
    Case("lost", "lllllg", 5),
    Case("attempt", "hhhhhg", 5, timeouts={"attempt": "60ms"}),
    Case("overall", "hhhhhg", 5, timeouts={"request": "60ms"}),
    Case("slow", "sssssg", 5, {"slow": "20ms"}),
    Case("slow-off", "ssssssg", None),
    # … and what does not
    Case("not-implemented", "1" * 25 + "g", None),
    Case("client-errors", "c" * 10 + "r" * 10 + "x" * 10 + "g", None),
    Case("impatient", "m" * 20 + "d" * 7 + "g", None),
    Case("neutral-between", "00m00d0g", 7),
    # a share of the window
    Case("ratio", "g0g0g0g0g0g", 10, RATIO),
    Case("ratio-less", "ggg0" * 6, None, RATIO),
    Case("ratio-few", "0" * 9, None, RATIO),
    Case("ratio-off", "0" * 25, None, {"failures": 0, "ratio": 0}),
    # modes
    Case("off", "0" * 25 + "g", None, {"mode": "off"}),
    Case("shadow", "0" * 8 + "g", None, {"mode": "shadow"}),
]


@pytest.fixture(scope="module")
def proxy(service: GoService) -> Iterator[Proxy]:
    """All cases, which say only what differs from the sidecar's own breaker; and those of the tests below."""
    routes = [route(case.name, breaker=case.breaker or {}, timeouts=case.timeouts or {}) for case in CASES]
    more: dict[str, dict[str, Any]] = {
        "time": {"open_for": "2s"},
        "by-hand": SHORT,
        "steady": {},
        "half-one": {"open_for": "1s"},
        **dict.fromkeys(("half-slow", "half-bad", "half-left", "half-late", "half-stream", "half-404"), SHORT),
        "half-shadow": {"open_for": "1s", "mode": "shadow"},
    }
    routes += [route(name, breaker=breaker) for name, breaker in more.items()]
    again = {"mode": "enforce", "attempts": 2, "base": "1ms", "cap": "1ms"}
    routes.append(route("retried", retry=again))
    with running(service.url, {"breaker": LONG, "routes": routes}) as proxy:
        yield proxy


def circuit(proxy: Proxy, name: str) -> dict[str, Any]:
    """What /status says of a circuit."""
    return dict(policy(proxy, "breaker")[name])


def state(proxy: Proxy, name: str) -> str:
    """A circuit's state, in which /status and /metrics agree."""
    found = str(circuit(proxy, name)["state"])
    states = samples(proxy, "sidecar_circuit_state")
    assert {labels["state"]: value for labels, value in states if labels["route"] == name} == {
        one: int(one == found) for one in ("closed", "open", "half_open")
    }
    return found


def transitions(proxy: Proxy) -> Counter[str]:
    """How often any circuit went from where to where."""
    found = samples(proxy, "sidecar_circuit_transitions_total")
    return Counter({f"{labels['from']}>{labels['to']}": value for labels, value in found})


def refused(answer: Answer, name: str, state: str = "open") -> dict[str, Any]:
    """The problem of a refusal by this circuit."""
    problem = refusal(answer, 503, "circuit_open")
    assert (problem["circuit"], problem["state"]) == (name, state)
    assert problem["since"] >= 0
    assert problem["retry_after"] >= 1
    return problem


def trip(proxy: Proxy, name: str) -> None:
    """Open a case's circuit."""
    assert statuses(in_turn(proxy, name, ["/status/500"] * 5)) == [500] * 5
    assert state(proxy, name) == "open"


def trip_and_wait(proxy: Proxy, name: str) -> None:
    """Open it, and wait until the next who asks is its probe."""
    trip(proxy, name)
    eventually(lambda: circuit(proxy, name)["seconds_to_half_open"] == 0)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_opens_a_circuit(case: Case, proxy: Proxy, service: GoService) -> None:
    """After so many requests the others are refused and never reach the service; or none is."""
    would, moved = shadows(proxy, "breaker"), transitions(proxy)
    with proxy.client() as client:
        answers = [client.get(ASKED[letter][0], *of(case.name, *ASKED[letter][1:])) for letter in case.asked]
    through = answers[: case.opens]
    assert not [answer for answer in through if answer.get("X-Sidecar-Reason") == "circuit_open"]
    for answer in answers[len(through) :]:
        problem = refused(answer, case.name)
        assert 600 - 30 <= problem["retry_after"] <= 720
        assert f"circuit {case.name} has been open for" in problem["detail"]
    if case.opens is not None and "failures" not in (case.breaker or {}):
        assert problem["failures"] == 5
    # What had next to no time may have been over before it was sent; a kept connection that proves dead is no failure.
    sure = [letter for letter in case.asked[: case.opens] if letter != "m"]
    assert len(sure) <= len(visits(service, case.name)) <= len(through) + case.asked.count("l")
    if case.name == "off":
        assert case.name not in policy(proxy, "breaker")
        return
    opened = case.opens is not None or case.name == "shadow"
    assert state(proxy, case.name) == ("open" if opened else "closed")
    assert transitions(proxy) - moved == (Counter({"closed>open": 1}) if opened else Counter())
    assert shadows(proxy, "breaker") - would == (4 if case.name == "shadow" else 0)
    # Whatever became of it, the others go on.
    assert statuses(in_turn(proxy, "steady", ["/hello"])) == [200]
    assert state(proxy, "upstream") == "closed"


def test_a_path_template_has_its_circuit(proxy: Proxy) -> None:
    """Without a route, requests of one path template share a circuit, and no other does."""
    with proxy.client() as client:
        assert client.get("/status/200").status == 200  # which makes its template known
        assert [client.get("/status/500").status for _ in range(5)] == [500] * 5
        for code in (200, 500, 404):
            refused(client.get(f"/status/{code}"), "/status/{id}")
        assert client.get("/hello").status == 200
        assert client.get("/items/5").status == 200
    assert state(proxy, "/status/{id}") == "open"
    assert by_hand(proxy, "close", "/status/{id}")[0] == 200
    with proxy.client() as client:
        assert client.get("/status/200").status == 200


def test_each_attempt_counts(proxy: Proxy, service: GoService) -> None:
    """Retries ask and report for themselves: what fails each time opens the circuit amid the second request."""
    first, second, third = in_turn(proxy, "retried", ["/status/503"] * 3)
    assert (first.status, first.get("X-Sidecar-Reason")) == (503, None)
    assert (second.status, second.get("X-Sidecar-Reason")) == (503, None), "the last answer that the service gave"
    refused(third, "retried")
    assert len(visits(service, "retried")) == 5


# ── how it closes again


def test_retry_after_counts_down_and_is_true(proxy: Proxy) -> None:
    """It says less as time passes, and who comes back by then is admitted."""
    trip(proxy, "time")
    first = refused(in_turn(proxy, "time", ["/hello"])[0], "time")
    began = monotonic()
    assert 2 <= first["retry_after"] <= 3  # the jitter of a fifth, and whole seconds
    sleep(1.05)
    (answer,) = in_turn(proxy, "time", ["/hello"])
    if answer.status != 200:  # the machine has not slept for longer
        later = refused(answer, "time")
        assert later["retry_after"] < first["retry_after"]
        assert later["since"] > first["since"] + 1
    sleep(max(0.0, began + first["retry_after"] - monotonic()))
    assert statuses(in_turn(proxy, "time", ["/hello"])) == [200]
    assert state(proxy, "time") == "closed"


def test_half_open_admits_one_of_fifty(proxy: Proxy, service: GoService) -> None:
    """Of fifty at once one is the probe; the others are refused while it is on its way, and its success closes."""
    trip_and_wait(proxy, "half-one")
    before, moved = figure(proxy, "sidecar_answers_total", reason="circuit_open"), transitions(proxy)
    with clients(proxy, 50) as crowd:
        began = monotonic()
        for client in crowd:
            client.ask("/hold/half-one", fields=of("half-one"))
        eventually(lambda: figure(proxy, "sidecar_answers_total", reason="circuit_open") >= before + 45)
        # Where all that took longer than `open_for` the probe is overdue, and another may go.
        most = 1 + int(monotonic() - began)
        eventually(lambda: len(visits(service, "half-one")) > 5)
        assert circuit(proxy, "half-one")["probing"]
        assert state(proxy, "half-one") == "half_open"
        release(service, "half-one")
        answers = [client.read() for client in crowd]
    assert 1 <= statuses(answers).count(200) <= most
    for answer in answers:
        if answer.status != 200:
            refused(answer, "half-one", "half_open")
    assert len(visits(service, "half-one")) == 5 + statuses(answers).count(200)
    assert state(proxy, "half-one") == "closed"
    assert transitions(proxy) - moved == Counter({"open>half_open": 1, "half_open>closed": 1})
    assert statuses(in_turn(proxy, "half-one", ["/status/500"] * 4 + ["/hello"])) == [500] * 4 + [200], "counts anew"


def test_a_probe_that_dawdles_keeps_nobody_out(proxy: Proxy, service: GoService) -> None:
    """A probe whose upload never ends holds a route up for no longer than one that fails: then there is another."""
    trip_and_wait(proxy, "half-slow")
    with proxy.client() as slow:
        slow.ask("/upload", "POST", of("half-slow", "Content-Length: 1000"))
        slow.send(b"x")
        eventually(lambda: len(visits(service, "half-slow")) == 5 + 1)
        eventually(lambda: in_turn(proxy, "half-slow", ["/hello"])[0].status == 200)
        assert state(proxy, "half-slow") == "closed"
        slow.send(b"x" * 999)
        assert slow.read("POST").status == 200
    assert state(proxy, "half-slow") == "closed"


def test_a_probe_that_fails_opens_it_again(proxy: Proxy, service: GoService) -> None:
    """For as long as before; then there is another probe."""
    trip_and_wait(proxy, "half-bad")
    moved = transitions(proxy)
    assert statuses(in_turn(proxy, "half-bad", ["/status/500"])) == [500]
    found = circuit(proxy, "half-bad")
    assert (found["state"], found["why"]) == ("open", "its probe failed")
    assert found["seconds_to_half_open"] <= 0.36
    eventually(lambda: circuit(proxy, "half-bad")["seconds_to_half_open"] == 0)
    assert statuses(in_turn(proxy, "half-bad", ["/hello"])) == [200]
    assert state(proxy, "half-bad") == "closed"
    assert transitions(proxy) - moved == Counter({"open>half_open": 2, "half_open>open": 1, "half_open>closed": 1})
    assert len(visits(service, "half-bad")) == 5 + 2


@pytest.mark.parametrize(("name", "fields"), [("half-left", []), ("half-late", ["x-request-timeout-ms: 100"])])
def test_a_probe_whose_client_leaves_says_nothing(
    proxy: Proxy, service: GoService, name: str, fields: list[str]
) -> None:
    """Its place goes to the next who asks, whether it left or had a deadline of its own."""
    trip_and_wait(proxy, name)
    with proxy.client() as leaving:
        leaving.ask("/hang", fields=of(name, *fields))
        eventually(lambda: len(visits(service, name)) == 5 + 1)
        if fields:
            assert leaving.read().status == 504
    eventually(lambda: not circuit(proxy, name)["probing"])
    assert state(proxy, name) == "half_open"
    assert statuses(in_turn(proxy, name, ["/hello"])) == [200]
    assert state(proxy, name) == "closed"


def test_a_stream_closes_it_as_it_begins(proxy: Proxy) -> None:
    """A probe that is an endless stream has succeeded once its head is there, and holds nobody up."""
    trip_and_wait(proxy, "half-stream")
    with proxy.client() as stream:
        stream.ask("/sse?n=0&every=20ms", fields=of("half-stream"))
        assert stream.read_head().status == 200
        assert statuses(in_turn(proxy, "half-stream", ["/hello"])) == [200]
        assert state(proxy, "half-stream") == "closed"
        assert stream.read_chunk()


def test_a_client_error_is_a_success(proxy: Proxy) -> None:
    """A 404 shows the service at work, to a probe as well."""
    trip_and_wait(proxy, "half-404")
    assert statuses(in_turn(proxy, "half-404", ["/status/404"])) == [404]
    assert state(proxy, "half-404") == "closed"


def test_shadow_goes_through_the_same_states(proxy: Proxy, service: GoService) -> None:
    """It opens, is tried and closes as if it were enforced, and everybody passes."""
    trip_and_wait(proxy, "half-shadow")
    would = shadows(proxy, "breaker")
    with clients(proxy, 5) as crowd:
        for client in crowd:
            client.ask("/hold/half-shadow", fields=of("half-shadow"))
        eventually(lambda: len(visits(service, "half-shadow")) == 5 + 5)
        assert state(proxy, "half-shadow") == "half_open"
        release(service, "half-shadow")
        assert statuses([client.read() for client in crowd]) == [200] * 5
    assert shadows(proxy, "breaker") == would + 4
    assert state(proxy, "half-shadow") == "closed"


# ── by hand


def by_hand(proxy: Proxy, action: str, name: str) -> tuple[int, dict[str, Any]]:
    """Open or close a circuit; the status and what else is said of it."""
    status, body = proxy.page(f"/breaker/{action}?circuit={quote(name)}", "POST")
    return status, json.loads(body)


def test_a_circuit_opened_by_hand_stays_open(proxy: Proxy, service: GoService) -> None:
    """Whatever its time is and however well the service is, until it is closed by hand."""
    trip_and_wait(proxy, "by-hand")
    assert by_hand(proxy, "open", "by-hand") == (200, {"circuit": "by-hand", "action": "open"})
    (answer,) = in_turn(proxy, "by-hand", ["/hello"])
    assert refused(answer, "by-hand")["detail"].endswith("opened by hand")
    found = circuit(proxy, "by-hand")
    assert (found["state"], found["manual"], found["seconds_to_half_open"]) == ("open", True, None)
    assert statuses(in_turn(proxy, "steady", ["/hello"])) == [200]
    assert by_hand(proxy, "close", "by-hand")[0] == 200
    assert statuses(in_turn(proxy, "by-hand", ["/hello"])) == [200]
    assert state(proxy, "by-hand") == "closed"
    assert len(visits(service, "by-hand")) == 5 + 1


def test_a_circuit_closed_by_hand_counts_anew(proxy: Proxy) -> None:
    """Closing needs no probe, and the failures before it are forgotten."""
    trip(proxy, "by-hand")
    by_hand(proxy, "close", "by-hand")
    assert statuses(in_turn(proxy, "by-hand", ["/status/500"] * 4 + ["/hello"])) == [500] * 4 + [200]


def test_the_upstreams_circuit_by_hand(proxy: Proxy) -> None:
    """It takes the whole service away, but from health probes."""
    by_hand(proxy, "open", "upstream")
    try:
        for name in ("steady", "unknown"):
            refused(in_turn(proxy, name, ["/hello"])[0], "upstream")
        assert statuses(in_turn(proxy, "steady", ["/hello"], PROBE)) == [200]
    finally:
        by_hand(proxy, "close", "upstream")
    assert statuses(in_turn(proxy, "steady", ["/hello"])) == [200]


@pytest.mark.parametrize(("name", "status", "reason"), [("", 400, "no_circuit"), ("nobodys", 404, "unknown_circuit")])
def test_circuits_that_are_none(proxy: Proxy, name: str, status: int, reason: str) -> None:
    """A circuit that does not exist is neither opened nor made, and a GET changes nothing."""
    for action in ("open", "close"):
        code, problem = by_hand(proxy, action, name)
        assert (code, problem["reason"]) == (status, reason)
        assert proxy.page(f"/breaker/{action}", "POST")[0] == 400
        assert proxy.page(f"/breaker/{action}?circuit=steady")[0] == 405
    assert "nobodys" not in policy(proxy, "breaker")
    assert state(proxy, "steady") == "closed"


# ── the way to the upstream


def test_an_upstream_that_refuses_connections() -> None:
    """Before it ever answered that opens nothing; afterwards it opens `upstream` for all, until it is seen again."""
    settings = {
        "breaker": {"open_for": "1h"},
        "timeouts": {"startup": "0s"},
        "health": {"interval": "50ms"},
        "routes": [route("first"), route("second")],
    }
    with mortal() as start:
        service = start()
        kill(service)
        with running(service.url, settings) as proxy, proxy.client() as client:
            assert not [answer for answer in gone(client, 12) if answer["X-Sidecar-Reason"] != "connect_failed"]
            assert state(proxy, "upstream") == "closed"
            service = start()
            assert statuses([client.get("/hello", *of("first"))]) == [200]
            kill(service)
            # All of one route, whose own circuit they say nothing of.
            assert statuses([client.get("/hello", *of("first")) for _ in range(5)]) == [502] * 5
            answers = gone(client, 2)
            assert 3600 - 30 <= refused(answers[-1], "upstream")["retry_after"] <= 4320
            refused(client.get("/status/204"), "upstream")
            assert client.get("/hello", PROBE)["X-Sidecar-Reason"] == "connect_failed"
            assert [state(proxy, name) for name in ("first", "second")] == ["closed"] * 2
            service = start()
            eventually(lambda: circuit(proxy, "upstream")["state"] == "half_open", "a health check to see it")
            assert client.get("/hello", *of("second")).status == 200
            assert state(proxy, "upstream") == "closed"
            assert transitions(proxy) == Counter({"closed>open": 1, "open>half_open": 1, "half_open>closed": 1})
            for event in ("circuit open", "circuit half-open", "circuit closed"):
                assert proxy.wait_event(event)["circuit"] == "upstream"


def gone(client: Client, count: int) -> list[Answer]:
    """The answers to so many requests of two routes in turn, while the upstream is not there."""
    return [client.get("/hello", *of(("first", "second")[number % 2])) for number in range(count)]
