"""A body going out over HTTP/1.x, behind its head. Both sides use it.

A sink that frames what it is given and writes it. The head goes out together with the first piece.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from sidecar.errors import SidecarError
from sidecar.exchange import Data, Flow

# From here on, to join pieces costs more than to hand them over one by one.
_LARGE = 16 * 1024


class Outflow:
    """A `Sink` that writes one message to `transport`.

    `chunked` adds the chunked coding; otherwise payload goes out as it is (its length was announced, or the close
    ends it). `half_close` ends the stream with the body, as in a tunnel. `on_end(error)` is called once: with None
    when the last byte was handed to the transport, else with why the message had to be cut.
    """

    __slots__ = ("_chunked", "_corked", "_half_close", "_on_end", "_transport", "ended", "sent", "source")

    def __init__(
        self,
        transport: asyncio.Transport,
        head: bytes,
        chunked: bool,
        on_end: Callable[[SidecarError | None], None],
        *,
        half_close: bool = False,
    ) -> None:
        self._transport = transport
        self._chunked = chunked
        self._on_end = on_end
        self._half_close = half_close
        self._corked: list[Data] | None = [head] if head else None
        self.source: Flow | None = None
        self.ended = False
        self.sent = 0  # payload bytes

    def data(self, data: Data, raw: bytes | None) -> None:
        """See Sink."""
        self.sent += len(data)
        if self._chunked:
            if raw is not None:
                data = raw
            elif data:
                data = b"".join((b"%x\r\n" % len(data), data, b"\r\n"))
        if self._corked is not None:
            self._corked.append(data)
        elif data:
            self._transport.write(data)

    def holds(self) -> bool:
        """See Sink."""
        return self._corked is not None or self._transport.get_write_buffer_size() > 0

    def end(self, trailers: bytes) -> None:
        """See Sink."""
        if self._chunked:
            last = b"0\r\n%b\r\n" % trailers
            if self._corked is not None:
                self._corked.append(last)
            else:
                self._transport.write(last)
        self.uncork()
        self.ended = True
        if self._half_close and self._transport.can_write_eof() and not self._transport.is_closing():
            self._transport.write_eof()
        self.source = None
        self._on_end(None)

    def abort(self, error: SidecarError) -> None:
        """See Sink. A head that was not written yet is not worth writing any more."""
        self._corked = None
        self.ended = True
        self.source = None
        self._on_end(error)

    def uncork(self) -> None:
        """Write the head with what has come so far; from here each piece is written as it comes."""
        corked, self._corked = self._corked, None
        if corked is None:
            return
        if len(corked) == 1:
            self._transport.write(corked[0])
        elif len(corked[-1]) > _LARGE:
            self._transport.writelines(corked)
        else:
            self._transport.write(b"".join(corked))
