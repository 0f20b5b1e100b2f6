"""What joins an upstream connection to its pool: the states it can be in, its bounds, what it asks of its owner."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING, Final, Protocol

from sidecar.exchange import Request, Response
from sidecar.headers import tokens

if TYPE_CHECKING:
    from sidecar.http1.client import UpstreamConnection

MOST_INTERIM: Final = 10  # an upstream that sends more interim answers is taken for broken
HOT: Final = 1.0  # seconds of idleness that no limit undercuts: what may be sent twice is sent without a look
FLUSH: Final = 60.0  # seconds that a tunnel has to write what it still holds, when both its halves have ended


class Owner(Protocol):
    """What a connection asks of its pool."""

    def released(self, connection: UpstreamConnection) -> None:
        """The connection is free for another request."""

    def lost(self, connection: UpstreamConnection) -> None:
        """The connection is gone, whatever it was doing."""

    def later(self, work: Callable[[], object]) -> None:
        """Have `work()` called when there is time, never at once."""


class State(Enum):
    """Where an upstream connection is."""

    IDLE = "idle"
    WAITING = "waiting for the response head"
    ANSWERING = "reading the response body"
    TUNNEL = "tunnel"
    CLOSED = "closed"


def is_agreed(request: Request, response: Response) -> bool:
    """Whether a 101 switches to what the client asked for."""
    given = tokens(response.headers.known.get(b"upgrade", b""))
    return bool(given) and set(given) <= set(tokens(request.upgrade))


# By these names on the hot path: to look one up on the class costs seven times as much.
IDLE: Final = State.IDLE
WAITING: Final = State.WAITING
ANSWERING: Final = State.ANSWERING
TUNNEL: Final = State.TUNNEL
CLOSED: Final = State.CLOSED
