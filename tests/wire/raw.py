"""A shared proxy in front of a scripted upstream."""

from __future__ import annotations

from typing import NamedTuple

from tests.support.client import Client
from tests.support.processes import Proxy
from tests.support.upstream import Seen, Upstream


class Raw(NamedTuple):
    """The pair. What the upstream sees in one test begins at `forget`."""

    proxy: Proxy
    upstream: Upstream

    def client(self) -> Client:
        """A new connection to the proxy."""
        return self.proxy.client()

    def forget(self) -> None:
        """Let the upstream begin with nothing seen."""
        self.upstream.forget()

    @property
    def seen(self) -> list[Seen]:
        """The requests that reached the upstream."""
        return self.upstream.seen

    def bytes_seen(self) -> bytes:
        """Everything that reached the upstream."""
        return b"".join(bytes(peer.received) for peer in self.upstream.peers)
