"""A gate at work: what waiting at it takes, what its refusals say, and what is learned from how the upstream answers.

Which request gets a place is decided in `policy/concurrency.py`, how many there are in `policy/adaptive.py` where that
is wanted. Here are the futures of those who wait, one timer for them all, and the words for it.
"""

from __future__ import annotations

from asyncio import CancelledError, Future, TimerHandle, get_running_loop
from collections.abc import Callable
from functools import partial
from time import monotonic
from typing import Final

from sidecar.errors import OVERLOADED, QUEUE_TIMEOUT, SidecarError
from sidecar.exchange import GOOD, Exchange, Handler, Response
from sidecar.policy.adaptive import AdaptiveLimit
from sidecar.policy.concurrency import CLASSES, DISPLACED, EXPIRED, HOLDING, HOPELESS, LEFT, Gate, Place
from sidecar.settings.policies import Concurrency

# What `count` hears, one word for each request.
ADMITTED: Final = "admitted"  # at once
QUEUED: Final = "queued"  # admitted after a wait
REFUSED: Final = "refused"
TIMED_OUT: Final = "timed_out"  # waited as long as one may
ABANDONED: Final = "abandoned"  # went while it waited: the client had left, or its deadline passed

_DECISIONS: Final = {HOLDING: QUEUED, EXPIRED: TIMED_OUT, DISPLACED: REFUSED, LEFT: ABANDONED}

_CONCURRENCY: Final = "concurrency"
# What a note says of a refusal, by whether it is enforced.
VERDICTS: Final = ("would refuse", "refused")

RETRY_AFTER: Final = 1.0  # seconds
_SWITCHING: Final = 101

# A timer of the loop may be this early, in seconds.
_EARLY: Final = 0.001

Count = Callable[[str], None]
Shadow = Callable[[], None]


class Gatekeeper:
    """A gate at work. It outlives reloads, with the places that are taken.

    `name` is the limiter's: `sidecar`, or the route's. `count` hears one word for each request, see above; `shadow` is
    called for each that would have been refused. In shadow mode a request queues as it would, but does not wait.
    """

    __slots__ = ("_count", "_enforced", "_shadow", "_timer", "adaptive", "gate", "header", "name")

    def __init__(self, name: str, settings: Concurrency, count: Count, shadow: Shadow) -> None:
        self.name = name
        self.gate = Gate(settings)
        self.adaptive: AdaptiveLimit | None = None
        self.header: bytes | None = None  # which says the class, in lower case
        self._count = count
        self._shadow = shadow
        self._timer: TimerHandle | None = None
        self.change(settings)

    def change(self, settings: Concurrency) -> None:
        """Go by other settings. What is in flight stays so; what was learned of the upstream is kept."""
        now = monotonic()
        self._enforced = settings.mode == "enforce"
        self.header = settings.priority.lower().encode("latin-1") or None
        if not settings.adaptive or not settings.max:
            self.adaptive = None
            self.gate.change(settings, now)
            return
        if self.adaptive is None:
            self.adaptive = AdaptiveLimit(settings.min, settings.max, now)
        else:
            self.adaptive.change(settings.min, settings.max)
        self.gate.change(settings, now, self.adaptive.limit)

    # ── a request's way

    def admitted(self, exchange: Exchange) -> None:
        """It has a place at once."""
        exchange.notes.append((monotonic(), _CONCURRENCY, ADMITTED, None))
        self._count(ADMITTED)

    async def serve(self, exchange: Exchange, rank: int, call: Handler) -> Response:
        """Whatever has to wait, may become a tunnel, or is to be learned from. Raises SidecarError where refused."""
        gate, now = self.gate, monotonic()
        if exchange.request.upgrade:
            if not gate.open_tunnel():
                self._turn_away(exchange, rank, f"{gate.tunnels} tunnels are open, as many as may be")
                return await call(exchange)
            exchange.on_settled(gate.tunnel_settled)
        place = gate.hold(rank, now)
        if place is not None:
            exchange.on_settled(place.settled)
            self.admitted(exchange)
        else:
            place = await self._queue(exchange, rank, now)
        try:
            response = await call(exchange)
        finally:
            # Not from what is here only because its refusal was not enforced: that would teach what enforcing does not.
            if self.adaptive is not None and place is not None:
                self._learn(exchange, self.adaptive)
        if place is not None:
            if response.status == _SWITCHING:
                # A tunnel lives for hours, and they have a cap of their own.
                place.settled(exchange, monotonic())
            elif self.adaptive is not None:
                gate.stream(place, monotonic())
        return response

    async def _queue(self, exchange: Exchange, rank: int, now: float) -> Place | None:
        """A place after a wait; None where shadow mode lets it through without one."""
        gate = self.gate
        place = gate.line_up(rank, exchange.deadline, now)
        if isinstance(place, str):
            full = f"{gate.taken} requests are in flight, as many as may be, and {gate.queued} wait"
            self._turn_away(exchange, rank, "its deadline would pass in the queue" if place == HOPELESS else full)
            return None
        exchange.on_settled(place.settled)
        future: Future[SidecarError | None] | None = None
        if self._enforced:
            future = get_running_loop().create_future()
        place.tell = partial(self._told, exchange, future)
        self._watch(now)
        if future is None:
            return place
        try:
            error = await future
        except CancelledError:
            # It may have been given a place in this very turn of the loop: that goes to the next.
            place.settled(exchange, monotonic())
            raise
        finally:
            exchange.queue_wait += monotonic() - now
        if error is not None:
            raise error
        return place

    def _told(self, exchange: Exchange, future: Future[SidecarError | None] | None, place: Place) -> None:
        """This one waits no longer. Without `future` it has not waited: it would have."""
        now, error = monotonic(), None
        waited = round((now - place.since) * 1e3, 1)
        if future is not None or place.state in (HOLDING, LEFT):
            self._count(_DECISIONS[place.state])
        if place.state == HOLDING:
            verdict = ADMITTED if future is not None else "would wait"
            exchange.notes.append((now, _CONCURRENCY, verdict, {"waited_ms": waited, **self._facts(place.rank)}))
        elif place.state == EXPIRED:
            error = SidecarError(QUEUE_TIMEOUT, f"no place was free within {waited:g} ms")
        elif place.state == DISPLACED:
            error = SidecarError(OVERLOADED, "a request of a higher class took its place in the queue")
        if error is not None:
            self._refuse(exchange, place.rank, error, waited, enforced=future is not None)
        if future is not None and not future.done():
            future.set_result(error)
        if not self.gate.queued and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _turn_away(self, exchange: Exchange, rank: int, why: str) -> None:
        """Not even a place in the queue."""
        if self._enforced:
            self._count(REFUSED)
        error = SidecarError(OVERLOADED, why)
        self._refuse(exchange, rank, error, 0.0, enforced=self._enforced)
        if self._enforced:
            raise error

    def _refuse(self, exchange: Exchange, rank: int, error: SidecarError, waited: float, *, enforced: bool) -> None:
        """Complete what the client is told, and note it."""
        error.retry_after = RETRY_AFTER
        error.facts = {"limiter": self.name, "waited_ms": waited, **self._facts(rank)}
        exchange.notes.append((monotonic(), _CONCURRENCY, VERDICTS[enforced], error.facts))
        if not enforced:
            self._shadow()

    def _facts(self, rank: int) -> dict[str, object]:
        gate = self.gate
        facts: dict[str, object] = {
            "limit": gate.caps[rank],
            "in_flight": gate.taken,
            "queued": gate.queued,
        }
        if self.header is not None:
            facts["class"] = CLASSES[rank]
        return facts

    # ── the timer

    def _watch(self, now: float) -> None:
        """See to it that who has waited long enough is dismissed."""
        if self._timer is None:
            delay = max(0.0, self.gate.next_expiry() - now)
            self._timer = get_running_loop().call_later(delay, self._expire)

    def _expire(self) -> None:
        self._timer = None
        now = monotonic()
        self.gate.expire(now + _EARLY)
        if self.gate.queued:
            self._watch(now)

    # ── what it learns, and how it stands

    def _learn(self, exchange: Exchange, adaptive: AdaptiveLimit) -> None:
        """From how the last attempt ended, if there was one; a tunnel's handshake says nothing of the service."""
        outcome = exchange.outcome
        if outcome is None or outcome.status == _SWITCHING:
            return
        gate, now = self.gate, monotonic()
        limit = adaptive.observe(
            outcome.elapsed,
            answered=outcome.status != 0,
            good=outcome.verdict == GOOD,
            in_flight=gate.in_flight,
            in_use=gate.in_use,
            now=now,
        )
        gate.in_use = False
        if limit != gate.limit:
            gate.set_limit(limit, now)

    def status(self) -> dict[str, object]:
        """Everything live, ready to become JSON. `usual_latency_ms` is None unless the limit is adaptive."""
        gate, adaptive = self.gate, self.adaptive
        return {
            "mode": "enforce" if self._enforced else "shadow",
            "limit": gate.limit,
            "in_flight": gate.taken,
            "queued": gate.queued,
            "tunnels": gate.tunnels,
            "adaptive": adaptive is not None,
            "usual_latency_ms": round(adaptive.usual * 1e3, 3) if adaptive is not None else None,
        }

    def __repr__(self) -> str:
        return f"<Gatekeeper {self.name} {self.gate!r}>"
