"""A circuit's states and the moves between them, as aiobreaker has them; its listener hears of each move.

aiobreaker is driven by `open()`, `half_open()` and `close()` alone. Its `call_async` is not used: half-open it admits
every concurrent call, it puts its own error in place of that of the call that trips it, it reckons the time to
half-open by the wall clock, and a failure from before the trip sets that time anew. So when to move is decided in
`breaker.py`, and the times that aiobreaker notes for itself are read by nobody.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from types import ModuleType
from typing import Any, Final

CLOSED: Final = 0
OPEN: Final = 1
HALF_OPEN: Final = 2
STATES: Final = ("closed", "open", "half_open")  # their names, in metrics and answers

Report = Callable[[str, str], None]


def _without_redis() -> ModuleType:
    """aiobreaker less a storage in Redis that nobody uses: where redis is installed, 60 ms and 10 MB of a start."""
    name = "redis.exceptions"
    known = sys.modules.pop(name, None)
    sys.modules[name] = None  # type: ignore[assignment]  # Python's way to say that there is no such module
    try:
        import aiobreaker  # type: ignore[import-untyped]
    finally:
        del sys.modules[name]
        if known is not None:
            sys.modules[name] = known
    return aiobreaker  # type: ignore[no-any-return]


_aiobreaker: Final[Any] = _without_redis()


class Machine:
    """The state of one circuit, closed at first. `report(old, new)` hears of each move, by the states' names."""

    __slots__ = ("_breaker",)

    def __init__(self, name: str, report: Report) -> None:
        self._breaker = _aiobreaker.CircuitBreaker(listeners=[_Listener(report)], name=name)

    @property
    def state(self) -> str:
        """The present state's name."""
        return _name(self._breaker.state)

    def move(self, state: int) -> None:
        """Go to CLOSED, OPEN or HALF_OPEN."""
        if state == CLOSED:
            self._breaker.close()
        elif state == HALF_OPEN:
            self._breaker.half_open()
        else:
            with warnings.catch_warnings():
                # open() notes the time by utcnow(), deprecated since Python 3.12; that time is not used.
                warnings.filterwarnings("ignore", r"datetime\.datetime\.utcnow", DeprecationWarning)
                self._breaker.open()

    def __repr__(self) -> str:
        return f"<Machine {self._breaker.name} {self.state}>"


class _Listener(_aiobreaker.CircuitBreakerListener):  # type: ignore[misc]  # the library has no types
    """Passes on where a circuit went."""

    def __init__(self, report: Report) -> None:
        self._report = report

    def state_change(self, breaker: object, old: object, new: object) -> None:
        self._report(_name(old), _name(new))


def _name(state: Any) -> str:
    """The name of one of aiobreaker's state objects."""
    return str(state.state.name).lower()
