"""From settings to the stack: which policies hold for which requests, and what of them outlives a reload.

Limiters, gates, budgets and circuits have state. Where a new version of the settings says of one what the old one said,
it is the same object that goes on; so a reload forgives nobody and forgets nothing that still holds.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import partial
from importlib.util import find_spec
from random import random
from time import monotonic
from typing import Any, Final, NamedTuple, Protocol, TypeVar

from sidecar.exchange import Handler, Request
from sidecar.layers.breaker import breaker
from sidecar.layers.deadline import Deadlines
from sidecar.layers.gatekeeper import Gatekeeper
from sidecar.layers.hedge import hedge
from sidecar.layers.retry import retry
from sidecar.layers.shed import guard, shed
from sidecar.layers.throttle import Limiter, throttle
from sidecar.policy.circuits import Circuits
from sidecar.policy.guard import Guard
from sidecar.policy.probes import ProbeRule
from sidecar.policy.retry import RetryPolicy
from sidecar.policy.routes import RouteTable
from sidecar.settings import Breaker, Concurrency, Problem, Rate, Retry, Route, Settings, SettingsError
from sidecar.settings import Guard as GuardSettings
from sidecar.stack import Layer, Plan, Policies, Recorder, Way, build, way
from sidecar.telemetry.metrics import Metrics
from sidecar.telemetry.paths import OTHER
from sidecar.throttle.limit import is_on
from sidecar.throttle.local import Throttle
from sidecar.throttle.shared import SharedThrottle
from sidecar.throttle.store import Store

_T = TypeVar("_T")

# What the limits for the whole sidecar are called, beside those of routes, which are called by the route's name.
WHOLE: Final = "sidecar"


class Log(Protocol):
    """Where changes are told; structlog's loggers are such."""

    def info(self, event: str, **fields: Any) -> Any:
        """Good news."""

    def warning(self, event: str, **fields: Any) -> Any:
        """Bad news."""


class _Scope(NamedTuple):
    """Whose limits these are. `suffix` is for metrics: `rate` is the sidecar's limit, `rate.orders` a route's."""

    name: str
    suffix: str
    rate: Rate
    concurrency: Concurrency


def _of_all(settings: Settings) -> _Scope:
    return _Scope(WHOLE, "", settings.rate, settings.concurrency)


def _of_route(route: Route) -> _Scope:
    return _Scope(route.name, f".{route.name}", route.rate, route.concurrency)


def _scopes(settings: Settings) -> list[_Scope]:
    return [_of_all(settings), *map(_of_route, settings.routes)]


class Ways:
    """Makes the stack around `upstream` for one version of the settings after another.

    `has_answered()` says whether the upstream ever did; `draining()` whether we are leaving. `spawn` runs a task that
    is the application's to end.
    """

    def __init__(
        self,
        upstream: Handler,
        recorder: Recorder,
        metrics: Metrics,
        log: Log,
        *,
        has_answered: Callable[[], bool],
        draining: Callable[[], bool],
        spawn: Callable[[Coroutine[Any, Any, None]], None],
    ) -> None:
        self._upstream = upstream
        self._recorder = recorder
        self._metrics = metrics
        self._log = log
        self._draining = draining
        self._spawn = spawn
        self._kept: dict[tuple[str, object], Any] = {}
        self._building: dict[tuple[str, object], Any] = {}
        self._store: Store | None = None
        self._keepers: dict[str, Gatekeeper] = {}
        self.guard = Guard(GuardSettings())
        self._shadow_breaker = metrics.shadows("breaker")
        self.circuits = Circuits(
            Breaker(mode="off"),
            {},
            monotonic(),
            label=lambda exchange: exchange.label,
            has_answered=has_answered,
            on_transition=self._circuit_changed,
        )

    # ── from settings to handlers

    def build(self, settings: Settings) -> Handler:
        """The stack for these settings. Raises SettingsError, and then nothing has changed."""
        self._building = {}
        self._use_store(settings)
        self._use_keepers(settings)
        self.guard.change(settings.guard)
        breakers = {route.name: route.breaker for route in settings.routes}
        self.circuits.change(settings.breaker, breakers, monotonic())
        plan = self._plan(settings)
        self._kept = self._building
        return build(self._recorder, plan, self._draining)

    def _plan(self, settings: Settings) -> Plan:
        routes = settings.routes
        timeouts = settings.timeouts
        return Plan(
            is_probe=ProbeRule(settings.probes),
            probe=self._way(Policies(Deadlines(timeouts.request, timeouts.attempt))),
            rest=self._way(self._policies(settings, None)),
            routes=[Way(route.name, route.path, self._way(self._policies(settings, route))) for route in routes],
            find=RouteTable(routes).find,
            template=self._template,
        )

    def _way(self, policies: Policies) -> Handler:
        return way(self._upstream, self._recorder, policies)

    def _policies(self, settings: Settings, route: Route | None) -> Policies:
        """What holds for a route, or for requests that take none."""
        own: Settings | Route = route if route is not None else settings
        # The route's limits stand outside those of all: what it refuses has spent nothing that others share, and who
        # waits for it holds no place of theirs.
        scopes = [*([_of_route(route)] if route is not None else []), _of_all(settings)]
        retries = self._retry_policy(own.retry)
        again = (retries, self._metrics.retried, self._metrics.shadows("retry")) if retries is not None else None
        return Policies(
            deadline=self._deadlines(own),
            guard=self._guard_layers(settings),
            rate=[partial(throttle, self._limiter(scope)) for scope in scopes if is_on(scope.rate)],
            concurrency=[partial(shed, self._keepers[scope.name]) for scope in scopes if scope.name in self._keepers],
            retry=[partial(retry, *again)] if again is not None else [],
            hedge=[partial(hedge, *again)] if again is not None else [],
            breaker=self._breaker_layers(own),
            may_resend=retries.budget.take if retries is not None else None,
        )

    # ── each policy

    def _deadlines(self, own: Settings | Route) -> Deadlines:
        timeouts, mode = own.timeouts, own.deadline.mode
        scope = own.name if isinstance(own, Route) else None
        shadow = self._metrics.shadows("deadline")
        return self._keep(
            "deadline",
            (scope, timeouts.request, timeouts.attempt, mode),
            lambda: Deadlines(timeouts.request, timeouts.attempt, mode=mode, shadow=shadow),
        )

    def _limiter(self, scope: _Scope) -> Limiter:
        name, rate, store = f"rate{scope.suffix}", scope.rate, self._store
        count, shadow = self._metrics.decisions(name), self._metrics.shadows("rate")
        if rate.shared and store is not None:
            return self._keep(
                name,
                (rate, store.settings),
                lambda: SharedThrottle(rate, scope.name, store, count=count, shadow=shadow),
            )
        return self._keep(name, rate, lambda: Throttle(rate, scope.name, count=count, shadow=shadow))

    def _guard_layers(self, settings: Settings) -> list[Layer]:
        limits = settings.guard
        if limits.mode == "off" or not (limits.lag or limits.wait or limits.memory):
            return []
        return [partial(guard, self.guard, self._metrics.decisions("guard"), self._metrics.shadows("guard"))]

    def _retry_policy(self, rule: Retry) -> RetryPolicy | None:
        """What decides on retries and hedges: with one budget, which routes with the same rule share."""
        if rule.mode == "off" or not rule.attempts or not rule.budget:
            return None
        return self._keep("retry", rule, lambda: RetryPolicy(rule, random))

    def _breaker_layers(self, own: Settings | Route) -> list[Layer]:
        if own.breaker.mode == "off":
            return []
        return [partial(breaker, self.circuits, self._breaker_decision)]

    def _breaker_decision(self, decision: str) -> None:
        if decision == "would refuse":
            self._shadow_breaker()

    # ── what is kept

    def _keep(self, policy: str, settings: object, make: Callable[[], _T]) -> _T:
        """What there is with these settings, from the version before or from this one, else what `make` gives."""
        key = policy, settings
        found: _T | None = self._building.get(key) or self._kept.get(key)
        if found is None:
            found = make()
        self._building[key] = found
        return found

    def _use_keepers(self, settings: Settings) -> None:
        """Have a gatekeeper for each cap there is; one that there was goes on by its new settings."""
        before, self._keepers = self._keepers, {}
        for scope in _scopes(settings):
            cap = scope.concurrency
            if cap.mode == "off" or not cap.max:
                continue
            keeper = before.get(scope.name)
            if keeper is None:
                count = self._metrics.decisions(f"concurrency{scope.suffix}")
                keeper = Gatekeeper(scope.name, cap, count, self._metrics.shadows("concurrency"))
            else:
                keeper.change(cap)
            self._keepers[scope.name] = keeper

    def _use_store(self, settings: Settings) -> None:
        """Have the Redis that shared limits are in, if any. Raises SettingsError before it changes anything."""
        shared = any(is_on(scope.rate) and scope.rate.shared for scope in _scopes(settings))
        if shared and find_spec("redis") is None:
            wrong = "needs the redis package; install sidecar[redis]"
            raise SettingsError([Problem("rate.shared", "true", wrong, "this installation")])
        if self._store is not None and not (shared and self._store.settings == settings.redis):
            self._spawn(self._store.close())
            self._store = None
        if shared and self._store is None:
            self._store = Store(settings.redis, self)
            self._spawn(self._store.start())

    async def close(self) -> None:
        """Let go of what is connected."""
        if self._store is not None:
            await self._store.close()

    # ── what people are told

    def _template(self, request: Request) -> str:
        label = self._metrics.templates.of(request.path, False)
        return label if label != OTHER else ""

    def _circuit_changed(self, circuit: str, before: str, after: str, why: str) -> None:
        self._metrics.circuit_changed(before, after)
        say = self._log.info if after == "closed" else self._log.warning
        say(f"circuit {after.replace('_', '-')}", circuit=circuit, was=before, why=why)

    def circuit_rows(self) -> list[tuple[tuple[object, ...], float]]:
        """Name and state of each circuit, with 1 for the state that it is in: rows of a gauge."""
        states = ("closed", "open", "half_open")
        return [((name, state), float(now == state)) for name, now in self.circuits.states() for state in states]

    def redis_lost(self, why: str) -> None:
        """See throttle.store.Events."""
        self._log.warning("redis is away: shared limits hold for each replica alone", why=why)

    def redis_back(self, away: float) -> None:
        """See throttle.store.Events."""
        self._log.info("redis is back: limits are shared again", away=round(away, 3))

    def status(self) -> dict[str, object]:
        """The live state of every policy, ready to become JSON."""
        return {
            "guard": self.guard.status(),
            "rate": [kept.status() for kept in self._kept.values() if isinstance(kept, Throttle | SharedThrottle)],
            "concurrency": {keeper.name: keeper.status() for keeper in self._keepers.values()},
            "retry": [_budget(kept) for kept in self._kept.values() if isinstance(kept, RetryPolicy)],
            "breaker": self.circuits.status(monotonic()),
        }

    def __repr__(self) -> str:
        return f"<Ways {len(self._kept)} policies>"


def _budget(policy: RetryPolicy) -> dict[str, object]:
    return {"attempts": policy.attempts, "budget": round(policy.budget.left, 3), "shadow": policy.shadow}
