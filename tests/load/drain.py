"""SIGTERM under mixed load, again and again: `python -m tests.load.drain [--rounds 50]`.

Small requests on kept connections and on new ones, downloads, event streams, uploads, WebSockets; clients that never
ask twice. Who was told `Connection: close` connects anew. Who is refused a connection has met no failure, as nobody is
sent there any more by then; a connection that was accepted and ends without an answer is one. After each round the
access log has to say what the clients say, request by request, the drain report what both of them say, and the service
to have seen each request once. In every seventh round something is left that does not end, to be cut. The port is the
same throughout. It exits with 1 where one of that is not so.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from time import monotonic, sleep
from typing import Any, NamedTuple

from tests.load import people
from tests.load.agreement import Line, disagreements, requests
from tests.load.crowd import Background, Crowd
from tests.load.people import MIXED, Begin, Kind
from tests.load.talk import Talk
from tests.support.client import Client
from tests.support.processes import GoService, Proxy
from tests.support.waiting import eventually

DELAY = 0.4
# All that ends in one turn of the loop has one time in the log, and on a busy machine a turn takes long.
ROUGH = 0.15

SETTINGS = "guard: {mode: off}\nhealth: {interval: 1h}\n"


async def endless(talk: Talk, chance: Random, begin: Begin) -> bool:
    """Something that does not end by itself: events, an open tunnel, a handler that hangs."""
    asked, name = begin("GET")
    kind = chance.choice(["events", "tunnel", "hang"])
    if kind == "tunnel":
        if await people.shake_hands(talk, asked, name):
            while True:
                await people.echo(talk, asked, b"still here")
    else:
        talk.write_head("GET", "/sse?n=0&every=20ms" if kind == "events" else "/hang", name)
        await talk.read_head(asked)
        await talk.read_body(asked)
    return False


WITH_A_CUT: dict[Kind, int] = {**MIXED, endless: 5}
_ENDLESS = frozenset({"endless"})


class Round(NamedTuple):
    """One life of the proxy, and how it left."""

    delay: float
    crowd: Crowd
    code: int
    took: float
    lines: list[Line]
    report: Line
    began: float
    visits: dict[str, Any]  # what the service says

    def wrong(self) -> list[str]:
        """All that is not as it should be."""
        asked = self.crowd.asked
        found = [*self.crowd.failures, *disagreements(asked, self.lines)]
        if self.code != 0:
            found.append(f"exit code {self.code}")
        if self.visits["requests"] != len(asked):
            found.append(f"the service saw {self.visits['requests']} requests, {len(asked)} were asked")
        if any(len(seen) != 1 for seen in self.visits["by_id"].values()):
            found.append("the service saw a request twice")
        cut = sum(one.end == "cut" for one in asked.values())
        gone = self.visits["contexts_ended"]
        if not self.report["cut"] == cut == gone or cut != self._endless():
            found.append(f"cut: report {self.report['cut']}, clients {cut}, service {gone}")
        return found + self._of_the_report()

    def _endless(self) -> int:
        return sum(one.kind == "endless" for one in self.crowd.asked.values())

    def _of_the_report(self) -> list[str]:
        """Whether it says what can be told from log lines; those that a rounding may put on either side are let be."""
        report, found = self.report, []
        ends = [(_time(line) - line["duration_ms"] / 1e3, _time(line), line) for line in self.lines]
        later = [(start, end) for start, end, line in ends if line["reason"] != "draining"]
        for name, sure, maybe in (
            (
                "in_flight_at_start",
                sum(start < self.began - ROUGH and end > self.began + ROUGH for start, end, _ in ends),
                sum(start < self.began + ROUGH and end > self.began - ROUGH for start, end, _ in ends),
            ),
            (
                "finished",
                sum(end > self.began + ROUGH for _, end in later),
                sum(end > self.began - ROUGH for _, end in later),
            ),
        ):
            if not sure <= report[name] <= maybe:
                found.append(f"{name} is {report[name]}, between {sure} and {maybe} by the log")
        sure, maybe = (
            max((end - start for start, end, _ in ends if end > self.began + by), default=0.0) for by in (ROUGH, -ROUGH)
        )
        if not sure - 0.002 <= report["longest"] <= maybe + ROUGH:
            found.append(f"longest is {report['longest']}, between {sure:.3f} and {maybe:.3f} by the log")
        # The rest of the process's life is to write the log and to end, on a machine that is busy.
        if not 0 <= self.took - report["took"] < 2:
            found.append(f"took {report['took']}, seen from outside {self.took:.3f}")
        spent = report["took"] - self.delay
        if report["cut"] == 0 and not 0 <= report["left"] - (self._timeout() - spent) < 0.5:
            found.append(f"left is {report['left']} after {spent:.3f} s of {self._timeout():g}")
        if report["cut"] and report["left"] != 0:
            found.append("something was cut before its time")
        return found

    def _timeout(self) -> float:
        return 3.0 if self._endless() else 25.0

    def __str__(self) -> str:
        by_kind = {kind.__name__: 0 for kind in WITH_A_CUT}
        for one in self.crowd.asked.values():
            by_kind[one.kind] += 1
        report = {name: self.report[name] for name in ("in_flight_at_start", "finished", "cut", "longest", "left")}
        return f"delay {self.delay:g} s, {len(self.crowd.asked)} requests {by_kind}, report {report}"


def _time(line: Mapping[str, Any]) -> float:
    return datetime.fromisoformat(line["ts"]).timestamp()


class Stage:
    """The service, and one proxy after another in front of it, on one port."""

    def __init__(self, go: GoService, folder: Path) -> None:
        self._go = go
        self._file = folder / "sidecar.yaml"
        self._file.write_text(SETTINGS)
        self._listen = "127.0.0.1:0"
        self._rounds = 0

    def round(self, *, delay: float, cut: bool = False) -> Round:
        """Start, load, end."""
        self._rounds += 1
        with Client(self._go.address) as client:
            client.post("/_record/reset")
        flags = ["--drain-delay", f"{delay * 1000:.0f}ms", "--drain-timeout", "3s" if cut else "25s"]
        with Proxy(self._go.url, "-c", str(self._file), *flags, listen=self._listen) as proxy:
            assert not isinstance(proxy.address, str)
            self._listen = "{}:{}".format(*proxy.address)
            kinds = WITH_A_CUT if cut else MIXED
            crowd = Crowd(proxy.address, kinds, f"d{self._rounds}", seed=self._rounds, may_be_cut=_ENDLESS)
            with Background(crowd) as clients:
                eventually(crowd.begun, "all kinds of load")
                proxy.page("/livez")  # it is slow to come up, and an end begins in earnest only then
                sleep(Random(self._rounds).random() * 0.2)  # so that the signal meets each round at another point
                began = monotonic()
                proxy.signal()
                code = proxy.wait(60)
                took = monotonic() - began
                clients.join(30)
        (draining,), (report,) = proxy.events("draining"), proxy.events("drained")
        with Client(self._go.address) as client:
            visits = eventually(lambda: _at_rest(client), "the service to be done")
        assert visits is not None
        lines = requests(proxy.out.json())
        return Round(delay, crowd, code, took, lines, report, _time(draining), visits)


def _at_rest(client: Client) -> dict[str, Any] | None:
    visits: dict[str, Any] = json.loads(client.get("/_record").body)
    return visits if visits["in_flight"] == 0 else None


def main() -> int:
    """Many rounds, by turns with and without a delay."""
    parser = argparse.ArgumentParser(description="SIGTERM under mixed load: nothing is lost, and the report is true.")
    parser.add_argument("--rounds", type=int, default=50, help="SIGTERMs (50)")
    given = parser.parse_args()
    bad = asked = 0
    with TemporaryDirectory() as folder, GoService() as go:
        stage = Stage(go, Path(folder))
        for number in range(given.rounds):
            result = stage.round(delay=DELAY * (number % 2), cut=number % 7 == 6)
            wrong = result.wrong()
            bad += bool(wrong)
            asked += len(result.crowd.asked)
            print(f"{number + 1:3} {'BAD ' if wrong else 'good'} {result}", flush=True)
            for each in wrong[:10]:
                print(f"      {each}")
    print(f"{given.rounds} drains, {asked} requests: {bad or 'none'} went wrong")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
