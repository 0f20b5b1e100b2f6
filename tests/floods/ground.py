"""Where floods happen: the upstream, the proxy before it with short times, and a client that means well."""

from __future__ import annotations

import asyncio
import json
import subprocess
import threading
from collections import Counter
from types import TracebackType
from typing import Any, Self

from tests.floods.attack import Attack, once
from tests.support.processes import Proxy, go_builder

SLACK = 8 * 1024 * 1024  # bytes that memory may grow by whatever happens

# Everything that has to end does so by one of these. Circuits, retries and the guard are off: what is asked is what
# the proxy itself does with each of many, on a machine that may be busy otherwise.
SETTINGS = {
    "SIDECAR_TIMEOUTS__REQUEST": "3s",
    "SIDECAR_TIMEOUTS__CONNECT": "10s",
    "SIDECAR_TIMEOUTS__HEAD": "3s",
    "SIDECAR_TIMEOUTS__STREAM_IDLE": "1500ms",
    "SIDECAR_TIMEOUTS__KEEP_ALIVE": "3s",
    "SIDECAR_HTTP__MIN_BODY_RATE": "100",
    "SIDECAR_HTTP__MAX_BODY": "20000000",
    "SIDECAR_HEALTH__INTERVAL": "1h",
    "SIDECAR_BREAKER__MODE": "off",
    "SIDECAR_RETRY__MODE": "off",
    "SIDECAR_GUARD__MODE": "off",
}


class Ground:
    """The two processes."""

    def __init__(self, **settings: str) -> None:
        service = go_builder().build(package="./misbehaving", name="misbehaving")
        self._upstream = subprocess.Popen([service], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._upstream.stdout is not None
        port = int(self._upstream.stdout.readline())
        try:
            self.proxy = Proxy(f"http://127.0.0.1:{port}", **(SETTINGS | settings))
        except BaseException:
            self._stop_upstream()
            raise
        assert not isinstance(self.proxy.address, str)
        self.port = self.proxy.address[1]

    def logged(self, path: str) -> Counter[str]:
        """How many requests of this path ended so far, by reason."""
        lines: list[dict[str, Any]] = [json.loads(line) for line in list(self.proxy.out.raw)]
        return Counter(line["reason"] for line in lines if line["path"] == path)

    def counted(self) -> Counter[str]:
        """How many requests ended so far, by reason."""
        mark = 'sidecar_answers_total{reason="'
        samples = self.proxy.metrics().items()
        return Counter({name[len(mark) : -2]: int(value) for name, value in samples if name.startswith(mark)})

    def _stop_upstream(self) -> None:
        self._upstream.communicate(timeout=20)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.proxy.__exit__(kind, error, trace)
        finally:
            self._stop_upstream()


class Round:
    """Attacks at once, beside a client that asks all the time. `ends` says how many connections of each ended how."""

    def __init__(self, ground: Ground, attacks: dict[str, Attack]) -> None:
        self._ground = ground
        self._attacks = attacks
        self.ends: dict[str, Counter[str]] = {}
        self.statuses: Counter[int] = Counter()  # what the other client was told
        self.grown = 0  # bytes, at the most

    def run(self) -> None:
        """Let it happen."""
        thread = threading.Thread(target=self._attackers, daemon=True)
        proxy = self._ground.proxy
        before = proxy.rss()
        with proxy.client() as client:
            thread.start()
            while thread.is_alive() or not self.statuses:
                self.statuses[client.get("/other").status] += 1
                self.grown = max(self.grown, proxy.rss() - before)
                thread.join(0.01)

    def _attackers(self) -> None:
        self.ends = asyncio.run(once(self._attacks, self._ground.port))
