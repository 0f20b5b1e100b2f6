"""Sets the limits that the exchange's timer watches over; it cancels the stack when they pass.

The client's own deadline, where it names one, and the sidecar's. What has less time left than its route usually takes
can be refused at once: the upstream would do the work, and nobody would take it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Final

from sidecar.errors import DEADLINE_EXCEEDED, SidecarError
from sidecar.exchange import Exchange, Handler, Response
from sidecar.policy.deadline import answer_within, client_timeout
from sidecar.policy.usual import Usual

# Path templates there may be, and a few routes.
_MOST: Final = 256

# Seconds between two answers that are learned from, of whatever template: more would cost and tell nothing.
_EVERY: Final = 0.002

_WOULD_REFUSE: Final = "would refuse"

Took = Callable[[Exchange, float, float], None]


class Deadlines:
    """The rule of one route. Times are seconds; 0 = none.

    `mode` is about what has too little time left: `enforce` refuses it, `shadow` calls `shadow()` instead, `off` does
    not look.
    """

    __slots__ = ("_next", "_shadow", "_usual", "attempt", "request", "took")

    def __init__(
        self, request: float, attempt: float = 0.0, *, mode: str = "off", shadow: Callable[[], None] | None = None
    ) -> None:
        self.request = request
        self.attempt = attempt
        # What is to be told how long answers took, if anything.
        self.took: Took | None = None if mode == "off" else self._took
        self._shadow = shadow if mode == "shadow" else None
        self._usual: dict[str, Usual] = {}
        self._next = 0.0

    def _took(self, exchange: Exchange, began: float, now: float) -> None:
        """An attempt of this exchange that began then was answered well, now."""
        if now < self._next:
            return
        self._next = now + _EVERY
        whole = exchange.whole
        if whole is None or self._spared(exchange):
            return  # answered before the request was there: that is not how long one takes
        usual = self._usual.get(exchange.label)
        if usual is None:
            if not exchange.label or len(self._usual) >= _MOST:
                return
            usual = self._usual[exchange.label] = Usual()
        # An upload takes its client's time.
        usual.saw(now - (began if began > whole else whole), now)

    def cut(self, exchange: Exchange, began: float) -> None:
        """An attempt that began then was ended from outside before it was answered."""
        usual, whole = self._usual.get(exchange.label), exchange.whole
        if usual is not None and whole is not None and not self._spared(exchange):
            now = monotonic()
            usual.cut(now - max(began, whole), now)

    def _spared(self, exchange: Exchange) -> bool:
        """Whether it is under way only as shadow mode refuses nothing: enforcing would learn nothing from it."""
        return self._shadow is not None and bool(exchange.notes) and exchange.notes[0][2] == _WOULD_REFUSE

    def check(self, exchange: Exchange, now: float) -> None:
        """Refuse what the client's deadline leaves no time for."""
        left = exchange.client_deadline - now
        usual = self._usual.get(exchange.label)
        takes = usual.hopeless(left, now) if usual is not None else None
        if takes is None:
            return
        facts: dict[str, object] = {"budget_ms": round(left * 1e3, 1), "usual_ms": round(takes * 1e3, 1)}
        if self._shadow is not None:
            self._shadow()
            exchange.notes.append((now, "deadline", _WOULD_REFUSE, facts))
            return
        exchange.notes.append((now, "deadline", "refused", facts))
        detail = f"{left * 1e3:.0f} ms are left of the client's deadline, and this usually takes {takes * 1e3:.0f} ms"
        raise SidecarError(DEADLINE_EXCEEDED, detail, facts=facts)


def deadline(rule: Deadlines, call: Handler) -> Handler:
    """Start the clocks; see `Deadlines`."""
    request, attempt = rule.request, rule.attempt

    def handler(exchange: Exchange) -> Awaitable[Response]:
        wanted = client_timeout(exchange.request.headers.known)
        if wanted is not None:
            exchange.client_deadline = exchange.started + answer_within(wanted)
            exchange.limit(exchange.client_deadline)
            now = monotonic()
            if exchange.deadline <= now:
                raise SidecarError(DEADLINE_EXCEEDED, f"the client's deadline of {wanted:g} s had passed already")
            rule.check(exchange, now)
        exchange.attempt_timeout = attempt
        if request:
            exchange.timeout = request
            if exchange.whole is not None:
                exchange.limit(exchange.whole + request)
        return call(exchange)

    return handler
