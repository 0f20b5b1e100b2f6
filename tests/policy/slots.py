"""A service with so many slots, in simulated time: what an adaptive limit in front of it makes of a load.

Requests come at random moments of a fixed rate, through the gate, to the service. There each takes a slot for its
service time, and those that find none wait in order. Who has no answer in time leaves.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from random import Random

from sidecar.policy.adaptive import AdaptiveLimit
from sidecar.policy.concurrency import HOLDING, NORMAL, WAITING, Gate, Place
from sidecar.settings.policies import Concurrency

Service = Callable[[Random], float]


def fixed(seconds: float) -> Service:
    """Each takes the same time."""
    return lambda _: seconds


def noisy(mean: float, sigma: float) -> Service:
    """Lognormal: with a sigma of 1, one in twenty takes more than five times as long as half of them."""
    return lambda random: mean * math.exp(random.gauss(0, sigma) - sigma * sigma / 2)


def two_routes(quick: float, slow: float, share: float) -> Service:
    """Some take much longer than the others."""
    return lambda random: slow if random.random() < share else quick


class Job:
    """One request at the service."""

    def __init__(self, place: Place, came: float, began: float) -> None:
        self.place = place
        self.came = came
        self.began = began
        self.serving = False
        self.ended = False


class Simulation:
    """The load, the gate with its adaptive limit, and the service. Times are seconds.

    With `stubborn`, the service goes on with requests that nobody waits for any more.
    """

    def __init__(
        self,
        service: Service,
        *,
        slots: int,
        rate: float,
        timeout: float = 1.0,
        settings: Concurrency | None = None,
        stubborn: bool = False,
        seed: int = 1,
    ) -> None:
        settings = settings or Concurrency(max=1024, min=2, adaptive=True)
        self.service, self.slots, self.rate, self.timeout = service, slots, rate, timeout
        self.stubborn = stubborn
        self.now = 0.0
        self.gate = Gate(settings)
        self.adaptive = AdaptiveLimit(settings.min, settings.max, self.now)
        self.gate.set_limit(self.adaptive.limit, self.now)
        self.good: list[float] = []  # when a request was answered in time
        self.limits: list[tuple[float, int]] = [(0.0, self.gate.limit)]
        self._random = Random(seed)
        self._events: list[tuple[float, int, Callable[..., None], tuple[Job, ...]]] = []
        self._order = count()
        self._waiting: deque[Job] = deque()  # at the service
        self._busy = 0
        self._at(0.0, self._arrive)

    def run(self, until: float) -> None:
        """Let it go on."""
        while self._events[0][0] <= until:
            self.now, _, act, job = heappop(self._events)
            self.gate.expire(self.now)
            act(*job)
        self.now = until

    def set_slots(self, slots: int) -> None:
        """The service has so many from now on; those in service are finished."""
        self.slots = slots
        self._serve()

    def goodput(self, since: float, until: float) -> float:
        """Requests answered in time, a second."""
        return sum(since <= when < until for when in self.good) / (until - since)

    def limit_at(self, when: float) -> int:
        """What the limit was."""
        return [limit for since, limit in self.limits if since <= when][-1]

    def _at(self, when: float, act: Callable[..., None], *job: Job) -> None:
        heappush(self._events, (when, next(self._order), act, job))

    def _arrive(self) -> None:
        self._at(self.now + self._random.expovariate(self.rate), self._arrive)
        came = self.now
        place = self.gate.hold(NORMAL, came)
        if place is not None:
            self._begin(place, came)
            return
        queued = self.gate.line_up(NORMAL, came + self.timeout, came)
        if isinstance(queued, Place):
            queued.tell = lambda place: self._begin(place, came) if place.state == HOLDING else None

    def _begin(self, place: Place, came: float) -> None:
        job = Job(place, came, self.now)
        self._at(came + self.timeout, self._give_up, job)
        self._waiting.append(job)
        self._at(self.now, self._serve)

    def _serve(self) -> None:
        while self._busy < self.slots and self._waiting:
            job = self._waiting.popleft()
            if not job.ended or self.stubborn:
                job.serving = True
                self._busy += 1
                self._at(self.now + self.service(self._random), self._finish, job)

    def _finish(self, job: Job) -> None:
        if job.serving:
            job.serving = False
            self._busy -= 1
        if not job.ended:
            self.good.append(self.now)
            self._end(job, good=True)
        self._serve()

    def _give_up(self, job: Job) -> None:
        if not job.ended:
            self._end(job, good=False)
            if job.serving and not self.stubborn:
                job.serving = False
                self._busy -= 1
                self._serve()

    def _end(self, job: Job, *, good: bool) -> None:
        job.ended = True
        gate = self.gate
        limit = self.adaptive.observe(
            self.now - job.began,
            answered=good,
            good=good,
            in_flight=gate.in_flight,
            in_use=gate.in_use,
            now=self.now,
        )
        gate.in_use = False
        if limit != gate.limit:
            gate.set_limit(limit, self.now)
            self.limits.append((self.now, limit))
        assert job.place.state != WAITING
        job.place.settled(None, self.now)
