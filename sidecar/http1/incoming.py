"""A request's body on its way in: made by the settings in force, and what of it has taken too long."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import inf
from time import monotonic

from sidecar.errors import BAD_REQUEST, SidecarError
from sidecar.http1.inflow import Inflow
from sidecar.http1.overdue import slow_request, stuck_request
from sidecar.http1.refusals import too_long
from sidecar.policy.pace import GRACE, Pace
from sidecar.settings import Settings


class Incoming:
    """The body, as `inflow`, and its limits. `length` is None for a chunked one; `waits` where 100 is waited for.

    `refused` says why there is to be none of it; `looked_at`, when its limits are to be looked at for the first time.
    For the three callbacks see `Inflow`. Times are seconds of `time.monotonic`.
    """

    __slots__ = ("_idle", "_pace", "inflow", "looked_at", "refused")

    def __init__(
        self,
        settings: Settings,
        length: int | None,
        now: float,
        *,
        waits: bool,
        set_reading: Callable[[bool], None],
        go_on: Callable[[], object],
        on_cancel: Callable[[], None],
    ) -> None:
        rate, most = settings.http.min_body_rate, settings.http.max_body
        self._idle = settings.timeouts.stream_idle
        self._pace = pace = Pace(rate, now, waits=waits) if rate else None
        self.looked_at = now + (min(GRACE, self._idle) if rate else self._idle)
        self.refused = too_long(length, most) if most and length is not None and length > most else None
        self.inflow = Inflow(
            length,
            chunked=length is None,
            blame=BAD_REQUEST,
            set_reading=set_reading if pace is None else partial(_set_reading, pace, set_reading),
            go_on=go_on,
            on_cancel=on_cancel,
            limit=most,
        )

    def go_on(self) -> None:
        """The client is told 100 (Continue)."""
        if self._pace is not None:
            self._pace.go_on(monotonic())

    def overdue(self, now: float, active: float, attempts: int) -> tuple[SidecarError | None, float]:
        """What has taken too long, if anything has, and when to look again. Bytes last moved at `active`."""
        inflow, idle_due = self.inflow, active + self._idle
        pace_due = self._pace.due(inflow.received, now) if self._pace is not None else inf
        due = min(idle_due, pace_due)
        if now >= idle_due:
            return stuck_request(not inflow.reading and attempts > 0, self._idle), due
        return slow_request(inflow.received) if now >= pace_due else None, due

    def __repr__(self) -> str:
        return f"<Incoming {self.inflow!r} {self._pace!r}>"


def _set_reading(pace: Pace, set_reading: Callable[[bool], None], on: bool) -> None:
    pace.reading(on, monotonic())
    set_reading(on)
