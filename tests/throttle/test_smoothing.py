"""Waiting instead of refusing: in order, for so long, by so many."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.exchange import Exchange
from sidecar.throttle import local as local_module
from tests.flow.virtual import VirtualLoop, travel, travelling
from tests.throttle.support import Counts, Way, exchange, local, within


def timers() -> list[asyncio.TimerHandle]:
    """What is set to go off."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    return loop.timers


@travelling
async def test_requests_go_on_in_order_at_the_rate() -> None:
    """After the burst each has its turn; how long it waited is known."""
    counts = Counts()
    limiter = local(counts, limit=10, burst=2, wait=1.0)
    way = Way(limiter)
    exchanges = [exchange() for _ in range(5)]
    sent = asyncio.create_task(way.send_all(exchanges))
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    assert (way.came, limiter.status()["waiting"]) == (exchanges[:2], 3)
    assert await sent == [None] * 5
    assert way.came == exchanges
    assert [one.queue_wait for one in exchanges] == pytest.approx([0, 0, 0.1, 0.2, 0.3], abs=0.005)
    assert exchanges[4].notes[0][1:3] == ("rate", "waited")
    assert counts == {"admitted": 2, "waited": 3}
    assert (limiter.status()["waiting"], timers()) == (0, [])


@travelling
async def test_who_would_wait_too_long_is_refused_at_once() -> None:
    """And told when the line is short enough."""
    counts = Counts()
    way = Way(local(counts, limit=10, burst=1, wait=0.25))
    loop = asyncio.get_running_loop()
    began = loop.time()
    waiting = [asyncio.create_task(way.send(exchange())) for _ in range(3)]
    await asyncio.sleep(0)
    refusal = await way.send(exchange())

    assert refusal is not None
    assert refusal.retry_after == pytest.approx(0.05, abs=0.001)
    assert loop.time() == began
    assert await asyncio.gather(*waiting) == [None] * 3
    assert counts == {"admitted": 1, "waited": 2, "refused": 1}


@travelling
async def test_nobody_waits_past_its_deadline() -> None:
    """It would not be there to take its turn."""
    way = Way(local(limit=1, burst=1, wait=5))
    await way.send(exchange())
    hurried = exchange()
    hurried.deadline = asyncio.get_running_loop().time() + 0.5

    refusal = await way.send(hurried)
    assert refusal is not None
    assert refusal.retry_after == pytest.approx(0.5)


@travelling
async def test_so_many_wait_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long they may wait, and over all keys."""
    monkeypatch.setattr(local_module, "MOST_WAITING", 3)
    limiter = local(limit=1, burst=1, wait=60, key="client")
    way = Way(limiter)
    answers = await way.send_all([exchange(f"192.0.2.{number % 2}") for number in range(8)])

    assert [answer is None for answer in answers] == [True] * 5 + [False] * 3
    assert limiter.status()["waiting"] == 0


@travelling
async def test_who_leaves_gives_its_place_to_those_behind() -> None:
    """At once: they move up, and the line's end is nearer."""
    counts = Counts()
    limiter = local(counts, limit=1, burst=1, wait=3)
    way = Way(limiter)
    exchanges = [exchange() for _ in range(4)]
    tasks = [asyncio.create_task(way.send(one)) for one in exchanges]
    await asyncio.sleep(0.5)
    assert await way.send(exchange()) is not None
    tasks[1].cancel()
    await asyncio.sleep(0)
    late = asyncio.create_task(way.send(last := exchange()))
    await asyncio.wait([*tasks, late])

    assert way.came == [exchanges[0], *exchanges[2:], last]
    assert [one.queue_wait for one in exchanges] == pytest.approx([0, 0.5, 1, 2], abs=0.005)
    assert exchanges[1].notes[0][2] == "left"
    assert counts == {"admitted": 1, "waited": 3, "left": 1, "refused": 1}


@travelling
async def test_the_last_to_leave_turns_the_timer_off() -> None:
    """Nothing is left of a line that is empty."""
    limiter = local(limit=1, burst=1, wait=3)
    way = Way(limiter)
    await way.send(exchange())
    task = asyncio.create_task(way.send(exchange()))
    await asyncio.sleep(0.5)
    task.cancel()
    await asyncio.wait([task])

    assert (limiter.status()["waiting"], timers()) == (0, [])
    await asyncio.sleep(0.501)
    assert await way.send(exchange()) is None


@travelling
async def test_a_turn_that_comes_with_the_end_is_passed_on() -> None:
    """A token that was taken for one who left in that very moment is the next one's."""
    limiter = local(limit=1, burst=1, wait=3)
    way = Way(limiter)
    exchanges = [exchange() for _ in range(3)]
    tasks = [asyncio.create_task(way.send(one)) for one in exchanges]
    await asyncio.sleep(0)
    bucket = limiter._bucket
    assert bucket._line is not None
    first = next(iter(bucket._line))
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    loop.now += 1.001
    bucket._serve()
    tasks[1].cancel()  # before it comes to run
    await asyncio.wait(tasks)

    assert (tasks[1].cancelled(), first.cancelled()) == (True, False)
    assert way.came == [exchanges[0], exchanges[2]]
    assert exchanges[2].queue_wait == pytest.approx(1, abs=0.005)
    assert bucket.spent(loop.now) == pytest.approx(1, abs=0.005)


@travelling
async def test_a_turn_goes_past_one_who_is_about_to_leave() -> None:
    """Its task was ended in the same moment, and has not come to run."""
    limiter = local(limit=1, burst=1, wait=3)
    way = Way(limiter)
    exchanges = [exchange() for _ in range(3)]
    tasks = [asyncio.create_task(way.send(one)) for one in exchanges]
    await asyncio.sleep(0)
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    loop.now += 1.001
    tasks[1].cancel()
    limiter._bucket._serve()
    await asyncio.wait(tasks)

    assert way.came == [exchanges[0], exchanges[2]]
    assert loop.now == pytest.approx(1001, abs=0.005)
    assert limiter._bucket.spent(loop.now) == pytest.approx(1, abs=0.005)


@travelling
async def test_a_key_whose_requests_wait_in_the_overflow_stays_there() -> None:
    """A bucket of its own would give it what its waiters are going to have once more."""
    way = Way(local(limit=1, burst=1, wait=10, key="client", max_keys=1))
    loop = asyncio.get_running_loop()
    times: list[float] = []

    async def send(one: Exchange) -> None:
        if await way.send(one) is None:
            times.append(loop.time())

    await way.send(exchange("192.0.2.1"))  # the only bucket, refilled after a second
    tasks = [asyncio.create_task(send(exchange("192.0.2.2"))) for _ in range(3)]
    await asyncio.sleep(1.5)
    hurried = exchange("192.0.2.2")
    hurried.deadline = loop.time() + 0.1
    await send(hurried)
    await asyncio.sleep(1.1)
    await send(exchange("192.0.2.2"))
    await asyncio.wait(tasks)

    assert len(times) == 4
    assert within(1, 1, times)


@travelling
async def test_nobody_overtakes_the_line() -> None:
    """Not even when a token is there and the line has not been served yet."""
    limiter = local(limit=10, burst=1, wait=3)
    way = Way(limiter)
    exchanges = [exchange() for _ in range(2)]
    tasks = [asyncio.create_task(way.send(one)) for one in exchanges]
    await asyncio.sleep(0)
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    loop.now += 0.5  # the loop was held up
    tasks.append(asyncio.create_task(way.send(last := exchange())))
    await asyncio.wait(tasks)

    assert way.came == [*exchanges, last]


@travelling
async def test_a_shadow_keeps_the_line_that_there_would_be() -> None:
    """Nobody waits, and what is refused in the end is what would have been."""
    counts = Counts()
    limiter = local(counts, limit=10, burst=1, wait=0.2, mode="shadow")
    way = Way(limiter)
    exchanges = [exchange() for _ in range(4)]

    assert await way.send_all(exchanges) == [None] * 4
    assert [one.notes[0][2] for one in exchanges] == ["admitted", "would wait", "would wait", "would refuse"]
    assert counts == {"admitted": 3, "shadow": 1}
    assert limiter.status()["waiting"] == 2
    await asyncio.sleep(0.25)
    assert (limiter.status()["waiting"], timers()) == (0, [])


@given(
    arrivals=st.lists(
        st.tuples(
            st.one_of(st.just(0.0), st.floats(0, 0.3)),  # after the one before
            st.one_of(st.none(), st.floats(0, 0.5)),  # when it leaves, if it has to wait
            st.sampled_from("ab"),
        ),
        max_size=40,
    ),
    limit=st.sampled_from([3.0, 10.0, 100.0]),
    burst=st.integers(1, 4),
    wait=st.sampled_from([0.1, 0.5]),
    keyed=st.booleans(),
)
def test_smoothing_keeps_order_and_limit(
    arrivals: list[tuple[float, float | None, str]], limit: float, burst: int, wait: float, keyed: bool
) -> None:
    """Whoever comes and leaves when: in order, within the limit, in time; and nothing is left of it."""

    async def arrive() -> None:
        limiter = local(limit=limit, burst=burst, wait=wait, key="header:x-key" if keyed else "", max_keys=1)
        way = Way(limiter)
        loop = asyncio.get_running_loop()
        went: dict[int, float] = {}
        exchanges: list[Exchange] = []

        async def send(one: Exchange) -> None:
            if await way.send(one) is None:
                went[id(one)] = loop.time()

        tasks: list[asyncio.Task[None]] = []
        for gap, leave_after, key in arrivals:
            await asyncio.sleep(gap)
            exchanges.append(exchange(block=b"X-Key: %b\r\n" % key.encode()))
            tasks.append(asyncio.create_task(send(exchanges[-1])))
            await asyncio.sleep(0)
            if leave_after is not None:
                loop.call_later(leave_after, tasks[-1].cancel)
        await asyncio.gather(*tasks, return_exceptions=True)

        bucket_of = [one.request.headers.get(b"x-key") if keyed else b"" for one in exchanges]
        for name in set(bucket_of):
            own = [one for one, bucket in zip(exchanges, bucket_of, strict=True) if bucket == name]
            came = [one for one in way.came if one in own]
            times = [went[id(one)] for one in came]
            assert keyed or came == [one for one in own if id(one) in went]
            assert within(limit, burst, times)
        assert all(one.queue_wait <= wait + 0.0011 for one in exchanges)
        assert limiter.status()["waiting"] == 0
        assert [timer for timer in timers() if "cancel" not in repr(timer)] == []
        await asyncio.sleep(burst / limit + 1.001)
        now = loop.time()
        assert limiter._bucket.spent(now) == limiter._buckets.overflow.spent(now) == 0.0

    travel(arrive)
