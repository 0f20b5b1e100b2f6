"""The limiter of one process, without waiting: what it admits and what it says."""

from __future__ import annotations

import asyncio
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.throttle.bucket import Bucket
from sidecar.throttle.buckets import Buckets
from sidecar.throttle.local import Throttle
from tests.flow.virtual import VirtualLoop, travel, travelling
from tests.throttle.support import Counts, Way, exchange, local, within

GAPS = st.one_of(st.just(0.0), st.floats(0.0, 0.2), st.floats(0.0, 5.0))


@travelling
async def test_a_burst_then_the_rate() -> None:
    """A quiet time saves up to the burst, no more."""
    way = Way(local(limit=10, burst=5))

    assert await way.admitted(8) == 5
    await asyncio.sleep(0.301)
    assert await way.admitted(8) == 3
    await asyncio.sleep(3600)
    assert await way.admitted(8) == 5


@given(gaps=st.lists(GAPS, max_size=60), limit=st.sampled_from([0.5, 1.0, 3.0, 10.0, 1000.0]), burst=st.integers(1, 8))
def test_never_more_than_burst_and_rate(gaps: list[float], limit: float, burst: int) -> None:
    """Over any arrivals: in no stretch more than the bucket holds and refills; what it says of itself is so."""

    async def arrive() -> None:
        limiter = local(limit=limit, burst=burst)
        bucket = limiter._bucket
        loop = asyncio.get_running_loop()
        times: list[float] = []
        level, then = 0.0, loop.time()  # the reference: what was taken and has not refilled
        for gap in gaps:
            await asyncio.sleep(gap)
            now = loop.time()
            level, then = max(0.0, level - (now - then) * limit), now
            assert bucket.delay(now) == pytest.approx(max(0.0, (level + 1 - burst) / limit), abs=1e-6)
            if await Way(limiter).admitted(1):
                times.append(now)
                level += 1
                assert level <= burst + 1e-6
            else:
                assert level + 1 > burst - 1e-6
            assert bucket.spent(now) == pytest.approx(level, abs=1e-6)
        assert within(limit, burst, times)

    travel(arrive)


@given(
    arrivals=st.lists(st.tuples(GAPS, st.sampled_from("abcdef")), max_size=80),
    limit=st.sampled_from([1.0, 10.0]),
    burst=st.integers(1, 4),
    max_keys=st.integers(1, 3),
)
def test_no_key_gains_by_eviction(arrivals: list[tuple[float, str]], limit: float, burst: int, max_keys: int) -> None:
    """However few buckets there are for however many keys, each gets at most what a bucket of its own would give."""

    async def arrive() -> None:
        limiter = local(limit=limit, burst=burst, key="header:x-key", max_keys=max_keys)
        times: dict[str, list[float]] = {}
        for gap, key in arrivals:
            await asyncio.sleep(gap)
            if await Way(limiter).send(exchange(block=f"X-Key: {key}\r\n".encode())) is None:
                times.setdefault(key, []).append(asyncio.get_running_loop().time())
            assert len(limiter._buckets) <= max_keys
        assert all(within(limit, burst, own) for own in times.values())

    travel(arrive)


def key_of(number: int) -> bytes:
    """One of many keys."""
    return b"%d" % number


@travelling
async def test_a_bucket_that_has_refilled_goes_first() -> None:
    """Wherever it stands: used last but hardly, it is full again before one used up long ago."""
    limit = local(limit=1, burst=10)._limit
    buckets = Buckets(limit, 2, asyncio.get_running_loop().time)
    loop = asyncio.get_running_loop()
    for _ in range(10):
        buckets.of(b"hungry", loop.time()).take(loop.time())
    await asyncio.sleep(1)
    buckets.of(b"modest", loop.time()).take(loop.time())

    assert buckets.of(b"new", loop.time()) is buckets.overflow
    await asyncio.sleep(1.001)
    assert buckets.of(b"new", loop.time()) is not buckets.overflow
    assert buckets.of(b"hungry", loop.time()).remaining(loop.time()) == 2


@travelling
async def test_a_key_out_of_the_overflow_begins_with_what_was_spent_there() -> None:
    """Or it would have its burst twice."""
    limiter = local(limit=1, burst=4, key="client", max_keys=1)
    way = Way(limiter)
    await way.send(exchange("192.0.2.1"))
    assert [await way.send(exchange("192.0.2.2")) for _ in range(3)] == [None] * 3
    await asyncio.sleep(1.001)

    assert [await way.send(exchange("192.0.2.2")) is None for _ in range(3)] == [True, True, False]
    assert len(limiter._buckets) == 1


@travelling
async def test_keys_have_buckets_of_their_own() -> None:
    """One client's hunger is not another's."""
    way = Way(local(limit=1, burst=1, key="client"))
    answers = await way.send_all([exchange(f"192.0.2.{number % 2}") for number in range(4)])

    assert [answer is None for answer in answers] == [True, True, False, False]


@travelling
async def test_ten_thousand_keys_take_little_memory() -> None:
    """15 MB at most, whatever more keys come and however long they are."""
    limiter = local(limit=1, burst=100, key="header:x-key", max_keys=10_000)
    way = Way(limiter)
    tracemalloc.start()
    try:
        for number in range(12_000):
            await way.send(exchange(block=b"X-Key: %01000d\r\n" % number))
            way.came.clear()
        size, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert len(limiter._buckets) == 10_000
    assert size < 15e6


@travelling
async def test_a_flood_of_new_keys_looks_at_few_buckets_each() -> None:
    """A million buckets in use are not gone through for one request."""
    limit = local(limit=1, burst=10)._limit
    buckets = Buckets(limit, 1000, asyncio.get_running_loop().time)
    loop = asyncio.get_running_loop()
    for number in range(1000):
        buckets.of(key_of(number), loop.time()).take(loop.time())
    await asyncio.sleep(0.5)
    stale = sum(earliest <= loop.time() for earliest, _ in buckets._refilling)
    buckets.of(b"new", loop.time())

    assert stale - sum(earliest <= loop.time() for earliest, _ in buckets._refilling) <= 64


@travelling
async def test_what_is_decided_is_counted_and_noted() -> None:
    """Under the name of the settings' section, with the numbers."""
    counts = Counts()
    way = Way(local(counts, limit=1, burst=2))
    exchanges = [exchange() for _ in range(3)]
    refusal = (await way.send_all(exchanges))[2]

    assert counts == {"admitted": 2, "refused": 1}
    assert [one.notes[0][1:] for one in exchanges] == [
        ("rate", "admitted", ("scope", "sidecar", "remaining", 1)),
        ("rate", "admitted", ("scope", "sidecar", "remaining", 0)),
        (
            "rate",
            "refused",
            {"scope": "sidecar", "limit": "1/s", "burst": 2, "key": "none", "retry_after": 1.0},
        ),
    ]
    assert refusal is not None
    assert refusal.reason.token == "rate_limited"
    assert refusal.retry_after == pytest.approx(1.0)
    assert way.came == exchanges[:2]


@travelling
async def test_a_shadow_decides_and_lets_through() -> None:
    """The same state, the same verdicts, and nobody is refused."""
    counts = Counts()
    way = Way(local(counts, limit=1, burst=2, mode="shadow"))
    exchanges = [exchange() for _ in range(3)]

    assert await way.send_all(exchanges) == [None] * 3
    assert counts == {"admitted": 2, "shadow": 1}
    assert exchanges[2].notes[0][2] == "would refuse"
    assert way.came == exchanges


@travelling
async def test_who_comes_back_as_told_is_admitted() -> None:
    """`retry_after` is when there is a token."""
    limiter = local(limit=1 / 60, burst=1)
    way = Way(limiter)
    await way.send(exchange())
    await asyncio.sleep(13)
    refusal = await way.send(exchange())
    assert refusal is not None
    assert refusal.retry_after == pytest.approx(47)
    await asyncio.sleep(46.9)
    assert await way.send(exchange()) is not None
    await asyncio.sleep(0.101)
    assert await way.send(exchange()) is None


@given(reads=st.lists(st.one_of(st.just(0.0), st.floats(0.0, 0.3)), max_size=300), late=st.floats(0.0, 1.0))
def test_time_that_passes_between_two_looks_at_the_clock_is_not_gained(reads: list[float], late: float) -> None:
    """A process that was held up anywhere, even within one decision, never takes a bucket for fuller than it is."""

    async def arrive() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        steps = iter(reads)

        def clock() -> float:
            loop.now += next(steps, 0.0)
            return loop.now

        limiter = local(limit=100, burst=50, wait=0.05)
        bucket = limiter._bucket
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(loop, "time", clock)
            bucket._clock = limiter._now = clock
            for _ in range(80):
                turn = limiter.admit(exchange()) if bucket.delay(loop.now) < 0.05 else None
                if turn is not None:
                    task = asyncio.ensure_future(turn)
                    await asyncio.sleep(0)
                    loop.now += late
                    await task
                left = bucket.remaining(loop.now)
                if bucket._limiter is not None:
                    assert bucket._limiter.has_capacity(max(0.0, left - 0.002))  # what is rounded off

    travel(arrive)


@travelling
async def test_the_state_can_be_seen() -> None:
    """Numbers, and no key's value."""
    one, keyed = local(limit=10, burst=5), local(limit=10, burst=5, key="header:x-key", max_keys=1)
    for limiter in (one, keyed):
        for number in range(2):
            await Way(limiter).send(exchange(block=b"X-Key: secret%d\r\n" % number))

    expected = {"scope": "sidecar", "limit": "10/s", "burst": 5, "mode": "enforce", "waiting": 0}
    assert one.status() == {**expected, "key": "none", "remaining": 3}
    assert keyed.status() == {**expected, "key": "header:x-key", "keys": 1, "overflow": 1.0}
    assert "secret" not in repr(keyed)
    assert repr(one).startswith("<Throttle sidecar: <Bucket ")


def test_a_limiter_needs_a_loop() -> None:
    """Its clock is the loop's."""
    with pytest.raises(RuntimeError):
        local(limit=1)


@travelling
async def test_admitting_makes_no_coroutine() -> None:
    """The way of nearly all requests costs none."""
    limiter = local(limit=1)
    assert isinstance(limiter, Throttle)
    assert isinstance(limiter._bucket, Bucket)
    assert limiter.admit(exchange()) is None
