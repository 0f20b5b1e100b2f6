"""The coroutine of a request: all that is awaited on its way through the stack hangs on it.

By itself, as coroutines stay Python where all around them is compiled (CONTRIBUTING.md says why).
"""

from __future__ import annotations

from asyncio import CancelledError
from typing import Protocol

from sidecar.exchange import Exchange, Handler, Response


class Served(Protocol):
    """Whose exchange it is."""

    @property
    def exchange(self) -> Exchange:
        """What goes through the stack."""

    def answer(self, response: Response) -> None:
        """It has come to an end. Not called where it was cancelled and nobody in the stack answered for that."""


async def serve(served: Served, handler: Handler) -> None:
    """Send an exchange through the stack."""
    try:
        response = await handler(served.exchange)
    except CancelledError:
        return
    served.answer(response)
