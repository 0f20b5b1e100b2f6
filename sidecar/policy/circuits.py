"""All circuits: which ones an attempt asks, and what its outcome counts for in each.

    upstream           failed connects, whoever's they are; any answer is a success
    a route's own      5xx (not 501), timeouts, lost connections, nonsense; answers that took too long, if that is set
    a path template's  the same, for requests that take no route

So a broken handler opens the circuit of its own route and no other. What says nothing of a circuit is neutral to it.
Requests of neither route nor known template ask the upstream's circuit alone: strangers to each other share no fate.

A pure decision: clock and chance are arguments. Knows nothing of how a refusal is told.
"""

from __future__ import annotations

import random as chance
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from sidecar.errors import CONNECT_FAILED, CONNECT_TIMEOUT
from sidecar.exchange import BAD, GOOD, NEUTRAL, Exchange, Outcome
from sidecar.policy.breaker import Circuit, Refusal, Transition
from sidecar.policy.machine import STATES
from sidecar.settings.policies import Breaker

UPSTREAM: Final = "upstream"  # the circuit that everybody asks

# Labels that stand for no template.
_UNLABELLED: Final = ("", "other")


class UnknownCircuitError(LookupError):
    """There is no circuit of that name, or not yet; the message says which there are."""


class _Row(NamedTuple):
    """What requests of one route or template need. `enforced`: a refusal is one, not only counted."""

    enforced: bool
    upstream: Circuit | None
    own: Circuit | None
    slow: float  # seconds; 0 = never
    has_answered: Callable[[], bool]


class Permit:
    """Leave for one attempt. `facts` names the half-open circuits whose probe it is; None as a rule."""

    __slots__ = ("_exchange", "_own_ticket", "_row", "_upstream_ticket", "facts")

    def __init__(self, row: _Row, exchange: Exchange, upstream_ticket: int, own_ticket: int) -> None:
        self._row: _Row | None = row
        self._exchange = exchange
        self._upstream_ticket = upstream_ticket
        self._own_ticket = own_ticket
        self.facts: dict[str, object] | None = None

    def settle(self, outcome: Outcome | None, now: float) -> None:
        """The attempt has ended so, or nobody knows how. Only the first call counts."""
        row = self._row
        if row is None:
            return
        self._row = None
        _, upstream, own, slow, has_answered = row
        if outcome is None:
            reached = answered = NEUTRAL
        elif outcome.verdict == GOOD:
            reached = answered = GOOD
            if slow and _waited(outcome, self._exchange, now) > slow:
                answered = BAD
        else:
            reached, answered = _failed(outcome) if has_answered() else (NEUTRAL, NEUTRAL)
        if upstream is not None:
            upstream.settle(self._upstream_ticket, reached, now)
        if own is not None:
            own.settle(self._own_ticket, answered, now)

    def __repr__(self) -> str:
        state = "settled" if self._row is None else "out"
        return f"<Permit {state}{f', {self.facts}' if self.facts else ''}>"


def _failed(outcome: Outcome) -> tuple[str, str]:
    """What an attempt that was no success says of whether the upstream can be reached, and of how it answers."""
    error = outcome.error
    if error is None:
        return (GOOD if outcome.status else NEUTRAL), outcome.verdict
    if error.reason is CONNECT_FAILED or error.reason is CONNECT_TIMEOUT:
        return outcome.verdict, NEUTRAL
    return NEUTRAL, outcome.verdict


def _waited(outcome: Outcome, exchange: Exchange, now: float) -> float:
    """Seconds that the upstream took. It has not been slow while a client was sending: that may take any time."""
    return min(outcome.elapsed, now - exchange.whole) if exchange.whole is not None else 0.0


class Circuits:
    """The circuits of one sidecar. Times are seconds of one monotonic clock.

    `settings` are for the upstream's circuit and for path templates, `routes` are those of each route by its name,
    complete. `label` gives an exchange's path template, as far as that is known: empty or `other` for none; there
    must be a bound to their number. Until `has_answered` says that the upstream ever did, no failure counts.
    `on_transition(circuit, from, to, why)` must not raise; `random()` is in [0, 1).
    """

    __slots__ = ("_circuits", "_has_answered", "_label", "_on_transition", "_random", "_routes", "_rows", "_settings")

    def __init__(
        self,
        settings: Breaker,
        routes: Mapping[str, Breaker],
        now: float,
        *,
        label: Callable[[Exchange], str],
        has_answered: Callable[[], bool],
        on_transition: Transition,
        random: Callable[[], float] = chance.random,
    ) -> None:
        self._label = label
        self._has_answered = has_answered
        self._on_transition = on_transition
        self._random = random
        self._circuits: dict[str, Circuit] = {}
        self._rows: dict[str, _Row] = {}  # who is asked, by route or label: found out once
        self._settings = settings
        self._routes: Mapping[str, Breaker] = {}
        self.change(settings, routes, now)

    def change(self, settings: Breaker, routes: Mapping[str, Breaker], now: float) -> None:
        """Go by other settings. A circuit whose settings stay the same keeps its state; a route's goes with it."""
        gone = self._routes.keys() - routes.keys()
        self._settings, self._routes = settings, dict(routes)
        self._rows.clear()
        for name, circuit in list(self._circuits.items()):
            wanted = self._settings_of(name)
            if wanted.mode == "off" or name in gone:
                del self._circuits[name]
            else:
                circuit.change(wanted, now)
        for name in (UPSTREAM, *routes):
            self._circuit(name, now)

    # ── per attempt

    def admit(self, exchange: Exchange, now: float) -> Permit | Refusal:
        """Leave for one attempt, to be settled when its response head is there or it failed; or why not."""
        name = exchange.route or self._label(exchange)
        row = self._rows.get(name)
        if row is None:
            row = self._row(name, now)
        upstream, own = row.upstream, row.own
        if (upstream is not None and upstream.guarded) or (own is not None and own.guarded):
            return self._ask(row, exchange, now)
        return Permit(
            row,
            exchange,
            upstream.generation if upstream is not None else 0,
            own.generation if own is not None else 0,
        )

    def _ask(self, row: _Row, exchange: Exchange, now: float) -> Permit | Refusal:
        """Ask each circuit properly; both must admit, and one that did so in vain has its ticket back."""
        upstream, own = row.upstream, row.own
        upstream_answer = upstream.admit(now) if upstream is not None else 0
        if isinstance(upstream_answer, Refusal):
            return upstream_answer if row.enforced else upstream_answer._replace(enforced=False)
        own_answer = own.admit(now) if own is not None else 0
        if isinstance(own_answer, Refusal):
            if upstream is not None:
                upstream.settle(upstream_answer, NEUTRAL, now)
            return own_answer if row.enforced else own_answer._replace(enforced=False)
        permit = Permit(row, exchange, upstream_answer, own_answer)
        probed = [circuit.name for circuit in (upstream, own) if circuit is not None and circuit.probing]
        if probed:
            permit.facts = {"probe": probed}
        return permit

    def _row(self, name: str, now: float) -> _Row:
        settings = self._settings_of(name)
        if settings.mode == "off":
            row = _Row(False, None, None, 0.0, self._has_answered)
        else:
            of_nobody = name in _UNLABELLED and name not in self._routes
            own = None if of_nobody else self._circuit(name, now)
            enforced = settings.mode == "enforce"
            row = _Row(enforced, self._circuits.get(UPSTREAM), own, settings.slow, self._has_answered)
        self._rows[name] = row
        return row

    def _circuit(self, name: str, now: float) -> Circuit | None:
        """The circuit of this name, made if need be; None where it is off."""
        settings = self._settings_of(name)
        if settings.mode == "off":
            return None
        circuit = self._circuits.get(name)
        if circuit is None:
            circuit = self._circuits[name] = Circuit(name, settings, now, self._on_transition, self._random)
        return circuit

    def _settings_of(self, name: str) -> Breaker:
        return self._settings if name == UPSTREAM else self._routes.get(name, self._settings)

    # ── from outside

    def upstream_proved_up(self, now: float) -> None:
        """An active probe reached the upstream."""
        if UPSTREAM in self._circuits:
            self._circuits[UPSTREAM].prove_up(now)

    def force_open(self, name: str, now: float) -> None:
        """Open a circuit until `force_close`. Raises UnknownCircuitError."""
        self._named(name).force_open(now)

    def force_close(self, name: str, now: float) -> None:
        """Close a circuit, however it was opened. Raises UnknownCircuitError."""
        self._named(name).force_close(now)

    def _named(self, name: str) -> Circuit:
        try:
            return self._circuits[name]
        except KeyError:
            known = ", ".join(self._circuits) or "none, as the breaker is off"
            raise UnknownCircuitError(f"no circuit {name!r}; there are: {known}") from None

    def states(self) -> list[tuple[str, str]]:
        """Each circuit's name and state: closed, open or half_open."""
        return [(name, STATES[circuit.state]) for name, circuit in self._circuits.items()]

    def status(self, now: float) -> dict[str, dict[str, object]]:
        """Everything live by circuit, ready to become JSON."""
        return {name: circuit.status(now) for name, circuit in self._circuits.items()}

    def __repr__(self) -> str:
        circuits = list(self._circuits.values())
        return f"<Circuits {len(circuits)}, {sum(circuit.state != 0 for circuit in circuits)} not closed>"
