"""What each policy of this proxy costs: the small response through it with none, with one more, and with all.

Each variant is the same proxy with another settings file, such as a user would write. All of them are measured in one
run, and each is compared to the one without policies within the same round.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bench.ground import Ground
from bench.load import Scenario, require_wrk
from bench.peers import Limits, Peer, Settings, start_peer, with_settings
from bench.rounds import LoadBench, Rounds

NONE = "none"
AGAIN = "none again"  # what it seems to cost to do the same: as little as can be told apart
ALL = "all"

# The same answer as /hello, by a path that is a template's.
SMALL = Scenario("policies", "policies: small JSON response, 32 connections", "/items/42", 32)

# The differences are small. So rounds are short, that the machine changes little within one, and more than elsewhere,
# that none counts for much.
SECONDS = 1
MORE_ROUNDS = 2

_OFF = {name: {"mode": "off"} for name in ("rate", "concurrency", "guard", "deadline", "retry", "breaker")}
_LIMITS = Limits()
_RATE = {"limit": f"{_LIMITS.rate}/s", "burst": _LIMITS.burst}
_ROUTES = [
    {"name": "hello", "path": "/hello"},
    {"name": "uploads", "path": "/uploads/{rest...}"},
    {"name": "items", "path": "/items/{id}"},
]

ONE_MORE: dict[str, Settings] = {
    "rate": {"rate": _RATE},
    "rate by client": {"rate": {**_RATE, "key": "client"}},
    "concurrency": {"concurrency": {"max": _LIMITS.concurrency}},
    "guard": {"guard": {"mode": "enforce"}},
    "deadline": {"deadline": {"mode": "enforce"}},
    "retry": {"retry": {"attempts": _LIMITS.retries}},
    "breaker": {"breaker": {"failures": _LIMITS.failures}},
    "three routes": {"routes": _ROUTES},
}
"""What each has that ``NONE`` has not. Without a mode, a policy that is named is enforced."""

VARIANTS = (
    with_settings(NONE, _OFF),
    with_settings(AGAIN, _OFF),
    *(with_settings(name, {**_OFF, **more}) for name, more in ONE_MORE.items()),
    with_settings(ALL, {"rate": _RATE}),
)


def measure_policies(others: Sequence[Peer], ground: Ground, rounds: int, say: Callable[[str], None]) -> Rounds:
    """Measure the variants, and *others* beside them, in ``MORE_ROUNDS`` times so many rounds."""
    bench = LoadBench(require_wrk(), ground.cpus, rounds * MORE_ROUNDS, SECONDS, say)
    running = [start_peer(peer, ground) for peer in (*VARIANTS, *others)]
    seen = bench.run([SMALL], running)[SMALL]
    for one in running:
        ground.children.stop(one.process)
    return seen
