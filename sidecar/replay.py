"""A request body that can be sent again, as long as it is short enough to be kept.

Stands between the client's body and the attempts: a sink for the one, a body for the others. It keeps a copy of what
has passed, up to a cap. A longer body flows on all the same, uncopied, but once only. Knows neither why an attempt
failed nor whether there will be another.

    attach(sink) → pieces … the attempt fails → [rewind] → attach(sink) → the same pieces from memory, then the rest
                                                         → release: nothing is kept any more, the rest flows on
"""

from __future__ import annotations

from sidecar.errors import SidecarError
from sidecar.exchange import Body, Data, Flow, Sink


class Replay:
    """A `Body` for one attempt after another around `body`, which it takes. `cap` is in payload bytes.

    Between two attempts no more than the cap and one piece of it is held: the client waits.
    """

    __slots__ = ("_begun", "_body", "_cap", "_error", "_kept", "_last", "_sink", "_trailers", "source")

    def __init__(self, body: Body, cap: int) -> None:
        self._body = body
        self._cap = cap
        self._kept: bytearray | None = bytearray()  # None: it flows on, and not again
        self._begun = False  # it has been asked for
        self._last = False  # whoever takes it next is the last
        self._sink: Sink | None = None
        self._trailers: bytes | None = None  # once it has ended
        self._error: SidecarError | None = None
        self.source: Flow | None = None

    # ── for the one who decides about attempts

    @property
    def replayable(self) -> bool:
        """Whether the next attempt would get all of it."""
        return self._kept is not None and self._error is None

    @property
    def kept(self) -> int:
        """Bytes that are kept."""
        return len(self._kept) if self._kept is not None else 0

    def rewind(self, *, last: bool) -> None:
        """The attempt is over; the next one begins at the beginning. With `last`, there will be none after that."""
        self._detach()
        self._last = last

    def release(self) -> None:
        """There will be no further attempt. What flows into one goes on; if none takes it, it is not wanted."""
        self._kept = None
        if self._begun and self._sink is None:
            self._body.cancel()

    # ── a body for an attempt

    @property
    def length(self) -> int | None:
        """See Body."""
        return self._body.length

    @property
    def complete(self) -> bool:
        """See Body."""
        return self._body.complete

    def attach(self, sink: Sink) -> None:
        """See Body. Once for each attempt."""
        kept = self._kept
        if kept is None:
            raise RuntimeError("the body has not been kept")
        sink.source = self
        self._sink = sink
        if self._last or len(kept) > self._cap:
            self._kept = None
        if not self._begun:
            self._begun = True
            self._body.attach(self)
            return
        if kept:
            sink.data(bytes(kept), None)
        if self._error is not None:
            sink.abort(self._error)
        elif self._trailers is not None:
            sink.end(self._trailers)
        else:
            self._body.resume()

    def pause(self) -> None:
        """See Flow."""
        self._body.pause()

    def resume(self) -> None:
        """See Flow."""
        self._body.resume()

    def cancel(self) -> None:
        """See Flow: this attempt wants no more of it. The next one may."""
        if self._kept is None:
            self._body.cancel()
        else:
            self._detach()

    def _detach(self) -> None:
        sink, self._sink = self._sink, None
        if sink is not None:
            # Its connection may end later than the next attempt begins, and would cancel that one's body.
            sink.source = None
            self._body.resume()
            self._hold_back()

    def _hold_back(self) -> None:
        """What comes while no attempt is under way must all be kept, so there is an end to it."""
        if self._kept is not None and len(self._kept) >= self._cap:
            self._body.pause()

    # ── a sink for the client's body

    def data(self, data: Data, raw: bytes | None) -> None:
        """See Sink. It is passed on without its framing, as it can then be cut anywhere."""
        if not data:
            return
        sink, kept = self._sink, self._kept
        if kept is not None:
            if sink is None or len(kept) + len(data) <= self._cap:
                kept += data
            else:
                self._kept = None
        if sink is not None:
            sink.data(data, None)
        else:
            self._hold_back()

    def holds(self) -> bool:
        """See Sink."""
        return self._sink is not None and self._sink.holds()

    def end(self, trailers: bytes) -> None:
        """See Sink."""
        self._trailers = trailers
        if self._sink is not None:
            self._sink.end(trailers)

    def abort(self, error: SidecarError) -> None:
        """See Sink."""
        self._error = error
        if self._sink is not None:
            self._sink.abort(error)

    def __repr__(self) -> str:
        state = "unread" if not self._begun else "idle" if self._sink is None else "flowing"
        return f"<Replay {state}, {self.kept} bytes kept{'' if self.replayable else ', once'}>"
