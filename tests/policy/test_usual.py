"""What a route usually takes, what is hopeless because of it, and that this belief never keeps itself true."""

from __future__ import annotations

import math
import random
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from sidecar.policy.usual import Usual

START = 1000.0


def taught(*answers: float, every: float = 0.1) -> tuple[Usual, float]:
    """One that saw these answers, so many seconds apart; and the time of the last."""
    usual, now = Usual(), START
    for seconds in answers:
        now += every
        usual.saw(seconds, now)
    return usual, now


def finds_hopeless(usual: Usual, budget: float, now: float) -> bool:
    """Whether it does, asked twice, as every tenth is let through."""
    return any(usual.hopeless(budget, now) is not None for _ in range(2))


class Service:
    """Clients that all have `budget` seconds and ask `rate` times a second, behind a sidecar that enforces."""

    def __init__(self, rate: float, budget: float) -> None:
        self.usual = Usual()
        self.now = START
        self.rate = rate
        self.budget = budget

    def run(self, seconds: float, takes: float) -> float:
        """So long, while an answer takes so long; returns the share that was refused."""
        count = round(seconds * self.rate)
        refused = 0
        for _ in range(count):
            self.now += 1 / self.rate
            if self.usual.hopeless(self.budget, self.now) is not None:
                refused += 1
            elif takes <= self.budget:
                self.usual.saw(takes, self.now)
            else:
                self.usual.cut(self.budget, self.now)
        return refused / count


def test_it_says_nothing_until_it_has_seen_twenty() -> None:
    """Not even of a request without any time at all."""
    usual, now = taught(*[0.2] * 19)
    assert not finds_hopeless(usual, -0.001, now)
    assert not finds_hopeless(Usual(), -0.001, now)

    usual.saw(0.2, now + 0.1)
    assert usual.hopeless(0.0, now + 0.1) == 0.2


def test_a_steady_time_is_met_exactly() -> None:
    """What just suffices is let through, what is a little less is not."""
    usual, now = taught(*[0.2] * 30)

    assert usual.hopeless(0.2, now) is None
    assert usual.hopeless(0.199, now) == 0.2


def test_it_is_the_lower_quartile() -> None:
    """A route that answers two requests in five from a cache is not judged by the other three."""
    often_cached, now = taught(*[0.01, 0.5, 0.01, 0.5, 0.5] * 8)
    assert not finds_hopeless(often_cached, 0.1, now)
    assert often_cached.hopeless(0.009, now) == 0.01

    seldom_cached, now = taught(*[0.01, 0.5, 0.5, 0.5, 0.5] * 8)
    assert seldom_cached.hopeless(0.1, now) == 0.5


def test_a_burst_at_one_moment_counts_once() -> None:
    """A thousand slow answers after a pause of the upstream are one event."""
    usual, now = taught(*[0.02] * 30)
    for number in range(1000):
        usual.saw(3.0, now + 0.1 + number * 0.00004)

    assert not finds_hopeless(usual, 0.1, now + 0.15)


def test_a_short_slowness_is_not_usual_a_lasting_one_is() -> None:
    """A second of it changes nothing; five do."""
    usual, now = taught(*[0.02] * 50)
    for _ in range(10):
        now += 0.1
        usual.saw(0.5, now)
    assert not finds_hopeless(usual, 0.1, now)

    for _ in range(40):
        now += 0.1
        usual.saw(0.5, now)
    assert usual.hopeless(0.1, now) == 0.5


@pytest.mark.parametrize("every", [0.05, 0.5, 1.0, 2.5])
def test_what_was_is_forgotten_within_about_a_minute(every: float) -> None:
    """However much was seen before, and however few requests come: for the better, and for the worse."""
    for before, since in [(5.0, 0.1), (0.1, 5.0)]:
        usual, now = taught(*[before] * 1000)
        for _ in range(round(65 / every)):
            now += every
            usual.saw(since, now)

        assert usual.hopeless(since - 0.001, now) == since
        assert usual.hopeless(since, now) is None


def test_after_a_silence_it_begins_anew() -> None:
    """Ten seconds without a sample: what it knew is gone, and is not revived by the next one."""
    usual, now = taught(*[0.5] * 50)
    assert finds_hopeless(usual, 0.1, now + 10.0)
    assert not finds_hopeless(usual, 0.1, now + 10.001)

    usual.saw(0.5, now + 10.5)
    assert not finds_hopeless(usual, 0.1, now + 10.5)
    for number in range(1, 20):
        usual.saw(0.5, now + 10.5 + number)
    assert finds_hopeless(usual, 0.1, now + 30)


def test_every_tenth_is_let_through() -> None:
    """Of the hopeless ones alone: others do not count."""
    usual, now = taught(*[0.5] * 20)
    found = []
    for _ in range(30):
        assert usual.hopeless(1.0, now) is None
        found.append(usual.hopeless(0.1, now) is not None)

    assert found == ([True] * 9 + [False]) * 3


# ── attempts that were cut off


def test_a_cut_says_that_it_would_have_taken_longer() -> None:
    """All clients wait 100 ms and the upstream now takes more: most are refused then, though none is answered."""
    service = Service(rate=100, budget=0.1)
    assert service.run(5, takes=0.02) == 0.0
    service.run(5, takes=0.5)

    assert 0.7 < service.run(60, takes=0.5) <= 0.9


def test_an_upstream_that_never_answered_teaches_too() -> None:
    """With cuts alone, from the beginning."""
    service = Service(rate=100, budget=0.1)
    service.run(5, takes=0.5)

    assert service.run(60, takes=0.5) > 0.7


def test_impatient_clients_do_not_raise_it() -> None:
    """A thousand clients that leave after a millisecond: others with time for the usual answer are let through."""
    usual, now = taught(*[0.02] * 30)
    for _ in range(1000):
        now += 0.06
        usual.cut(0.001, now)
        if not round(now * 100) % 10:
            usual.saw(0.02, now)
    assert not finds_hopeless(usual, 0.02, now)

    unheard, now = Usual(), START
    for _ in range(100):
        now += 0.1
        unheard.cut(0.001, now)
    assert not finds_hopeless(unheard, 0.002, now)


def test_a_cut_below_the_usual_time_is_no_sample() -> None:
    """It neither changes the estimate nor keeps it alive."""
    usual, now = taught(*[0.5] * 50)
    for number in range(1, 200):
        usual.cut(0.4, now + number * 0.05)
    assert usual.hopeless(0.499, now + 9.99) == 0.5
    assert not finds_hopeless(usual, 0.1, now + 10.01)


# ── it must not lock itself in


@pytest.mark.parametrize("rate", [1.0, 20.0, 1000.0])
@pytest.mark.parametrize("slow_for", [3.0, 30.0, 100.0])
def test_slowness_does_not_lock_clients_out(rate: float, slow_for: float) -> None:
    """Once the upstream is quick again, all are let through: within a minute, with some traffic within seconds."""
    service = Service(rate, budget=0.1)
    service.run(60, takes=0.02)
    service.run(slow_for, takes=0.5)
    service.run(60 if rate < 5 else 10, takes=0.02)

    assert service.run(60, takes=0.02) == 0.0


def test_answers_to_patient_clients_do_not_lock_impatient_ones_out() -> None:
    """A burst of slow answers, seen because others had the time to wait for them, is outlived."""
    usual, now = taught(*[2.0] * 200, every=0.05)
    assert finds_hopeless(usual, 0.1, now)
    refused = 0
    for _ in range(1000):
        now += 0.01
        if usual.hopeless(0.1, now) is None:
            usual.saw(0.02, now)
        else:
            refused += 1

    assert refused < 300
    assert not finds_hopeless(usual, 0.1, now)


def test_a_slow_upstream_keeps_being_spared() -> None:
    """Letting one in ten through does not talk it out of what it rightly knows."""
    usual, now = taught(*[0.5] * 50)
    for _ in range(500):
        now += 0.1
        if usual.hopeless(0.1, now) is None:
            usual.cut(0.1, now)
        usual.saw(0.5, now)  # somebody else's, who had the time

    assert usual.hopeless(0.4, now) == 0.5


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32), median=st.floats(0.001, 2.0), spread=st.floats(0.0, 1.0))
def test_few_that_would_have_been_answered_are_refused(seed: int, median: float, spread: float) -> None:
    """Whatever the route's distribution: of those it finds hopeless at most about half would have made it."""
    draw = random.Random(seed)

    def takes() -> float:
        return median * math.exp(draw.gauss(0.0, spread))

    usual, now = taught(*[takes() for _ in range(50)])
    made_it = hopeless = 0
    for _ in range(400):
        now += 0.1
        budget, seconds = takes(), takes()
        if usual.hopeless(budget, now) is not None:
            hopeless += 1
            made_it += seconds <= budget
        usual.saw(seconds, now)

    assert made_it <= 0.5 * hopeless + 10


# ── against a model


class Sample(NamedTuple):
    """What the model remembers."""

    when: float
    seconds: float


class UsualModel(RuleBasedStateMachine):
    """Any order of answers, cuts, pauses and questions, against an estimate that is made from scratch each time."""

    def __init__(self) -> None:
        super().__init__()
        self.usual = Usual()
        self.now = START
        self.samples: list[Sample] = []
        self.in_a_row = 0

    def silence(self) -> float:
        """Since the last sample."""
        return self.now - self.samples[-1].when if self.samples else math.inf

    def estimate(self) -> float:
        """By the description: the lower quartile of at most 50 samples of the last minute, if there are twenty."""
        if self.silence() > 10.0:
            return 0.0
        since = self.samples[-1].when - 60.0
        counted = sorted(sample.seconds for sample in self.samples[-50:] if sample.when >= since)
        return counted[len(counted) // 4] if len(counted) >= 20 else 0.0

    def sample(self, seconds: float) -> None:
        """Remember, as the real one is to do."""
        if self.silence() > 10.0:
            self.samples.clear()
        self.samples.append(Sample(self.now, seconds))

    @rule(pause=st.sampled_from([0.001, 0.06, 1.0, 3.0, 9.0, 11.0]))
    def wait(self, pause: float) -> None:
        """Time passes."""
        self.now += pause

    @rule(times=st.lists(st.sampled_from([0.0, 0.01, 0.1, 0.5, 2.0]), min_size=1, max_size=60))
    def traffic(self, times: list[float]) -> None:
        """Answers at a steady pace."""
        for seconds in times:
            self.now += 0.0625
            self.saw(seconds)

    @rule(seconds=st.floats(0.0, 10.0))
    def saw(self, seconds: float) -> None:
        """An answer."""
        self.usual.saw(seconds, self.now)
        if self.silence() >= 0.05:
            self.sample(seconds)

    @rule(seconds=st.floats(0.0, 10.0))
    def cut(self, seconds: float) -> None:
        """No answer."""
        estimate = self.estimate()
        self.usual.cut(seconds, self.now)
        if self.silence() >= 0.05 and seconds >= estimate:
            self.sample(seconds * 1.25)

    @rule(budget=st.floats(-0.1, 3.0))
    def ask(self, budget: float) -> None:
        """A request with so much time left."""
        estimate = self.estimate()
        found = self.usual.hopeless(budget, self.now)
        if not 0.0 < estimate > budget:
            assert found is None
        elif self.in_a_row == 9:
            assert found is None
            self.in_a_row = 0
        else:
            assert found == estimate
            self.in_a_row += 1

    @invariant()
    def it_is_bounded(self) -> None:
        """However long it lives."""
        assert len(self.usual._latest) == len(self.usual._ranked) <= 50
        assert self.usual._ranked == sorted(seconds for _, seconds in self.usual._latest)


TestUsualModel = UsualModel.TestCase
TestUsualModel.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def test_it_shows_what_it_knows() -> None:
    """For whoever debugs it."""
    assert repr(Usual()) == "<Usual unknown, 0 samples>"
    assert repr(taught(*[0.25] * 30)[0]) == "<Usual 0.25 s, 30 samples>"
