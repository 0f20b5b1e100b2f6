"""``python -m bench``: measure the peers, print the tables and the goals."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from bench.acts import see_acts
from bench.agree import check_agreement
from bench.children import BenchError
from bench.choices import add_peers_option, present, some_of
from bench.footprint import measure_keys, measure_memory, measure_starts
from bench.goals import OURS, Results, judge
from bench.ground import Ground, prepared
from bench.load import SCENARIOS, SMALL_32, require_wrk
from bench.peers import BARE, Peer, start_peer
from bench.policies import measure_policies
from bench.report import goals_table, report
from bench.rounds import LoadBench

GROUPS = ("acts", "small", "policies", "big", "upload", "idle", "start", "agree")


@dataclass(frozen=True)
class Options:
    """What was asked for on the command line."""

    peers: tuple[str, ...]
    groups: frozenset[str]
    rounds: int
    seconds: int
    starts: int
    check: bool


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the bench; return its exit code."""
    options = _parse(arguments)
    try:
        peers = present(options.peers)
        with prepared() as ground:
            return _run(options, peers, ground)
    except BenchError as error:
        _say(f"bench: {error}")
        return 1
    except KeyboardInterrupt:
        _say("bench: interrupted")
        return 130


def _run(options: Options, peers: Sequence[Peer], ground: Ground) -> int:
    sound = True  # the policies acted and the counts agree: without that, the numbers mean nothing
    if "acts" in options.groups:
        _say("policies: each is to be seen acting once")
        shown, sound = see_acts(peers, ground)
        print(f"policies, each seen acting once\n{shown}\n", flush=True)
    results = _measure(options, peers, ground)
    print(report(results), flush=True)
    if "agree" in options.groups and OURS in {peer.name for peer in peers}:
        _say("agreement of the counts")
        agreement = check_agreement(ground)
        print(f"\nagreement of the counts\n{agreement}")
        sound = sound and agreement.holds
    # Asked for but not here is not met either: a check must not pass because nothing was measured.
    verdicts = judge(results, options.groups) if OURS in options.peers else []
    if verdicts:
        print(f"\n{goals_table(verdicts)}")
    missed = options.check and not all(verdict.met for verdict in verdicts)
    return 1 if missed or not sound else 0


def _measure(options: Options, peers: Sequence[Peer], ground: Ground) -> Results:
    results = Results()
    _measure_load(options, peers, ground, results)
    if "policies" in options.groups and OURS in {peer.name for peer in peers}:
        _say("policies")
        results.policies = measure_policies(ground, _say)
        _say("memory: rate limit keys")
        results.keys = measure_keys(ground)
    if "idle" in options.groups:
        for peer in peers:
            _say(f"memory: {peer.name}")
            results.memory[peer.name] = measure_memory(peer, ground)
    if "start" in options.groups:
        _say(f"first answer: {options.starts} starts of each")
        results.first_answer = measure_starts(peers, ground, options.starts)
    return results


def _measure_load(options: Options, peers: Sequence[Peer], ground: Ground, results: Results) -> None:
    scenarios = [scenario for scenario in SCENARIOS if scenario.group in options.groups]
    if not scenarios:
        return
    bench = LoadBench(require_wrk(), ground.cpus, options.rounds, options.seconds, _say)
    running = [start_peer(peer, ground) for peer in peers]
    bare = [start_peer(BARE, ground)] if SMALL_32 in scenarios and OURS in {peer.name for peer in peers} else []
    for group in dict.fromkeys(scenario.group for scenario in scenarios):
        of_group = [scenario for scenario in scenarios if scenario.group == group]
        results.rounds |= bench.run({one: running + bare if one is SMALL_32 else running for one in of_group})
    for one in running + bare:
        ground.children.stop(one.process)


def _parse(arguments: Sequence[str] | None) -> Options:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure this proxy beside its peers.")
    add_peers_option(parser)
    parser.add_argument(
        "--only", type=some_of(GROUPS), default=GROUPS, metavar="GROUP,...", help=f"of {', '.join(GROUPS)}"
    )
    parser.add_argument("--rounds", type=_count, default=5, help="rounds of each load (default 5)")
    parser.add_argument("--seconds", type=_count, default=3, help="seconds of each round (default 3)")
    parser.add_argument("--starts", type=_count, default=7, help="starts for the time to the first answer (default 7)")
    parser.add_argument("--check", action="store_true", help="exit 1 also if a goal is missed")
    seen = parser.parse_args(arguments)
    return Options(seen.peers, frozenset(seen.only), seen.rounds, seen.seconds, seen.starts, seen.check)


def _count(text: str) -> int:
    number = int(text)
    if not 1 <= number <= 1000:
        raise argparse.ArgumentTypeError("choose from 1 to 1000")
    return number


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
