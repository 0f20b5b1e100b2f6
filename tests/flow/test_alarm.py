"""One timer that is moved far more often than it fires."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

import pytest

from sidecar.alarm import Alarm
from tests.http1.support import Clock


class Handle:
    """A loop's timer."""

    def __init__(self, due: float, callback: Callable[[], None]) -> None:
        self.due = due
        self.callback = callback
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Loop:
    """Of a loop, its timers."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.handles: list[Handle] = []

    def call_later(self, delay: float, callback: Callable[[], None]) -> Handle:
        assert delay >= 0
        self.handles.append(Handle(self.clock.now + delay, callback))
        return self.handles[-1]

    @property
    def pending(self) -> list[Handle]:
        """Timers that will go off."""
        return [handle for handle in self.handles if not handle.cancelled]

    def run_until(self, now: float) -> None:
        """Let time pass."""
        while due := [handle for handle in self.pending if handle.due <= now]:
            first = min(due, key=lambda handle: handle.due)
            first.cancelled = True
            self.clock.now = max(self.clock.now, first.due)
            first.callback()
        self.clock.now = now


@pytest.fixture
def loop(monkeypatch: pytest.MonkeyPatch) -> Loop:
    """A loop and its clock."""
    clock = Clock()
    clock.rule(monkeypatch, "sidecar.alarm")
    return Loop(clock)


@pytest.fixture
def rings() -> list[float]:
    """When it rang."""
    return []


@pytest.fixture
def alarm(loop: Loop, rings: list[float]) -> Alarm:
    """The alarm."""
    return Alarm(cast(asyncio.AbstractEventLoop, loop), rings.append)


def test_it_rings_once_at_its_time(loop: Loop, alarm: Alarm, rings: list[float]) -> None:
    """Not before, and not again."""
    alarm.set(1005.0)
    loop.run_until(1004.9)
    assert rings == []
    loop.run_until(1050.0)

    assert rings == [1005.0]
    assert loop.pending == []


def test_a_thousand_moves_are_one_timer(loop: Loop, alarm: Alarm, rings: list[float]) -> None:
    """Later is free: the timer stays, and is set anew when it goes off too early."""
    for step in range(1000):
        alarm.set(1005.0 + step * 0.01)
    assert len(loop.handles) == 1
    loop.run_until(1050.0)

    assert rings == [pytest.approx(1014.99)]
    assert len(loop.handles) == 2


def test_earlier_is_heeded(loop: Loop, alarm: Alarm, rings: list[float]) -> None:
    """The one timer is replaced, not joined by another."""
    alarm.set(1005.0)
    alarm.set(1001.0)
    assert len(loop.pending) == 1
    loop.run_until(1050.0)

    assert rings == [1001.0]


def test_at_latest_never_postpones(loop: Loop, alarm: Alarm, rings: list[float]) -> None:
    """It only brings forward."""
    alarm.at_latest(1005.0)
    alarm.at_latest(1009.0)
    alarm.at_latest(1003.0)
    loop.run_until(1050.0)

    assert rings == [1003.0]


def test_a_cleared_alarm_is_silent_until_it_is_set_again(loop: Loop, alarm: Alarm, rings: list[float]) -> None:
    """The loop's timer may stay."""
    alarm.set(1005.0)
    alarm.clear()
    loop.run_until(1010.0)
    assert rings == []
    alarm.at_latest(1020.0)
    loop.run_until(1050.0)

    assert rings == [1020.0]


def test_cleared_and_set_again_before_the_timer_is_still_on_time(loop: Loop, alarm: Alarm, rings: list[float]) -> None:
    """Also when the new time is after the old timer, or before it."""
    alarm.set(1005.0)
    alarm.clear()
    alarm.set(1007.0)
    loop.run_until(1006.0)
    alarm.clear()
    alarm.set(1006.5)
    loop.run_until(1050.0)

    assert rings == [1006.5]


def test_a_stopped_alarm_holds_nothing(loop: Loop, alarm: Alarm, rings: list[float]) -> None:
    """Its owner can be forgotten."""
    alarm.set(1005.0)
    alarm.stop()
    alarm.stop()
    assert loop.pending == []
    loop.run_until(1050.0)

    assert rings == []


def test_what_is_due_already_rings_soon(loop: Loop, alarm: Alarm, rings: list[float]) -> None:
    """From the loop, not from within the call."""
    alarm.set(900.0)
    assert rings == []
    loop.run_until(1000.0)

    assert rings == [1000.0]


def test_a_timer_that_goes_off_early_is_not_believed(loop: Loop, alarm: Alarm, rings: list[float]) -> None:
    """Event loops round; the clock decides."""
    alarm.set(1005.0)
    (timer,) = loop.pending
    loop.clock.now = 1004.9995
    timer.cancelled = True
    timer.callback()
    assert rings == []
    loop.run_until(1006.0)

    assert rings == [1005.0]


def test_it_may_be_set_as_it_rings(loop: Loop, alarm: Alarm) -> None:
    """As a connection does."""
    rings: list[float] = []

    def ring(now: float) -> None:
        rings.append(now)
        if len(rings) < 3:
            again.set(now + 1)

    again = Alarm(cast(asyncio.AbstractEventLoop, loop), ring)
    again.set(1001.0)
    loop.run_until(1050.0)

    assert rings == [1001.0, 1002.0, 1003.0]


def test_it_shows_when(alarm: Alarm) -> None:
    """For whoever debugs."""
    assert repr(alarm) == "<Alarm off>"
    alarm.set(1005.0)
    assert repr(alarm) == "<Alarm in 5.000s>"
