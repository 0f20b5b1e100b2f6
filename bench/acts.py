"""``python -m bench.acts``: each policy of each peer is seen to act once, under the same template with low numbers.

A bench against policies that are written down but do nothing would flatter us.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from bench.children import BenchError
from bench.choices import add_peers_option, present
from bench.ground import Ground, prepared
from bench.net import Answer, fetch
from bench.peers import ENVOY, SIDECAR, USUAL, Limits, Peer, Running, start_peer
from bench.report import table
from bench.service import Service


class DidNotActError(Exception):
    """A policy that should have acted did not; the message says what was seen instead."""


@dataclass(frozen=True)
class Act:
    """One policy: the limits to start a peer with, and what to do to it; ``see`` returns what was observed."""

    policy: str
    limits: Limits
    see: Callable[[Running, Service], str]


def _rate_limit(running: Running, _service: Service) -> str:
    answers = [fetch(running.place.port, "/hello") for _ in range(30)]
    seen = Counter(answer.status for answer in answers)
    if not seen[429] or not seen[200]:
        raise DidNotActError(f"30 quick requests: {dict(seen)}")
    return f"{seen[429]} of 30 quick requests: 429{_reason(running, answers, {'rate_limited'})}"


def _overload(running: Running, _service: Service) -> str:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: fetch(running.place.port, "/sleep/500ms"), range(8)))
    seen = Counter(answer.status for answer in answers)
    if not seen[503] or not seen[200]:
        raise DidNotActError(f"8 requests at once: {dict(seen)}")
    return f"{seen[503]} of 8 requests at once: 503{_reason(running, answers, {'overloaded', 'queue_timeout'})}"


def _timeout(running: Running, _service: Service) -> str:
    began = time.perf_counter()
    answer = fetch(running.place.port, "/sleep/5s")
    took = time.perf_counter() - began
    if answer.status != 504:
        raise DidNotActError(f"a slow answer: {answer.status} after {took:.1f} s")
    return f"504 after {took:.1f} s"


def _retry(running: Running, service: Service) -> str:
    name = _new_id()
    answer = fetch(running.place.port, f"/flaky/{name}", headers={"X-Request-ID": name})
    visits = _visits(service, name)
    if answer.status != 200 or visits != 2:
        raise DidNotActError(f"first 503, then 200: {answer.status} after {visits} attempts")
    return f"503 upstream, tried again: 200 after {visits} attempts"


def _breaker(running: Running, service: Service) -> str:
    path = f"/flaky/{_new_id()}?failures=1000"
    for number in range(1, 21):
        name = _new_id()
        answer = fetch(running.place.port, path, headers={"X-Request-ID": name})
        if _visits(service, name) == 0:
            own_word = _reason(running, [answer], {"circuit_open"}) + _ejections(running)
            return f"failing upstream: request {number} got {answer.status}, was not sent{own_word}"
    raise DidNotActError("20 failing requests were all sent upstream")


def _reason(running: Running, answers: Sequence[Answer], reasons: set[str]) -> str:
    """This proxy's own word for why it refused: one of *reasons*, or it was for something else."""
    if running.name != SIDECAR.name:
        return ""
    told = {answer.headers.get("x-sidecar-reason", "none") for answer in answers if answer.status != 200}
    if not told <= reasons:
        raise DidNotActError(f"refused for {sorted(told)}")
    return f", {' or '.join(sorted(told))}"


def _ejections(running: Running) -> str:
    """Envoy's own word for it."""
    if running.name != ENVOY.name:
        return ""
    stats = fetch(running.place.admin, "/stats?filter=outlier_detection.ejections_active").body.decode().split()
    if stats[-1:] != ["1"]:
        raise DidNotActError(f"no active ejection: {stats}")
    return ", ejected"


def _request_id(running: Running, _service: Service) -> str:
    made = fetch(running.place.port, "/headers")
    name = _new_id()
    kept = fetch(running.place.port, "/headers", headers={"X-Request-ID": name})
    if not _upstream_ids(made)[0] or made.headers.get("x-request-id") != _upstream_ids(made)[0]:
        raise DidNotActError(f"upstream saw {_upstream_ids(made)}, the client {made.headers.get('x-request-id')}")
    if _upstream_ids(kept) != [name]:
        raise DidNotActError(f"sent {name}, upstream saw {_upstream_ids(kept)}")
    return "made, kept, seen upstream, echoed"


def _forwarded_for(running: Running, _service: Service) -> str:
    headers = json.loads(fetch(running.place.port, "/headers").body)["headers"]
    if "X-Forwarded-For" not in headers:
        raise DidNotActError(f"upstream saw only {sorted(headers)}")
    return f"upstream saw {headers['X-Forwarded-For'][0]}"


def _log_line(running: Running, _service: Service) -> str:
    name = _new_id()
    fetch(running.place.port, "/hello", headers={"X-Request-ID": name})
    deadline = time.monotonic() + 15  # Envoy writes its log every ten seconds
    while time.monotonic() < deadline:
        for line in running.place.log.read_text().splitlines():
            if name in line:
                return f"JSON, {len(json.loads(line))} fields"
        time.sleep(0.1)
    raise DidNotActError("no line with the request's ID in 15 s")


ACTS = (
    Act("rate limit", Limits(rate=5, burst=5), _rate_limit),
    Act("overload", Limits(concurrency=1), _overload),
    Act("timeout", Limits(timeout_ms=300), _timeout),
    Act("retry", Limits(), _retry),
    Act("breaker", Limits(failures=3), _breaker),
    Act("request ID", Limits(), _request_id),
    Act("X-Forwarded-For", Limits(), _forwarded_for),
    Act("log line", Limits(), _log_line),
)


def see_acts(peers: Sequence[Peer], ground: Ground) -> tuple[str, bool]:
    """Return a table of what was observed, and whether every policy of every peer did act."""
    rows, all_acted = [], True
    for peer in peers:
        if peer.name not in USUAL:
            continue
        for act in ACTS:
            running = start_peer(peer, ground, act.limits)
            try:
                rows.append([peer.name, act.policy, act.see(running, ground.service)])
            except (DidNotActError, OSError) as error:
                all_acted = False
                rows.append([peer.name, act.policy, f"DID NOT ACT: {error}"])
            finally:
                ground.children.stop(running.process)
    return table(["peer", "policy", "observed"], rows, left=3), all_acted


def _new_id() -> str:
    return uuid.uuid4().hex


def _visits(service: Service, name: str) -> int:
    return len(json.loads(fetch(service.port, f"/_record/{name}").body))


def _upstream_ids(answer: Answer) -> list[str]:
    seen: list[str] = json.loads(answer.body)["headers"].get("X-Request-Id", [""])
    return seen


def main(arguments: Sequence[str] | None = None) -> int:
    """See the acts of the peers that are installed; return 1 if a policy did not act."""
    parser = argparse.ArgumentParser(prog="python -m bench.acts", description="See each policy of each peer act once.")
    add_peers_option(parser)
    names = parser.parse_args(arguments).peers
    try:
        with prepared() as ground:
            shown, all_acted = see_acts(present(names), ground)
    except BenchError as error:
        print(f"bench.acts: {error}", file=sys.stderr)
        return 1
    print(shown)
    return 0 if all_acted else 1


if __name__ == "__main__":
    sys.exit(main())
