"""Exchanges that have come to any end one likes."""

from __future__ import annotations

from sidecar.errors import SidecarError
from sidecar.exchange import BAD, GOOD, Exchange, Outcome, Request
from sidecar.headers import Headers


class NoTimer:
    """The timer of an exchange that nobody waits for."""

    def at_latest(self, due: float) -> None:
        pass


def ended(target: bytes = b"/", *, method: str = "GET", status: int = 200, **fields: object) -> Exchange:
    """An exchange begun at second 100, with these fields."""
    exchange = Exchange(Request(method, target, Headers()), b"id-1", "10.0.0.1", 100.0, NoTimer())
    exchange.status = status
    for name, value in fields.items():
        setattr(exchange, name, value)
    return exchange


def outcome(status: int = 0, error: SidecarError | None = None, elapsed: float = 0.01) -> Outcome:
    """An attempt that ended so."""
    return Outcome(status, error, True, elapsed, GOOD if error is None else BAD)
