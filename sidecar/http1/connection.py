"""One connection from a client: its bytes become exchanges, one turn at a time, answered in order.

Requests that come before their turn wait in the buffer. Between turns it is decided what the connection does: serve
on, close, or close once the client has stopped sending.
"""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import TYPE_CHECKING, Final, cast

from sidecar.alarm import Alarm
from sidecar.errors import DRAINING, REQUEST_TIMEOUT, SidecarError
from sidecar.exchange import Data, Exchange, Request
from sidecar.forwarding import Peer
from sidecar.headers import Headers
from sidecar.http1.farewell import LINGER, Farewell, Patience
from sidecar.http1.heads import HeadError, RequestHead
from sidecar.http1.inflow import Inflow
from sidecar.http1.intake import Intake, is_long
from sidecar.http1.refusals import refusal, why_hopeless
from sidecar.http1.sockets import abort, broken, peer_name, readable, reset, set_reading
from sidecar.http1.turn import Turn

if TYPE_CHECKING:
    from sidecar.http1.server import Http1Server

_PIPELINE: Final = 64 * 1024  # bytes that may wait behind the request in hand; then reading stops
# How often a client that is not read from, as its body is not taken, is looked at: a reset does not show otherwise.
_LOOK: Final = 1.0
# What may stand in front of a request (RFC 9112, section 2.2), and begins none: some clients end a body so.
_BLANK: Final = (b"\r", b"\r\n")


class ClientConnection:
    """An `asyncio.Protocol` in all but name: with that as its base, it could not be compiled.

    Created by the server. Times are seconds of `time.monotonic`.
    """

    __slots__ = (
        "_alarm",
        "_buffer",
        "_cut",
        "_farewell",
        "_first_byte",
        "_intake",
        "_lingers",
        "_peer",
        "_reading",
        "_skipping",
        "_transport",
        "patience",
        "server",
        "turn",
    )

    _transport: asyncio.Transport

    def __init__(self, server: Http1Server) -> None:
        self.server = server
        self.turn: Turn | None = None
        self.patience: Patience | None = None  # with a client that does not take its answer, until it has
        self._alarm = Alarm(server.loop, self._on_alarm)
        self._intake: Intake | None = None  # once there was a long body
        self._buffer = b""  # an incomplete head, or what came before its turn
        self._first_byte = 0.0  # when the incomplete head began; 0 while there is none
        self._skipping: Inflow | None = None  # the rest of a body whose request has been answered
        self._cut = False  # its last answer
        self._lingers = False  # more may come behind what was refused
        self._farewell: Farewell | None = None  # once its last answer is written
        self._reading = True

    # ── its life

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio's call."""
        # uvloop's transports have the interface, not the class.
        self._transport = cast(asyncio.Transport, transport)
        # Whatever cannot be written at once stops the flow: then at most one piece is held for each stream.
        self._transport.set_write_buffer_limits(high=0)
        self._peer = Peer(self.server.forwarding, peer_name(transport))
        if self.server.admit(self, self._peer, self._transport):
            self._alarm.set(monotonic() + self.server.idle(new=True))

    def eof_received(self) -> bool:
        """asyncio's call. A client that half-closes has left (Go's server rule), except in a tunnel.

        What was written for it is given to it all the same, and so is a refusal that is on its way.
        """
        if self.turn is not None:
            if not self.turn.client_ended():
                return False
            self._lingers = False
            return True
        if self._transport.get_write_buffer_size():
            self._say_farewell(monotonic(), self.server.settings.timeouts.stream_idle, lingers=False)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """asyncio's call."""
        self.server.left(self, self._peer)
        self._alarm.stop()
        self._intake = None  # the two keep each other
        turn, self.turn = self.turn, None
        if turn is not None:
            turn.client_gone()

    def close_when_quiet(self) -> None:
        """Close the connection when it has been idle for a while from now; one that is not goes on to be."""
        busy = self.turn or self._first_byte or self._farewell or self._skipping or self.patience
        if not busy and not self._transport.is_closing():
            self._alarm.set(monotonic() + self.server.idle())

    def cut(self) -> None:
        """Close at once, in the middle of whatever is in flight."""
        if self.turn is None:
            abort(self._transport)
            return
        exchange = self.turn.exchange
        exchange.abandoned = exchange.abandoned or SidecarError(DRAINING, "cut at the end of the drain")
        reset(self._transport)

    # ── requests

    def data_received(self, data: Data) -> None:
        """Take what was read; a view only where a body takes it at once."""
        turn = self.turn
        if turn is not None and turn.inflow is not None:
            rest = turn.receive(turn.inflow, data)
            if rest:
                self._buffer = bytes(rest)
            return
        data = bytes(data)
        if turn is not None:
            self._wait_its_turn(data)
        elif self._skipping is not None:
            self._skip(self._skipping, data)
        elif self._farewell is not None:
            self._farewell.heard(monotonic())
        elif self.patience is not None:
            self._wait_its_turn(data)
        else:
            self._read_head(self._buffer + data, len(self._buffer))

    def _wait_its_turn(self, data: bytes) -> None:
        self._buffer += data
        if len(self._buffer) > _PIPELINE:
            self.set_reading(False)

    def _read_head(self, data: bytes, seen: int, *, ahead: bool = False) -> None:
        """Start the turn of the request at the beginning of `data`, of which `seen` bytes held no end of a head.

        `ahead` says that it came before the one before it was answered.
        """
        now = monotonic()
        end = data.find(b"\r\n\r\n", seen - 3 if seen > 3 else 0) + 4
        limit = self.server.settings.http.max_header_bytes
        if end < 4 or end > limit:
            hopeless = why_hopeless(data, seen, limit)
            if hopeless is None:
                self._buffer = data
                if not self._first_byte and data not in _BLANK:
                    self._first_byte = now
                    self._alarm.set(now + self.server.settings.timeouts.head)
            else:
                self._refuse(hopeless, now)
            return
        self._buffer = b""
        try:
            head = self.server.reader.request(data[:end])
        except HeadError as error:
            self._refuse(refusal(error, data), now)
            return
        turn = self._begin(head, data[end:], now)
        if ahead:
            self.server.entry.come_ahead(turn)
        else:
            self.server.entry.come(turn)

    def _begin(self, head: RequestHead, rest: bytes, now: float) -> Turn:
        request, minor, length, chunked, keep_alive = head
        exchange = self._new_exchange(request, now)
        turn = self.turn = Turn(self, self._transport, exchange, minor, now, not keep_alive)
        if minor:
            exchange.inform = turn.inform
        if chunked or length:
            inflow = turn.expect(None if chunked else length)
            if rest:
                self._buffer = bytes(turn.receive(inflow, rest))
            self._take_in(inflow)
        else:
            self._buffer = rest
            exchange.whole = now
        return turn

    def _new_exchange(self, request: Request, now: float) -> Exchange:
        started, self._first_byte = self._first_byte or now, 0.0
        exchange = self.server.new_exchange(request, self._peer, self._alarm, started)
        exchange.client_wait = now - started
        return exchange

    def _refuse(self, error: SidecarError, now: float) -> None:
        """Answer what could not be read as a request; it goes the way of all requests, to be counted and logged."""
        self._buffer = b""
        exchange = self._new_exchange(Request("_", b"-", Headers()), now)
        exchange.abandoned = error
        self._lingers = True
        self.turn = Turn(self, self._transport, exchange, 1, now, True)
        self.server.entry.come_ahead(self.turn)

    def feed_tunnel(self, inflow: Inflow) -> None:
        """A tunnel is open: hand over what the client sent before it knew."""
        early, self._buffer = self._buffer, b""
        self.set_reading(True)
        if early:
            inflow.feed(early)
        self._take_in(inflow)

    def _take_in(self, inflow: Inflow) -> None:
        if is_long(inflow):
            self._intake = self._intake or Intake(self, self._transport, self.server.buffers)
            self._intake.expect(inflow)

    # ── between turns

    def finished(self, turn: Turn, now: float, *, cut: bool) -> None:
        """The turn is over: its answer is written, or cut."""
        self.turn, self._cut = None, cut
        inflow = turn.inflow
        if inflow is None or inflow.complete:
            if turn.last:
                self._say_farewell(now, turn.stream_idle, lingers=self._lingers)
            elif turn.exchange.rests_until > now and self.patience is None:
                self._rest(turn.exchange.rests_until)
            else:
                self._next(now)
            return
        inflow.cancel()
        if turn.last:
            self._say_farewell(now, turn.stream_idle, lingers=True)
        else:
            self._skipping = inflow
            self._alarm.set(now + LINGER)

    def _say_farewell(self, now: float, stream_idle: float, *, lingers: bool) -> None:
        self._buffer = b""
        if lingers:
            self.set_reading(True)
        self._farewell = Farewell(self._transport, self._alarm, now, stream_idle, lingers=lingers)

    def _next(self, now: float) -> None:
        if self.patience is not None:
            # A client that asks and does not read what it gets is answered no further.
            self._alarm.set(now + self.server.settings.timeouts.stream_idle)
            return
        if self._buffer:
            data, self._buffer = self._buffer, b""
            self._read_head(data, 0, ahead=True)
        if self.turn is None and not self._first_byte and self._farewell is None:
            self._alarm.set(now + self.server.idle())
        if not self._reading:
            inflow = self.turn.inflow if self.turn is not None else None
            if inflow.reading and not inflow.behind if inflow is not None else len(self._buffer) <= _PIPELINE:
                self.set_reading(True)

    def _rest(self, until: float) -> None:
        # Without the look for a reset that `set_reading` sets a timer for: no rest is long.
        self._reading = False
        set_reading(self._transport, False)
        self._alarm.clear()
        self.server.entry.rest(self, until)

    def wake(self) -> None:
        """See `rests.Resting`: read on."""
        self.set_reading(True)
        self._next(monotonic())

    def _skip(self, inflow: Inflow, data: bytes) -> None:
        """Read past a body that nobody wants any more."""
        rest = inflow.feed(data)
        if inflow.complete:
            self._skipping = None
            self._buffer = bytes(rest)
            self._next(monotonic())

    def _on_alarm(self, now: float) -> None:
        turn = self.turn
        if self._farewell is not None:
            if not self._farewell.look(now):
                self._give_up()
        elif self._transport.is_closing() or (not self._reading and broken(self._transport)):
            abort(self._transport)
        elif turn is not None:
            again = turn.look(now)
            if self.turn is turn and again > now:
                self._alarm.at_latest(again if self._reading else min(again, now + _LOOK))
        elif self.patience is not None and now < self.patience.until(now):
            self._alarm.at_latest(now + _LOOK)
        elif self._skipping is not None or self.patience is not None:
            self._give_up()
        elif self._first_byte:
            detail = f"the request head took longer than {self.server.settings.timeouts.head:g} s"
            self._refuse(SidecarError(REQUEST_TIMEOUT, detail), now)
        elif not readable(self._transport):
            self.server.closed_idle += 1
            self._transport.close()
        else:
            self._alarm.set(now + _LOOK)  # something came in this moment: no request, if it is but a blank line

    def _give_up(self) -> None:
        if self._transport.get_write_buffer_size() and not self._cut:
            self.server.closed_untaken += 1  # of an answer that was cut, its exchange tells
        abort(self._transport)

    # ── back-pressure

    def pause_writing(self) -> None:
        """asyncio's call: the client reads too slowly."""
        turn = self.turn
        seconds = turn.stream_idle if turn is not None else self.server.settings.timeouts.stream_idle
        self.patience = Patience(self._transport, monotonic(), seconds)
        if turn is not None:
            turn.pause()

    def resume_writing(self) -> None:
        """asyncio's call."""
        self.patience = None
        if self.turn is not None:
            self.turn.resume()
        elif self._farewell is None and self._skipping is None and not self._transport.is_closing():
            self._next(monotonic())

    def set_reading(self, on: bool) -> None:
        """Start or stop reading from the client."""
        if on is self._reading or self._transport.is_closing():
            return
        self._reading = on
        set_reading(self._transport, on)
        if not on:
            self._alarm.at_latest(monotonic() + _LOOK)

    def __repr__(self) -> str:
        return f"<ClientConnection {self._peer.name} {self.turn!r}>"
