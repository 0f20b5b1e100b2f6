"""Rate limits of the running program: who is admitted, what the others are told, and that what they are told is true.

Most limits give one token an hour, so that only the burst counts however slow the machine is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import datetime
from time import monotonic, sleep
from typing import Any, NamedTuple

import pytest

from tests.support.client import Answer
from tests.support.processes import GoService, Proxy
from tests.support.waiting import eventually
from tests.throttle.redis_server import RedisServer
from tests.wire.policies import (
    PROBE,
    Load,
    at_once,
    clients,
    decisions,
    figure,
    in_turn,
    of,
    policy,
    refusal,
    route,
    running,
    shadows,
    statuses,
    visits,
)

TRUSTED = "127.0.0.0/8"


class Case(NamedTuple):
    """Requests with these header lines, one after the other, and which of them are admitted."""

    name: str
    rate: dict[str, Any]
    sent: list[list[str]]
    admitted: list[bool]
    trusting: bool = False


def key(*values: str) -> list[list[str]]:
    """Requests with these values of the header that the limit goes by."""
    return [[f"X-Api-Key: {value}"] for value in values]


def by(*values: str) -> list[list[str]]:
    """Requests for these clients, by what the proxy before says."""
    return [[f"X-Forwarded-For: {value}"] for value in values]


def yes(pattern: str) -> list[bool]:
    """One for each letter: + is admitted."""
    return [letter == "+" for letter in pattern]


ONE = {"limit": "1/h", "burst": 1}
TWO = {"limit": "1/h", "burst": 2}
CLIENT = {"key": "client"}
HEADER = {"key": "header:X-Api-Key"}

CASES = [
    Case("burst", {"limit": "1/h", "burst": 5}, [[]] * 8, yes("+++++---")),
    Case("burst-unset", {"limit": "1/h"}, [[]] * 3, yes("+--")),
    Case("no-limit", {"limit": "0", "burst": 1}, [[]] * 4, yes("++++")),
    Case("off", ONE | {"mode": "off"}, [[]] * 4, yes("++++")),
    Case("shadow", ONE | {"mode": "shadow"}, [[]] * 4, yes("++++")),
    # by header
    Case("header", TWO | HEADER, key("a", "a", "a", "b", "b", "b", "a"), yes("++-++--")),
    Case("header-none", TWO | HEADER, [*key("a"), [], [], [], *key("a")], yes("+++-+")),
    Case("header-name", TWO | {"key": "header:x-api-KEY"}, key("a", "a", "a"), yes("++-")),
    Case("header-long", ONE | HEADER, key("k" * 500, "k" * 499 + "l", "k" * 500), yes("++-")),
    Case("keys-full", ONE | HEADER | {"max_keys": 2}, key("a", "b", "c", "d", "e", "a"), yes("+++---")),
    # by client: nobody speaks for others unless he is trusted
    Case("client", TWO | CLIENT, [[]] * 3, yes("++-")),
    Case("untrusted", ONE | CLIENT, by("192.0.2.1", "192.0.2.2", "2001:db8::1"), yes("+--")),
    Case("trusted", ONE | CLIENT, by(*["192.0.2.1", "192.0.2.2"] * 2), yes("++--"), trusting=True),
    Case("spoofed", ONE | CLIENT, by("192.0.2.7, 192.0.2.8", "192.0.2.9, 192.0.2.8"), yes("+-"), trusting=True),
    Case("hops", ONE | CLIENT, by("192.0.2.8", "192.0.2.8, 127.0.0.9"), yes("+-"), trusting=True),
    Case("nonsense", ONE | CLIENT, by("who, knows", "what"), yes("+-"), trusting=True),
    Case("ipv6-64", ONE | CLIENT, by("2001:db8::1", "2001:db8:0:0:9::9", "2001:db8:0:1::1"), yes("+-+"), trusting=True),
    Case("ipv4-mapped", ONE | CLIENT, by("192.0.2.1", "::ffff:192.0.2.1", "::ffff:192.0.2.2"), yes("+-+"), True),
]

# Limits that give tokens back, and the most seconds that a client may be told to stay away. With `wait` one who comes
# earlier than his token is let in, and stands in line for it.
TIMES: list[tuple[str, dict[str, Any], int]] = [
    ("time-1", {"limit": "60/m", "burst": 3}, 1),
    ("time-2", {"limit": "45/m", "burst": 1}, 2),
    ("time-wait", {"limit": "30/m", "burst": 1, "wait": "1s"}, 1),
]

SMOOTH = {
    "smooth": {"limit": "25/s", "burst": 1, "wait": "20s"},
    "smooth-full": {"limit": "30/m", "burst": 1, "wait": "3s"},
    "smooth-left": {"limit": "6/m", "burst": 1, "wait": "60s"},
    "smooth-late": {"limit": "6/m", "burst": 1, "wait": "60s"},
}


@pytest.fixture(scope="module")
def plain(service: GoService) -> Iterator[Proxy]:
    """All cases but those that need trust."""
    routes = [route(case.name, rate=case.rate) for case in CASES if not case.trusting]
    routes += [route(name, rate=rate) for name, rate, _ in TIMES]
    routes.append(route("time-slow", rate=ONE))
    routes += [route(name, rate=rate) for name, rate in SMOOTH.items()]
    with running(service.url, {"routes": routes}) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def trusting(service: GoService) -> Iterator[Proxy]:
    """Those: the tests are the proxy in front of it."""
    routes = [route(case.name, rate=case.rate) for case in CASES if case.trusting]
    with running(service.url, {"routes": routes}, "--trusted-proxies", TRUSTED) as proxy:
        yield proxy


def limiter(proxy: Proxy, scope: str) -> dict[str, Any]:
    """What /status says of a limit."""
    (found,) = [limit for limit in policy(proxy, "rate") if limit["scope"] == scope]
    return dict(found)


def refused(answer: Answer, scope: str) -> dict[str, Any]:
    """The problem of a refusal by this limit, which its header fields tell as well."""
    problem = refusal(answer, 429, "rate_limited")
    assert problem["scope"] == scope
    assert problem["remaining"] == 0
    assert answer["RateLimit"] == f'"{scope}";r=0;t={problem["retry_after"]}'
    assert answer["RateLimit-Policy"].startswith(f'"{scope}";q=')
    assert "Connection" not in answer, "the connection is as good as before"
    return problem


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_who_is_admitted(case: Case, plain: Proxy, trusting: Proxy, service: GoService) -> None:
    """A burst of each key is admitted and no more; what is refused never reaches the service, and is counted."""
    proxy = trusting if case.trusting else plain
    would = shadows(proxy, "rate")
    with proxy.client() as client:
        answers = [client.get("/hello", *of(case.name, *fields)) for fields in case.sent]
    assert [answer.status == 200 for answer in answers] == case.admitted
    assert visits(service, case.name) == ["/hello"] * sum(case.admitted)
    for answer, admitted in zip(answers, case.admitted, strict=True):
        if not admitted:
            problem = refused(answer, case.name)
            assert (problem["limit"], problem["burst"]) == ("1/h", case.rate.get("burst", 1))
            assert problem["key"] == case.rate.get("key", "none")
            assert answer["RateLimit-Policy"] == f'"{case.name}";q={problem["burst"]};w={3600 * problem["burst"]}'
            assert 3500 < problem["retry_after"] <= 3600
    counted = decisions(proxy, f"rate.{case.name}")
    if case.name in ("off", "no-limit"):
        assert counted == {}
    elif case.name == "shadow":
        assert counted == {"admitted": 1}
        assert shadows(proxy, "rate") - would == 3
    else:
        assert counted == {"admitted": sum(case.admitted), "refused": case.admitted.count(False)}
        assert shadows(proxy, "rate") == would


def test_the_values_of_keys_are_told_to_nobody(plain: Proxy) -> None:
    """What a limit by header keeps apart may be secrets: they are in no answer, metric, status or log."""
    secret = "s3cr3t-k3y"
    with plain.client() as client:
        answers = [client.get("/hello", *of("header", f"X-Api-Key: {secret}")) for _ in range(3)]
    assert statuses(answers) == [200, 200, 429]
    told = [
        answers[-1].head + answers[-1].body,
        *(plain.page(page)[1] for page in ("/metrics", "/status", "/requests")),
    ]
    eventually(lambda: len(plain.out.raw) >= 3)
    assert not [text for text in (*told, *plain.out.raw, *plain.err.raw) if secret.encode() in text]


def test_a_limit_in_the_status(plain: Proxy) -> None:
    """/status has each limit with what is left of it; one that is off is not there."""
    in_turn(plain, "burst-unset", ["/hello"])
    found = limiter(plain, "burst-unset")
    assert (found["limit"], found["burst"], found["remaining"], found["waiting"]) == ("1/h", 1, 0, 0)
    in_turn(plain, "header-name", ["/hello"], "X-Api-Key: status")
    assert limiter(plain, "header-name")["keys"] >= 1
    scopes = {limit["scope"] for limit in policy(plain, "rate")}
    assert "shadow" in scopes
    assert not scopes & {"off", "no-limit"}


def until_refused(proxy: Proxy, case: str) -> Answer:
    """The first refusal, however many tokens came back meanwhile."""
    with proxy.client() as client:
        for _ in range(50):
            answer = client.get("/hello", *of(case))
            if answer.status != 200:
                return answer
    raise AssertionError(f"{case} refuses nothing")


def test_retry_after_is_true(plain: Proxy) -> None:
    """Who comes back after Retry-After is admitted; it is no longer than need be, and shrinks as time passes."""
    slow = refused(until_refused(plain, "time-slow"), "time-slow")["retry_after"]
    told = {}
    for name, _, most in TIMES:
        told[name] = refused(until_refused(plain, name), name)["retry_after"]
        assert told[name] <= most
    began = monotonic()
    for name in sorted(told, key=lambda name: told[name]):
        sleep(max(0.0, began + told[name] - monotonic()))
        assert statuses(in_turn(plain, name, ["/hello"])) == [200], name
    assert refused(until_refused(plain, "time-slow"), "time-slow")["retry_after"] < slow


# ── waiting for one's turn


def has_come(proxy: Proxy, service: GoService, case: str, count: int) -> None:
    """Wait until so many requests stand in line or were served: before the next is sent, as their order matters."""
    eventually(lambda: limiter(proxy, case)["waiting"] + len(visits(service, case)) >= count)


def test_smoothing_serves_all_in_order_and_spread(plain: Proxy, service: GoService) -> None:
    """With `wait` a burst is served whole, in its order, at the pace of the limit."""
    count = 10
    with clients(plain, count) as crowd:
        for number, client in enumerate(crowd):
            client.ask(f"/items/{number}", fields=of("smooth"))
            has_come(plain, service, "smooth", number + 1)
        assert statuses([client.read() for client in crowd]) == [200] * count
    assert visits(service, "smooth") == [f"/items/{number}" for number in range(count)]
    starts = [datetime.fromisoformat(visit["started"]) for visit in service.record("smooth")]
    assert (starts[-1] - starts[0]).total_seconds() > (count - 1) / 25 - 0.02
    assert decisions(plain, "rate.smooth") == {"admitted": 1, "waited": count - 1}


def test_who_would_wait_too_long_is_refused_at_once(plain: Proxy, service: GoService) -> None:
    """With a token every two seconds and patience for three, the first is served, the second waits, the third goes."""
    with clients(plain, 3) as (first, second, third):
        assert first.get("/hello", *of("smooth-full")).status == 200
        second.ask("/hello", fields=of("smooth-full"))
        eventually(lambda: limiter(plain, "smooth-full")["waiting"] == 1)
        answer = third.get("/hello", *of("smooth-full"))
        assert limiter(plain, "smooth-full")["waiting"] == 1, "while the second still waits"
        assert refused(answer, "smooth-full")["retry_after"] == 1
        assert second.read().status == 200
    assert len(visits(service, "smooth-full")) == 2


def test_nobody_waits_past_his_deadline(plain: Proxy, service: GoService) -> None:
    """A turn that would come after the client's own deadline is not waited for."""
    assert statuses(in_turn(plain, "smooth-late", ["/hello"])) == [200]
    (answer,) = in_turn(plain, "smooth-late", ["/hello"], "x-request-timeout-ms: 9000")
    assert refused(answer, "smooth-late")
    assert limiter(plain, "smooth-late")["waiting"] == 0
    assert len(visits(service, "smooth-late")) == 1


def test_who_leaves_the_line_gives_up_his_turn(plain: Proxy, service: GoService) -> None:
    """His request never reaches the service, and nobody waits for longer because of him."""
    with clients(plain, 2) as (first, second):
        for number, client in enumerate((first, second)):
            client.ask("/hello", fields=of("smooth-left"))
            has_come(plain, service, "smooth-left", number + 1)
        first.read()
        second.close()
        eventually(lambda: limiter(plain, "smooth-left")["waiting"] == 0)
        (answer,) = in_turn(plain, "smooth-left", ["/hello"], "x-request-timeout-ms: 5000")
        assert refused(answer, "smooth-left")["retry_after"] <= 6, "of ten seconds, five could have been waited"
    assert len(visits(service, "smooth-left")) == 1
    assert decisions(plain, "rate.smooth-left") == {"admitted": 1, "left": 1, "refused": 1}


def test_a_drain_loses_nobody_who_waits(service: GoService) -> None:
    """Who stands in line at SIGTERM is served in his turn before the sidecar leaves."""
    rate = {"limit": "2/s", "burst": 1, "wait": "20s"}
    with running(service.url, {"rate": rate}) as proxy:
        assert limiter(proxy, "sidecar")["waiting"] == 0
        with clients(proxy, 4) as crowd:
            for client in crowd:
                client.ask("/hello", fields=of("drained"))
            eventually(lambda: limiter(proxy, "sidecar")["waiting"] > 0)
            proxy.signal()
            assert statuses([client.read() for client in crowd]) == [200] * 4
        assert proxy.wait() == 0
        (report,) = proxy.events("drained")
        assert report["finished"] == report["in_flight_at_start"] > 0
        assert report["cut"] == 0
    assert len(visits(service, "drained")) == 4


# ── the whole sidecar's


def test_a_route_has_its_limit_on_top_of_the_sidecars(service: GoService) -> None:
    """Both must admit: a route's own limit holds it below the sidecar's, which holds for all together."""
    settings = {
        "rate": {"limit": "1/h", "burst": 8},
        "routes": [route("top-own", rate=TWO), route("top-free")],
    }
    with running(service.url, settings) as proxy:
        answers = in_turn(proxy, "top-own", ["/hello"] * 3)
        assert statuses(answers) == [200, 200, 429]
        refused(answers[-1], "top-own")
        rest = in_turn(proxy, "top-free", ["/hello"] * 8)
        assert statuses(rest).count(200) == 6
        refused(rest[-1], "sidecar")
        refused(in_turn(proxy, "top-none", ["/hello"])[0], "sidecar")
        assert len(visits(service, "top-own")) == 2
        assert len(visits(service, "top-free")) == statuses(rest).count(200)
        assert decisions(proxy, "rate.top-own")["refused"] == 1
        assert decisions(proxy, "rate")["refused"] == statuses(rest).count(429) + 1
        assert figure(proxy, "sidecar_answers_total", reason="rate_limited") == statuses(rest).count(429) + 2


def test_probes_spend_nothing(service: GoService) -> None:
    """A health probe is neither refused nor counted, nor does it take a token, by its agent or by its path."""
    flags = ("--rate-limit", "1/h", "--rate-burst", "2")
    with running(service.url, {"probes": {"paths": ["/status/204"]}}, *flags) as proxy:
        assert statuses(in_turn(proxy, "probes", ["/hello"] * 5, PROBE)) == [200] * 5
        assert statuses(in_turn(proxy, "probes", ["/status/204"] * 5)) == [204] * 5
        assert statuses(in_turn(proxy, "probes", ["/hello"] * 3)) == [200, 200, 429]
        assert statuses(in_turn(proxy, "probes", ["/hello"] * 2, PROBE)) == [200] * 2
        assert statuses(in_turn(proxy, "probes", ["/status/204"])) == [204]
        # Only who begins so, and only exactly that path.
        assert statuses(in_turn(proxy, "probes", ["/hello"], "User-Agent: not kube-probe/1.30")) == [429]
        assert statuses(in_turn(proxy, "probes", ["/status/204/"])) == [429]
        assert decisions(proxy, "rate") == {"admitted": 2, "refused": 3}
        assert figure(proxy, "sidecar_answers_total", reason="upstream") == 2


# ── one limit for two


SHARED = {
    "both": {"limit": "1/h", "burst": 10},
    "both-keys": {"limit": "1/h", "burst": 2, **HEADER},
    "both-apart": {"limit": "1/h", "burst": 10},
    "both-loaded": {"limit": "100000/s", "burst": 1_000_000},
    "both-shadow": {"limit": "1/h", "burst": 1, "mode": "shadow"},
}

GONE = "redis is away: shared limits hold for each replica alone"
BACK = "redis is back: limits are shared again"


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    """A Redis."""
    with RedisServer() as server:
        yield server


@pytest.fixture(scope="module")
def pair(service: GoService, server: RedisServer) -> Iterator[list[Proxy]]:
    """Two replicas that share their limits in it."""
    settings = {
        # Longer than this machine is ever busy with something else: it is away only when the test has it so.
        "redis": {"url": server.url, "timeout": "400ms", "replicas": 2},
        "routes": [route(name, rate=rate | {"shared": True}) for name, rate in SHARED.items()],
    }
    with ExitStack() as stack:
        proxies = [stack.enter_context(running(service.url, settings)) for _ in range(2)]
        eventually(lambda: {limiter(proxy, "both")["redis"] for proxy in proxies} == {"connected"})
        yield proxies


def test_two_replicas_share_a_limit(pair: list[Proxy], service: GoService) -> None:
    """Ten of thirty requests to either of two replicas are admitted, and a client is told the same by both."""
    answers = [answer for proxy in pair for _ in range(5) for answer in at_once(proxy, "both", 3)]
    assert sorted(statuses(answers)) == [200] * 10 + [429] * 20
    assert len(visits(service, "both")) == 10
    counted = [decisions(proxy, "rate.both") for proxy in pair]
    assert sum(count.get("admitted", 0) for count in counted) == 10
    for proxy in pair:
        problem = refused(in_turn(proxy, "both", ["/hello"])[0], "both")
        assert (problem["limit"], problem["burst"]) == ("1/h", 10)
        assert 3500 < problem["retry_after"] <= 3600


def test_two_replicas_share_each_keys_limit(pair: list[Proxy], server: RedisServer) -> None:
    """Each key has its bucket in both, and none is spelt out where others can read it."""
    for secret in ("s3cret-one", "s3cret-two"):
        answers = [in_turn(proxy, "both-keys", ["/hello"], f"X-Api-Key: {secret}")[0] for proxy in pair * 2]
        assert statuses(answers) == [200, 200, 429, 429]
    assert server.tell("KEYS *both-keys*") == "*2"
    assert server.tell("KEYS *s3cret*") == "*0"


def test_a_shared_limit_in_shadow(pair: list[Proxy], service: GoService) -> None:
    """It asks Redis as ever, refuses nobody, and counts whom it would have refused."""
    for proxy in pair:
        assert statuses(in_turn(proxy, "both-shadow", ["/hello"] * 2)) == [200, 200]
    assert sum(shadows(proxy, "rate") for proxy in pair) == 3
    assert len(visits(service, "both-shadow")) == 4


def test_requests_go_on_while_redis_comes_and_goes(pair: list[Proxy], server: RedisServer) -> None:
    """Killed, stopped and restarted under load, Redis costs no request more than a moment; each outage is told once."""
    with Load(pair * 3, "both-loaded") as load:
        load.goes_on()
        outage(pair, server.kill, server.start, 1)
        outage(pair, server.halt, server.go_on, 2)
    assert not load.faults
    assert {told.status for told in load.told} == {200}
    assert max(told.seconds for told in load.told) < 5
    for proxy in pair:
        assert [len(proxy.events(GONE)), len(proxy.events(BACK))] == [2, 2]
        assert limiter(proxy, "both-loaded")["outages"] == 2


def outage(pair: list[Proxy], begin: Callable[[], None], end: Callable[[], None], number: int) -> None:
    """Redis goes, each replica limits by itself, Redis comes back, and they share again."""
    begin()
    for proxy in pair:
        assert proxy.wait_event(GONE, number)["why"]
        assert limiter(proxy, "both-loaded")["redis"] == "away"
    before = counts(pair)
    away = eventually(lambda: grown(pair, before, "fallback_admitted"))
    assert [count["admitted"] for count in away] == [count["admitted"] for count in before]
    end()
    for proxy in pair:
        proxy.wait_event(BACK, number)
    eventually(lambda: grown(pair, away, "admitted"))


def counts(pair: list[Proxy]) -> list[dict[str, int]]:
    """What each has decided of the load."""
    return [decisions(proxy, "rate.both-loaded") for proxy in pair]


def grown(pair: list[Proxy], before: list[dict[str, int]], decision: str) -> list[dict[str, int]]:
    """The same, once each has decided so again; until then nothing."""
    now = counts(pair)
    more = [later.get(decision, 0) > earlier.get(decision, 0) for earlier, later in zip(before, now, strict=True)]
    return now if all(more) else []


def test_without_redis_each_replica_grants_its_part(pair: list[Proxy], server: RedisServer, service: GoService) -> None:
    """While Redis is away each of two replicas grants half of the limit, and refuses with the same words."""
    outages = [len(proxy.events(GONE)) for proxy in pair]
    server.kill()
    for proxy, number in zip(pair, outages, strict=True):
        answers = in_turn(proxy, "both-apart", ["/hello"] * 7)
        assert statuses(answers) == [200] * 5 + [429] * 2
        problem = refused(answers[-1], "both-apart")
        assert problem["burst"] == 5
        assert decisions(proxy, "rate.both-apart") == {"fallback_admitted": 5, "fallback_refused": 2}
        proxy.wait_event(GONE, number + 1)
    assert len(visits(service, "both-apart")) == 10
    server.start()
    for proxy, number in zip(pair, outages, strict=True):
        proxy.wait_event(BACK, number + 1)
    assert statuses(at_once(pair[0], "both-apart", 12)).count(200) == 10, "in Redis nothing of it was spent"


def test_a_start_without_redis(service: GoService) -> None:
    """A replica that finds no Redis starts all the same, limits by itself, and shares as soon as there is one."""
    with RedisServer() as server:
        server.kill()
        settings = {
            "redis": {"url": server.url, "timeout": "400ms"},
            "rate": {"limit": "1/h", "burst": 3, "shared": True},
        }
        with running(service.url, settings) as proxy:
            answers = in_turn(proxy, "alone", ["/hello"] * 5)
            assert statuses(answers) == [200] * 3 + [429] * 2
            refused(answers[-1], "sidecar")
            assert proxy.page("/readyz")[0] == 200
            proxy.wait_event(GONE)
            server.start()
            proxy.wait_event(BACK)
            assert statuses(in_turn(proxy, "alone", ["/hello"] * 4)) == [200] * 3 + [429]
            assert [len(proxy.events(GONE)), len(proxy.events(BACK))] == [1, 1]
            assert decisions(proxy, "rate") == {
                "fallback_admitted": 3,
                "fallback_refused": 2,
                "admitted": 3,
                "refused": 1,
            }
    assert len(visits(service, "alone")) == 6
