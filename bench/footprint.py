"""Memory of a peer that does nothing, memory with idle connections, and the time to the first answer."""

from __future__ import annotations

import socket
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from statistics import median

from bench import procstat
from bench.children import BenchError
from bench.ground import Ground
from bench.net import HOST
from bench.peers import Peer, start_peer
from bench.procstat import Memory

IDLE_CONNECTIONS = 2000
SETTLE = 1.0

_REQUEST = b"GET /hello HTTP/1.1\r\nHost: bench\r\nUser-Agent: bench\r\n\r\n"


@dataclass(frozen=True)
class Footprint:
    """Memory after one request, and with idle keep-alive connections."""

    alone: Memory
    connected: Memory


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


def measure_starts(peers: Sequence[Peer], ground: Ground, starts: int) -> dict[str, float]:
    """Median seconds from process start to first answer; one more start of each, first, warms the disk cache."""
    times: dict[str, list[float]] = {peer.name: [] for peer in peers}
    for _ in range(starts + 1):
        for peer in peers:
            running = start_peer(peer, ground)
            times[peer.name].append(running.first_answer)
            ground.children.stop(running.process)
    return {name: median(seen[1:]) for name, seen in times.items()}


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
