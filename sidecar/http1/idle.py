"""How long a kept connection may lie idle: learned from how the upstream closes them.

A pure decision, the clock is an argument. The race it avoids: the upstream closes an idle connection in the moment in
which a request is written to it. Staying below the upstream's own idle limit makes that rare; staying not too far
below it saves connects.
"""

from __future__ import annotations

import re
from collections import deque
from typing import Final

_TIMEOUT: Final = re.compile(rb"(?:^|,)[ \t]*timeout=([0-9]{1,6})[ \t]*(?:,|$)", re.IGNORECASE)

FLOOR: Final = 1.0  # seconds; below this, keeping connections is not worth it
_ALIKE: Final = 0.15  # closes whose ages differ by at most this share tell of a limit
_MARGIN: Final = 0.8  # stay at this share of a limit
_CLOSES: Final = 3
_FAILURE_SHADOW: Final = 2.0  # seconds: closes this near to a failed connect are a restart, not a limit
_ONE_EVENT: Final = 1.0  # seconds: closes nearer to each other than that are one, as when the upstream stops
_PROBE_EVERY: Final = 60.0  # seconds between connections that may lie longer than the learned limit
_PROBE_STEP: Final = 1.5


class IdleLimit:
    """Seconds of idleness after which a pooled connection is closed. Times are of one monotonic clock.

    `configured` holds until the upstream is seen to close earlier, or says how long it keeps connections.
    """

    def __init__(self, configured: float) -> None:
        self._configured = configured
        self._learned: float | None = None
        self.seconds = configured  # the limit in force
        self.learned = False  # whether the upstream's own limit is known
        self._source = "configured"
        self._ages: deque[float] = deque(maxlen=_CLOSES)
        self._failed_at = float("-inf")
        self._closed_at = float("-inf")
        self._probed_at = float("-inf")

    @property
    def source(self) -> str:
        """Where the limit comes from, for people: `configured`, `keep-alive field` or `observed closes`."""
        return self._source

    def next_rest(self, now: float) -> float:
        """How long the connection that goes idle now may lie: the limit, or once a minute a little more.

        The longer one probes whether the upstream's limit has been raised since it was learned.
        """
        limit = self.seconds
        if self._learned is None or limit >= self._configured or now - self._probed_at < _PROBE_EVERY:
            return limit
        self._probed_at = now
        return min(limit * _PROBE_STEP, self._configured)

    def survived(self, age: float) -> None:
        """A connection lay idle for `age` and was still good: the limit is above that."""
        if self._learned is not None and age * _MARGIN > self._learned:
            self._learned = age * _MARGIN
            self.seconds = min(self._configured, self._learned)
            self._ages.clear()

    def announced(self, field: bytes) -> bool:
        """The upstream's Keep-Alive field; returns whether the limit changed."""
        found = _TIMEOUT.search(field)
        if found is None:
            return False
        return self._learn(int(found[1]) * _MARGIN, "keep-alive field")

    def closed_by_upstream(self, age: float, now: float) -> bool:
        """The upstream closed a connection that had been idle for `age`; returns whether the limit changed."""
        if now - self._failed_at < _FAILURE_SHADOW or now - self._closed_at < _ONE_EVENT:
            return False
        self._closed_at = now
        self._ages.append(age)
        if len(self._ages) < _CLOSES or max(self._ages) - min(self._ages) > _ALIKE * max(self._ages):
            return False
        return self._learn(min(self._ages) * _MARGIN, "observed closes")

    def connect_failed(self, now: float) -> None:
        """A connect failed: the closes around it say nothing of a limit."""
        self._failed_at = now
        self._ages.clear()

    def _learn(self, seconds: float, source: str) -> bool:
        limit = max(FLOOR, seconds)
        if self._learned is not None and abs(limit - self._learned) < 0.05 * self._learned:
            return False
        self._learned = limit
        self.learned = True
        self.seconds = min(self._configured, limit)
        self._source = source
        return limit < self._configured

    def __repr__(self) -> str:
        return f"<IdleLimit {self.seconds:g}s, {self._source}>"
