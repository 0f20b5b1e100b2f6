"""The adaptive limit: against a simulated service, and answer by answer."""

from __future__ import annotations

from random import Random

import pytest

from sidecar.policy.adaptive import AdaptiveLimit
from sidecar.settings.policies import Concurrency
from tests.policy.slots import Service, Simulation, fixed, noisy, two_routes

SERVICES = [
    pytest.param(fixed(0.1), 0.1, id="fixed"),
    pytest.param(fixed(0.04), 0.04, id="quick"),
    pytest.param(noisy(0.1, 0.5), 0.1, id="noisy"),
    pytest.param(two_routes(0.01, 0.1, 0.5), 0.055, id="two routes"),
]


@pytest.mark.parametrize(("service", "mean"), SERVICES)
@pytest.mark.parametrize("load", [0.9, 1.5, 5.0])
def test_an_upstream_that_loses_slots_is_kept_busy_and_no_more(service: Service, mean: float, load: float) -> None:
    """From 20 slots to 4: after 10 s goodput is at least 90 % of what 4 give and stays so; it recovers with them."""
    few, many = 4 / mean, 20 / mean
    sim = Simulation(service, slots=20, rate=load * many)
    sim.run(30)
    sim.set_slots(4)
    sim.run(100)
    sim.set_slots(20)
    sim.run(130)

    assert sim.goodput(20, 30) >= 0.9 * min(load, 1.0) * many
    assert min(sim.goodput(since, since + 10) for since in range(40, 100, 10)) >= 0.9 * few
    assert max(sim.limit_at(when) for when in range(40, 100)) <= 14  # and latency stays near the usual
    assert sim.goodput(110, 130) >= 0.9 * min(load, 1.0) * many


@pytest.mark.parametrize("timeout", [0.5, 1.0, 5.0])
def test_a_service_that_goes_on_with_abandoned_work_is_saved_too(timeout: float) -> None:
    """Requests that time out are cut off, and tell how long they waited all the same."""
    sim = Simulation(fixed(0.1), slots=20, rate=300, timeout=timeout, stubborn=True)
    sim.run(30)
    sim.set_slots(4)
    sim.run(60)

    assert sim.goodput(40, 60) >= 0.9 * 40


def test_it_never_serves_less_than_the_floor() -> None:
    """An upstream that hangs keeps the floor busy, and is used in full again soon after."""
    sim = Simulation(fixed(0.1), slots=20, rate=300, settings=Concurrency(max=1024, min=5, adaptive=True))
    sim.run(30)
    sim.set_slots(0)
    sim.run(50)
    sim.set_slots(20)
    sim.run(70)

    assert min(limit for _, limit in sim.limits) == 5
    assert sim.goodput(60, 70) >= 0.9 * 200


def test_there_is_no_dip_to_measure_with() -> None:
    """Ten minutes of steady overload: the limit neither dips below what the service can do nor creeps up."""
    sim = Simulation(noisy(0.1, 0.3), slots=20, rate=300)
    sim.run(600)

    assert {20 <= limit <= 50 for since, limit in sim.limits if since > 5} == {True}


def test_it_gets_up_to_speed_from_cold() -> None:
    """A service ten times as large as the first guess is used in full within seconds."""
    sim = Simulation(noisy(0.05, 0.5), slots=200, rate=6000)
    sim.run(10)

    assert sim.goodput(4, 10) >= 0.9 * 4000


def test_it_finds_a_small_service_that_was_overloaded_from_the_start() -> None:
    """It begins with more than the service can take."""
    sim = Simulation(fixed(0.1), slots=4, rate=200)
    sim.run(60)

    assert sim.goodput(10, 60) >= 0.9 * 40
    assert sim.gate.limit <= 24


@pytest.mark.parametrize("factor", [1.5, 1.9, 3, 10])
@pytest.mark.parametrize("sigma", [0.0, 0.5])
def test_a_service_that_becomes_slower_keeps_its_places(factor: float, sigma: float) -> None:
    """All of its slots are needed as before: lowering the limit does not help, which is seen and undone."""
    sim = Simulation(noisy(0.05, sigma), slots=20, rate=600, timeout=5)
    sim.run(30)
    sim.service = noisy(0.05 * factor, sigma)
    sim.run(120)

    assert sim.goodput(80, 120) >= 0.9 * 400 / factor
    if not sigma:
        assert sim.goodput(30 + 2 * factor, 60) >= 0.8 * 400 / factor


def test_very_long_tails_do_not_starve_it() -> None:
    """A hundredfold between two routes, and a lognormal as wide as they come."""
    for service, mean in ((two_routes(0.005, 0.5, 0.1), 0.0545), (noisy(0.05, 1.0), 0.05)):
        sim = Simulation(service, slots=20, rate=600, timeout=5)
        sim.run(120)

        assert sim.goodput(20, 120) >= 0.8 * 20 / mean


# ── answer by answer


class Feed:
    """Attempts, one window after the other."""

    def __init__(self, least: int = 2, most: int = 100) -> None:
        self.now = 1000.0
        self.limit = AdaptiveLimit(least, most, self.now)

    def windows(
        self,
        latency: float,
        *,
        in_flight: int | None = None,
        in_use: bool = True,
        answered: bool = True,
        good: bool = True,
        number: int = 1,
    ) -> int:
        """So many windows' worth of attempts; returns the limit then."""
        for _ in range(number):
            self.now += 100.0  # whatever began before has ended
            # Twenty make a window; where it was lowered, one more comes first, with which the next window opens.
            for answer in range(21):
                self.now += latency + 0.6 if answer == 1 else 0.001
                count = self.limit.limit if in_flight is None else in_flight
                self.limit.observe(latency, answered=answered, good=good, in_flight=count, in_use=in_use, now=self.now)
        return self.limit.limit


def test_it_grows_only_if_it_is_used() -> None:
    """A limit that nobody runs into says nothing of what is beyond."""
    feed = Feed()

    assert feed.windows(0.1, in_use=False, number=10) == 20
    assert feed.windows(0.1) > 20


def test_it_stays_within_its_bounds() -> None:
    """Even when they change: the limit follows at once."""
    feed = Feed(least=4, most=50)
    assert feed.windows(0.1, number=20) == 50
    feed.limit.change(4, 30)
    assert feed.limit.limit == 30
    feed.limit.change(40, 60)
    assert feed.limit.limit == 40
    feed.limit.change(8, 5)
    assert feed.limit.limit == 5


def test_one_outlier_changes_nothing() -> None:
    """An answer that takes 300 times as long, among 60."""
    feed = Feed()
    before = feed.windows(0.05, number=5)
    limit = feed.limit
    for number in range(60):
        feed.now += 0.01
        limit.observe(
            15.0 if number == 5 else 0.05, answered=True, good=True, in_flight=before, in_use=True, now=feed.now
        )

    assert limit.limit >= before


def test_quick_failures_are_no_sign_of_room() -> None:
    """What fails at once neither raises the limit nor lowers it, nor is it the usual latency."""
    feed = Feed()
    before = feed.windows(0.1, number=3)

    assert feed.windows(0.001, good=False, number=10) == before
    assert feed.windows(0.11, good=False, number=10) == before
    assert feed.limit.usual == pytest.approx(0.1)


def test_noise_does_not_lower_it() -> None:
    """An average beyond the goal, of answers so different that it may as well be chance."""
    limit = AdaptiveLimit(2, 100, 0.0)
    for number in range(100):
        latency = 0.1 if number < 60 else (0.02 if number % 2 else 4.0)
        limit.observe(latency, answered=True, good=True, in_flight=20, in_use=False, now=10.0 * (number + 1))

    assert limit.limit == 20


@pytest.mark.parametrize(
    ("levels", "usual"),
    [
        pytest.param([(100, 0.5), (55, 0.5), (30, 0.5)], 0.5, id="fewer did not help"),
        pytest.param([(100, 0.5), (80, 0.5), (55, 0.5), (40, 0.5), (30, 0.5)], 0.5, id="bit by bit"),
        pytest.param([(100, 0.5), (55, 0.5)], 0.1, id="once may be chance"),
        pytest.param([(100, 0.5), (55, 0.4), (30, 0.25)], 0.1, id="fewer did help"),
        pytest.param([(100, 0.5), (55, 0.5), (30, 0.27), (15, 0.26)], 0.1, id="it did in between"),
        pytest.param([(100, 0.5), (55, 2.0), (30, 8.0)], 0.1, id="slots went meanwhile"),
        pytest.param([(100, 0.5), (95, 0.7), (55, 0.45), (52, 0.62), (30, 0.36)], 0.1, id="a little, meanwhile"),
        pytest.param([(30, 0.5), (55, 0.5), (100, 0.5)], 0.1, id="more is no proof"),
    ],
)
def test_what_lowering_did_not_help_is_usual(levels: list[tuple[int, float]], usual: float) -> None:
    """So many in flight, so long a latency: if they had waited at the upstream, fewer would have been quicker."""
    feed = Feed(least=1000, most=1000)
    feed.windows(0.1, in_flight=20, in_use=False)
    for in_flight, latency in levels:
        feed.windows(latency, in_flight=in_flight, in_use=False)

    assert feed.limit.usual == pytest.approx(usual)


def test_a_decline_that_did_not_help_is_undone() -> None:
    """At once, not step by step: the places are needed as before."""
    feed = Feed()
    before = feed.windows(0.1, number=10)
    limits = [feed.windows(1.0) for _ in range(4)]

    assert [limit < before for limit in limits] == [True, True, False, False]


def test_what_was_cut_off_counts_as_slow() -> None:
    """It would have taken longer still; but what it would have taken is not known, and so not learned."""
    feed = Feed()
    before = feed.windows(0.1, number=3)

    assert feed.windows(0.9, answered=False, good=False) < before
    assert feed.windows(0.9, answered=False, good=False, number=30) == 2
    assert feed.limit.usual == pytest.approx(0.1)


def test_what_began_before_it_was_lowered_is_not_held_against_it() -> None:
    """Those answers met the longer queue: one step down at a time."""
    limit = AdaptiveLimit(2, 100, 0.0)
    now = 0.0

    def answers(seconds: float, latency: float, in_flight: int) -> int:
        nonlocal now
        for _ in range(round(seconds * 100)):
            now += 0.01
            limit.observe(latency, answered=True, good=True, in_flight=in_flight, in_use=False, now=now)
        return limit.limit

    assert answers(2.0, 0.1, 20) == 20
    lowered = answers(1.1, 0.5, 20)
    assert lowered < 20
    assert answers(5.0, 0.5, lowered + 1) == lowered  # the places are not given back yet
    assert answers(0.5, 0.5, lowered) == lowered  # these began before they were
    assert answers(0.3, 0.5, lowered) < lowered


def test_at_the_floor_slow_becomes_usual() -> None:
    """It cannot be the load: the limit must not be held down for ever by what was once."""
    feed = Feed(least=20)
    feed.windows(0.1, number=3, in_flight=20, in_use=False)

    feed.windows(1.0, in_flight=20, number=2)
    assert feed.windows(1.0, in_flight=20, number=3) > 20


def test_the_usual_latency_follows_while_there_is_room() -> None:
    """Slowly upwards, quickly downwards."""
    feed = Feed()
    feed.windows(0.1, in_use=False)
    feed.windows(0.15, in_use=False, number=5)
    assert 0.105 < feed.limit.usual < 0.13
    feed.windows(0.02, in_use=False, number=10)
    assert feed.limit.usual == pytest.approx(0.02, rel=0.2)


def test_it_takes_any_latency() -> None:
    """Of zero, too: clocks are coarse."""
    limit = AdaptiveLimit(1, 10, 0.0)
    random = Random(5)
    now = 0.0
    for _ in range(5000):
        now += 0.01
        limit.observe(
            random.choice([0.0, 1e-9, 0.1, 100.0]), answered=True, good=True, in_flight=1, in_use=True, now=now
        )
        assert 1 <= limit.limit <= 10
