"""The retry budget: retries are a share of requests, so that an outage is not met with a multiple of the load.

While all is well each request saves a little for later; each retry, and each hedge, spends one whole token.
"""

from __future__ import annotations

from typing import Final

# Counted in millionths, the finest share that the settings can say: five fifths are exactly one.
_TOKEN: Final = 1_000_000
_MOST: Final = 10 * _TOKEN
_START: Final = 3 * _TOKEN


class RetryBudget:
    """One budget. `share` is what a request saves, 0 to 1: with 0.2, one retry for five requests in the long run.

    At most 10 tokens are saved, and 3 are there to begin with, so that retries work before there was any traffic. With
    a share of 0 there are none at all, ever; with 1 only a request's second retry can find it empty.
    """

    __slots__ = ("_deposit", "_saved")

    def __init__(self, share: float) -> None:
        self._deposit = round(share * _TOKEN)
        self._saved = _START if self._deposit else 0

    def deposit(self) -> None:
        """A request has come in."""
        saved = self._saved + self._deposit
        self._saved = saved if saved < _MOST else _MOST

    def take(self) -> bool:
        """Spend a token; False where there is none."""
        if self._saved < _TOKEN:
            return False
        self._saved -= _TOKEN
        return True

    @property
    def left(self) -> float:
        """Tokens that are saved."""
        return self._saved / _TOKEN

    def __repr__(self) -> str:
        return f"<RetryBudget {self.left:g} left>"
