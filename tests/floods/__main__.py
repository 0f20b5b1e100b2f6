"""What a client that means well notices of each flood: `python -m tests.floods [--seconds 20] [--only NAME]`.

Calm and flood take turns, and each flood is compared with the calm before it, so that whatever else the machine does
falls on both. The proxy has a processor for itself; attackers, upstream and client are processes of their own that
share the others. The attackers get the time that is left there, as those from elsewhere take no cores from the
service; nor should who reads the log, so only errors are logged here. Exits with 1 where a request was not answered
200, p99 was more than three times that of the calm (the median of the turns), memory grew by more than the attack may
cost, or an attack did not take place, or ended otherwise than it should.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections import Counter
from itertools import chain
from statistics import median
from time import monotonic, sleep
from typing import NamedTuple

from tests.floods.attack import ATTACKS, Attack
from tests.floods.ground import SLACK, Ground
from tests.support.processes import ROOT
from tests.support.processors import apart

TURNS = 3  # of a calm and a flood
MOST = 3.0  # times p99
SETTLE = 0.5  # seconds from the begin of an attack to the first request that counts


class Found(NamedTuple):
    """One flood: latencies in seconds by turn, other answers than 200, bytes of memory, the share of a core that the
    proxy took meanwhile, what it counted, and what is odd about the attack itself."""

    calm: list[list[float]]
    flood: list[list[float]]
    failed: int
    grown: int
    busy: float
    counted: Counter[str]
    odd: list[str]

    @property
    def ratio(self) -> float:
        """How much longer p99 takes in a flood than in the calm before it."""
        turns = zip(self.calm, self.flood, strict=True)
        return median(quantile(flood, 0.99) / quantile(calm, 0.99) for calm, flood in turns)


def measure(attack: Attack, name: str, seconds: float) -> Found:
    """Calm and flood in turn."""
    calm: list[list[float]] = []
    flood: list[list[float]] = []
    failed, grown, busy, ended = 0, 0, 0.0, 0
    odd: list[str] = []
    part = seconds / TURNS / 2
    with apart() as move, Ground(SIDECAR_LOG__ACCESS="errors") as ground:
        move(ground.proxy.pid)
        ask(ground, 0.5, [])
        before, counted = ground.proxy.rss(), ground.counted()
        for _ in range(TURNS):
            calm.append([])
            flood.append([])
            failed += ask(ground, part, calm[-1])
            with subprocess.Popen(
                [sys.executable, "-m", "tests.floods.attack", name, str(ground.port)],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            ) as attackers:
                assert attackers.stdout is not None
                assert attackers.stdout.readline() == b"begun\n"
                sleep(SETTLE)
                began, start = ground.proxy.cpu(), monotonic()
                failed += ask(ground, part, flood[-1])
                busy += (ground.proxy.cpu() - began) / (monotonic() - start) / TURNS
                grown = max(grown, ground.proxy.rss() - before)
                still = ground.proxy.status()["connections"]
                assert attackers.poll() is None, "the attack has ended by itself"
                ends = Counter[str](json.loads(attackers.communicate(timeout=30)[0]))
            # Each is there, or has ended as it should; a few may be between two connections.
            if still + ends[attack.ends] < 0.9 * attack.size or set(ends) - {attack.ends}:
                odd.append(f"{still} of {attack.size} connections are there, others ended so: {dict(ends)}")
            ended += ends[attack.ends]
            sleep(SETTLE)
        found = ground.counted() - counted
    if attack.reason and found[attack.reason] < ended:
        odd.append(f"{ended} ended, not all counted")
    return Found(calm, flood, failed, grown, busy, found, odd)


def ask(ground: Ground, seconds: float, latencies: list[float]) -> int:
    """Have a client ask for so long; returns how many of its requests were not answered 200."""
    command = [sys.executable, "-m", "tests.floods.caller", str(ground.port), str(seconds)]
    seen, failed = json.loads(subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout)
    latencies += seen
    return int(failed)


def quantile(latencies: list[float], share: float) -> float:
    """In milliseconds."""
    return sorted(latencies)[int(share * (len(latencies) - 1))] * 1e3


def row(name: str, attack: Attack, found: Found, fine: bool) -> str:
    """One flood, for people."""
    calm, flood = list(chain.from_iterable(found.calm)), list(chain.from_iterable(found.flood))
    return (
        f"{name:32} {attack.size:5}  {quantile(calm, 0.5):7.2f} {quantile(flood, 0.5):7.2f}"
        f"  {quantile(calm, 0.99):7.1f} {quantile(flood, 0.99):7.1f} {found.ratio:6.2f} {found.busy:6.0%}"
        f"  {found.grown / 2**20:5.1f} {found.grown / 1024 / attack.size:8.1f}  {'good' if fine else 'BAD '}"
        f" {dict(found.counted)}"
        + (f" {found.failed} not 200" if found.failed else "")
        + "".join(f"; {odd}" for odd in found.odd)
    )


def main() -> int:
    """Each flood, a row."""
    parser = argparse.ArgumentParser(description="What others notice of slow and greedy peers.")
    parser.add_argument("--seconds", type=float, default=20.0, help="for each, half of them calm (20)")
    parser.add_argument("--only", choices=ATTACKS, help="just this one")
    given = parser.parse_args()
    good = True
    print(f"{'ms':32} conns  p50 calm, flood  p99 calm, flood  ratio   core     MB KiB each")
    for name, attack in ATTACKS.items():
        if given.only in (None, name):
            found = measure(attack, name, given.seconds)
            small = found.grown <= SLACK + attack.size * attack.costs * 1024
            fine = found.ratio <= MOST and not found.failed and small and not found.odd
            good = good and fine
            print(row(name, attack, found, fine), flush=True)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
