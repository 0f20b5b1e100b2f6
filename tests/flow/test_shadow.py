"""Shadow mode: what would be refused is exactly what is refused where the same policy is enforced.

One trace of requests is played to the real stack twice, with the same timings to the microsecond, as time is virtual.
"""

from __future__ import annotations

import asyncio
import random
from random import Random
from typing import Any, NamedTuple

import pytest

from sidecar.exchange import Exchange, FixedBody, Response
from sidecar.headers import Headers
from sidecar.settings import Breaker, Concurrency, Rate, Route
from tests.flow.scene import QUIET, Scene
from tests.flow.virtual import travelling

# Whatever decides, by its name in notes and metrics, and the reasons that it refuses for.
REASONS = {
    "rate": {"rate_limited"},
    "concurrency": {"overloaded", "queue_timeout"},
    "breaker": {"circuit_open"},
}


class Ask(NamedTuple):
    """One request of a trace."""

    at: float  # seconds since its beginning
    path: str
    client: str
    takes: float  # seconds until the upstream answers
    status: int  # … with this


class Told(NamedTuple):
    """What became of a trace: requests by their places in it."""

    refused: dict[int, str]  # reason
    would: dict[int, set[str]]  # the policies that would have refused
    answered: dict[int, int]  # status
    counted: dict[str, float]  # sidecar_policy_shadow_total, by policy
    changes: list[tuple[str, str, str]]  # of circuits: which, from, to


async def play(trace: list[Ask], policies: dict[str, Any], routes: dict[str, Any]) -> Told:
    """Play it; `routes` are the policies of a route for all paths below /own."""
    random.seed(1)  # the jitter of circuits

    async def upstream(exchange: Exchange) -> Response:
        ask = trace[int(exchange.id)]
        await asyncio.sleep(ask.takes)
        return Response(ask.status, b"X", Headers(b"Content-Length: 2\r\n"), FixedBody(b"ok"))

    # What the route does not say is the sidecar's, as from a file.
    inherited = {name: (QUIET | policies)[name] for name in ("retry", "breaker", "deadline")}
    own = Route("own", "/own/{rest...}", **inherited | routes)
    async with Scene(upstream, policies={**policies, "routes": (own,)}) as scene:
        scene.pool.answered_once = True  # until then no failure counts
        began = scene.loop.time()
        for number, ask in enumerate(trace):
            await asyncio.sleep(max(0.0, began + ask.at - scene.loop.time()))
            head = [f"GET {ask.path} HTTP/1.1", "Host: a", "Connection: close", f"X-Request-ID: {number}", "", ""]
            scene.client(ask.client).ask("\r\n".join(head).encode())
        await scene.after(100)
        assert len(scene.book.ended) == len(trace)
        return told(scene)


def told(scene: Scene) -> Told:
    """What the exchanges and the metrics of a scene tell."""
    found = Told({}, {}, {}, {}, [])
    for exchange in scene.book.ended:
        number = int(exchange.id)
        would = {policy for _, policy, verdict, _ in exchange.notes if verdict == "would refuse"}
        if exchange.reason == "upstream":
            found.answered[number] = exchange.status
        else:
            found.refused[number] = exchange.reason
        if would:
            found.would[number] = would
    (shadows,) = (family for family in scene.book.metrics.snapshot() if family.name == "sidecar_policy_shadow_total")
    found.counted.update(
        {str(labels[0]): count for labels, count in shadows.rows if isinstance(count, float) and count}
    )
    for event, fields in scene.book.told:
        if event.startswith("circuit "):
            found.changes.append((fields["circuit"], fields["was"], event))
    return found


def recorded(seed: int, count: int = 300, failing: float = 0.35) -> list[Ask]:
    """A trace with quiet and with crowded times, and an upstream that has good and bad ones."""
    chance = Random(seed)
    at, trace, bad = 0.0, [], False
    for number in range(count):
        if number % 20 == 0:
            pause, bad = chance.choice([0.005, 0.02, 0.1]), chance.random() < failing
        at += chance.expovariate(1 / pause)
        path = chance.choice(["/own/a", "/own/b", "/b", "/c/17"])
        client = chance.choice(["192.0.2.1", "192.0.2.2", "192.0.2.3"])
        status = chance.choice([500, 503, 500, 200]) if bad else chance.choice([200, 200, 200, 404, 502])
        trace.append(Ask(at, path, client, chance.uniform(0.001, 0.3), status))
    return trace


def bursts(seed: int, cap: int, count: int = 20) -> list[Ask]:
    """Bursts of more than there is room for, and a wait after each.

    Those that have a place at once take either less than others wait for one, or longer than all; those that come
    after them take long. Else it would matter when they began, and in shadow mode nobody waits.
    """
    chance = Random(seed)
    trace = []
    for burst in range(count):
        for number in range(chance.randint(1, 4 * cap)):
            at = burst * 10 + number * 0.001 + chance.uniform(0, 0.0005)
            takes = chance.choice([chance.uniform(0.1, 0.9), 5.0]) if number < cap else chance.uniform(3.0, 5.0)
            trace.append(Ask(at, "/own/a", "192.0.2.1", takes, 200))
    return trace


# Name, a policy of the sidecar's or of the route's, and who it belongs to.
RULES: dict[str, tuple[str, Any, str]] = {
    "rate": ("rate", Rate(limit=12.0, burst=4), "sidecar"),
    "rate by client": ("rate", Rate(limit=5.0, burst=2, key="client"), "sidecar"),
    "rate, few keys": ("rate", Rate(limit=3.0, burst=2, key="client", max_keys=2), "sidecar"),
    "rate with a wait": ("rate", Rate(limit=12.0, burst=2, wait=0.2), "sidecar"),
    "rate of a route": ("rate", Rate(limit=6.0, burst=2), "own"),
    "concurrency": ("concurrency", Concurrency(max=4, queue_wait=0.0), "sidecar"),
    "concurrency, adaptive": (
        "concurrency",
        Concurrency(max=6, min=2, adaptive=True, queue_wait=0.0),
        "sidecar",
    ),
    "concurrency of a route": ("concurrency", Concurrency(max=2, queue_wait=0.0), "own"),
    "breaker": ("breaker", Breaker(failures=3, open_for=0.5), "sidecar"),
    "breaker by share": ("breaker", Breaker(failures=0, ratio=0.4, requests=10, window=2.0, open_for=0.3), "sidecar"),
    "breaker with a ramp": ("breaker", Breaker(failures=3, open_for=0.3, ramp=1.0), "sidecar"),
    "breaker, slow": ("breaker", Breaker(failures=4, slow=0.15, open_for=0.4), "sidecar"),
    "breaker of a route": ("breaker", Breaker(failures=3, open_for=0.5), "own"),
}


def by(rules: list[tuple[str, Any, str]], mode: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """These rules in this mode: the sidecar's, and the route's."""
    found: dict[str, dict[str, Any]] = {"sidecar": {}, "own": {}}
    for policy, settings, owner in rules:
        found[owner][policy] = type(settings)(**{**_values(settings), "mode": mode})
    found["sidecar"].setdefault("concurrency", Concurrency(max=0))
    found["own"].setdefault("concurrency", Concurrency(max=0))
    return found["sidecar"], found["own"]


def _values(settings: Any) -> dict[str, Any]:
    return {name: getattr(settings, name) for name in settings.__struct_fields__}


def agree(policy: str, enforced: Told, shadow: Told, trace: list[Ask]) -> None:
    """What shadow mode would have refused is what was refused; and it refused nothing."""
    assert set(enforced.refused.values()) <= REASONS[policy]
    assert 20 < len(enforced.refused) < len(trace) - 20, "the trace puts it to the test"
    assert {number for number, policies in shadow.would.items() if policy in policies} == enforced.refused.keys()
    assert shadow.counted[policy] == len(enforced.refused)
    assert shadow.refused == {}
    assert shadow.answered == {number: ask.status for number, ask in enumerate(trace)}
    assert (enforced.would, enforced.counted) == ({}, {})
    if policy == "breaker":
        assert shadow.changes == enforced.changes


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("name", RULES)
@travelling
async def test_shadow_is_what_enforce_would_be(name: str, seed: int) -> None:
    """Request by request, for each policy by itself."""
    rule, trace = RULES[name], recorded(seed)
    enforced = await play(trace, *by([rule], "enforce"))
    shadow = await play(trace, *by([rule], "shadow"))
    assert all(policies == {rule[0]} for policies in shadow.would.values())
    agree(rule[0], enforced, shadow, trace)


@pytest.mark.parametrize("seed", [1, 2])
@travelling
async def test_a_queue_in_shadow_mode(seed: int) -> None:
    """Who would have waited in vain, or found the queue full, would be refused; who would have had a place is not."""
    trace = bursts(seed, cap=3)
    rule = "concurrency", Concurrency(max=3, queue_wait=1.0), "sidecar"
    enforced = await play(trace, *by([rule], "enforce"))
    shadow = await play(trace, *by([rule], "shadow"))
    assert set(enforced.refused.values()) == {"overloaded", "queue_timeout"}
    agree("concurrency", enforced, shadow, trace)


@pytest.mark.parametrize("seed", [1, 2])
@travelling
async def test_all_in_shadow_mode(seed: int) -> None:
    """Together they tell what each would do by itself, as none of them takes anything from the others."""
    trace = recorded(seed)
    rules = [RULES[name] for name in ("rate", "concurrency", "breaker", "rate of a route", "concurrency of a route")]
    shadow = await play(trace, *by(rules[:3], "shadow"))
    for rule in rules[:3]:
        agree(rule[0], await play(trace, *by([rule], "enforce")), shadow, trace)
    assert shadow.counted.keys() == REASONS.keys()
