"""Memory of a peer that does nothing, with idle connections, with many rate limit keys; time to the first answer."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from statistics import median

from bench import procstat
from bench.children import BenchError
from bench.exact import Request, exact_load
from bench.ground import Ground
from bench.net import HOST, fetch
from bench.peers import Limits, Peer, Running, start_peer, with_settings
from bench.procstat import Memory

IDLE_CONNECTIONS = 2000
KEYS = 10_000
SETTLE = 1.0

_HEAD = b"GET /hello HTTP/1.1\r\nHost: bench\r\nUser-Agent: bench\r\n"
_REQUEST = _HEAD + b"\r\n"

_LIMITS = Limits()
_KEYED = with_settings(
    "keys",
    {"rate": {"limit": f"{_LIMITS.rate}/s", "burst": _LIMITS.burst, "key": "header:X-Key", "max_keys": KEYS}},
)


@dataclass(frozen=True)
class Footprint:
    """Memory after one request, and with idle keep-alive connections."""

    alone: Memory
    connected: Memory


@dataclass(frozen=True)
class Growth:
    """Memory before and after something that takes some."""

    before: Memory
    after: Memory

    @property
    def rss(self) -> float:
        """What it took, in MB."""
        return self.after.rss - self.before.rss


def measure_memory(peer: Peer, ground: Ground) -> Footprint:
    """Start a peer afresh, look at its memory, connect many clients, look again."""
    running = start_peer(peer, ground)
    try:
        time.sleep(SETTLE)
        alone = procstat.memory(running.session)
        with ExitStack() as stack:
            for _ in range(IDLE_CONNECTIONS):
                stack.enter_context(_one_request(running.place.port))
            time.sleep(SETTLE)
            connected = procstat.memory(running.session)
        return Footprint(alone, connected)
    finally:
        ground.children.stop(running.process)


def measure_keys(ground: Ground) -> Growth:
    """What this proxy's rate limit keeps of ``KEYS`` clients, beyond what as many requests of a single one leave."""
    running = start_peer(_KEYED, ground)
    try:
        before = _memory_after(running, lambda _: _keyed(0))
        after = _memory_after(running, _keyed)
        if (kept := _keys_of(running)) != KEYS:
            raise BenchError(f"after {KEYS} requests, each with a key of its own, {kept} keys are kept")
        return Growth(before, after)
    finally:
        ground.children.stop(running.process)


def measure_starts(peers: Sequence[Peer], ground: Ground, starts: int) -> dict[str, float]:
    """Median seconds from process start to first answer; one more start of each, first, warms the disk cache."""
    times: dict[str, list[float]] = {peer.name: [] for peer in peers}
    for _ in range(starts + 1):
        for peer in peers:
            running = start_peer(peer, ground)
            times[peer.name].append(running.first_answer)
            ground.children.stop(running.process)
    return {name: median(seen[1:]) for name, seen in times.items()}


def _memory_after(running: Running, request: Request) -> Memory:
    """Memory once ``KEYS`` requests have been answered."""
    seen = asyncio.run(exact_load(running.place.port, KEYS, connections=32, request=request))
    if seen != {200: KEYS}:
        raise BenchError(f"{running.name} answered {dict(seen)}")
    time.sleep(SETTLE)
    return procstat.memory(running.session)


def _keyed(number: int) -> bytes:
    return _HEAD + b"X-Key: %032x\r\n\r\n" % number


def _keys_of(running: Running) -> int:
    policies = json.loads(fetch(running.place.admin, "/status").body)["policies"]
    return int(policies["rate"][0]["keys"])


def _one_request(port: int) -> socket.socket:
    """A connection that has had one answer and stays open."""
    connection = socket.create_connection((HOST, port), timeout=10)
    connection.sendall(_REQUEST)
    answer = b""
    while not answer.endswith(b"}\n"):
        piece = connection.recv(65536)
        if not piece:
            raise BenchError(f"port {port} closed an idle connection after {answer[:80]!r}")
        answer += piece
    if not answer.startswith(b"HTTP/1.1 200 "):
        raise BenchError(f"port {port} answered {answer[:80]!r}")
    return connection
