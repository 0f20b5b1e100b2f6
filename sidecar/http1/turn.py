"""One exchange's turn on a client's connection: from its head to the last byte of its answer.

Runs the stack, lets both bodies flow, and watches over the limits in the meantime. What is answered is decided by the
stack; what becomes of the connection afterwards, by the connection.
"""

from __future__ import annotations

from asyncio import Task, Transport
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING

from sidecar.errors import CLIENT_GONE, DEADLINE_EXCEEDED, INTERNAL, SidecarError
from sidecar.exchange import Body, Data, Exchange, FixedBody, Response, Sink
from sidecar.http1.answer_head import answer_head, interim_head
from sidecar.http1.incoming import Incoming
from sidecar.http1.inflow import Inflow
from sidecar.http1.outflow import Outflow
from sidecar.http1.overdue import no_answer, stuck_answer
from sidecar.http1.serving import serving
from sidecar.http1.sockets import reset
from sidecar.relay import Relay

if TYPE_CHECKING:
    from sidecar.http1.connection import ClientConnection

# So many bytes of a body that nobody wants are read past to keep the connection (Go's server does the same).
SKIP = 256 * 1024


class Turn:
    """Created by the connection for each exchange. `minor` is the client's HTTP/1.x version.

    `inflow` is the request's body until it is complete, then, in a tunnel, the client's half of it. `last` says
    whether the connection ends with this answer.
    """

    __slots__ = (
        "_active",
        "_connection",
        "_framed",
        "_incoming",
        "_minor",
        "_outflow",
        "_task",
        "_transport",
        "exchange",
        "inflow",
        "last",
        "stream_idle",
    )

    def __init__(
        self,
        connection: ClientConnection,
        transport: Transport,
        exchange: Exchange,
        minor: int,
        now: float,
        last: bool,
    ) -> None:
        self.exchange = exchange
        self.inflow: Inflow | None = None
        self.last = last
        self._connection = connection
        self._transport = transport
        self._minor = minor
        # Kept: what is in flight ends under the settings that it began with.
        self.stream_idle = connection.server.settings.timeouts.stream_idle
        self._outflow: Outflow | None = None
        self._framed = True  # the answer shows its end by itself
        self._active = now  # when bytes last moved, either way
        self._incoming: Incoming | None = None  # the request's body, where there is one
        self._task: Task[None] | None = None

    # ── the request

    def begin(self, waited: float, crowded: bool) -> None:
        """See `entry.Entrant`: send the exchange through the stack. Only the first call counts."""
        if self._task is not None:
            return
        self.exchange.queue_wait, self.exchange.crowded = waited, crowded
        self._task = serving(self, self._connection.server.handler, self._connection.server.loop)

    def expect(self, length: int | None) -> Inflow:
        """The request has a body of `length` bytes, or (None) a chunked one."""
        exchange, server = self.exchange, self._connection.server
        self._incoming = incoming = Incoming(
            server.settings,
            length,
            self._active,
            waits=self._minor == 1 and b"expect" in exchange.request.headers.known,
            set_reading=self._connection.set_reading,
            go_on=partial(server.entry.lane.add, self._catch_up),
            on_cancel=self._read_past,
        )
        exchange.request.body = self.inflow = incoming.inflow
        exchange.abandoned = incoming.refused
        exchange.timer.at_latest(incoming.looked_at)
        return incoming.inflow

    def _read_past(self) -> None:
        if self.inflow is not None:  # nobody takes the rest: read all the same, so that the answer gets through
            self.inflow.resume()

    def _catch_up(self) -> None:
        inflow = self.inflow
        if inflow is not None and inflow.behind and inflow.reading and self._connection.turn is self:
            self._connection.data_received(b"")

    def receive(self, inflow: Inflow, data: Data) -> Data:
        """Take bytes of the request's body, or of the client's half of a tunnel; returns those behind its end."""
        self._active = monotonic()
        rest = inflow.feed(data)
        if inflow.complete:
            self.inflow = None
            self.exchange.bytes_in = inflow.received
            self.exchange.received(self._active)
        elif inflow.failed is not None and self.exchange.answered is None:
            if self._task is None:
                self.exchange.abandoned = self.exchange.abandoned or inflow.failed  # it is told in its turn
            else:
                self._abandon(inflow.failed)
        return rest

    # ── the answer

    def answer(self, response: Response) -> None:
        """The stack has come to an end."""
        exchange = self.exchange
        if self._connection.turn is not self or self._transport.is_closing():
            response.body.cancel()
            return
        try:
            self._answer(exchange, response)
        except Exception as error:
            # A fault of ours in the middle of an answer: what was written cannot be taken back.
            exchange.abandoned = SidecarError(INTERNAL, "the sidecar failed in the middle of the answer")
            self._connection.server.fault(error)
            self._transport.abort()

    def _answer(self, exchange: Exchange, response: Response) -> None:
        exchange.answered = self._active = now = monotonic()
        exchange.status = response.status
        body, chunked = response.body, False
        if not isinstance(body, FixedBody):
            chunked = body.length is None and response.tunnel is None and self._minor == 1
            self._framed = chunked or body.length is not None
        if exchange.close or not self._framed or self._connection.server.draining:
            self.last = True
        if self.inflow is not None:
            # The rest of the request may never end; one that waits for 100 may never begin, and nobody can tell which.
            # A little of it is read past; otherwise the client is told.
            little = 0 < self.inflow.left <= SKIP
            self.last = self.last or not little or b"expect" in exchange.request.headers.known
        head = answer_head(
            response, exchange.id, chunked=chunked, close=self.last, minor=self._minor, attempts=exchange.attempts
        )
        if isinstance(body, FixedBody):
            # All of it is here, as with most answers: one write and done.
            content = body.content if exchange.request.method != "HEAD" else b""
            exchange.bytes_out = len(content)
            self._transport.write(head + content)
            self._finish(now)
        else:
            tunnel = response.tunnel
            if tunnel is not None:
                # First, as the upstream's half may have ended already, and that alone must not end the turn.
                self._open_tunnel(tunnel)
            self._relay(body, Outflow(self._transport, head, chunked, self._sent, half_close=tunnel is not None))

    def _relay(self, body: Body, outflow: Outflow) -> None:
        self._outflow = outflow
        relay = Relay(self.exchange, outflow, self._moved)
        relay.start(body)
        outflow.uncork()
        if self._sends(outflow):
            if self._connection.patience is not None:
                relay.pause()
            self._moved(self._active)

    def _sends(self, outflow: Outflow) -> bool:
        return self._outflow is outflow  # asked anew each time, where a type checker would remember

    def _open_tunnel(self, tunnel: Sink) -> None:
        """From here the client's bytes belong to the protocol that was switched to."""
        self.inflow = Inflow(
            None,
            chunked=False,
            blame=CLIENT_GONE,
            set_reading=self._connection.set_reading,
            on_cancel=self._transport.abort,
        )
        self.inflow.attach(tunnel)
        self._connection.feed_tunnel(self.inflow)

    def _sent(self, error: SidecarError | None) -> None:
        """The answer's last byte was written, or it has to be cut."""
        outflow = self._outflow
        if outflow is None:
            return
        exchange = self.exchange
        exchange.bytes_out = outflow.sent
        if error is not None:
            exchange.failed(error)
            self._cut()
        elif exchange.status != 101 or self.inflow is None or self.inflow.complete:
            self._finish(monotonic())

    def client_ended(self) -> bool:
        """The client half-closed; returns whether its connection lives on: in a tunnel, for the other half.

        So does that of a request which is being refused: `nc` sends what it has and half-closes at once.
        """
        exchange, inflow, outflow = self.exchange, self.inflow, self._outflow
        if exchange.abandoned is not None and exchange.answered is None:
            if inflow is not None:
                exchange.bytes_in = inflow.received
                self.inflow = None  # no more of it will come
            self.last = True
            return True
        if inflow is None or outflow is None or exchange.status != 101:
            return False
        inflow.end_of_stream(CLIENT_GONE)
        if not outflow.ended:
            return True
        self._finish(monotonic())
        return False

    def inform(self, response: Response) -> None:
        """Pass an interim answer on."""
        if self.exchange.answered is None and not self._transport.is_closing():
            self._transport.write(interim_head(response))
            if self._incoming is not None and response.status == 100:
                self._incoming.go_on()

    # ── its end

    def _finish(self, now: float, *, cut: bool = False) -> None:
        self._outflow = None
        self.exchange.inform = None  # else the two would keep each other, for the collector to find
        if self.inflow is not None:
            self.exchange.bytes_in = self.inflow.received
        self.exchange.settle(now)
        self._connection.finished(self, now, cut=cut)

    def _cut(self) -> None:
        """The answer cannot be completed: see to it that it does not look complete."""
        self.last = True
        if self._framed:
            self._transport.close()
        else:
            reset(self._transport)
        self._finish(monotonic(), cut=True)

    def client_gone(self) -> None:
        """Nobody will take the answer: stop what is done for it, upstream too. The connection is gone already."""
        exchange, outflow, inflow = self.exchange, self._outflow, self.inflow
        error = exchange.abandoned or SidecarError(CLIENT_GONE, "the client closed the connection")
        self._outflow = self.inflow = None
        exchange.inform = None
        exchange.failed(error)
        exchange.abandoned = error
        if inflow is not None:
            exchange.bytes_in = inflow.received
            inflow.abort(error)
            self._connection.server.entry.lane.leave(self._catch_up)
        if outflow is not None:
            exchange.bytes_out = outflow.sent
            if outflow.source is not None:
                outflow.source.cancel()
        if exchange.answered is not None:
            exchange.settle(monotonic())
            return
        exchange.status = error.reason.status
        self._unwind().add_done_callback(self._unwound)

    def _unwound(self, _: Task[None]) -> None:
        self.exchange.settle(monotonic())

    def _unwind(self) -> Task[None]:
        """End the stack's work. What it has not had yet goes through it all the same, to be counted and refused."""
        if self._task is None:
            self._connection.server.entry.leave(self)
            self.begin(0.0, False)
        elif self.exchange.begun:
            self._task.cancel()
        assert self._task is not None
        return self._task

    def _abandon(self, error: SidecarError) -> None:
        """The answer can wait no longer: stop what is done for it; the stack then says so."""
        if self.exchange.abandoned is None:
            self.exchange.abandoned = error
            self._unwind()

    # ── its limits

    def _moved(self, now: float) -> None:
        self._active = now
        self.exchange.timer.at_latest(now + self.stream_idle)

    def look(self, now: float) -> float:
        """Enforce the limits that have passed; returns when to look again."""
        exchange = self.exchange
        if exchange.answered is None:
            if now >= exchange.deadline:
                self._abandon(no_answer(exchange, now))
            elif self.inflow is not None and self._incoming is not None:
                error, due = self._incoming.overdue(now, self._active, exchange.attempts)
                if error is not None:
                    self._abandon(error)
                return min(exchange.deadline, due)
            return exchange.deadline
        idle_due, patience = self._active + self.stream_idle, self._connection.patience
        if patience is not None:
            taken_due = patience.until(now)
            # Of a tunnel it is enough that one half moves.
            idle_due = max(idle_due, taken_due) if exchange.status == 101 else taken_due
        if now >= exchange.client_deadline:
            self._give_up(SidecarError(DEADLINE_EXCEEDED, "the client's deadline passed", sent=True))
        elif now >= idle_due:
            self._give_up(stuck_answer(patience is not None, self.stream_idle))
        return min(idle_due, exchange.client_deadline)

    def _give_up(self, error: SidecarError) -> None:
        """Cut an answer that has begun."""
        outflow = self._outflow
        if outflow is not None:
            if self.inflow is not None:
                self.inflow.abort(error)  # a tunnel's other half: its upstream half may have ended already
            if outflow.source is not None:
                outflow.source.cancel()
            outflow.abort(error)

    def pause(self) -> None:
        """The client reads too slowly."""
        if self._outflow is not None and self._outflow.source is not None:
            self._outflow.source.pause()

    def resume(self) -> None:
        """The client has caught up."""
        if self._outflow is not None and self._outflow.source is not None:
            self._outflow.source.resume()

    def __repr__(self) -> str:
        return f"<Turn {self.exchange!r}>"
