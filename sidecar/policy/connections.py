"""How many connections clients may hold, in all and from one address.

Knows neither sockets nor how a client is told. An address is whatever key the caller makes of it; none (`None`) is a
peer that is no single client: a trusted proxy, which brings everybody's requests, or one on a Unix socket.
"""

from __future__ import annotations

from typing import Final

# Why a connection is refused: the setting that says so. The `reason` label of a metric.
TOTAL: Final = "max_connections"
PER_CLIENT: Final = "max_connections_per_client"


class Connections:
    """The connections that are open. `most` and `most_per_client` bound them from the next one on; 0 = no bound."""

    __slots__ = ("_by_client", "most", "most_per_client", "open")

    def __init__(self, most: int = 0, most_per_client: int = 0) -> None:
        self.most = most
        self.most_per_client = most_per_client
        self.open = 0
        # Kept whether there is a bound or not, as one may be set while they are open.
        self._by_client: dict[bytes, int] = {}

    def admit(self, client: bytes | None) -> str:
        """Count a new connection, or say why it is refused."""
        # A client that has its share is told of that, whatever the others do.
        held = self._by_client.get(client, 0) if client is not None else 0
        if client is not None and 0 < self.most_per_client <= held:
            return PER_CLIENT
        if 0 < self.most <= self.open:
            return TOTAL
        self.open += 1
        if client is not None:
            self._by_client[client] = held + 1
        return ""

    def leave(self, client: bytes | None) -> None:
        """A connection that was admitted is gone."""
        self.open -= 1
        if client is not None:
            left = self._by_client[client] - 1
            if left:
                self._by_client[client] = left
            else:
                del self._by_client[client]

    def limit(self, reason: str) -> int:
        """The bound behind a refusal."""
        return self.most if reason is TOTAL else self.most_per_client

    def __repr__(self) -> str:
        return f"<Connections {self.open} of {self.most or 'any number'}, {len(self._by_client)} clients>"
