"""One limit as numbers, and the refusal that tells a client of it (RFC 9110 section 10.2.3, IETF draft RateLimit).

Headers are those of draft-ietf-httpapi-ratelimit-headers-10, structured fields: `RateLimit-Policy` says what holds at
all times, `RateLimit` how it stands now.
"""

from __future__ import annotations

from math import ceil, floor, inf
from typing import Final

from sidecar.errors import RATE_LIMITED, SidecarError
from sidecar.settings import Rate
from sidecar.units import format_rate

# What a burst is worth where none is set, in seconds.
_DEFAULT_BURST: Final = 2.0

# Decimals that mean something; what floats round off is behind them. 1 s and a trifle is not 2 s.
_DECIMALS: Final = 6


def is_on(settings: Rate) -> bool:
    """Whether there is anything to limit: only then may the settings be given to a limiter."""
    return settings.mode != "off" and settings.limit > 0


class Limit:
    """What a bucket holds and how fast it refills. `facts` is the limit as a client may know it: no key's value."""

    __slots__ = ("_detail", "_policy", "_scope", "burst", "easy", "facts", "interval", "period", "rate")

    def __init__(self, settings: Rate, scope: str) -> None:
        rate = settings.limit
        self.rate = rate  # tokens per second
        self.burst = settings.burst or max(1, floor(rate * _DEFAULT_BURST))
        self.interval = 1.0 / rate  # seconds for one token
        self.period = self.burst * self.interval  # seconds from empty to full
        # To be refilled within this is to hold half of it, and two tokens at least.
        self.easy = self.period / 2 if self.burst >= 4 else -inf
        per = settings.key.removeprefix("header:")
        self.facts: dict[str, object] = {
            "scope": scope,
            "limit": format_rate(rate),
            "burst": self.burst,
            "key": settings.key or "none",
        }
        self._detail = f"the rate limit of {format_rate(rate)}{f' for each {per}' if per else ''} is used up"
        self._scope = b'"%b"' % scope.encode("ascii")  # a name of the settings holds nothing to escape
        # Whole seconds only. A burst of less than a second's worth would read as a limit far below the real one.
        window = max(1, ceil(round(self.period, _DECIMALS)))
        quota = max(self.burst, floor(round(rate * window, _DECIMALS)))
        self._policy = b"RateLimit-Policy: %b;q=%d;w=%d\r\n" % (self._scope, quota, window)

    def refusal(self, retry_after: float) -> SidecarError:
        """The answer for one that came too early by `retry_after` seconds."""
        retry_after = round(retry_after, _DECIMALS)
        seconds = max(1, ceil(retry_after))
        return SidecarError(
            RATE_LIMITED,
            self._detail,
            retry_after=retry_after,
            facts={**self.facts, "remaining": 0},
            headers=b"%bRateLimit: %b;r=0;t=%d\r\n" % (self._policy, self._scope, seconds),
        )

    def __repr__(self) -> str:
        return f"<Limit {format_rate(self.rate)}, burst {self.burst}>"
