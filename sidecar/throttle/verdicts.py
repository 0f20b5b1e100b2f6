"""What a limiter decided, told to the counter, to the exchange's notes and to the client.

    admitted      there was a token
    waited        there was one in time (`rate.wait`)
    left          its exchange ended while it waited
    refused       there was none

These are the decisions that `count` is told, one for each request; with `fallback_` before them where Redis was away.
In shadow mode a refusal is told to `shadow` instead, and one that would have waited counts as admitted.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Final

from sidecar.exchange import Exchange
from sidecar.throttle.limit import Limit

Count = Callable[[str], None]

# The settings' section, which is the policy's name in an exchange's notes.
_POLICY: Final = "rate"


class Verdicts:
    """Those on one limit. `shadow` is None where it is enforced."""

    __slots__ = ("_count", "_limit", "_scope", "_shadow")

    def __init__(self, limit: Limit, *, count: Count, shadow: Callable[[], None] | None) -> None:
        self._limit = limit
        self._scope = limit.facts["scope"]
        self._count = count
        self._shadow = shadow

    @property
    def enforced(self) -> bool:
        """Whether a refusal is one, and a wait has to be waited out."""
        return self._shadow is None

    def admitted(self, exchange: Exchange, remaining: int) -> None:
        """It goes on at once; so many could still come with it."""
        self._count("admitted")
        exchange.notes.append((monotonic(), _POLICY, "admitted", ("scope", self._scope, "remaining", remaining)))

    def would_wait(self, exchange: Exchange, delay: float) -> None:
        """It goes on at once, as this is the shadow of a limit."""
        self._count("admitted")
        self._note(exchange, "would wait", delay=round(delay, 4))

    def waited(self, exchange: Exchange, decision: str, seconds: float) -> None:
        """It stood in line for so long, and then `waited` or `left`."""
        exchange.queue_wait += seconds
        self._count(decision)
        self._note(exchange, decision, waited=round(seconds, 4))

    def refused(self, exchange: Exchange, retry_after: float) -> None:
        """It came too early by so many seconds. Raises SidecarError where that is enforced."""
        facts = {**self._limit.facts, "retry_after": round(retry_after, 4)}
        if self._shadow is None:
            self._count("refused")
            self._note(exchange, "refused", **facts)
            raise self._limit.refusal(retry_after)
        self._shadow()
        self._note(exchange, "would refuse", **facts)

    def left_to_replica(self, exchange: Exchange) -> None:
        """Redis does not decide: the next note says what this replica does by itself."""
        self._note(exchange, "fallback", redis="away")

    def _note(self, exchange: Exchange, verdict: str, **facts: object) -> None:
        exchange.notes.append((monotonic(), _POLICY, verdict, {"scope": self._scope, **facts}))
