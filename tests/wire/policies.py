"""What the suites about the policies share: programs with settings of their own, requests by case, and what was seen.

A case is a route of its own, all in one program: the header X-Case takes a request there. Its name is the request's ID
as well, by which the Go service says what it saw of the case.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event, Thread
from time import monotonic
from typing import Any, NamedTuple

import yaml

from tests.support.client import Answer, Client, CutError
from tests.support.processes import GoService, Proxy
from tests.support.waiting import PATIENCE, eventually

_LABEL = re.compile(r'(\w+)="([^"]*)"')

PROBE = "User-Agent: kube-probe/1.30"

# What leaves every other policy out of it.
ALONE: dict[str, Any] = {"retry": {"mode": "off"}, "deadline": {"mode": "off"}}


@contextmanager
def running(url: str, settings: dict[str, Any], *flags: str, **env: str) -> Iterator[Proxy]:
    """A proxy with these settings in its file, beside those of `ALONE`."""
    with TemporaryDirectory(prefix="policies") as folder:
        file = Path(folder) / "sidecar.yaml"
        file.write_text(yaml.safe_dump(ALONE | settings))
        with Proxy(url, "-c", str(file), *flags, **env) as proxy:
            yield proxy


@contextmanager
def mortal() -> Iterator[Callable[[], GoService]]:
    """Starts a Go service on an address that stays the same; who starts it anew has killed the one before."""
    with TemporaryDirectory(prefix="go") as folder, ExitStack() as stack:
        yield lambda: stack.enter_context(GoService(f"unix:{folder}/s"))


def kill(go: GoService) -> None:
    """It is gone without a word, and its address refuses connections."""
    go.process.kill()
    go.process.wait(PATIENCE)


# ── cases


def route(case: str, **policies: Any) -> dict[str, Any]:
    """The route of a case."""
    return {"name": case, "path": "/{rest...}", "headers": [f"X-Case={case}"], **policies}


def of(case: str, *fields: str) -> list[str]:
    """The header lines of one of its requests."""
    return [f"X-Case: {case}", f"X-Request-ID: {case}", *fields]


def visits(go: GoService, case: str) -> list[str]:
    """The paths of its requests that the service saw, in the order in which they came."""
    return [visit["path"] for visit in go.record(case)]


def most_at_once(go: GoService, case: str) -> int:
    """How many of them the service ever had in hand at one time; all of them are over."""
    record = go.record(case)
    # At the same moment who leaves is before who comes.
    ends = [(datetime.fromisoformat(visit["finished"]), -1) for visit in record]
    in_hand = most = 0
    for _, change in sorted([(datetime.fromisoformat(visit["started"]), 1) for visit in record] + ends):
        in_hand += change
        most = max(most, in_hand)
    return most


def release(go: GoService, key: str) -> None:
    """Let go what `/hold/{key}` holds."""
    with Client(go.address) as client:
        assert client.post(f"/_release/{key}").status == 204


# ── clients


@contextmanager
def clients(proxy: Proxy, count: int) -> Iterator[list[Client]]:
    """So many connections."""
    with ExitStack() as stack:
        yield [stack.enter_context(proxy.client()) for _ in range(count)]


def in_turn(proxy: Proxy, case: str, targets: list[str], *fields: str) -> list[Answer]:
    """The answers to one request after the other on one connection."""
    with proxy.client() as client:
        return [client.get(target, *of(case, *fields)) for target in targets]


def at_once(proxy: Proxy, case: str, count: int, target: str = "/hello", *fields: str) -> list[Answer]:
    """The answers to so many requests that are sent at once."""
    with clients(proxy, count) as crowd:
        for client in crowd:
            client.ask(target, fields=of(case, *fields))
        return [client.read() for client in crowd]


class Told(NamedTuple):
    """What a client was told, and after how many seconds."""

    status: int
    seconds: float


class Load:
    """Clients that ask one request after the other, each on its connection, until the end of the `with` block."""

    def __init__(self, proxies: list[Proxy], case: str) -> None:
        self.told: list[Told] = []
        self.faults: list[BaseException] = []
        self._stop = Event()
        self._threads = [Thread(target=self._run, args=(proxy, case)) for proxy in proxies]

    def _run(self, proxy: Proxy, case: str) -> None:
        try:
            with proxy.client() as client:
                while not self._stop.is_set():
                    began = monotonic()
                    answer = client.get("/hello", *of(case))
                    self.told.append(Told(answer.status, monotonic() - began))
        except (CutError, OSError, AssertionError) as fault:
            self.faults.append(fault)

    def goes_on(self) -> None:
        """Wait until some more answers have come."""
        goal = len(self.told) + 20
        eventually(lambda: len(self.told) >= goal or self.faults, "more answers")

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(PATIENCE)


# ── what was said


def refusal(answer: Answer, status: int, reason: str) -> dict[str, Any]:
    """The problem of an answer that is this refusal; that it is told in the same way in all places is checked here."""
    assert (answer.status, answer.get("X-Sidecar-Reason")) == (status, reason), answer
    assert answer["Content-Type"] == "application/problem+json"
    problem: dict[str, Any] = json.loads(answer.body)
    assert (problem["status"], problem["reason"]) == (status, reason)
    assert problem["request_id"] == answer["X-Request-ID"]
    assert problem["detail"]
    assert int(answer["Retry-After"]) == problem["retry_after"] >= 1
    assert answer["Proxy-Status"].startswith("sidecar; error=")
    return problem


def statuses(answers: list[Answer]) -> list[int]:
    """The status of each."""
    return [answer.status for answer in answers]


def samples(proxy: Proxy, name: str) -> Iterator[tuple[dict[str, str], int]]:
    """Each sample of this name in /metrics: its labels and its value."""
    for sample, value in proxy.metrics().items():
        if sample.startswith(name + "{"):
            yield dict(_LABEL.findall(sample)), int(value)


def figure(proxy: Proxy, name: str, **labels: str) -> int:
    """The sample of /metrics with these labels; 0 where there is none yet."""
    return sum(value for found, value in samples(proxy, name) if found == labels)


def decisions(proxy: Proxy, limiter: str) -> dict[str, int]:
    """What a limiter has decided, by /metrics."""
    found = samples(proxy, "sidecar_limit_decisions_total")
    return {labels["decision"]: value for labels, value in found if labels["limiter"] == limiter}


def shadows(proxy: Proxy, policy: str) -> int:
    """What a policy would have refused, by /metrics."""
    return figure(proxy, "sidecar_policy_shadow_total", policy=policy)


def policy(proxy: Proxy, name: str) -> Any:
    """What /status says of a policy."""
    return proxy.status()["policies"][name]
