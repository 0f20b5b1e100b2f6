"""A body coming in over HTTP/1.x: counts or scans the bytes of one message and lets them flow into a sink.

Both sides use it: for a client's request body and for an upstream's response body. It owns no transport; it asks its
connection to stop and go on reading, and tells it when the last byte has been seen.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from sidecar.errors import BODY_TOO_LARGE, Reason, SidecarError
from sidecar.exchange import Data, Sink
from sidecar.headers import clean_trailers
from sidecar.http1.chunks import ChunkError, ChunkScanner

# What may lie here before a sink is attached; then reading stops.
WINDOW: Final = 8 * 1024  # bytes


def _never(*_: object) -> None:
    raise RuntimeError("nothing is asked of a connection for a body that is complete, or is never behind")


class Inflow:
    """A `Body`, framed by `length` bytes, by `chunks`, or (neither) by the end of the stream.

    `set_reading(on)` starts and stops the connection's reading; `go_on()` asks for another `feed`, of nothing, in the
    loop's next turn; `on_cancel()` is called when the taker wants no more of it. `blame` is the reason given for
    broken framing; `limit` is in payload bytes, 0 for none.
    """

    __slots__ = (
        "_blame",
        "_chunks",
        "_error",
        "_go_on",
        "_held",
        "_holds",
        "_left",
        "_limit",
        "_on_cancel",
        "_set_reading",
        "behind",
        "complete",
        "length",
        "reading",
        "received",
        "sink",
    )

    def __init__(
        self,
        length: int | None,
        *,
        chunked: bool,
        blame: Reason,
        set_reading: Callable[[bool], None],
        on_cancel: Callable[[], None],
        go_on: Callable[[], object] = _never,
        limit: int = 0,
    ) -> None:
        self.length = length
        self.complete = False
        self.received = 0  # payload bytes
        self._left = length or 0
        self._chunks = ChunkScanner() if chunked else None
        self._blame = blame
        self._set_reading = set_reading
        self._go_on = go_on
        self._on_cancel = on_cancel
        self._limit = limit
        self.reading = True  # not paused
        self.behind = False  # more has come than is looked at in one turn of the loop; nothing is read meanwhile
        self.sink: Sink | None = None
        self._held: list[tuple[Data, bytes | None]] | None = []
        self._holds = 0  # bytes
        self._error: SidecarError | None = None

    def feed(self, data: Data) -> Data:
        """Take bytes off the connection; returns those behind this body's end."""
        if self._error is not None:
            return b""
        if self._chunks is not None:
            return self._feed_chunks(self._chunks, bytes(data))
        if self.length is None:
            self.received += len(data)
            self._pass(data, None)
            return b""
        rest: Data = b""
        if len(data) > self._left:
            data, rest = data[: self._left], data[self._left :]
        self._left -= len(data)
        self.received += len(data)
        if self._left:
            self._pass(data, None)
        else:
            # Complete before it is passed on: whoever takes the last piece may ask.
            self._completed()
            self._pass(data, None)
            self._end()
        return rest

    def _feed_chunks(self, chunks: ChunkScanner, data: bytes) -> bytes:
        try:
            pieces = chunks.feed(data)
        except ChunkError as error:
            self.abort(SidecarError(self._blame, f"the body's framing is broken: {error}", sent=True))
            return b""
        for payload, _ in pieces:
            self.received += len(payload)
        if self._limit and self.received > self._limit:
            self.abort(
                SidecarError(
                    BODY_TOO_LARGE, f"the body has more than {self._limit} bytes", facts={"limit": self._limit}
                )
            )
            return b""
        if chunks.done:
            self._completed()
        for payload, raw in pieces:
            self._pass(payload, raw)
        if chunks.done:
            self._end()
        elif chunks.behind:
            self._fall_behind()
        elif self.behind:
            self._caught_up()
        return chunks.rest

    def _fall_behind(self) -> None:
        if not self.behind:
            self.behind = True
            if self.reading:
                self._set_reading(False)
        if self.reading:
            self._go_on()

    def _caught_up(self) -> None:
        self.behind = False
        if self.reading:
            self._set_reading(True)

    def end_of_stream(self, lost: Reason) -> None:
        """The peer has closed: the end of an unframed body, the cut of any other (for the reason `lost`)."""
        if self.complete or self._error is not None:
            return
        if self.length is None and self._chunks is None:
            self._completed()
            self._end()
        else:
            self.abort(SidecarError(lost, "the connection was closed before the body's end", sent=True))

    def abort(self, error: SidecarError) -> None:
        """The body will not become complete."""
        if self.complete or self._error is not None:
            return
        self._error = error
        if self.behind:
            self._caught_up()  # with what nobody looks at any more; who is not read from could leave unseen
        if self.sink is not None:
            sink, self.sink = self.sink, None
            sink.abort(error)

    def attach(self, sink: Sink) -> None:
        """See Body."""
        held, self._held = self._held, None
        if held is None:
            raise RuntimeError("a body flows once")
        self.sink = sink
        sink.source = self
        for payload, raw in held:
            sink.data(payload, raw)
        if self._error is not None:
            self.sink = None
            sink.abort(self._error)
        elif self.complete:
            self._end()
        else:
            self.resume()

    def pause(self) -> None:
        """See Flow."""
        if self.reading and not self.complete:
            self.reading = False
            if not self.behind:
                self._set_reading(False)

    def resume(self) -> None:
        """See Flow."""
        if not self.reading and not self.complete:
            self.reading = True
            if self.behind:
                self._go_on()
            else:
                self._set_reading(True)

    def cancel(self) -> None:
        """See Flow."""
        self.sink = None
        self._held = None
        if not self.complete and self._error is None:
            self._on_cancel()

    @property
    def scanned(self) -> bool:
        """Whether its bytes are looked through for boundaries, rather than counted."""
        return self._chunks is not None

    @property
    def left(self) -> int:
        """Payload bytes still to come, where they were announced, else 0."""
        return self._left

    @property
    def failed(self) -> SidecarError | None:
        """Why the body will not become complete."""
        return self._error

    def _pass(self, payload: Data, raw: bytes | None) -> None:
        if self.sink is not None:
            self.sink.data(payload, raw)
        elif self._held is not None:
            self._held.append((payload, raw))
            self._holds += len(raw or payload)
            if not self.complete and self._holds >= WINDOW:
                self.pause()

    def _completed(self) -> None:
        if not self.reading or self.behind:
            self.reading, self.behind = True, False
            self._set_reading(True)
        self.complete = True
        # An idle connection may keep its last body, which must not keep a whole exchange.
        self._set_reading = self._go_on = self._on_cancel = _never

    def _end(self) -> None:
        if self.sink is not None:
            sink, self.sink = self.sink, None
            trailers = self._chunks.trailers if self._chunks is not None else b""
            sink.end(clean_trailers(trailers) if trailers else b"")

    def __repr__(self) -> str:
        framing = "chunked" if self._chunks is not None else "to the close" if self.length is None else self.length
        state = "complete" if self.complete else repr(self._error) if self._error else "open"
        return f"<Inflow {framing} {state} received={self.received}>"
