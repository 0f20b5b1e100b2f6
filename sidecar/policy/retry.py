"""Whether a failed attempt is followed by another, and when. Pure: the clock's readings and chance are arguments.

    condition   does it count as a failure to retry after, by the names that `retry.conditions` lists?
    harmless    may the request be sent twice, or was it not sent at all?
    decide      is there an attempt, time and budget left for it, and how long is the wait?

Nothing here knows how a request is sent again (`layers/retry.py`) nor how its body is kept for that (`replay.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Final

from sidecar.errors import (
    ATTEMPT_TIMEOUT,
    CONNECT_FAILED,
    CONNECT_TIMEOUT,
    CONNECTION_LOST,
    STALE_CONNECTION,
    Retry,
    SidecarError,
)
from sidecar.exchange import EMPTY, Request, Response
from sidecar.policy.budget import RetryBudget
from sidecar.policy.retry_after import retry_after
from sidecar.settings.policies import Retry as Settings

# What became of a failed attempt: what is counted, and noted. Another was made and was answered well, failed too, or
# was ended from outside before it could tell…
SUCCESS: Final = "success"
FAILED: Final = "failed"
CANCELLED: Final = "cancelled"
# … or was not made: as many as there may be were made, the body could not be sent again, the wait would have outlasted
# the deadline, or the budget was spent.
EXHAUSTED: Final = "exhausted"
BODY: Final = "body"
DEADLINE: Final = "deadline"
BUDGET: Final = "budget"

# The decision for another attempt.
RETRY: Final = ""

# Methods that are sent a second time, side by side with the first (RFC 9110 section 9.2.1, less TRACE).
HEDGED_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})

# Conditions by Envoy's names, and the failures that each takes in. As there, the wider ones include a connection that
# broke: to the client that is a 502 or 504 too. Of several that are listed, the first here is the one that is told.
_UNREACHED: Final = ("connect-failure", "reset", "gateway-error", "5xx")
_CUT: Final = ("reset", "gateway-error", "5xx")
_CONDITIONS: Final = {
    CONNECT_FAILED.token: _UNREACHED,
    CONNECT_TIMEOUT.token: _UNREACHED,
    STALE_CONNECTION.token: _CUT,
    CONNECTION_LOST.token: _CUT,
    ATTEMPT_TIMEOUT.token: _CUT,
}
_STATUSES: Final[dict[str, tuple[int, ...]]] = {
    "gateway-error": (502, 503, 504),
    "5xx": tuple(range(500, 600)),
    "retriable-4xx": (409,),
}

# An upstream that asks for more than this is not waited for, however patient the client (seconds).
_LONGEST_ASKED: Final = 30.0
# With less than this left of the deadline, an attempt is not worth its while.
_USEFUL: Final = 0.005


class RetryPolicy:
    """The rule of one `retry` section, and its budget. `random()` is uniform from 0 to 1.

    `statuses` maps the statuses to retry after to their conditions; `headers` are the lower-case names of response
    fields that ask for a retry. `keeps_bodies` says that a body that has begun to flow may have to flow again.
    """

    def __init__(self, settings: Settings, random: Callable[[], float]) -> None:
        listed = settings.conditions
        self.shadow = settings.mode == "shadow"
        self.attempts = settings.attempts if settings.budget else 0  # further ones
        self.budget = RetryBudget(settings.budget)
        self.hedge = settings.hedge
        self.max_body = settings.max_body
        self.statuses = _statuses(settings)
        self.headers: tuple[bytes, ...] = ()
        if "retriable-headers" in listed:
            self.headers = tuple(name.lower().encode("ascii") for name in settings.headers)
        self.keeps_bodies = bool(self.max_body and self.attempts and set(listed) - {"connect-failure"})
        self._failures: dict[str, str] = {}
        for token, conditions in _CONDITIONS.items():
            found = next((condition for condition in conditions if condition in listed), None)
            if found is not None:
                self._failures[token] = found
        self._base = settings.base
        self._cap = settings.cap
        self._random = random

    def condition(self, last: Response | SidecarError) -> str:
        """The condition under which an attempt that ended so is retried; empty where it is not."""
        if isinstance(last, SidecarError):
            return self._failures.get(last.reason.token, "")
        found = self.statuses.get(last.status, "")
        if not found and self.headers and any(last.headers.get(name) is not None for name in self.headers):
            return "retriable-headers"
        return found

    def may_keep(self, request: Request) -> bool:
        """Whether the request's body may have to flow a second time, and is not known to be too long for that."""
        if not self.keeps_bodies or request.body is EMPTY:
            return False
        length = request.body.length
        return (length is None or length <= self.max_body) and request.idempotent

    def wait(self, last: Response | SidecarError, attempts: int, wall: float) -> float:
        """Seconds to wait after the last of so many attempts: full jitter, on top of what the upstream asks for.

        `wall` is in seconds since 1970, for a `Retry-After` that names a date. `inf` is more than is ever waited.
        """
        if isinstance(last, SidecarError):
            # A kept connection that proves dead says nothing of the upstream: there is nothing to wait for.
            return 0.0 if last.reason is STALE_CONNECTION else self._backoff(attempts)
        value = last.headers.get(b"retry-after")
        asked = retry_after(value, wall) if value is not None else None
        if asked is None:
            return self._backoff(attempts)
        # With jitter too: all who were told the same moment would come back in it.
        return self._backoff(attempts) + asked if asked <= _LONGEST_ASKED else inf

    def _backoff(self, attempts: int) -> float:
        return self._random() * min(self._cap, self._base * 2.0 ** (attempts - 1))

    def decide(self, attempts: int, wait: float, left: float, *, whole: bool = True) -> str:
        """RETRY, for which a token of the budget is then spent, or why not.

        So many attempts were made; `left` are seconds to the deadline; `whole` says that the request's body can be sent
        again, or has not been touched.
        """
        if attempts > self.attempts:
            return EXHAUSTED
        if not whole:
            return BODY
        if wait == inf or wait + _USEFUL > left:
            return DEADLINE
        return RETRY if self.budget.take() else BUDGET

    def __repr__(self) -> str:
        return f"<RetryPolicy {self.attempts} more, {self.budget!r}>"


def _statuses(settings: Settings) -> dict[int, str]:
    found: dict[int, str] = {}
    for condition, statuses in _STATUSES.items():
        if condition in settings.conditions:
            for status in statuses:
                found.setdefault(status, condition)
    if "retriable-status-codes" in settings.conditions:
        for text in settings.statuses:
            found.setdefault(int(text), "retriable-status-codes")
    return found


def reached(last: Response | SidecarError) -> bool:
    """Whether the upstream may have acted upon an attempt that ended so."""
    if isinstance(last, Response):
        return True
    rule = last.reason.retry
    return rule is not Retry.ALWAYS and (rule is not Retry.IF_IDEMPOTENT_OR_UNSENT or last.sent)


def harmless(request: Request, last: Response | SidecarError) -> bool:
    """Whether to send the request again does nothing that was not asked for. A tunnel is never tried again."""
    return not request.upgrade and (not reached(last) or request.idempotent)
