"""The end of a client's connection: how long it is waited for to take its last answer, and to stop sending.

Closed at once on a client that still sends, the connection would be reset, and the answer could be lost on its way.
"""

from __future__ import annotations

import asyncio
from typing import Final

from sidecar.alarm import Alarm

# So long a client that still sends is read from: in all, and since its last bytes, in seconds.
LINGER: Final = 5.0
_QUIET: Final = 1.0


class Patience:
    """With a client that does not take its answer: it is waited for as long again each time it has taken some of it.

    What the kernel holds besides is not seen: of that, some megabytes, nothing shows until a third has been taken.
    """

    __slots__ = ("_seconds", "_transport", "_untaken", "_until")

    def __init__(self, transport: asyncio.Transport, now: float, seconds: float) -> None:
        self._transport = transport
        self._seconds = seconds
        self._until = now + seconds
        self._untaken = transport.get_write_buffer_size()  # bytes

    def until(self, now: float) -> float:
        """Until when, by what is seen now."""
        left = self._transport.get_write_buffer_size()
        if left != self._untaken:  # more than before is no proof that it took none: the last pieces may have come since
            self._until = now + self._seconds
        self._untaken = left
        return self._until

    def __repr__(self) -> str:
        return f"<Patience {self._untaken} bytes, {self._until:.3f}>"


class Farewell:
    """Of a connection whose last answer is written. It sets `alarm`; `look` is to be called when that rings.

    `lingers` says whether the client may still be sending. Times are seconds of `time.monotonic`.
    """

    __slots__ = ("_alarm", "_patience", "_transport", "_until")

    def __init__(
        self, transport: asyncio.Transport, alarm: Alarm, now: float, stream_idle: float, *, lingers: bool
    ) -> None:
        self._transport = transport
        self._alarm = alarm
        self._patience = Patience(transport, now, stream_idle)
        self._until = now + LINGER if lingers else 0.0
        if not lingers or transport.is_closing():
            transport.close()  # once the answer has been taken
            alarm.set(now + stream_idle)
            return
        if transport.can_write_eof():
            transport.write_eof()
        alarm.set(now + _QUIET)

    def heard(self, now: float) -> None:
        """The client has sent something; nobody wants it."""
        if not self._transport.is_closing():
            self._alarm.set(min(self._until, now + _QUIET))

    def look(self, now: float) -> bool:
        """The alarm has rung; returns whether there is still something to wait for."""
        until = self._patience.until(now)
        if not self._transport.get_write_buffer_size() or now >= until:
            return False
        self._alarm.set(until if self._transport.is_closing() else min(until, now + _QUIET))
        return True

    def __repr__(self) -> str:
        return f"<Farewell {'closing' if self._transport.is_closing() else 'lingering'} {self._patience!r}>"
