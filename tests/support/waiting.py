"""Waiting for a condition, with a deadline: the tests' only way to let time pass."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic, sleep
from typing import TypeVar

PATIENCE = 20.0  # seconds; generous, as the machines that run this are slow and shared

T = TypeVar("T")


def eventually(look: Callable[[], T], what: str = "", timeout: float = PATIENCE) -> T:
    """The first true value of `look()`. Fails after `timeout` seconds, saying `what` was waited for."""
    give_up = monotonic() + timeout
    while True:
        value = look()
        if value:
            return value
        assert monotonic() < give_up, f"waited {timeout:g} s in vain for {what or look}; last seen: {value!r}"
        sleep(0.005)
