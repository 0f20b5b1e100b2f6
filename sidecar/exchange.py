"""The nouns of a request's way: Request, Response, Body, Sink, Exchange, Outcome.

Both wire protocols speak these to the stack, which does not know which one it serves. Nothing here does I/O or knows
a wire format; times are seconds of one monotonic clock.

A body flows from a source (`Body`) into a `Sink` by plain calls, no task in between. The source keeps what arrives
before a sink is attached, within its window, and stops reading from its peer while paused:

    source.attach(sink) → sink.data(…)* → sink.end(trailers) | sink.abort(error)
    sink's peer is full → source.pause() … source.resume()
    nobody wants it     → source.cancel()
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from math import inf
from typing import Final, NamedTuple, Protocol

from sidecar.errors import UPSTREAM, SidecarError
from sidecar.headers import Headers

# A piece of a body. A view is good during the call only: who keeps it keeps a copy.
Data = bytes | memoryview


class Flow(Protocol):
    """The valve of a body, for the one who takes it."""

    def pause(self) -> None:
        """Stop reading from the peer."""

    def resume(self) -> None:
        """Read on."""

    def cancel(self) -> None:
        """The body is not wanted (any more): nothing more is delivered. Safe to call at any time."""


class Sink(Protocol):
    """Where a body flows to. The calls are synchronous and never raise; after `end` or `abort` none follows."""

    source: Flow | None  # set by whoever flows into it

    def data(self, data: Data, raw: bytes | None) -> None:
        """Take a piece. `raw` is the same payload still in chunked coding, where it came so and may go out so.

        With `raw` the piece may hold no payload yet (a size line alone), and a chunk may span pieces: pieces with
        `raw` only follow each other, or begin and end at a chunk's boundary.
        """

    def holds(self) -> bool:
        """Whether a piece that it was given may still be referred to."""

    def end(self, trailers: bytes) -> None:
        """The body is complete. `trailers` is a header block (lines with CRLF), empty as a rule."""

    def abort(self, error: SidecarError) -> None:
        """The body was cut: what has been passed on must not come to look complete."""


class Body(Flow, Protocol):
    """A body as it arrives."""

    @property
    def length(self) -> int | None:
        """Payload bytes in all, or None where only the end will tell."""

    @property
    def complete(self) -> bool:
        """Whether the last byte has arrived (not: has been passed on)."""

    def attach(self, sink: Sink) -> None:
        """Let it flow into `sink`, once. What has arrived already is delivered before this returns."""


class FixedBody:
    """A body that is here already: none at all, or one of our own answers."""

    complete = True

    def __init__(self, content: bytes = b"") -> None:
        self.length = len(content)
        self.content = content

    def attach(self, sink: Sink) -> None:
        if self.content:
            sink.data(self.content, None)
        sink.end(b"")

    def pause(self) -> None:
        pass

    def resume(self) -> None:
        pass

    def cancel(self) -> None:
        pass


EMPTY: Final = FixedBody()


class Request:
    """A request as the stack sees it: end-to-end headers only, framing already decided.

    `target` is in origin form (or `*`), `path` the same without its query, as text. `upgrade` is the protocol asked
    for, when the client may have a tunnel. `accepts_trailers` says that it sent `TE: trailers`.
    """

    __slots__ = ("accepts_trailers", "body", "headers", "method", "path", "target", "upgrade")

    def __init__(self, method: str, target: bytes, headers: Headers, body: Body = EMPTY) -> None:
        self.method = method
        self.target = target
        self.path = (target.partition(b"?")[0] if b"?" in target else target).decode("ascii", "replace")
        self.headers = headers
        self.body = body
        self.upgrade = b""
        self.accepts_trailers = False

    @property
    def idempotent(self) -> bool:
        """Whether sending it twice is as good as once: by method, or by the client's `Idempotency-Key`."""
        return self.method in IDEMPOTENT_METHODS or b"idempotency-key" in self.headers.known

    def __repr__(self) -> str:
        return f"<Request {self.method} {self.path}>"


IDEMPOTENT_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})


class Response:
    """A response head with the body behind it. `tunnel`, on a 101, takes what the client sends from now on."""

    __slots__ = ("arrived", "body", "headers", "phrase", "status", "tunnel")

    def __init__(self, status: int, phrase: bytes, headers: Headers, body: Body = EMPTY) -> None:
        self.status = status
        self.phrase = phrase
        self.headers = headers
        self.body = body
        self.tunnel: Sink | None = None
        self.arrived = 0.0  # when its head was received; 0 where it is our own

    def __repr__(self) -> str:
        return f"<Response {self.status}>"


# What an attempt says of the upstream.
GOOD: Final = "good"
BAD: Final = "bad"
NEUTRAL: Final = "neutral"


class Outcome(NamedTuple):
    """How one attempt ended at its response head. Read by breaker, retry, metrics, health and log; derived once.

    `status` is 0 where there is no response. `error` says why not; with neither, the attempt was ended from outside.
    `sent` says whether a request byte was handed to a connection; `elapsed` is seconds from the attempt's start;
    `verdict` is GOOD, BAD or NEUTRAL, what it says of the upstream (`policy/classify.py`).
    """

    status: int
    error: SidecarError | None
    sent: bool
    elapsed: float
    verdict: str


class Permit(Protocol):
    """Leave for one attempt, from whoever wants to know how it ended."""

    def settle(self, outcome: Outcome | None, now: float) -> None:
        """It has ended so, or nobody knows how. Only the first call counts."""


class Timer(Protocol):
    """The one timer of an exchange; it fires no later than the earliest time it was given."""

    def at_latest(self, due: float) -> None:
        """See to it that the exchange is looked at by `due`."""


Settle = Callable[["Exchange", float], None]

# The numbers that decided, by name; of an ordinary request as a tuple of names and values by turns, a third the size.
Facts = dict[str, object] | tuple[object, ...] | None
# What was decided: when, by whom, how, and by which numbers. Names of policies are those of the settings.
Note = tuple[float, str, str, Facts]
Handler = Callable[["Exchange"], Awaitable[Response]]


class Exchange:
    """One request, its answer, and what is known of both: the life of a row in the access log.

    Whoever takes something for the exchange (a place, a count) registers its release with `on_settled`; releases run
    exactly once and synchronously when the body has ended, was cut, or the client has gone, whatever became of tasks.
    """

    __slots__ = (
        "_settled",
        "abandoned",
        "answered",
        "attempt_timeout",
        "attempts",
        "backoff_wait",
        "bytes_in",
        "bytes_out",
        "client",
        "client_deadline",
        "client_wait",
        "close",
        "crowded",
        "deadline",
        "detail",
        "forwarded",
        "fresh",
        "id",
        "inform",
        "label",
        "notes",
        "observed",
        "outcome",
        "permit",
        "queue_wait",
        "reason",
        "request",
        "rests_until",
        "route",
        "started",
        "status",
        "timeout",
        "timer",
        "upstream",
        "upstream_wait",
        "whole",
    )

    def __init__(self, request: Request, request_id: bytes, client: str, started: float, timer: Timer) -> None:
        self.request = request
        self.id = request_id
        self.client = client
        self.started = started  # the head's first byte
        self.timer = timer
        self.whole: float | None = None  # when the request's last byte arrived
        self.timeout = inf  # seconds from `whole` to the response head
        self.attempt_timeout = 0.0  # seconds for one attempt; 0 = none of its own
        self.deadline = inf  # absolute; the earliest of all
        self.client_deadline = inf  # absolute, what the client itself said; bounds the body too
        self.abandoned: SidecarError | None = None  # why the stack was cancelled
        self.forwarded = b""  # header lines the upstream gets on top of the request's own
        self.fresh = False  # the next attempt is to use a new connection
        self.inform: Callable[[Response], None] | None = None  # passes a 1xx to the client
        self.answered: float | None = None  # when the response head was handed to the client
        self.status = 0  # what the client was told; 0 while nothing was
        self.reason = UPSTREAM
        self.detail = ""  # the same as a sentence, where it is not the upstream's own answer
        self.close = False  # the answer is the connection's last
        self.crowded = False  # it came when as many waited as may
        self.rests_until = 0.0  # until when its connection is not read from, absolute; 0 = it is
        self.observed = True  # counted in the request metrics (probes are not)
        self.route = ""  # the name of the route that it takes; empty where there is none
        self.label = ""  # the path template that it counts under, once that is known
        self.attempts = 0
        self.outcome: Outcome | None = None  # how the attempt that ended last did so
        self.permit: Permit | None = None  # of the attempt that begins next, which takes it
        self.notes: list[Note] = []  # the verdicts of the policies, in their order
        self.upstream = ""
        self.upstream_wait = 0.0  # seconds waited for the upstream, all attempts
        self.client_wait = 0.0  # seconds waited for the client
        self.queue_wait = 0.0  # seconds waited for a turn: by throttle and shed
        self.backoff_wait = 0.0  # seconds waited between attempts
        self.bytes_in = 0  # payload bytes of the request's body
        self.bytes_out = 0  # payload bytes of the response's body
        self._settled: list[Settle] | None = []

    def on_settled(self, release: Settle) -> None:
        """Have `release(exchange, now)` called when the exchange ends; last registered, first called."""
        if self._settled is None:
            raise RuntimeError(f"{self!r} has ended")
        self._settled.append(release)

    def settle(self, now: float) -> None:
        """The exchange has ended. Only the first call counts."""
        releases, self._settled = self._settled, None
        if releases:
            for release in reversed(releases):
                release(self, now)

    @property
    def begun(self) -> bool:
        """Whether the stack has it: somebody is to be told of its end."""
        return bool(self._settled)

    @property
    def settled(self) -> bool:
        """Whether the exchange has ended."""
        return self._settled is None

    def failed(self, error: SidecarError) -> None:
        """Note why it ended without an upstream's answer, or in the middle of one."""
        self.reason = error.reason.token
        self.detail = error.detail

    def received(self, now: float) -> None:
        """The request has come in whole: from here its overall timeout counts."""
        self.whole = now
        if self.timeout != inf:
            self.limit(now + self.timeout)

    def overhead(self, now: float) -> float:
        """Seconds up to `now` that the sidecar itself took: all that was not waiting, for either side or its turn."""
        waits = self.upstream_wait + self.client_wait + self.queue_wait + self.backoff_wait
        own = now - self.started - waits
        return own if own > 0.0 else 0.0

    def limit(self, due: float) -> None:
        """Let no answer come later than `due`; an earlier limit stays."""
        if due < self.deadline:
            self.deadline = due
            self.timer.at_latest(due)

    def __repr__(self) -> str:
        state = "settled" if self.settled else "answering" if self.answered is not None else "waiting"
        return f"<Exchange {self.id.decode('ascii', 'replace')} {self.request!r} {state}>"
