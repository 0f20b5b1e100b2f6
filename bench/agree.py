"""``python -m bench.agree``: do the client, the service, our metrics and our access log count the same requests?

wrk cannot be asked: what is in flight when its time is up reaches the proxy but not its count. So a client of our own
makes an exact number of requests, and all four counts must be equal, status by status.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.children import BenchError
from bench.exact import exact_load
from bench.ground import Ground, prepared
from bench.net import fetch
from bench.peers import SIDECAR, Running, start_peer
from bench.report import table

REQUESTS = 20_000
CONNECTIONS = 32

_BODY = b"x" * 1024

_SAMPLE = re.compile(r"^http_requests_total\{(?P<labels>.*)\} (?P<value>\S+)", re.MULTILINE)
_STATUS = re.compile(r'(?:^|,)status="(?P<status>\d+)"')
_DROPPED = re.compile(r"^sidecar_log_lines_dropped_total (?P<value>\S+)", re.MULTILINE)


@dataclass(frozen=True)
class Agreement:
    """The four counts by status (the service knows only their sum), and the log lines that were dropped."""

    client: Mapping[int, int]
    service: int
    metrics: Mapping[int, int]
    log: Mapping[int, int]
    dropped: int

    @property
    def holds(self) -> bool:
        """All counts are equal and no line was dropped."""
        equal = self.client == self.metrics == self.log
        return equal and sum(self.client.values()) == self.service and self.dropped == 0

    def __str__(self) -> str:
        statuses = sorted({*self.client, *self.metrics, *self.log})
        rows = [
            [str(status), *(str(seen.get(status, 0)) for seen in (self.client, self.metrics, self.log)), ""]
            for status in statuses
        ]
        sums = (sum(seen.values()) for seen in (self.client, self.metrics, self.log))
        rows.append(["all", *map(str, sums), str(self.service)])
        word = "agree" if self.holds else "DO NOT AGREE"
        shown = table(["status", "client", "http_requests_total", "access log", "service"], rows)
        return f"{shown}\nlog lines dropped: {self.dropped}\nthe counts {word}"


def check_agreement(ground: Ground) -> Agreement:
    """Start the proxy afresh, make the requests, end it, and compare."""
    running = start_peer(SIDECAR, ground)
    before_metrics, before_log = _counts_at_rest(running)
    fetch(ground.service.port, "/_record/reset", method="POST")
    client = asyncio.run(exact_load(running.place.port, REQUESTS, CONNECTIONS, _request))
    metrics, _ = _counts_at_rest(running)
    dropped = _dropped(running)
    seen_by_service = json.loads(fetch(ground.service.port, "/_record").body)["requests"]
    ground.children.stop(running.process)  # a clean end writes what is left of the log
    return Agreement(
        client,
        seen_by_service,
        metrics - before_metrics,
        _log_counts(running.place.log) - before_log,
        dropped,
    )


def _request(number: int) -> bytes:
    """Mostly small answers, some of them errors, and some uploads."""
    head = b"Host: bench\r\nUser-Agent: bench\r\nX-Request-ID: agree-%d\r\n" % number
    match number % 4:
        case 0:
            return b"GET /hello HTTP/1.1\r\n" + head + b"\r\n"
        case 1:
            return b"GET /items/%d HTTP/1.1\r\n" % number + head + b"\r\n"
        case 2:
            return b"GET /status/404 HTTP/1.1\r\n" + head + b"\r\n"
        case _:
            length = b"Content-Length: %d\r\n\r\n" % len(_BODY)
            return b"POST /upload?hash=0 HTTP/1.1\r\n" + head + length + _BODY


def _counts_at_rest(running: Running, within: float = 3.0) -> tuple[Counter[int], Counter[int]]:
    """Metrics and log once they are equal, or as they are when that does not happen soon."""
    deadline = time.monotonic() + within
    while True:
        metrics, log = _metrics_counts(running), _log_counts(running.place.log)
        if metrics == log or time.monotonic() > deadline:
            return metrics, log
        time.sleep(0.05)


def _metrics_counts(running: Running) -> Counter[int]:
    counts: Counter[int] = Counter()
    for sample in _SAMPLE.finditer(_metrics(running)):
        status = _STATUS.search(sample["labels"])
        if status is None:
            raise BenchError(f"http_requests_total without a status: {sample[0]}")
        counts[int(status["status"])] += int(float(sample["value"]))
    return counts


def _dropped(running: Running) -> int:
    found = _DROPPED.search(_metrics(running))
    if found is None:
        raise BenchError("/metrics has no sidecar_log_lines_dropped_total")
    return int(float(found["value"]))


def _metrics(running: Running) -> str:
    answer = fetch(running.place.admin, "/metrics")
    if answer.status != 200:
        raise BenchError(f"/metrics answered {answer.status}")
    return answer.body.decode()


def _log_counts(path: Path) -> Counter[int]:
    whole = path.read_bytes().rpartition(b"\n")[0]
    return Counter(int(json.loads(line)["status"]) for line in whole.splitlines())


def main() -> int:
    """Run the check alone; return its exit code."""
    try:
        with prepared() as ground:
            agreement = check_agreement(ground)
    except BenchError as error:
        print(f"bench.agree: {error}", file=sys.stderr)
        return 1
    print(agreement)
    return 0 if agreement.holds else 1


if __name__ == "__main__":
    sys.exit(main())
