"""The results as plain tables."""

from __future__ import annotations

from collections.abc import Sequence

from bench.goals import BASE, Results, Verdict
from bench.policies import NONE, Costs
from bench.rounds import Rounds


def table(header: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """Columns as wide as their widest cell: the first *left* of them to the left, the others to the right."""
    everything = [header, *rows]
    widths = [max(len(row[i]) for row in everything) for i in range(len(header))]
    lines = []
    for row in everything:
        cells = [row[i].ljust(width) if i < left else row[i].rjust(width) for i, width in enumerate(widths)]
        lines.append("  ".join(cells).rstrip())
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)


def report(results: Results) -> str:
    """All the tables of a run."""
    parts = [f"{rounds.scenario.title}\n{_rounds_table(rounds)}" for rounds in results.rounds.values()]
    if results.policies:
        parts.append(f"policies: the proxy's own work for a small response\n{_policies_table(results.policies)}")
    if results.keys:
        keys = results.keys
        parts.append(f"10,000 rate limit keys: RSS {keys.before.rss:.1f} MB before, {keys.after.rss:.1f} MB with them")
    if results.memory:
        parts.append(f"memory, MB: after one request, and with 2,000 idle connections\n{_memory_table(results)}")
    if results.first_answer:
        parts.append(f"process start to first answer\n{_start_table(results)}")
    return "\n\n".join(parts)


def goals_table(verdicts: Sequence[Verdict]) -> str:
    """Goals, measured values, and whether they are met."""
    rows = []
    for verdict in verdicts:
        goal = verdict.goal
        value = "—" if verdict.value is None else f"{verdict.value:.{0 if goal.limit >= 100 else 2}f}{goal.unit}"
        word = "not measured" if verdict.value is None else "met" if verdict.met else "NOT MET"
        rows.append([goal.title, f"≤ {goal.limit:g}{goal.unit}", value, word])
    return table(["goal", "limit", "measured", ""], rows)


def _rounds_table(rounds: Rounds) -> str:
    rows = []
    for name, samples in rounds.samples.items():
        cpu = sorted(sample.cpu_us for sample in samples)
        rows.append(
            [
                name,
                f"{rounds.median(name, lambda s: s.cpu_us):.1f}",
                f"{cpu[0]:.1f}-{cpu[-1]:.1f}",
                _times(rounds.cpu_ratio(name, BASE)),
                f"{rounds.median(name, lambda s: s.p50_us) / 1000:.2f}",
                f"{rounds.median(name, lambda s: s.p99_us) / 1000:.2f}",
                f"{rounds.median(name, lambda s: s.rate):.0f}",
                f"{rounds.median(name, lambda s: s.rss):.1f}",
                str(sum(sum(sample.errors.values()) for sample in samples)),
            ]
        )
    return table(
        ["", "CPU µs/req", "min-max", f"to {BASE}", "p50 ms", "p99 ms", "req/s", "RSS MB", "errors"],
        rows,
    )


def _policies_table(costs: Costs) -> str:
    rows = [
        [name, f"{costs.of(name):.1f}", "—" if name == NONE else f"{costs.more(name):+.2f}"] for name in costs.windows
    ]
    return table(["", "CPU µs/req", f"more than {NONE}"], rows)


def _memory_table(results: Results) -> str:
    base = results.memory.get(BASE)
    rows = []
    for name, seen in results.memory.items():
        row = [name]
        for ours, other in ((seen.alone, base and base.alone), (seen.connected, base and base.connected)):
            row += [f"{ours.rss:.1f}", _times(ours.rss / other.rss if other else None), f"{ours.pss:.1f}"]
        rows.append(row)
    return table(["", "RSS", f"to {BASE}", "PSS", "RSS 2,000", f"to {BASE}", "PSS 2,000"], rows)


def _start_table(results: Results) -> str:
    base = results.first_answer.get(BASE)
    rows = [
        [name, f"{seconds * 1000:.0f}", _times(seconds / base if base else None)]
        for name, seconds in results.first_answer.items()
    ]
    return table(["", "ms", f"to {BASE}"], rows)


def _times(ratio: float | None) -> str:
    return "—" if ratio is None else f"{ratio:.2f}x"
