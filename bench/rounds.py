"""Interleaved rounds: every peer runs once a round, in an order that changes, so that drift hits all alike."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TypeVar

from bench import procstat
from bench.children import BenchError, Cpus
from bench.load import Scenario, run_wrk
from bench.peers import Running

Item = TypeVar("Item")


@dataclass(frozen=True)
class Sample:
    """One peer in one round."""

    requests: int
    cpu_us: float
    rate: float
    p50_us: float
    p99_us: float
    rss: float
    errors: dict[str, int]


@dataclass(frozen=True)
class Rounds:
    """All the samples of one scenario, by peer, in the order of the rounds."""

    scenario: Scenario
    samples: dict[str, list[Sample]]

    def median(self, peer: str, value: Callable[[Sample], float]) -> float:
        """The median of one value over the rounds."""
        return median(value(sample) for sample in self.samples[peer])

    def cpu_ratio(self, peer: str, base: str) -> float | None:
        """A peer's CPU per request to another's under the same load; None if one of them was not measured."""
        return _ratio(self.samples.get(peer), self.samples.get(base))

    def cpu_growth(self, peer: str, lighter: Rounds) -> float | None:
        """A peer's CPU per request to its own under a lighter load of the same run."""
        return _ratio(self.samples.get(peer), lighter.samples.get(peer))


def _ratio(ones: list[Sample] | None, others: list[Sample] | None) -> float | None:
    """The median of the rounds' own ratios: within a round the machine was the same for both."""
    if not ones or not others:
        return None
    return median(one.cpu_us / other.cpu_us for one, other in zip(ones, others, strict=True))


@dataclass(frozen=True)
class LoadBench:
    """How loads are run: with what, for how long, how often, and where progress is told."""

    wrk: Path
    cpus: Cpus
    rounds: int
    seconds: int
    say: Callable[[str], None]

    def run(self, loads: Mapping[Scenario, Sequence[Running]]) -> dict[Scenario, Rounds]:
        """Warm every peer up, then measure all those of each load once a round."""
        results = {scenario: Rounds(scenario, {peer.name: [] for peer in peers}) for scenario, peers in loads.items()}
        for scenario, peers in loads.items():
            for peer in peers:
                run_wrk(self.wrk, peer.place.port, scenario, 1, self.cpus)
        for number in range(self.rounds):
            for scenario, peers in loads.items():
                self.say(f"round {number + 1}: {scenario.title}")
                for peer in rotated(peers, number):
                    sample = _sample(scenario, peer, self.wrk, self.cpus, self.seconds)
                    results[scenario].samples[peer.name].append(sample)
                    self.say(
                        f"  {peer.name:<20} {sample.cpu_us:8.1f} µs CPU/request, {sample.rate:8.0f}/s{_told(sample)}"
                    )
        return results


def rotated(items: Sequence[Item], number: int) -> list[Item]:
    """Another one comes first in each round. Every other round goes backwards: no one is mostly before another."""
    step = -1 if number % 2 else 1
    return [items[(number + step * place) % len(items)] for place in range(len(items))]


def _told(sample: Sample) -> str:
    return f"  errors: {sample.errors}" if sample.errors else ""


def _sample(scenario: Scenario, peer: Running, wrk: Path, cpus: Cpus, seconds: int) -> Sample:
    before = procstat.settled_cpu(peer.session)
    load = run_wrk(wrk, peer.place.port, scenario, seconds, cpus)
    spent = procstat.settled_cpu(peer.session) - before
    if peer.process.poll() is not None:
        raise BenchError(f"{peer.name} ended with exit code {peer.process.returncode} during {scenario.title}")
    if load.requests == 0:
        raise BenchError(f"{peer.name} answered nothing during {scenario.title}")
    rss = procstat.memory(peer.session).rss
    os.truncate(peer.place.log, 0)  # every peer appends; a whole run would fill the disk
    return Sample(
        load.requests,
        spent / load.requests * 1e6,
        load.requests / load.seconds,
        load.p50_us,
        load.p99_us,
        rss,
        load.errors,
    )
