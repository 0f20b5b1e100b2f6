"""What a client that means well notices of each flood: `python -m tests.floods [--seconds 20] [--only NAME]`.

Calm and flood take turns, so that whatever else the machine does falls on both. The attackers and the upstream are
processes of their own, but they share its cores with the proxy. Exits with 1 where a request was not answered 200, p99
was more than three times that of the calm, or memory grew by more than the attack may cost.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections import Counter
from time import monotonic, sleep
from typing import NamedTuple

from tests.floods.attack import ATTACKS, Attack
from tests.floods.ground import SLACK, Ground
from tests.support.client import CutError
from tests.support.processes import ROOT

PHASES = 4  # calm, flood, calm, flood
MOST = 3.0  # times p99
PAUSE = 0.002  # seconds between two requests of the client
SETTLE = 0.5  # seconds from the begin of an attack to the first request that counts


class Found(NamedTuple):
    """One flood: latencies in seconds, other answers than 200, bytes of memory, and what the proxy counted."""

    calm: list[float]
    flood: list[float]
    failed: int
    grown: int
    counted: Counter[str]


def measure(attack: Attack, name: str, seconds: float) -> Found:
    """Calm and flood in turn."""
    calm: list[float] = []
    flood: list[float] = []
    failed = grown = 0
    with Ground() as ground:
        ask(ground, 0.5, [])
        before, counted = ground.proxy.rss(), ground.counted()
        for _ in range(PHASES // 2):
            failed += ask(ground, seconds / PHASES, calm)
            with subprocess.Popen(
                [sys.executable, "-m", "tests.floods.attack", name, str(ground.port)],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            ) as attackers:
                assert attackers.stdout is not None
                assert attackers.stdout.readline() == b"begun\n"
                sleep(SETTLE)
                failed += ask(ground, seconds / PHASES, flood)
                grown = max(grown, ground.proxy.rss() - before)
                attackers.communicate(timeout=30)
            sleep(SETTLE)
        return Found(calm, flood, failed, grown, ground.counted() - counted)


def ask(ground: Ground, seconds: float, latencies: list[float]) -> int:
    """Ask one after the other for so long; returns how many were not answered 200."""
    until, failed = monotonic() + seconds, 0
    with ground.proxy.client() as client:
        while (began := monotonic()) < until:
            try:
                failed += client.get("/other").status != 200
            except CutError:
                return failed + 1
            latencies.append(monotonic() - began)
            sleep(PAUSE)
    return failed


def quantile(latencies: list[float], share: float) -> float:
    """In milliseconds."""
    return sorted(latencies)[int(share * (len(latencies) - 1))] * 1e3


def main() -> int:
    """Each flood, a row."""
    parser = argparse.ArgumentParser(description="What others notice of slow and greedy peers.")
    parser.add_argument("--seconds", type=float, default=20.0, help="for each, half of them calm (20)")
    parser.add_argument("--only", choices=ATTACKS, help="just this one")
    given = parser.parse_args()
    good = True
    print(
        f"{'':32} {'conns':>5}  {'p50 calm flood':>16}  {'p99 calm flood':>16} {'ratio':>6}  {'MB':>5} {'KiB each':>8}"
    )
    for name, attack in ATTACKS.items():
        if given.only not in (None, name):
            continue
        found = measure(attack, name, given.seconds)
        p50, p99 = ([quantile(each, share) for each in (found.calm, found.flood)] for share in (0.5, 0.99))
        ratio = p99[1] / p99[0]
        fine = ratio <= MOST and not found.failed and found.grown <= SLACK + attack.size * attack.costs * 1024
        good = good and fine
        each = found.grown / 1024 / attack.size
        print(
            f"{name:32} {attack.size:5}  {p50[0]:7.2f} {p50[1]:7.2f} ms {p99[0]:6.1f} {p99[1]:6.1f} ms {ratio:6.2f}"
            f"  {found.grown / 2**20:5.1f} {each:8.1f}  {'good' if fine else 'BAD '} {dict(found.counted)}"
            + (f" {found.failed} not 200" if found.failed else ""),
            flush=True,
        )
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
