"""One limit for several replicas, in a real Redis: while it is there, goes, and comes back. Real time, wide bounds."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable

import pytest

from sidecar.exchange import Exchange
from sidecar.settings import Rate, Redis
from sidecar.throttle.shared import SharedThrottle
from sidecar.throttle.store import Store
from tests.support.waiting import PATIENCE
from tests.throttle.redis_server import RedisServer
from tests.throttle.support import Counts, Way, exchange

# Longer than this machine is ever busy with something else, unless Redis is meant to be late.
LONG = 1.0

HOUR = 1 / 3600  # tokens per second: none comes back during a test


async def until(true: Callable[[], bool]) -> None:
    """Wait for a condition that nobody tells of."""
    async with asyncio.timeout(PATIENCE):
        while not true():  # noqa: ASYNC110 - see above
            await asyncio.sleep(0.005)


class Replica:
    """One sidecar's limiter, with a store of its own."""

    def __init__(self, url: str, *, timeout: float = LONG, replicas: int = 2, **settings: object) -> None:
        self.counts = Counts()
        self.events: list[str] = []
        self.store = Store(Redis(url=url, timeout=timeout, replicas=replicas, prefix="t:"), self)
        rate = Rate(shared=True, **settings)  # type: ignore[arg-type]  # whatever a test sets
        self.limiter = SharedThrottle(rate, "sidecar", self.store, count=self.counts.count, shadow=self.counts.shadow)
        self.way = Way(self.limiter)

    def redis_lost(self, why: str) -> None:
        """See store.Events."""
        self.events.append(f"lost: {why}")

    def redis_back(self, away: float) -> None:
        """See store.Events."""
        self.events.append("back")

    async def knows(self, *, away: bool) -> None:
        """Until it knows that Redis is away, or there."""
        await until(lambda: self.store.away is away)


Make = Callable[..., Replica]


@pytest.fixture
async def replica(redis: RedisServer) -> AsyncIterator[Make]:
    """Makes replicas, and closes their stores."""
    made: list[Replica] = []

    def make(**settings: object) -> Replica:
        made.append(Replica(redis.url, **settings))  # type: ignore[arg-type]  # likewise
        return made[-1]

    yield make
    for each in made:
        await each.store.close()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_replicas_share_one_limit_exactly(replica: Make) -> None:
    """However their requests fall: together as many as one bucket holds."""
    replicas = [replica(limit=HOUR, burst=101) for _ in range(2)]
    for each in replicas:
        await each.store.start()
    admitted = await asyncio.gather(*(each.way.admitted(80) for _ in range(2) for each in replicas))

    assert sum(admitted) == 101
    assert sum(each.counts["admitted"] for each in replicas) == 101
    assert sum(each.counts["refused"] for each in replicas) == 320 - 101
    assert all(each.events == [] for each in replicas)


async def test_tokens_come_back_by_the_clock_of_redis(replica: Make) -> None:
    """The rate holds over a while, whichever replica asks; and `retry_after` says when."""
    replicas = [replica(limit=50, burst=5) for _ in range(2)]
    for each in replicas:
        await each.store.start()
    began = time.monotonic()
    count, refusals = 0, []
    while time.monotonic() < began + 0.5:
        for each in replicas:
            error = await each.way.send(exchange())
            count += error is None
            refusals += [error.retry_after] if error else []
        await asyncio.sleep(0.001)

    assert 5 < count <= 5 + 50 * (time.monotonic() - began) + 1
    assert all(0 < after <= 0.02 for after in refusals if after is not None)


async def test_keys_are_apart_and_not_spelt_out(replica: Make, redis: RedisServer) -> None:
    """Each its own bucket; Redis' own log must not show a secret; who is gone leaves no key."""
    one = replica(limit=100, burst=1, key="header:x-key")
    await one.store.start()
    answers = [await one.way.send(exchange(block=b"X-Key: %b\r\n" % key)) for key in (b"secret1", b"secret2")]

    assert answers == [None, None]
    assert redis.tell("KEYS *secret*") == "*0"
    await asyncio.sleep(0.1)
    assert redis.tell("KEYS *") == "*0"


@pytest.mark.parametrize("command", ["SCRIPT FLUSH", "FLUSHALL"])
async def test_a_forgotten_script_is_sent_again(replica: Make, redis: RedisServer, command: str) -> None:
    """Nobody notices."""
    one = replica(limit=HOUR, burst=10)
    await one.store.start()
    assert await one.way.admitted(2) == 2
    redis.tell(command)

    assert await one.way.admitted(10) == (8 if command == "SCRIPT FLUSH" else 10)
    assert one.events == []


async def test_a_clock_that_was_put_back_does_not_close_the_bucket(replica: Make, redis: RedisServer) -> None:
    """A time far ahead is taken for an empty bucket, which refills."""
    one = replica(limit=100, burst=2)
    await one.store.start()
    redis.tell(f"SET t:rate:sidecar: {(time.time() + 86400) * 1e6:.0f}")

    assert await one.way.send(exchange()) is not None
    await asyncio.sleep(0.05)
    assert await one.way.send(exchange()) is None


async def test_smoothing_is_one_line_for_all(replica: Make) -> None:
    """Turns are given out by Redis: nobody has another's, and who would wait too long is refused at once."""
    replicas = [replica(limit=5, burst=1, wait=0.5) for _ in range(2)]
    for each in replicas:
        await each.store.start()
    began = time.monotonic()
    turns: list[float] = []

    async def send(each: Replica) -> None:
        if await each.way.send(exchange()) is None:
            turns.append(time.monotonic() - began)

    await asyncio.gather(*(send(replicas[number % 2]) for number in range(10)))

    # Three turns are due within the time; what the asking itself takes may let others in.
    assert 3 <= len(turns) <= 5
    assert all(turn > 0.199 * place for place, turn in enumerate(turns))
    assert sum(each.counts["waited"] for each in replicas) == len(turns) - 1
    assert all(each.limiter.status()["waiting"] == 0 for each in replicas)


async def test_a_waiter_can_leave(replica: Make) -> None:
    """It no longer waits; what it had waited is known."""
    one = replica(limit=1, burst=1, wait=10)
    await one.store.start()
    await one.way.send(exchange())
    task = asyncio.create_task(one.way.send(waiter := exchange()))
    await until(lambda: one.limiter.status()["waiting"] == 1)
    task.cancel()
    await asyncio.wait([task])

    assert one.limiter.status()["waiting"] == 0
    assert one.counts == {"admitted": 1, "left": 1}
    assert waiter.notes[-1][2] == "left"


async def test_a_shadow_asks_and_lets_through(replica: Make) -> None:
    """As the local one: counted, noted, and nobody is refused."""
    one = replica(limit=HOUR, burst=1, mode="shadow")
    await one.store.start()
    exchanges = [exchange() for _ in range(2)]

    assert await one.way.send_all(exchanges) == [None, None]
    assert one.counts == {"admitted": 1, "shadow": 1}
    assert exchanges[1].notes[-1][2] == "would refuse"


async def steady(one: Replica, answers: list[tuple[float, Exchange]], stop: asyncio.Event) -> None:
    """Send one request after the other, noting how long each took."""
    while not stop.is_set():
        began = time.monotonic()
        await one.way.send(sent := exchange())
        answers.append((time.monotonic() - began, sent))
        await asyncio.sleep(0.002)


@pytest.mark.parametrize("how", ["killed", "halted"])
async def test_an_outage_under_load(replica: Make, redis: RedisServer, how: str) -> None:
    """Every request is answered soon, by the replica's own part; said once; and Redis is used again by itself."""
    one = replica(limit=1e6, burst=10**6, timeout=0.5)
    counts = one.counts
    await one.store.start()
    answers: list[tuple[float, Exchange]] = []
    stop = asyncio.Event()
    load = [asyncio.create_task(steady(one, answers, stop)) for _ in range(8)]
    await until(lambda: counts["admitted"] > 20)

    (redis.kill if how == "killed" else redis.halt)()
    await one.knows(away=True)
    asked = counts["admitted"]
    # Had each of them paid the time-out, this would take half a minute.
    await until(lambda: counts["fallback_admitted"] > 500)
    assert (one.store.away, counts["admitted"], len(one.events)) == (True, asked, 1)

    (redis.start if how == "killed" else redis.go_on)()
    await one.knows(away=False)
    await until(lambda: counts["admitted"] > asked + 20)
    stop.set()
    await asyncio.gather(*load)

    assert counts["admitted"] + counts["fallback_admitted"] == len(answers)
    assert [event.partition(":")[0] for event in one.events] == ["lost", "back"]
    assert max(took for took, _ in answers) < 5.0
    assert any(note[2] == "fallback" for _, sent in answers for note in sent.notes)


async def test_each_replica_has_its_part_while_redis_is_away(replica: Make, redis: RedisServer) -> None:
    """Of limit and burst; at least one."""
    replicas = [replica(limit=HOUR, burst=10, replicas=3), replica(limit=HOUR, burst=2, replicas=3)]
    redis.kill()
    for each in replicas:
        await each.store.start()

    assert [await each.way.admitted(10) for each in replicas] == [3, 1]
    assert replicas[0].counts == {"fallback_admitted": 3, "fallback_refused": 7}
    assert [len(each.events) for each in replicas] == [1, 1]
    status = replicas[0].limiter.status()
    assert (status["redis"], status["outages"]) == ("away", 1)
    fallback = replica(limit=90, replicas=3).limiter.status()["fallback"]
    assert isinstance(fallback, dict)
    assert (fallback["limit"], fallback["burst"]) == ("30/s", 60)


async def test_a_redis_that_was_away_at_the_start_is_found(replica: Make, redis: RedisServer) -> None:
    """Nobody has to ask for it."""
    redis.kill()
    one = replica(limit=HOUR, burst=2)
    await one.store.start()
    redis.start()
    await one.knows(away=False)

    assert await one.way.admitted(3) == 2
    assert one.counts == {"admitted": 2, "refused": 1}
    assert one.events[1:] == ["back"]


async def test_a_redis_that_only_says_no_is_away(replica: Make, redis: RedisServer) -> None:
    """An answer that is none: the replica decides by itself, and says why."""
    one = replica(limit=HOUR, burst=2)
    await one.store.start()
    redis.tell("LPUSH t:rate:sidecar: 1")

    assert await one.way.admitted(2) == 1
    assert one.counts == {"fallback_admitted": 1, "fallback_refused": 1}
    assert "WRONGTYPE" in one.events[0]


async def test_a_failure_of_before_the_outage_is_no_news(replica: Make, redis: RedisServer) -> None:
    """A round trip that was out when Redis went may fail only when it is back."""
    one = replica(limit=HOUR)
    await one.store.start()
    before = one.store._generation
    one.store._lose("one", before)
    await one.knows(away=False)
    one.store._lose("another, late", before)

    assert not one.store.away
    assert one.events == ["lost: one", "back"]


async def test_late_replies_are_nobodys(replica: Make, redis: RedisServer) -> None:
    """What Redis answers after the time-out is not taken for the answer to a later question."""
    one = replica(limit=HOUR, burst=1, key="client", timeout=0.5)
    await one.store.start()
    await one.way.send(exchange("192.0.2.1"))
    redis.halt()
    assert await one.way.send(exchange("192.0.2.1")) is None  # by the replica's own part
    redis.go_on()
    await one.knows(away=False)

    answers = [await one.way.send(exchange(f"192.0.2.{number}")) for number in (1, 2, 3, 1, 2)]
    assert [error is None for error in answers] == [False, True, True, False, False]


async def test_who_leaves_before_redis_was_asked_costs_nothing(replica: Make) -> None:
    """A question that nobody waits for any more does not go out."""
    one = replica(limit=HOUR, burst=1)
    await one.store.start()
    turn = one.limiter.admit(exchange())
    assert turn is not None
    task = asyncio.ensure_future(turn)
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])

    assert await one.way.admitted(2) == 1


async def test_closing_answers_everybody(replica: Make, redis: RedisServer) -> None:
    """Whoever still asks is not left waiting, and no task stays."""
    one = replica(limit=HOUR, burst=1000, timeout=LONG)
    await one.store.start()
    redis.halt()
    asking = asyncio.gather(*(one.way.send(exchange()) for _ in range(5)))
    await asyncio.sleep(0)
    await one.store.close()

    assert await asking == [None] * 5
    assert one.counts == {"fallback_admitted": 5}
    assert one.events == []
    redis.go_on()
