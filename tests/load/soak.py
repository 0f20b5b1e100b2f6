"""All kinds of load and trouble at once, for long: `python -m tests.load.soak [--seconds 600]`, or `make soak`.

Ordinary requests, uploads, streams, WebSockets; clients that leave in the middle, read slowly or ask nonsense; a
service that fails, resets, stops in the middle of an answer, takes too long or is away for a moment; other settings
every other second; a rate limit and circuits that act. Meanwhile it is sampled what the proxy holds. Afterwards it has
to hold what it held before, and clients, service, metrics and log have to agree on every request and byte.

What cannot be exact: an attempt whose connection ends before the service has read the request is one that the service
has not seen. Its number is bounded by that of the attempts that ended so. It exits with 1 where one of that is not so.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import NamedTuple

from tests.load.agreement import Line, disagreements, requests
from tests.load.crowd import Crowd
from tests.load.service import Service
from tests.load.trouble import TROUBLED
from tests.load.watch import Sample, growth, sample, total
from tests.support.processes import Proxy
from tests.support.waiting import eventually

STATUSES = frozenset({200, 101, 400, 404, 429, 500, 502, 503, 504})

# The least that a request can leave behind by mistake: a key of 25 bytes (58 as an object) and its place in a dict.
LEAST_LEAK = 100
# What the second half may add in all: a leak with each reload or connection would be little for each request.
MOST_GROWTH = 8_000_000  # bytes
# Memory is told to be flat only by a soak that lasts: some seconds fill caches and the record of the last requests.
LONG = 240.0

SETTINGS = """\
timeouts: {{request: 2s, connect: 500ms}}
retry: {{attempts: 2, base: 5ms, cap: {cap}ms}}
breaker: {{failures: 5, open_for: 500ms}}
concurrency: {{max: 200}}
guard: {{mode: off}}
health: {{interval: 2s}}
routes: [{{name: limited, path: /limited, rate: {{limit: 4/s, burst: 2}}}}]
"""


class Check(NamedTuple):
    """What must be so, the figures that say whether it is, and whether it is."""

    what: str
    figures: str
    good: bool


class Soak:
    """One soak. After `run`, `checks` says how it went."""

    def __init__(self, seconds: float, *, every: float = 5.0, seed: int = 1, tell: bool = False) -> None:
        self.seconds = seconds
        self._every = every
        self._seed = seed
        self._tell = tell
        self._reloads = 0
        self.samples: list[Sample] = []
        self.service = Service()

    def run(self) -> None:
        """Let it happen, and gather the figures."""
        with TemporaryDirectory() as folder:
            self._file = Path(folder) / "sidecar.yaml"
            self._file.write_text(SETTINGS.format(cap=20))
            asyncio.run(self._run())

    async def _run(self) -> None:
        await self.service.start()
        self.proxy = proxy = await asyncio.to_thread(Proxy, self.service.url, "-c", str(self._file))
        with proxy:
            assert not isinstance(proxy.address, str)
            self.before = await asyncio.to_thread(self._base)
            self.crowd = Crowd(proxy.address, TROUBLED, "soak", seed=self._seed, may_be_cut=None, statuses=STATUSES)
            self._began = monotonic()
            others = [asyncio.create_task(work()) for work in (self._sample, self._reload, self._restart)]
            crowd = asyncio.create_task(self.crowd.run())
            await asyncio.wait([crowd, *others], timeout=self.seconds, return_when=asyncio.FIRST_EXCEPTION)
            self.crowd.stopping = True
            for task in others:
                task.cancel()
            results = await asyncio.gather(crowd, *others, return_exceptions=True)
            self.faults = [repr(each) for each in results if isinstance(each, Exception)]
            await asyncio.to_thread(self._afterwards)
            await asyncio.to_thread(proxy.stop)
        self.log = requests(proxy.out.json())
        await self.service.stop()

    # ── meanwhile

    async def _sample(self) -> None:
        while True:
            await asyncio.sleep(self._every)
            self.samples.append(await asyncio.to_thread(sample, self.proxy, monotonic() - self._began))
            if self._tell:
                print(f"  {self.samples[-1]}", flush=True)

    async def _reload(self) -> None:
        while True:
            await asyncio.sleep(2)
            self._reloads += 1
            await asyncio.to_thread(self._file.write_text, SETTINGS.format(cap=20 + self._reloads % 10))
            code, body = await asyncio.to_thread(self.proxy.page, "/config/reload", "POST")
            assert code == 200, body

    async def _restart(self) -> None:
        while True:
            await asyncio.sleep(min(10.0, self.seconds / 2.5))
            # What is cancelled in the middle of it would leave nobody listening.
            await asyncio.shield(self.service.away(0.2))

    def _base(self) -> Sample:
        """How it stands when nobody asks, once that is twice the same."""
        found = sample(self.proxy, 0.0)

        def same() -> bool:
            nonlocal found
            before, found = found, sample(self.proxy, 0.0)
            return found.held == before.held

        eventually(same, "quiet")
        return found

    def _afterwards(self) -> None:
        """How it stands once all is over, idle connections to the service included."""

        def quiet() -> bool:
            self.after = sample(self.proxy, monotonic() - self._began)
            self.metrics = self.proxy.metrics()
            return self.after.held == self.before.held

        with contextlib.suppress(AssertionError):  # the checks tell what is left
            eventually(quiet, "everything to be given back", timeout=30)

    # ── figures

    @property
    def checks(self) -> list[Check]:
        """All that must be so."""
        return [
            *self._of_the_load(),
            *self._of_counts(),
            *self._of_bytes(),
            *self._of_attempts(),
            *self._of_what_is_left(),
        ]

    def _rows(self, family: str, label: str) -> Counter[str]:
        """A metric's samples, summed by one label."""
        rows: Counter[str] = Counter()
        for name, value in self.metrics.items():
            if name.startswith(family + "{"):
                rows[name.partition(f'{label}="')[2].partition('"')[0]] += int(value)
        return rows

    def _of_the_load(self) -> Iterator[Check]:
        faults = [*self.faults, *self.crowd.failures, *self.service.faults]
        yield Check("nothing odd is seen, at any end", f"{len(faults)} {faults[:3]}", not faults)
        paces = [later.ended - sooner.ended for sooner, later in pairwise([self.before, *self.samples])]
        yield Check(
            "all clients are there to the end, and ask",
            f"{self.crowd.refused} refused a connection; {min(paces)} to {max(paces)} ended from sample to sample",
            not self.crowd.refused and min(paces) > 0,
        )
        ends = Counter(one.end for one in self.crowd.asked.values())
        yield Check(
            "answers come whole, are cut, or nobody waits for them",
            f"{dict(ends)}",
            set(ends) <= {"whole", "cut", "left"},
        )
        answers = self._rows("sidecar_answers_total", "reason")
        acted = ("upstream", "rate_limited", "circuit_open", "bad_request", "client_gone", "connection_lost")
        figures = ", ".join(f"{reason} {count}" for reason, count in answers.most_common())
        yield Check("everything acts that is to", figures, all(answers[reason] for reason in acted))
        reloads = self.metrics['sidecar_config_reloads_total{result="success"}']
        yield Check("each reload is one", f"{self._reloads}", reloads >= self._reloads)

    def _of_counts(self) -> Iterator[Check]:
        asked = self.crowd.asked
        requests_, answers = (
            int(total(self.metrics, name)) for name in ("http_requests_total", "sidecar_answers_total")
        )
        yield Check(
            "each request is counted once",
            f"clients {len(asked)}, metrics {requests_} by status, {answers} by reason, log {len(self.log)}",
            len(asked) == requests_ == answers == len(self.log),
        )
        for what, family, label in (
            ("reason", "sidecar_answers_total", "reason"),
            ("status", "http_requests_total", "status"),
        ):
            metrics, log = self._rows(family, label), Counter(str(line[what]) for line in self.log)
            yield Check(f"metrics and log agree by {what}", f"{dict(log)}", metrics == log)
        wrong = disagreements(asked, self.log)
        yield Check("clients and log agree on each request", f"{len(wrong)} {wrong[:3]}", not wrong)
        silent = [line for line in self.log if line["reason"] == "upstream" and self._end(line) == "cut"]
        yield Check("what is cut says why", f"{silent[:3]}", not silent)

    def _end(self, line: Line) -> str:
        one = self.crowd.asked.get(line["request_id"])
        return one.end if one is not None else ""

    def _of_bytes(self) -> Iterator[Check]:
        """Of what the service answered and its client read to the end."""
        whole = [line for line in self.log if line["reason"] == "upstream" and self._end(line) == "whole"]
        for what, log, clients, service in (
            ("in", "bytes_in", "sent", self.service.taken),
            ("out", "bytes_out", "got", self.service.given),
        ):
            names = [line["request_id"] for line in whole]
            sums = (
                sum(line[log] for line in whole),
                sum(getattr(self.crowd.asked[name], clients) for name in names),
                sum(service.get(name, 0) for name in names),
            )
            wrong = [line for line in whole if line[log] != service.get(line["request_id"], 0)]
            figures = f"log {sums[0]}, clients {sums[1]}, service {sums[2]}, {len(wrong)} differ {wrong[:2]}"
            yield Check(f"bytes {what} are the same at all ends", figures, sums[0] == sums[1] == sums[2] and not wrong)

    def _of_attempts(self) -> Iterator[Check]:
        seen, logged = self.service.seen, {line["request_id"]: line["attempts"] for line in self.log}
        outcomes = self._rows("sidecar_upstream_attempts_total", "outcome")
        yield Check(
            "metrics and log agree on attempts",
            f"metrics {sum(outcomes.values())}, log {sum(logged.values())}",
            sum(outcomes.values()) == sum(logged.values()),
        )
        more = [name for name, count in seen.items() if count > logged.get(name, 0)]
        yield Check("the service sees no attempt that is not counted", f"{more[:3]}", not more)
        unseen = sum(logged.values()) - sum(seen.values())
        unmade = outcomes["connect_failed"] + outcomes["connect_timeout"]
        lost = outcomes["stale_connection"] + outcomes["connection_lost"] + outcomes["client_gone"]
        yield Check(
            "it sees all that had a connection which lived to be read from",
            f"{unseen} of {sum(logged.values())} were not seen; {unmade} had no connection, {lost} lost or left theirs",
            unmade <= unseen <= unmade + lost,
        )
        twice = [name for name, one in self.crowd.asked.items() if one.method == "POST" and seen[name] > 1]
        yield Check("no POST is sent twice", f"{twice[:3]}", not twice)

    def _of_what_is_left(self) -> Iterator[Check]:
        before, after = self.before.held, self.after.held
        yield Check("nothing is left", f"before {before}, after {after}", before == after)
        half = [each for each in self.samples if each.at > self.seconds / 2]
        if self.seconds >= LONG:
            per_request = growth(half)
            in_all = per_request * (half[-1].ended - half[0].ended)
            figures = f"{per_request:+.1f} bytes a request, from {half[0].rss / 1e6:.1f} to {half[-1].rss / 1e6:.1f} MB"
            yield Check(
                f"memory is flat in the second half (below {LEAST_LEAK} bytes, {MOST_GROWTH / 1e6:g} MB in all)",
                figures,
                per_request < LEAST_LEAK and in_all < MOST_GROWTH,
            )

    def report(self) -> str:
        """All of it, for people."""
        kinds = Counter(one.kind for one in self.crowd.asked.values())
        lines = [f"{self.seconds:g} s, seed {self._seed}: {dict(kinds)}"]
        lines += [f"  {'good' if each.good else 'BAD '}  {each.what}: {each.figures}" for each in self.checks]
        return "\n".join(lines)


def main() -> int:
    """One soak, told as it goes."""
    parser = argparse.ArgumentParser(description="All kinds of load and trouble at once, for long.")
    parser.add_argument("--seconds", type=float, default=600.0, help="how long (600)")
    parser.add_argument("--every", type=float, default=5.0, help="seconds between two samples (5)")
    parser.add_argument("--seed", type=int, default=1, help="of what the clients do (1)")
    given = parser.parse_args()
    soak = Soak(given.seconds, every=given.every, seed=given.seed, tell=True)
    soak.run()
    print(soak.report())
    return 0 if all(check.good for check in soak.checks) else 1


if __name__ == "__main__":
    sys.exit(main())
