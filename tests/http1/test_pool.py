"""The connections to the upstream, over real sockets: who gets which, how many, and what is left behind."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, cast

import pytest

from sidecar.address import UpstreamAddress
from sidecar.errors import CONNECT_FAILED, CONNECT_TIMEOUT, OVERLOADED, QUEUE_TIMEOUT, SidecarError
from sidecar.exchange import Request, Response
from sidecar.headers import Headers
from sidecar.http1.client import UpstreamConnection
from sidecar.http1.idle import IdleLimit
from sidecar.http1.pool import Pool
from sidecar.settings import Pool as PoolSettings
from sidecar.settings import Settings, Timeouts

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


class Events:
    """Remembers what people would be told."""

    def __init__(self) -> None:
        self.waits: list[str] = []
        self.learned: list[float] = []

    def waiting_for_upstream(self, detail: str) -> None:
        self.waits.append(detail)

    def idle_limit_learned(self, limit: IdleLimit) -> None:
        self.learned.append(limit.seconds)


class Upstream:
    """A server whose connections the test holds."""

    def __init__(self) -> None:
        self.writers: list[asyncio.StreamWriter] = []
        self.server: asyncio.Server | None = None
        self.answers = True

    async def start(self, port: int = 0) -> UpstreamAddress:
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", port)
        return UpstreamAddress("127.0.0.1", self.server.sockets[0].getsockname()[1])

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                if self.answers:
                    writer.write(OK)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def stop(self) -> None:
        if self.server is not None:
            self.server.close()
            for writer in self.writers:
                writer.transport.abort()
            await self.server.wait_closed()


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    """A server, stopped afterwards."""
    upstream = Upstream()
    yield upstream
    await upstream.stop()


@pytest.fixture
async def pools() -> AsyncIterator[list[Pool]]:
    """Pools that are to be closed; afterwards none of them counts anything."""
    pools: list[Pool] = []
    yield pools
    for pool in pools:
        pool.close()
    await until(lambda: all(pool.size == 0 for pool in pools))
    assert [(pool.idle, pool.waiting) for pool in pools] == [(0, 0)] * len(pools)


async def until(true: Callable[[], bool]) -> None:
    """Wait for what the event loop is about to see."""
    async with asyncio.timeout(2):
        while not true():  # noqa: ASYNC110 - the kernel's word, which no event of ours tells
            await asyncio.sleep(0.001)


def pool_of(
    pools: list[Pool],
    address: UpstreamAddress,
    *,
    most: int = 10,
    pending: int = 10,
    connect: float = 1.0,
    startup: float = 0.0,
    idle: float = 3.0,
) -> tuple[Pool, Events]:
    """A pool and whom it tells."""
    settings = Settings(
        upstream=str(address),
        pool=PoolSettings(max_connections=most, max_pending=pending, idle=idle),
        timeouts=Timeouts(connect=connect, startup=startup),
    )
    events = Events()
    pool = Pool(address, settings, events)
    pools.append(pool)
    return pool, events


async def place(pool: Pool) -> UpstreamConnection:
    """A connection, as an attempt gets one."""
    return pool.take() or await pool.connect()


async def ask(connection: UpstreamConnection) -> Response:
    """One request and its whole answer: then the connection is the pool's again."""
    request = Request("GET", b"/", Headers())
    return await connection.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", request, None, 0.0)


async def test_a_connection_is_used_again(upstream: Upstream, pools: list[Pool]) -> None:
    """Once its answer has been read."""
    pool, _ = pool_of(pools, await upstream.start())
    connection = await place(pool)
    assert (pool.size, pool.idle) == (1, 0)
    assert (await ask(connection)).status == 200
    assert (pool.size, pool.idle) == (1, 1)

    assert await place(pool) is connection
    assert len(upstream.writers) == 1
    assert repr(pool).endswith("size=1 idle=0 waiting=0>")


async def test_the_last_used_goes_first(upstream: Upstream, pools: list[Pool]) -> None:
    """So that those too many grow old."""
    pool, _ = pool_of(pools, await upstream.start())
    first, second = await place(pool), await place(pool)
    await ask(second)
    await ask(first)

    assert await place(pool) is first
    assert await place(pool) is second


async def test_there_are_never_more_than_allowed(upstream: Upstream, pools: list[Pool]) -> None:
    """Those that are being made count."""
    pool, _ = pool_of(pools, await upstream.start(), most=3)
    askers = [asyncio.create_task(place(pool)) for _ in range(6)]
    await until(lambda: sum(asker.done() for asker in askers) == 3)
    assert (pool.size, pool.waiting) == (3, 3)
    for asker in askers:
        await ask(await asker)

    assert len(upstream.writers) == 3


async def test_who_came_first_is_served_first(upstream: Upstream, pools: list[Pool]) -> None:
    """Those that wait stand in a queue."""
    pool, _ = pool_of(pools, await upstream.start(), most=1)
    served: list[int] = []

    async def one(number: int) -> None:
        connection = await place(pool)
        served.append(number)
        await ask(connection)

    await asyncio.gather(*(one(number) for number in range(5)))
    assert served == [0, 1, 2, 3, 4]


async def test_a_newcomer_does_not_overtake(upstream: Upstream, pools: list[Pool]) -> None:
    """A connection that became free is for whoever waits, though he has not run yet."""
    pool, _ = pool_of(pools, await upstream.start(), most=1)
    connection = await place(pool)
    waiting = asyncio.create_task(place(pool))
    await until(lambda: pool.waiting == 1)
    upstream.answers = False
    asking = asyncio.create_task(ask(connection))
    await asyncio.sleep(0)
    connection.data_received(OK)  # released now, and the waiter told; he has not run

    newcomer = pool.take()
    await asking
    assert newcomer is None
    assert await waiting is connection


async def test_too_many_waiting_are_refused_at_once(upstream: Upstream, pools: list[Pool]) -> None:
    """With the numbers."""
    pool, _ = pool_of(pools, await upstream.start(), most=1, pending=1)
    connection = await place(pool)
    waiting = asyncio.create_task(place(pool))
    await until(lambda: pool.waiting == 1)
    with pytest.raises(SidecarError) as caught:
        await place(pool)

    assert caught.value.reason is OVERLOADED
    assert caught.value.facts == {"limit": 1, "waiting": 1}
    assert caught.value.retry_after == 1
    await ask(connection)
    assert await waiting is connection


async def test_nobody_waits_for_ever(upstream: Upstream, pools: list[Pool]) -> None:
    """Then it is a queue timeout, and nothing is left of it."""
    pool, _ = pool_of(pools, await upstream.start(), most=1, connect=0.02)
    await place(pool)
    with pytest.raises(SidecarError) as caught:
        await place(pool)

    assert caught.value.reason is QUEUE_TIMEOUT
    assert (caught.value.facts, pool.waiting, pool.size) == ({"limit": 1}, 0, 1)


async def test_who_gives_up_waiting_leaves_nothing(upstream: Upstream, pools: list[Pool]) -> None:
    """The next in the queue is served."""
    pool, _ = pool_of(pools, await upstream.start(), most=1)
    connection = await place(pool)
    first, second = asyncio.create_task(place(pool)), asyncio.create_task(place(pool))
    await until(lambda: pool.waiting == 2)
    first.cancel()
    await asyncio.wait([first])
    assert pool.waiting == 1
    await ask(connection)

    assert await second is connection


async def test_who_gives_up_when_it_is_his_turn_passes_it_on(upstream: Upstream, pools: list[Pool]) -> None:
    """Told that a connection is free, and cancelled before he could look: the next one is told."""
    pool, _ = pool_of(pools, await upstream.start(), most=1)
    connection = await place(pool)
    first, second = asyncio.create_task(place(pool)), asyncio.create_task(place(pool))
    await until(lambda: pool.waiting == 2)
    upstream.answers = False
    asking = asyncio.create_task(ask(connection))
    await asyncio.sleep(0)
    connection.data_received(OK)
    first.cancel()
    await asking

    assert await asyncio.wait_for(second, 0.2) is connection


def hang(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Have every dial wait for the event that is returned."""
    loop, may = asyncio.get_running_loop(), asyncio.Event()
    create = cast(Callable[..., Awaitable[Any]], loop.create_connection)

    async def slowly(*args: Any, **options: Any) -> Any:
        await may.wait()
        return await create(*args, **options)

    monkeypatch.setattr(loop, "create_connection", slowly)
    return may


async def test_a_cancelled_dial_leaves_nothing_counted(
    upstream: Upstream, pools: list[Pool], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And whoever waited for its place may dial."""
    pool, _ = pool_of(pools, await upstream.start(), most=1)
    may = hang(monkeypatch)
    first, second = asyncio.create_task(place(pool)), asyncio.create_task(place(pool))
    await until(lambda: pool.waiting == 1)
    assert pool.size == 1
    first.cancel()
    await asyncio.wait([first])
    may.set()

    assert isinstance(await second, UpstreamConnection)
    assert (pool.size, pool.waiting) == (1, 0)


async def test_a_dial_that_takes_too_long_is_a_connect_timeout(
    upstream: Upstream, pools: list[Pool], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing was sent."""
    pool, _ = pool_of(pools, await upstream.start(), connect=0.02, startup=1.0)
    hang(monkeypatch)
    with pytest.raises(SidecarError) as caught:
        await place(pool)

    assert caught.value.reason is CONNECT_TIMEOUT
    assert (caught.value.sent, pool.size) == (False, 0)


async def test_a_refused_dial_leaves_nothing_for_the_collector(
    upstream: Upstream, pools: list[Pool], monkeypatch: pytest.MonkeyPatch
) -> None:
    """While an upstream is down every request dials: what that takes is given back at once."""
    made: list[weakref.ref[UpstreamConnection]] = []
    begin = UpstreamConnection.__init__

    def noted(self: UpstreamConnection, *args: Any) -> None:
        begin(self, *args)
        made.append(weakref.ref(self))

    monkeypatch.setattr(UpstreamConnection, "__init__", noted)
    pool, _ = pool_of(pools, await upstream.start())
    await upstream.stop()
    gc.disable()
    try:
        try:
            await place(pool)
        except SidecarError as error:
            error.bare()
        await asyncio.sleep(0)
        assert [one() for one in made] == [None]
    finally:
        gc.enable()


async def test_a_refused_dial_is_told_with_the_address(upstream: Upstream, pools: list[Pool]) -> None:
    """In the kernel's words."""
    address = await upstream.start()
    await upstream.stop()
    pool, events = pool_of(pools, address)
    with pytest.raises(SidecarError, match=rf"cannot connect to {address}: .*refused") as caught:
        await place(pool)

    assert caught.value.reason is CONNECT_FAILED
    assert (caught.value.sent, pool.size, events.waits) == (False, 0, [])


async def test_an_upstream_that_starts_beside_us_is_waited_for(upstream: Upstream, pools: list[Pool]) -> None:
    """And people are told so."""
    address = await upstream.start()
    await upstream.stop()
    pool, events = pool_of(pools, address, startup=1.0)
    waiting = asyncio.create_task(place(pool))
    await until(lambda: bool(events.waits))
    await upstream.start(address.port)

    assert isinstance(await waiting, UpstreamConnection)
    assert "refused" in events.waits[0]


async def test_one_that_has_answered_is_not(upstream: Upstream, pools: list[Pool]) -> None:
    """Its refusal is news that must not wait."""
    address = await upstream.start()
    await upstream.stop()
    pool, events = pool_of(pools, address, startup=1.0)
    pool.answered_once = True
    with pytest.raises(SidecarError, match="refused"):
        await asyncio.wait_for(place(pool), 0.04)

    assert events.waits == []


async def test_a_connection_that_was_lost_is_forgotten(upstream: Upstream, pools: list[Pool]) -> None:
    """Idle or not."""
    pool, _ = pool_of(pools, await upstream.start())
    idle, busy = await place(pool), await place(pool)
    await ask(idle)
    for writer in upstream.writers:
        writer.close()
    await until(lambda: pool.size == 0)

    assert pool.take() is None
    assert "closed" in repr(busy)


async def test_three_closes_at_like_ages_are_learned(
    upstream: Upstream, pools: list[Pool], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And told."""
    monkeypatch.setattr("sidecar.http1.idle._ONE_EVENT", 0.0)  # else they would have to be seconds apart
    pool, events = pool_of(pools, await upstream.start(), idle=3.0)
    for number in range(3):
        await ask(await place(pool))
        await asyncio.sleep(0.03)
        upstream.writers[number].close()
        await until(lambda: pool.size == 0)

    assert events.learned == [1.0]
    assert pool.idle_limit.source == "observed closes"


async def test_what_we_closed_ourselves_teaches_nothing(upstream: Upstream, pools: list[Pool]) -> None:
    """Connections that have rested long enough."""
    pool, events = pool_of(pools, await upstream.start(), idle=0.01)
    for _ in range(4):
        await ask(await place(pool))
        await until(lambda: pool.size == 0)

    assert events.learned == []


async def test_connections_to_other_addresses_are_not_used_again(upstream: Upstream, pools: list[Pool]) -> None:
    """When a name means another machine: neither idle ones nor those that come back."""
    pool, _ = pool_of(pools, await upstream.start())
    idle, busy = await place(pool), await place(pool)
    await ask(idle)
    pool.addresses_are(frozenset({"192.0.2.1"}))
    assert pool.take() is None
    await ask(busy)
    assert pool.take() is None
    await until(lambda: pool.size == 0)

    pool.addresses_are(frozenset({"127.0.0.1", "192.0.2.1"}))
    kept = await place(pool)
    await ask(kept)
    assert await place(pool) is kept


async def test_a_connection_that_speaks_unasked_is_dead(upstream: Upstream, pools: list[Pool]) -> None:
    """What it says answers nothing."""
    pool, _ = pool_of(pools, await upstream.start())
    await ask(await place(pool))
    upstream.writers[0].write(OK)
    await until(lambda: pool.size == 0)

    assert pool.idle == 0


async def test_a_connection_that_is_closed_at_once_is_none(pools: list[Pool]) -> None:
    """An upstream's proxy may accept for an upstream that is not there."""
    server = await asyncio.start_server(lambda reader, writer: writer.transport.abort(), "127.0.0.1", 0)
    pool, _ = pool_of(pools, UpstreamAddress("127.0.0.1", server.sockets[0].getsockname()[1]))
    with pytest.raises(SidecarError) as caught:
        # It may be seen with the dial, or with the request.
        await ask(await place(pool))

    assert caught.value.reason.token in ("connect_failed", "connection_lost")
    await until(lambda: pool.size == 0)
    server.close()
    await server.wait_closed()


async def test_a_closed_pool_takes_nothing_back(upstream: Upstream, pools: list[Pool]) -> None:
    """And what was in flight is lost."""
    pool, _ = pool_of(pools, await upstream.start())
    idle, busy = await place(pool), await place(pool)
    await ask(idle)
    upstream.answers = False
    asking = asyncio.create_task(ask(busy))
    await asyncio.sleep(0)
    pool.close()
    with pytest.raises(SidecarError):
        await asking
    await until(lambda: pool.size == 0)

    assert pool.idle == 0


async def test_a_local_socket_is_an_upstream(pools: list[Pool], tmp_path: Path) -> None:
    """It has no address that could be retired."""
    upstream = Upstream()
    upstream.server = await asyncio.start_unix_server(upstream._serve, tmp_path / "s")
    pool, _ = pool_of(pools, UpstreamAddress("", 0, str(tmp_path / "s")))
    connection = await place(pool)
    await ask(connection)
    pool.addresses_are(frozenset())

    assert await place(pool) is connection
    await upstream.stop()
