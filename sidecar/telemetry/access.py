"""The access log: one line for each request, with these fields and no others, so that no secret gets in.

A line is a struct; the lines of one loop turn are rendered and handed over together. The renderers are the structlog
processors that `log.py` uses, but they are called directly, JSON ones for a whole turn at once: through a structlog
bound logger a line costs 10.6 µs with structlog's JSON renderer and 4.6 with ours, of a request that costs 30 in all;
so it costs about 1.5.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from math import inf
from typing import Final

import msgspec

from sidecar.errors import UPSTREAM
from sidecar.exchange import Exchange
from sidecar.telemetry import render
from sidecar.telemetry.line import Line
from sidecar.telemetry.metrics import UNTOLD
from sidecar.telemetry.render import Event, Renderer, Timestamps

# Characters of a path that are logged; the rest says nothing more and may be 60 KiB.
_LONGEST_PATH: Final = 2048

# So many lines are rendered at once, before they grow cold in the processor's cache.
_ENOUGH: Final = 64


class AccessLog:
    """Writes the lines. `write(block, lines)` takes a block of whole lines and must not block.

    `mode` is `all`, `errors` (status 500 and above, or not the upstream's own answer) or `off`. Probes get a line
    only where `errors` would log them too. `query` logs query strings as well.
    """

    def __init__(
        self,
        write: Callable[[bytes, int], None],
        renderer: Renderer,
        mode: str = "all",
        query: bool = False,
        timestamps: Timestamps | None = None,
    ) -> None:
        self._write = write
        self._render = render.json_lines if renderer is render.json_line else _for_people(renderer)
        self._off = mode == "off"
        self._errors_only = mode == "errors"
        self._query = query
        self._timestamps = timestamps or Timestamps()
        self._now = ""
        self._lines: list[Line] = []

    def settled(self, exchange: Exchange, now: float) -> None:
        """Log the ended exchange, if its kind is logged."""
        status, reason = exchange.status or UNTOLD, exchange.reason
        failed = status >= 500 or reason != UPSTREAM
        if self._off or not (failed or (exchange.observed and not self._errors_only)):
            return
        if not self._lines:
            asyncio.get_running_loop().call_soon(self.flush)
            self._now = self._timestamps()  # one for all that end in this turn of the loop
        request = exchange.request
        path = request.target.decode("ascii", "replace") if self._query else request.path
        self._lines.append(
            Line(
                self._now,
                "error" if status >= 500 else "warning" if failed else "info",
                "request",
                request.method,
                path if len(path) <= _LONGEST_PATH else path[:_LONGEST_PATH] + "…",
                status,
                reason,
                exchange.attempts,
                # To whole microseconds; `round` takes six times as long.
                (now - exchange.started) * 1e6 // 1 / 1e3,
                exchange.upstream_wait * 1e6 // 1 / 1e3,
                exchange.overhead(now) * 1e6 // 1 / 1e3,
                exchange.bytes_in,
                exchange.bytes_out,
                exchange.id.decode(),
                exchange.upstream,
                exchange.client,
                (exchange.client_deadline - exchange.started) * 1e6 // 1 / 1e3
                if exchange.client_deadline != inf
                else None,
                exchange.route,
                exchange.queue_wait * 1e6 // 1 / 1e3 if exchange.queue_wait else None,
                exchange.backoff_wait * 1e6 // 1 / 1e3 if exchange.backoff_wait else None,
            )
        )
        if len(self._lines) == _ENOUGH:
            self.flush()

    def flush(self) -> None:
        """Hand over what has been collected."""
        lines, self._lines = self._lines, []
        if lines:
            self._write(self._render(lines), len(lines))


def _for_people(renderer: Renderer) -> Callable[[Sequence[Line]], bytes]:
    return lambda lines: b"".join([renderer(None, line.level, _headline(line)) for line in lines])


def _headline(line: Line) -> Event:
    """The line for a console: what was asked and answered in front, then whatever is not nothing."""
    rest = msgspec.structs.asdict(line)
    shown: Event = {"ts": rest.pop("ts"), "level": rest.pop("level")}
    shown["event"] = f"{line.method} {line.path} {line.status}"
    for key in ("event", "method", "path", "status"):
        rest.pop(key, None)
    shown.update((key, value) for key, value in rest.items() if value)
    return shown
