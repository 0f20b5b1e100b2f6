"""Sends huge bodies through the proxy and shows its memory: `python -m tests.wire.big_bodies [--size 512MiB]`.

Down and up, each against the Go service and each with a reader that stops for a minute in the middle. No test collects
this, as it takes minutes. It exits with 1 where a hash is wrong or the memory grew by more than 40 MB.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Callable
from functools import partial
from threading import Event, Thread
from time import monotonic, sleep

from sidecar.units import parse_size
from tests.support.processes import GoService, Proxy
from tests.support.upstream import Peer, Seen, Upstream

MIB = 1 << 20
BLOCK = bytes(i % 251 for i in range(251 * 4096))
GROWTH = 40 * 1000 * 1000
PATIENCE = 600.0


class Watch:
    """Prints the proxy's resident memory every so often, and keeps the highest."""

    def __init__(self, proxy: Proxy, every: float) -> None:
        self._proxy = proxy
        self._every = every
        self._stop = Event()
        self.moved = 0
        self.before = self.highest = proxy.rss()
        self._thread = Thread(target=self._run)

    def _run(self) -> None:
        began = shown = monotonic()
        while not self._stop.wait(0.05):
            now, rss = monotonic(), self._proxy.rss()
            self.highest = max(self.highest, rss)
            if now - shown >= self._every:
                shown = now
                print(f"    {now - began:6.1f} s  {self.moved / MIB:8.0f} MiB moved  {rss / 1e6:6.1f} MB resident")

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def expected(size: int) -> str:
    """The SHA-256 of the generated body of this size."""
    digest = hashlib.sha256()
    while size:
        digest.update(BLOCK[:size])
        size -= min(size, len(BLOCK))
    return digest.hexdigest()


def pausing(watch: Watch, size: int, stop_for: float) -> Callable[[int], None]:
    """Counts what has moved; stops for so long once half of it has."""
    stopped = False

    def moved(count: int) -> None:
        nonlocal stopped
        watch.moved += count
        if not stopped and watch.moved > size // 2:
            stopped = True
            if stop_for:
                print(f"    the reader stops for {stop_for:g} s")
                sleep(stop_for)

    return moved


def download(proxy: Proxy, size: int, stop_for: float, watch: Watch) -> str:
    """Fetch a body of this size; returns its hash."""
    digest = hashlib.sha256()
    moved = pausing(watch, size, stop_for)

    def take(data: bytes) -> None:
        digest.update(data)
        moved(len(data))

    with proxy.client(PATIENCE) as client:
        client.ask(f"/bytes/{size}")
        client.read(sink=take)
    return digest.hexdigest()


def send(proxy: Proxy, size: int, sent: Callable[[int], None]) -> bytes:
    """Upload a body of this size; returns the answer's body."""
    with proxy.client(PATIENCE) as client:
        client.ask("/upload", "POST", [f"Content-Length: {size}"])
        left = size
        while left:
            client.send(BLOCK[:left])
            sent(min(left, len(BLOCK)))
            left -= min(left, len(BLOCK))
        return client.read("POST").body


def upload(proxy: Proxy, size: int, stop_for: float, watch: Watch) -> str:
    """Upload to the Go service; returns the hash that it saw."""
    # Its reader does not stop: see `upload_stopping`.
    return str(json.loads(send(proxy, size, pausing(watch, size, 0)))["sha256"])


def upload_stopping(proxy: Proxy, size: int, stop_for: float, upstream: Upstream, watch: Watch) -> str:
    """Upload to an upstream that stops reading in the middle; returns the hash that it saw."""
    digest = hashlib.sha256()
    moved = pausing(watch, size, stop_for)

    def on_head(peer: Peer, seen: Seen) -> None:
        peer.sock.settimeout(PATIENCE)
        left = size
        while left:
            data = peer.read_exactly(min(left, 1 << 18))
            assert data is not None
            peer.received.clear()
            digest.update(data)
            moved(len(data))
            left -= len(data)
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    upstream.on_head = on_head
    send(proxy, size, lambda count: None)
    return digest.hexdigest()


def proof(name: str, proxy: Proxy, size: int, every: float, run: Callable[[Watch], str]) -> bool:
    """One transfer, with its verdict."""
    print(name)
    began = monotonic()
    with Watch(proxy, every) as watch:
        got = run(watch)
    took, growth, want = monotonic() - began, watch.highest - watch.before, expected(size)
    good = got == want and growth < GROWTH
    print(f"    sha256 {got} {'as expected' if got == want else f'instead of {want}'}")
    print(f"    {took:.1f} s, from {watch.before / 1e6:.1f} MB to at most {watch.highest / 1e6:.1f} MB", end="")
    print(f" (+{growth / 1e6:.1f} MB): {'good' if good else 'BAD'}", flush=True)
    return good


def main() -> int:
    """Run all four."""
    parser = argparse.ArgumentParser(description="Huge bodies through the proxy, and its memory over time.")
    parser.add_argument("--size", type=parse_size, default="2048MiB", help="of each body (2048MiB)")
    parser.add_argument("--stop", type=float, default=60.0, help="seconds that a reader stops for (60)")
    parser.add_argument("--every", type=float, default=5.0, help="seconds between two lines (5)")
    given = parser.parse_args()
    size, stop, every = given.size, given.stop, given.every
    good = []
    with GoService() as go, Proxy(go.url) as proxy:
        for name, run, stop_for in (
            ("download", download, 0.0),
            ("download, the client stops", download, stop),
            ("upload", upload, 0.0),
        ):
            good.append(proof(name, proxy, size, every, partial(run, proxy, size, stop_for)))
    with Upstream() as upstream, Proxy(upstream.url) as proxy:
        name = "upload, the upstream stops"
        good.append(proof(name, proxy, size, every, partial(upload_stopping, proxy, size, stop, upstream)))
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
