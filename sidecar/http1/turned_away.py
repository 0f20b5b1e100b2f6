"""A client's connection that is one too many: told so once it asks, and closed.

What it sends is not read as requests, so it costs no turn and no line in the access log. The answer waits for the first
bytes, as clients take one that comes unasked for a fault. It knows nothing of why.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

# So long a refused client is waited for, in seconds: until it asks, then until it has taken its answer.
_WAIT: Final = 1.0


class TurnedAway(asyncio.Protocol):
    """Takes over a new connection. `gone(self)` is called when it is closed."""

    __slots__ = ("_answer", "_gone", "_loop", "_timer", "_transport")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        transport: asyncio.Transport,
        answer: bytes,
        gone: Callable[[TurnedAway], None],
    ) -> None:
        self._loop = loop
        self._transport = transport
        self._answer = answer
        self._gone = gone
        self._timer = loop.call_later(_WAIT, transport.abort)
        transport.set_protocol(self)

    def data_received(self, data: bytes) -> None:
        """Answer the first bytes; what follows is read past, as to close on it would reset the answer away."""
        answer, self._answer = self._answer, b""
        if answer:
            self._timer.cancel()
            self._timer = self._loop.call_later(_WAIT, self._transport.abort)
            self._transport.write(answer)
            if self._transport.can_write_eof():
                self._transport.write_eof()

    def eof_received(self) -> None:
        """asyncio's call: the client has closed, and so do we."""

    def close(self) -> None:
        """Close at once."""
        self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """asyncio's call."""
        self._timer.cancel()
        self._gone(self)

    def __repr__(self) -> str:
        return f"<TurnedAway {'answered' if not self._answer else 'unasked'}>"
