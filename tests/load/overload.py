"""What three times as much as it can serve does to the sidecar: `python -m tests.load.overload [--rounds 9]`.

The proxy has a processor for itself; the generator (`pressure/`, in Go) and the service share the others. Each round
finds the best that can be had (a closed loop of 64 connections), and the best with two thousand, which costs each
request more whatever is done (caches: Envoy's growth is larger). Then it offers three times the former over the latter
(an open loop), twice: to clients that ask again at once, whatever they are told, and to clients that wait for as long
as Retry-After says. It must refuse some of it with 503 `overloaded`, half of those within 200 ms; serve at least 90 %
of its best with as many connections meanwhile; and answer on its health endpoints within 100 ms. What share of the best
of all that is, which is told too, says more of the connections than of the load. It exits with 1 where one of that is
not so.

Rates and waits are told by the wall, and judged by the processor time that the proxy's loop has had: with a processor
for itself that is the same, as it must be busy all the time, and where others use the machine too, nothing else says
what is the proxy's doing.

What the end costs, when two thousand connections are cut at once, is not part of it: a tenth of a second.

A connection has one request in flight. One that is due while all connections wait for answers waits at its client,
"unsent". To refuse costs nearly what serving does, so no proxy that answers every request at once can keep its
goodput at three times its load. This one refuses at once, and does not read from that connection for a second or two:
who asks again on it meanwhile waits, and the slowest hundredth of the refused are of those.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from contextlib import AbstractContextManager, ExitStack, nullcontext
from http.client import HTTPException
from pathlib import Path
from statistics import mean, median
from tempfile import TemporaryDirectory
from threading import Event, Thread
from time import monotonic
from typing import Any, NamedTuple

from tests.support.processes import GoService, Proxy, go_builder
from tests.support.processors import apart
from tests.support.waiting import eventually

HERE = Path(__file__).resolve().parent / "pressure"

CONNECTIONS = 2000
TIMES = 3
KEEPS = 0.9
HEALTHY_WITHIN = 0.1
TOLD_WITHIN = 0.2  # seconds, by the wall: half of the refused
BUSY = 0.9
ASKED_EVERY = 0.1  # seconds: a page costs as much as ten requests
ENDPOINTS = ("/livez", "/readyz", "/healthz")

# Clients, by whether they wait when they are told to.
KINDS = {"ask again": False, "wait as told": True}

# Nothing but the sidecar's own overload is to refuse anything.
_REST = "breaker: {mode: off}\nconcurrency: {mode: off}\n"
SETTINGS = f"guard: {{wait: 25ms, lag: 0s}}\n{_REST}"
UNGUARDED = f"guard: {{mode: off}}\n{_REST}"


def build() -> Path:
    """The generator's binary, built if need be."""
    builder = go_builder()
    binary: Path = builder.CACHE / "bin" / "pressure"
    source = HERE / "main.go"
    if not binary.exists() or binary.stat().st_mtime < source.stat().st_mtime:
        binary.parent.mkdir(parents=True, exist_ok=True)
        new = binary.with_name(f"pressure.{os.getpid()}")
        command = [*builder.go_command(), "build", "-o", str(new), "."]
        subprocess.run(command, cwd=HERE, env=builder.go_environment(), check=True)
        new.replace(binary)
    return binary


def used(pid: int) -> float:
    """Seconds of processor time that a process's first thread has had: of the proxy, its event loop."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


class Load(NamedTuple):
    """What the generator counted, and the processor time that the proxy's loop had meanwhile."""

    counted: dict[str, Any]
    processor: float

    @property
    def good(self) -> int:
        """Requests that were answered 200."""
        return int(self.counted["statuses"].get("200", 0))

    @property
    def refused(self) -> int:
        """Those that were answered 503."""
        return int(self.counted["statuses"].get("503", 0))

    @property
    def told_within(self) -> float:
        """How many seconds half of the refused waited at most; 0 where nobody was."""
        return float(self.counted["refused_p50_ms"]) / 1e3

    @property
    def rate(self) -> float:
        """Good answers a second, by the wall."""
        return self.good / float(self.counted["seconds"])

    @property
    def per_processor(self) -> float:
        """Good answers for a second of the processor."""
        return self.good / self.processor

    @property
    def busy(self) -> float:
        """The share of the time in which the proxy's loop ran."""
        return self.processor / float(self.counted["seconds"])


def load(
    proxy: Proxy,
    seconds: float,
    connections: int,
    rate: float = 0.0,
    *,
    heed: bool = False,
    beside: AbstractContextManager[object] | None = None,
) -> Load:
    """Load it, once the connections are made and have been used for a second that does not count.

    Clients that `heed` what they are told ask less and less: of theirs, all counts. `beside` is for what counts.
    """
    assert not isinstance(proxy.address, str)
    flags = {"address": "{}:{}".format(*proxy.address), "connections": connections, "rate": f"{rate:.0f}"}
    flags |= {"warm": "0s" if heed else "1s", "for": f"{seconds:g}s", "heed": str(heed).lower()}
    command = [str(build()), *(f"-{name}={value}" for name, value in flags.items())]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            assert json.loads(process.stdout.readline()) == "connected"
            eventually(lambda: proxy.status()["connections"] >= connections, "all connections")
            process.stdin.write("!")
            process.stdin.flush()
            assert json.loads(process.stdout.readline()) == "warm"
            with beside or nullcontext():
                before = used(proxy.pid)
                counted = json.loads(process.stdout.readline())
                return Load(counted, used(proxy.pid) - before)
        finally:
            process.kill()


class Health(Thread):
    """Asks the health endpoints by turns. `waits` are pairs: by the wall, and of the proxy's processor time."""

    def __init__(self, proxy: Proxy) -> None:
        super().__init__(daemon=True)
        self._proxy = proxy
        self._end = Event()
        self.waits: list[tuple[float, float]] = []
        self.bad: list[str] = []

    def run(self) -> None:
        number = 0
        while not self._end.wait(ASKED_EVERY):
            path = ENDPOINTS[number % len(ENDPOINTS)]
            number += 1
            began, before = monotonic(), used(self._proxy.pid)
            try:
                code, _ = self._proxy.page(path)
            except (OSError, HTTPException) as error:
                self.bad.append(f"{path}: {error!r}")
                continue
            self.waits.append((monotonic() - began, used(self._proxy.pid) - before))
            if code != 200:
                self.bad.append(f"{path}: {code}")

    def __enter__(self) -> Health:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self.join(30)


class Over(NamedTuple):
    """Too much, of clients of one kind; and the best with as many connections, before and after."""

    kind: str
    load: Load
    health: Health
    crowded: tuple[Load, Load]

    @property
    def kept(self) -> float:
        """The share of the best with as many connections that it served."""
        return self.load.per_processor / mean(load.per_processor for load in self.crowded)

    @property
    def slowest(self) -> float:
        """The longest that a health endpoint took, in processor time of the proxy."""
        return max(processor for _, processor in self.health.waits)

    def beside(self, best: Load) -> str:
        """How it went, beside the best there is."""
        load, counted, waits = self.load, self.load.counted, sorted(wall for wall, _ in self.health.waits)
        return (
            f"{self.kind}: offered {counted['offered']}, {load.good} served "
            f"({load.per_processor / best.per_processor:.0%} of the best, {load.rate / best.rate:.0%} by the wall, "
            f"{self.kept:.0%} of that with as many connections; "
            f"busy {load.busy:.0%} of the time) in {counted['p50_ms']:.0f} ms, p99 {counted['p99_ms']:.0f}; "
            f"{load.refused} refused in {counted['refused_p50_ms']:.0f} ms, p99 {counted['refused_p99_ms']:.0f}; "
            f"{counted['unsent']} unsent; health asked {len(waits)} times, slowest {self.slowest * 1e3:.0f} ms "
            f"(by the wall {waits[-1] * 1e3:.0f})"
        )


class Round(NamedTuple):
    """The best there is, then too much."""

    best: Load
    over: tuple[Over, ...]

    def __str__(self) -> str:
        best = self.best
        crowded = mean(load.per_processor for over in self.over for load in over.crowded) / best.per_processor
        lines = [
            f"best {best.rate:.0f}/s, {1e6 / best.per_processor:.1f} µs each; "
            f"with as many connections {crowded:.0%} of that",
            *(over.beside(best) for over in self.over),
        ]
        return "\n    ".join(lines)


class Overload:
    """Some rounds on one proxy."""

    def __init__(self, seconds: float, rounds: int, connections: int = CONNECTIONS) -> None:
        self._seconds = seconds
        self._connections = connections
        self._count = rounds
        self.rounds: list[Round] = []
        self.refusals = 0

    def run(self) -> None:
        """All of them."""
        with ExitStack() as stack:
            move = stack.enter_context(apart())
            self._file = Path(stack.enter_context(TemporaryDirectory())) / "sidecar.yaml"
            self._file.write_text(SETTINGS)
            go = stack.enter_context(GoService())
            self._proxy = stack.enter_context(Proxy(go.url, "-c", str(self._file), SIDECAR_HEALTH__INTERVAL="1h"))
            move(self._proxy.pid)
            for _ in range(self._count):
                self.rounds.append(self._round())
            self.refusals = int(self._proxy.metrics().get('sidecar_answers_total{reason="overloaded"}', 0))

    def _round(self) -> Round:
        best = load(self._proxy, self._seconds / 2, 64)
        before = self._crowded()
        overs = []
        for kind, heed in KINDS.items():
            self._settle(SETTINGS)
            health = Health(self._proxy)
            rate = TIMES * best.rate
            over = load(self._proxy, self._seconds, self._connections, rate, heed=heed, beside=health)
            after = self._crowded()
            overs.append(Over(kind, over, health, (before, after)))
            before = after
        self._settle(SETTINGS)
        return Round(best, tuple(overs))

    def _crowded(self) -> Load:
        """The best with as many connections: a closed loop too, without a guard."""
        self._settle(UNGUARDED)
        return load(self._proxy, self._seconds / 2, self._connections)

    def _settle(self, settings: str) -> None:
        """Wait for the last load's end, and go on by these."""
        eventually(lambda: self._proxy.status()["connections"] == 0, "the connections to go")
        self._proxy.out.raw.clear()
        self._file.write_text(settings)
        self._proxy.page("/config/reload", "POST")

    @property
    def checks(self) -> dict[str, bool]:
        """What must be so, and whether it is. What was served is the median of the rounds."""
        overs = [over for round in self.rounds for over in round.over]
        refused = [over.load.refused for over in overs]
        checks = {
            "it refuses in each round, and as overloaded": min(refused) > 0 and sum(refused) <= self.refusals,
            f"half of the refused know within {TOLD_WITHIN:g} s": all(o.load.told_within < TOLD_WITHIN for o in overs),
            f"it works {BUSY:.0%} of the time": min(over.load.busy for over in overs) >= BUSY,
            f"health within {HEALTHY_WITHIN:g} s": max(over.slowest for over in overs) < HEALTHY_WITHIN,
            "health is good": not [bad for over in overs for bad in over.health.bad],
            "health is asked all the time": all(
                len(over.health.waits) > self._seconds / ASKED_EVERY / 2 for over in overs
            ),
            "nothing else is answered": all(
                set(over.load.counted["statuses"]) <= {"200", "503"} and not over.load.counted["closed"]
                for over in overs
            ),
        }
        for kind in KINDS:
            kept = median(over.kept for over in overs if over.kind == kind)
            checks[f"of clients that {kind} it serves {KEEPS:.0%} of its best with as many ({kept:.0%})"] = (
                kept >= KEEPS
            )
        return checks


def main() -> int:
    """Some rounds, and what came of them."""
    parser = argparse.ArgumentParser(description="Three times as much as it can serve, and what becomes of it.")
    parser.add_argument("--seconds", type=float, default=4.0, help="of too much, twice in each round (4)")
    parser.add_argument("--rounds", type=int, default=9, help="how many (9)")
    parser.add_argument("--connections", type=int, default=CONNECTIONS, help=f"to overload it ({CONNECTIONS})")
    given = parser.parse_args()
    overload = Overload(given.seconds, given.rounds, given.connections)
    overload.run()
    for each in overload.rounds:
        print(f"  {each}")
    for check, good in overload.checks.items():
        print(f"  {'good' if good else 'BAD '}  {check}")
    return 0 if all(overload.checks.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
