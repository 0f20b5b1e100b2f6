"""One connection to the upstream: sends a request, reads its response, says whether it can be used again.

Knows nothing of policies, retries or the pool's bounds: it reports what happened, as a Response or a SidecarError.
"""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable
from functools import partial
from math import inf
from time import monotonic
from typing import cast

from sidecar.alarm import Alarm
from sidecar.errors import ATTEMPT_TIMEOUT, BAD_RESPONSE, CONNECTION_LOST, STALE_CONNECTION, SidecarError
from sidecar.exchange import EMPTY, Body, Data, FixedBody, Request, Response
from sidecar.http1.heads import HeadError, HeadReader, ResponseHead
from sidecar.http1.inflow import Inflow
from sidecar.http1.intake import Intake, ReadBuffers, is_long
from sidecar.http1.link import ANSWERING, CLOSED, FLUSH, HOT, IDLE, MOST_INTERIM, TUNNEL, WAITING, Owner, is_agreed
from sidecar.http1.outflow import Outflow
from sidecar.http1.sockets import set_reading, unread


class UpstreamConnection:
    """An `asyncio.Protocol` in all but name. Created by the pool. Times are seconds of `time.monotonic`."""

    def __init__(self, owner: Owner, reader: HeadReader, max_head: int, buffers: ReadBuffers) -> None:
        self._owner = owner
        self._reader = reader
        self._buffers = buffers
        self._intake: Intake | None = None  # once there was a long body
        self._max_head = max_head
        self._loop = asyncio.get_running_loop()
        self._alarm = Alarm(self._loop, self._on_alarm)
        self.rest = self._alarm.set  # (until): lie idle, and close then
        self._transport: asyncio.Transport | None = None
        self.state = IDLE
        self.served = 0  # responses read to their end
        self.idle_since = 0.0
        self.closed_while_idle = False  # by the upstream
        self.keep_alive_hint: bytes | None = None  # the upstream's last Keep-Alive field
        self.address = ""  # the peer, for retiring connections to addresses that a name no longer has
        self._unread = select.poll()
        self._buffer = b""
        self._answer: asyncio.Future[Response] | None = None
        self._inform: Callable[[Response], None] | None = None
        self._request: Request | None = None
        self._timeout = 0.0
        self._due = inf  # when the wait for the response head ends, or a tunnel's for its last bytes
        self._interim = 0
        self._inflow: Inflow | None = None  # the response's body
        self._outflow: Outflow | None = None  # the request's body until it is sent; the client's side of a tunnel
        self._heard = False  # a byte of this response has arrived
        self._reusable = False

    # ── for the pool

    def usable(self, *, surely: bool) -> bool:
        """Whether a request may be sent: idle, open, and nothing unread, which would be an end or a stray answer.

        `surely` asks the kernel in any case: for what must not be sent twice.
        """
        transport = self._transport
        return (
            self.state is IDLE
            and transport is not None
            and not transport.is_closing()
            and ((not surely and monotonic() - self.idle_since < HOT) or not self._unread.poll(0))
        )

    def close(self) -> None:
        """Close at once; what is in flight is lost."""
        self.state = CLOSED
        self._alarm.stop()
        if self._transport is not None:
            self._transport.abort()

    # ── one request

    def send(
        self, head: bytes, request: Request, inform: Callable[[Response], None] | None, timeout: float
    ) -> asyncio.Future[Response]:
        """Send `head` and the request's body; the future brings the response at its head, or a SidecarError.

        `timeout` (seconds, 0 for none) bounds the wait for the head from when the request has been sent whole.
        """
        transport = self._transport
        if transport is None or transport.is_closing():
            raise SidecarError(STALE_CONNECTION, "the kept connection was closed before the request was written")
        self.state = WAITING
        self._heard, self._interim = False, 0
        self._inform = inform
        self._request = request
        self._timeout = timeout
        self._due = inf
        self._answer = answer = self._loop.create_future()
        if request.body is EMPTY:
            transport.write(head)
            if timeout:
                self._sent(None)
        else:
            self._send_body(transport, head, request.body)
        return answer

    def abandon(self, answer: asyncio.Future[Response]) -> None:
        """The answer is not wanted any more: close the connection, so that the upstream learns of it at once."""
        if self._answer is answer:
            self._answer = None
            self.close()
        elif not answer.cancelled() and answer.exception() is None:
            # It came before the cancellation got through: the connection may serve another request by now.
            answer.result().body.cancel()

    def _send_body(self, transport: asyncio.Transport, head: bytes, body: Body) -> None:
        self._outflow = outflow = Outflow(transport, head, body.length is None, self._sent)
        body.attach(outflow)
        outflow.uncork()

    def _sent(self, error: SidecarError | None) -> None:
        """The request has been sent whole, or cannot be, for a reason on the client's side."""
        self._outflow = None
        if error is not None:
            self._fail(error)
        elif self._timeout and self.state is WAITING:
            self._due = monotonic() + self._timeout
            self._alarm.set(self._due)

    def _fail(self, error: SidecarError) -> None:
        """What is in flight ends with `error`, and the connection with it."""
        answer, self._answer = self._answer, None
        inflow, self._inflow = self._inflow, None
        outflow, self._outflow = self._outflow, None
        self.close()
        if inflow is not None:
            inflow.abort(error)
        if outflow is not None and outflow.source is not None:
            outflow.source.cancel()
        if answer is not None and not answer.done():
            answer.set_exception(error)

    # ── from the upstream

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio's call."""
        # uvloop's transports have the interface, not the class.
        self._transport = cast(asyncio.Transport, transport)
        # Whatever cannot be written at once stops the flow: then at most one piece is held for each stream.
        self._transport.set_write_buffer_limits(high=0)
        sock = transport.get_extra_info("socket")
        if sock is not None:
            self._unread.register(sock.fileno(), select.POLLIN)
        peer = transport.get_extra_info("peername")
        self.address = str(peer[0]) if isinstance(peer, tuple) else ""

    def data_received(self, data: Data) -> None:
        """Take what was read; a view only where a body takes it at once."""
        if self.state is WAITING:
            self._heard = True
            self._read_head(self._buffer + data if self._buffer else bytes(data))
        elif self._inflow is not None:
            self._read_body(self._inflow, data)
        else:
            # Nothing was asked, so these bytes answer nothing: a pooled connection that speaks is dead.
            self.close()

    def _read_head(self, data: bytes) -> None:
        request = self._request
        assert request is not None
        while True:
            end = data.find(b"\r\n\r\n") + 4
            if end < 4 or end > self._max_head:
                if len(data) > self._max_head:
                    self._fail_bad(f"a response head of more than {self._max_head} bytes")
                else:
                    self._buffer = data
                return
            try:
                head = self._reader.response(data[:end], request.method)
            except HeadError as error:
                self._fail_bad(error.detail)
                return
            response, rest = head[0], data[end:]
            if response.status >= 200 or response.status == 101:
                self._buffer = b""
                self._respond(head, request, rest)
                return
            data = rest
            self._interim += 1
            if self._interim > MOST_INTERIM:
                self._fail_bad(f"more than {MOST_INTERIM} interim answers")
                return
            if self._inform is not None:
                self._inform(response)

    def _respond(self, head: ResponseHead, request: Request, rest: bytes) -> None:
        answer, self._answer = self._answer, None
        if answer is None or answer.done():
            self.close()
            return
        response, length, chunked, bodiless, keep_alive = head
        response.arrived = monotonic()
        self.keep_alive_hint = response.headers.known.get(b"keep-alive")
        self._reusable = keep_alive
        if response.status == 101:
            if not self._switch(response, request):
                self._answer = answer
                self._fail_bad("101 to a protocol that was not asked for")
                return
            self._begin_body(response, None, rest, chunked=False)
        elif bodiless or length == 0:
            self._complete(rest)
        elif length is not None and len(rest) == length:
            response.body = FixedBody(rest)
            self._complete(b"")
        else:
            self.state = ANSWERING
            self._reusable = keep_alive and (chunked or length is not None)
            inflow = self._begin_body(response, length, rest, chunked=chunked)
            if inflow.failed is not None:
                answer.set_exception(inflow.failed)
                return
        answer.set_result(response)

    def _begin_body(self, response: Response, length: int | None, rest: Data, *, chunked: bool) -> Inflow:
        response.body = self._inflow = inflow = Inflow(
            length,
            chunked=chunked,
            blame=BAD_RESPONSE,
            set_reading=self._set_reading,
            go_on=partial(self._owner.later, self._catch_up),
            on_cancel=self.close,
        )
        if rest:
            self._read_body(inflow, rest)
        if is_long(inflow) and self._transport is not None:
            self._intake = self._intake or Intake(self, self._transport, self._buffers)
            self._intake.expect(inflow)
        return inflow

    def _switch(self, response: Response, request: Request) -> bool:
        """Make a tunnel of this connection, if the client asked for the protocol that the upstream names."""
        if self._transport is None or not is_agreed(request, response):
            return False
        self.state, self._due = TUNNEL, inf
        self._outflow = Outflow(self._transport, b"", False, self._tunnel_sent, half_close=True)
        response.tunnel = self._outflow
        return True

    def _tunnel_sent(self, error: SidecarError | None) -> None:
        self._outflow = None
        if error is not None:
            self._fail(error)
        elif (self._inflow is None or self._inflow.complete) and self._transport is not None:
            self._transport.close()
            self._due = monotonic() + FLUSH
            self._alarm.set(self._due)

    def _read_body(self, inflow: Inflow, data: Data) -> None:
        rest = inflow.feed(data)
        if inflow.complete:
            self._inflow = None
            self._complete(rest)
        elif inflow.failed is not None:
            self._inflow = None
            self.close()

    def _catch_up(self) -> None:
        if self._inflow is not None and self._inflow.behind and self._inflow.reading:
            self._read_body(self._inflow, b"")

    def _complete(self, rest: Data) -> None:
        """The response has been read to its end; `rest` lies behind it, where nothing may be."""
        self.served += 1
        if self._outflow is not None:
            # Answered before the request was sent whole: the upstream wants no more of it.
            source = self._outflow.source
            self._outflow = None
            self.close()
            if source is not None:
                source.cancel()
        elif rest or not self._reusable or self._transport is None or self._transport.is_closing():
            self.close()
        elif self._request is not None and self._request.body is not EMPTY and self._transport.get_write_buffer_size():
            self.close()  # answered before it had read the request: the rest of that is still on its way out
        else:
            self.state = IDLE
            self._request = self._inform = None
            self._owner.released(self)

    def eof_received(self) -> bool:
        """asyncio's call."""
        inflow = self._inflow
        if inflow is not None:
            inflow.end_of_stream(CONNECTION_LOST)
            if self.state is TUNNEL:
                return self._outflow is not None  # the client's half lives on
            self._inflow = None
            self.served += 1
        if self._transport is not None:
            self._transport.abort()  # outside tunnels that is all: what it has not read it never will
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """asyncio's call."""
        if exc is not None and self._transport is not None and (last := unread(self._transport)):
            self.data_received(last)  # a write failed first; an upstream that resets may have answered before
        while exc is not None and self._inflow is not None and self._inflow.behind:
            self._read_body(self._inflow, b"")  # the same
        why = f": {exc}" if exc else ""
        stale = self.state is WAITING and self.served > 0 and not self._heard
        self.closed_while_idle = stale or self.state is IDLE
        self.state = CLOSED
        self._intake = None  # the two keep each other
        self._owner.lost(self)
        what = "closed the connection without an answer" if self._answer is not None else "connection broke"
        self._fail(SidecarError(STALE_CONNECTION if stale else CONNECTION_LOST, f"the upstream {what}{why}", sent=True))

    def _fail_bad(self, detail: str) -> None:
        self._fail(SidecarError(BAD_RESPONSE, f"the upstream's answer was refused: {detail}", sent=True))

    def pause_writing(self) -> None:
        """asyncio's call: the upstream reads too slowly."""
        if self._outflow is not None and self._outflow.source is not None:
            self._outflow.source.pause()

    def resume_writing(self) -> None:
        """asyncio's call."""
        if self._outflow is not None and self._outflow.source is not None:
            self._outflow.source.resume()

    def _set_reading(self, on: bool) -> None:
        if self._transport is not None:
            set_reading(self._transport, on)

    def _on_alarm(self, now: float) -> None:
        if self.state is IDLE:
            if not self._unread.poll(0):
                self.close()
        elif now < self._due:
            pass  # it was set when the connection last lay idle
        elif self.state is WAITING:
            self._fail(SidecarError(ATTEMPT_TIMEOUT, f"no answer within {self._timeout:g} s", sent=True))
        elif self.state is TUNNEL:
            self.close()

    def __repr__(self) -> str:
        return f"<UpstreamConnection {self.state.value}, served {self.served}>"
