"""Puts the proxy in front of an upstream that fails half of the time: `python -m tests.wire.storm [--seconds 60]`.

Retries are on and the breaker is off, so nothing but the retry budget keeps the load from becoming a multiple of
itself. Some clients leave before they are answered. Afterwards the figures of clients, upstream, metrics and log must
agree, and nothing may be left. It exits with 1 where one of that is not so; `test_storm.py` runs it for a moment.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import sys
from collections import Counter
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from time import monotonic
from typing import Any, NamedTuple

from tests.support.processes import Proxy
from tests.support.waiting import eventually

CLIENTS = 24
MOST = 1.25  # what the upstream may see for each request of a client
SHARE = 0.2  # of requests that may be retries, in the long run
START = 3  # retries that a new budget holds

SETTINGS = f"""\
breaker: {{mode: off}}
guard: {{mode: off}}
retry: {{attempts: 2, budget: {SHARE}, base: 5ms, cap: 20ms}}
timeouts: {{attempt: 150ms}}
concurrency: {{max: 16, queue_wait: 5s}}
"""

# How the upstream fails, and how often of a hundred times that it does.
FAILURES = {"503": 25, "502": 15, "504": 10, "reset": 40, "half a head": 5, "hang": 5}

BODY = bytes(range(256)) * 8
_ID = re.compile(rb"\r\nX-Request-ID: ([^\r]+)\r\n", re.IGNORECASE)
_LENGTH = re.compile(rb"\r\nContent-Length: ([0-9]+)\r\n", re.IGNORECASE)
_ATTEMPTS = re.compile(rb"\r\nx-envoy-attempt-count: ([0-9]+)\r\n", re.IGNORECASE)


class Upstream(asyncio.Protocol):
    """One connection to the service that fails. `seen` counts its requests by their ID, `faults` what was wrong."""

    def __init__(self, chance: Random, seen: Counter[str], faults: list[str]) -> None:
        self._chance = chance
        self._seen = seen
        self._faults = faults
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, end, rest = self._buffer.partition(b"\r\n\r\n")
        head += b"\r\n"
        length = _LENGTH.search(head)
        size = int(length[1]) if length else 0
        if not end or len(rest) < size:
            return
        self._buffer = rest[size:]
        found = _ID.search(head)
        assert found is not None
        self._seen[found[1].decode()] += 1
        if rest[:size] != BODY[:size] or self._buffer:
            self._faults.append(f"a request with another body: {head!r}")
        self._answer()

    def _answer(self) -> None:
        chance = self._chance
        if chance.random() < 0.5:
            self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            return
        (failure,) = chance.choices([*FAILURES], [*FAILURES.values()])
        if failure == "reset":
            self._transport.abort()
        elif failure == "half a head":
            self._transport.write(b"HTTP/1.1 200 OK\r\nCont")
            self._transport.close()
        elif failure != "hang":
            self._transport.write(b"HTTP/1.1 %b X\r\nContent-Length: 4\r\n\r\nfail" % failure.encode())


class Clients:
    """Everybody who asks. Each has a connection of its own, and a new one where it has left."""

    def __init__(self, port: int, seconds: float, seed: int, leaving: float) -> None:
        self._port = port
        self._until = monotonic() + seconds
        self._seed = seed
        self._leaving = leaving
        self.sent = 0
        self.left = 0
        self.statuses: Counter[int] = Counter()
        self.attempts: dict[str, int] = {}  # by ID, as the answer says
        self.methods: dict[str, str] = {}
        self.faults: list[str] = []

    async def run(self) -> None:
        """Ask until the time is over."""
        await asyncio.gather(*(self._one(number) for number in range(CLIENTS)))

    async def _one(self, number: int) -> None:
        chance = Random(self._seed * 1000 + number)
        while monotonic() < self._until:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
            try:
                while monotonic() < self._until and await self._ask(reader, writer, chance, number):
                    pass
            except (OSError, EOFError, AssertionError) as error:
                self.faults.append(repr(error))
            finally:
                writer.close()

    async def _ask(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, chance: Random, number: int
    ) -> bool:
        """One request; False where this client does not wait for the answer."""
        self.sent += 1
        name = f"storm-{number}-{self.sent}"
        method, size = chance.choice([("GET", 0), ("GET", 0), ("PUT", 2000), ("POST", 500), ("POST", 0)])
        self.methods[name] = method
        body = b"Content-Length: %d\r\n\r\n%b" % (size, BODY[:size]) if size else b"\r\n"
        writer.write(
            b"%b /storm HTTP/1.1\r\nHost: a\r\nX-Request-ID: %b\r\n%b" % (method.encode(), name.encode(), body)
        )
        if chance.random() < self._leaving:
            self.left += 1
            await asyncio.sleep(chance.random() * 0.01)
            return False
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)
        length, attempts = _LENGTH.search(head), _ATTEMPTS.search(head)
        assert head.startswith(b"HTTP/1.1 "), head
        assert length is not None
        await reader.readexactly(int(length[1]))
        self.statuses[int(head[9:12])] += 1
        self.attempts[name] = int(attempts[1]) if attempts else 0
        return True


class Check(NamedTuple):
    """What must be so, the figures that say whether it is, and whether it is."""

    what: str
    figures: str
    good: bool


class Storm:
    """One storm. After `run`, `checks` says how it went."""

    def __init__(self, seconds: float, seed: int, leaving: float) -> None:
        self.seconds = seconds
        self.seed = seed
        self.leaving = leaving
        self.seen: Counter[str] = Counter()
        self.faults: list[str] = []

    def run(self) -> None:
        """Let it happen, and gather the figures."""
        with TemporaryDirectory() as folder:
            asyncio.run(self._run(Path(folder) / "sidecar.yaml"))

    async def _run(self, file: Path) -> None:
        await asyncio.to_thread(file.write_text, SETTINGS)
        chance = Random(self.seed)
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: Upstream(chance, self.seen, self.faults), "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        proxy = await asyncio.to_thread(
            Proxy, f"http://127.0.0.1:{port}", "-c", str(file), SIDECAR_HEALTH__INTERVAL="1h"
        )
        with proxy:
            assert not isinstance(proxy.address, str)
            self.clients = Clients(proxy.address[1], self.seconds, self.seed, self.leaving)
            await self.clients.run()
            await asyncio.to_thread(self._afterwards, proxy)
            await asyncio.to_thread(proxy.stop)
        self.log = [line for line in proxy.out.json() if line["event"] == "request"]
        server.close()

    def _afterwards(self, proxy: Proxy) -> None:
        """How it stands once all is over. Who left may have done so a moment ago."""
        sent = self.clients.sent

        def quiet() -> bool:
            self.status = proxy.status()
            self.metrics = proxy.metrics()
            return self.status["in_flight"] == 0 and self.total("http_requests_total") == sent

        try:
            eventually(quiet, "the end of all requests", timeout=10)
        except AssertionError:
            pass  # the checks tell what is left

    # ── figures

    def total(self, family: str, **labels: str) -> int:
        """The sum of a metric's samples that have these labels."""
        wanted = [f'{name}="{value}"' for name, value in labels.items()]
        samples = self.metrics.items()
        return int(
            sum(value for name, value in samples if name.startswith(family + "{") and all(w in name for w in wanted))
        )

    def rows(self, family: str) -> dict[str, int]:
        """A metric's samples by their labels."""
        return {name[len(family) :]: int(n) for name, n in self.metrics.items() if name.startswith(family + "{")}

    @property
    def checks(self) -> list[Check]:
        """All that must be so."""
        return [*self._of_the_load(), *self._of_agreement(), *self._of_what_is_left()]

    def _of_the_load(self) -> list[Check]:
        clients, asked = self.clients, sum(self.seen.values())
        retries = self.total("sidecar_retries_total") - sum(
            self.total("sidecar_retries_total", result=result) for result in ("exhausted", "budget", "deadline", "body")
        )
        twice = [name for name, method in clients.methods.items() if method == "POST" and self.seen[name] > 1]
        good = clients.statuses[200] / max(1, sum(clients.statuses.values()))
        return [
            Check("retries happen", f"{retries}", retries > clients.sent * SHARE / 2),
            Check(
                f"the upstream sees at most {MOST} times the requests",
                f"{asked} / {clients.sent} = {asked / clients.sent:.3f}",
                asked <= MOST * clients.sent,
            ),
            Check(
                "retries stay within the budget",
                f"{retries} of {START + SHARE * clients.sent:.0f}",
                retries <= START + SHARE * clients.sent,
            ),
            Check("they help", f"{good:.1%} were answered 200, half would be without", good > 0.53),
            Check("no POST is sent twice", f"{len(twice)}", not twice),
            Check("nothing odd is seen, at either end", f"{[*clients.faults, *self.faults][:3]}", not clients.faults),
        ]

    def _of_agreement(self) -> list[Check]:
        clients, asked = self.clients, sum(self.seen.values())
        by_status = {status: self.total("http_requests_total", status=str(status)) for status in clients.statuses}
        fewer = [status for status, count in clients.statuses.items() if by_status[status] < count]
        wrong = [name for name, count in clients.attempts.items() if self.seen[name] != count]
        attempts = self.total("sidecar_upstream_attempts_total")
        logged = sum(line["attempts"] for line in self.log)
        return [
            Check(
                "each request is counted once",
                f"clients {clients.sent}, metrics {self.total('http_requests_total')}, log {len(self.log)}",
                clients.sent
                == self.total("http_requests_total")
                == self.total("sidecar_answers_total")
                == len(self.log),
            ),
            Check("… under its status", f"clients {dict(clients.statuses)}, metrics {by_status}", not fewer),
            Check("answers name the attempts that the upstream saw", f"{wrong[:3]}", not wrong),
            Check(
                "each attempt is counted once",
                f"upstream {asked}, metrics {attempts}, log {logged}",
                # Those of clients that left may have been counted and not sent.
                asked <= attempts <= asked + clients.left and asked <= logged <= asked + clients.left * 3,
            ),
        ]

    def _of_what_is_left(self) -> list[Check]:
        status = self.status
        left: dict[str, Any] = {
            "in flight": status["in_flight"],
            "places": [(gate["in_flight"], gate["queued"]) for gate in status["policies"]["concurrency"].values()],
            "waiting for a connection": status["pool"]["waiting"],
            "connections in use": status["pool"]["connections"] - status["pool"]["idle"],
        }
        good = left == {"in flight": 0, "places": [(0, 0)], "waiting for a connection": 0, "connections in use": 0}
        return [Check("nothing is left", json.dumps(left), good)]

    def report(self) -> str:
        """All of it, for people."""
        lines = [f"{self.seconds:g} s, seed {self.seed}, {self.leaving:.0%} of the clients leave"]
        lines.append(
            f"  clients   {self.clients.sent} requests, {self.clients.left} left, {dict(self.clients.statuses)}"
        )
        for family in ("sidecar_retries_total", "sidecar_upstream_attempts_total", "sidecar_answers_total"):
            lines += [f"  {family[8:]:24} {labels} {count}" for labels, count in self.rows(family).items()]
        lines += [f"  {'good' if each.good else 'BAD '}  {each.what}: {each.figures}" for each in self.checks]
        return "\n".join(lines)


def main() -> int:
    """One storm in which everybody waits, and one in which some leave."""
    parser = argparse.ArgumentParser(description="An upstream that fails half of the time, and what becomes of it.")
    parser.add_argument("--seconds", type=float, default=60.0, help="of each storm (60)")
    parser.add_argument("--seed", type=int, default=1, help="of the upstream's luck and the clients' (1)")
    given = parser.parse_args()
    good = True
    for leaving in (0.0, 0.05):
        storm = Storm(given.seconds, given.seed, leaving)
        storm.run()
        print(storm.report(), flush=True)
        good = good and all(check.good for check in storm.checks)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
