"""A response body on its way to the client: keeps the account of who is waited for.

Stands between a body that is still arriving and the client's sink, and hands the client's back-pressure on to the
upstream. A body that is here already needs none of this.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

from sidecar.errors import SidecarError
from sidecar.exchange import Body, Data, Exchange, Flow, Sink


class Relay:
    """A `Sink` for the upstream's body and a `Flow` for the client's. `moved(now)` is called as bytes move."""

    __slots__ = ("_exchange", "_moved", "_paused", "_since", "_sink", "source")

    def __init__(self, exchange: Exchange, sink: Sink, moved: Callable[[float], None]) -> None:
        self._exchange = exchange
        self._sink = sink
        self._moved = moved
        self._since = monotonic()  # since when somebody is waited for
        self._paused = False
        self.source: Flow | None = None

    def start(self, body: Body) -> None:
        """Let `body` flow."""
        self._sink.source = self
        body.attach(self)

    def data(self, data: Data, raw: bytes | None) -> None:
        """See Sink."""
        self._charge()
        self._moved(self._since)
        self._sink.data(data, raw)

    def holds(self) -> bool:
        """See Sink."""
        return self._sink.holds()

    def end(self, trailers: bytes) -> None:
        """See Sink."""
        self._charge()
        self._sink.end(trailers)

    def abort(self, error: SidecarError) -> None:
        """See Sink."""
        self._charge()
        self._sink.abort(error)

    def pause(self) -> None:
        """See Flow: the client reads too slowly."""
        self._charge()
        self._paused = True
        if self.source is not None:
            self.source.pause()

    def resume(self) -> None:
        """See Flow."""
        self._charge()
        self._paused = False
        self._moved(self._since)
        if self.source is not None:
            self.source.resume()

    def cancel(self) -> None:
        """See Flow."""
        self._charge()
        self._sink.source = None  # else the two would keep each other
        if self.source is not None:
            self.source.cancel()

    def _charge(self) -> None:
        now = monotonic()
        if self._paused:
            self._exchange.client_wait += now - self._since
        else:
            self._exchange.upstream_wait += now - self._since
        self._since = now
