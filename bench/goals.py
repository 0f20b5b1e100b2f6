"""The goals of this project, each judged from the results of one run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from bench.footprint import Footprint, Growth
from bench.load import BIG, SMALL_32, SMALL_1024, UPLOAD, Scenario
from bench.peers import BARE, ENVOY, SIDECAR
from bench.policies import ONE_MORE, Costs
from bench.rounds import Rounds

OURS = SIDECAR.name
BASE = ENVOY.name


@dataclass
class Results:
    """Everything a run measured."""

    rounds: dict[Scenario, Rounds] = field(default_factory=dict)
    policies: Costs | None = None
    keys: Growth | None = None
    memory: dict[str, Footprint] = field(default_factory=dict)
    first_answer: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Goal:
    """A value that must not be exceeded; ``measure`` gives None when the run lacks what it needs."""

    group: str
    title: str
    limit: float
    unit: str
    measure: Callable[[Results], float | None]


def _cpu_to_envoy(scenario: Scenario, peer: str = OURS) -> Callable[[Results], float | None]:
    def measure(results: Results) -> float | None:
        rounds = results.rounds.get(scenario)
        return rounds.cpu_ratio(peer, BASE) if rounds else None

    return measure


def _one_more_policy(results: Results) -> float | None:
    costs = results.policies
    return max(costs.more(name) for name in ONE_MORE) if costs else None


def _keys(results: Results) -> float | None:
    return results.keys.rss if results.keys else None


def _many_connections(results: Results) -> float | None:
    many, few = results.rounds.get(SMALL_1024), results.rounds.get(SMALL_32)
    return many.cpu_growth(OURS, few) if many and few else None


def _idle_memory(results: Results) -> float | None:
    ours, base = results.memory.get(OURS), results.memory.get(BASE)
    return ours.alone.rss / base.alone.rss if ours and base else None


def _first_answer(results: Results) -> float | None:
    seconds = results.first_answer.get(OURS)
    return seconds * 1000 if seconds is not None else None


GOALS = (
    Goal("small", "CPU per small request, all policies on, to Envoy's", 0.85, "x", _cpu_to_envoy(SMALL_32)),
    Goal("small", "CPU per small request, without policies, to Envoy's", 0.75, "x", _cpu_to_envoy(SMALL_32, BARE.name)),
    Goal("policies", "CPU of one more policy, the costliest", 1.5, " µs", _one_more_policy),
    Goal("policies", "memory (RSS) of 10,000 rate limit keys", 15, " MB", _keys),
    Goal("big", "CPU per 1 MiB response, to Envoy's", 0.7, "x", _cpu_to_envoy(BIG)),
    Goal("upload", "CPU per 1 MiB upload, to Envoy's", 0.7, "x", _cpu_to_envoy(UPLOAD)),
    Goal("small", "CPU per request at 1,024 connections, to that at 32", 1.3, "x", _many_connections),
    Goal("idle", "idle memory (RSS), to Envoy's", 0.75, "x", _idle_memory),
    Goal("start", "process start to first answer", 300, " ms", _first_answer),
)


@dataclass(frozen=True)
class Verdict:
    """A goal and what was measured for it."""

    goal: Goal
    value: float | None

    @property
    def met(self) -> bool:
        """A goal that could not be measured is not met."""
        return self.value is not None and self.value <= self.goal.limit


def judge(results: Results, groups: frozenset[str]) -> list[Verdict]:
    """Judge the goals of the groups that were asked for."""
    return [Verdict(goal, goal.measure(results)) for goal in GOALS if goal.group in groups]
