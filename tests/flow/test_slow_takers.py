"""Clients and tunnels that take their time: what piles up, what a drain may close, what is given back."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from sidecar.settings import Timeouts
from tests.flow.scene import GET, OK, Client, Far, Scene
from tests.flow.virtual import travelling

# Two of these are more than the kernel of these tests takes, one is less: so the second is written, but not taken.
KERNEL = 8 * 1024
BODY = 6000
LONG_BODY = 100_000
LONG_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % LONG_BODY + b"~" * LONG_BODY
CHUNKED_POST = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % BODY + b"~" * BODY


async def unread(scene: Scene, count: int) -> tuple[Client, Far]:
    """A client that has sent `count` requests ahead and reads nothing; the upstream answers whatever comes."""
    client = scene.client()
    client.send(GET * count)
    upstream = await scene.upstream()
    client.wire.pause_reading()
    for _ in range(count):
        if upstream.take():
            upstream.send(ANSWER)
        await scene.quiet()
    return client, upstream


@travelling
async def test_answers_do_not_pile_up_behind_a_client_that_does_not_read() -> None:
    """Of requests sent ahead, the next is looked at when the answer before it has been taken."""
    async with Scene(kernel=KERNEL) as scene:
        client, upstream = await unread(scene, 20)
        assert len(scene.book.exchanges) == 2

        client.wire.resume_reading()
        for _ in range(40):
            await scene.quiet()
            if upstream.take():
                upstream.send(ANSWER)
        assert [exchange.reason for exchange in scene.book.ended] == ["upstream"] * 20
        assert client.got.count(b"~") == 20 * BODY


async def stopped(scene: Scene, request: bytes) -> tuple[Client, Far]:
    """A client that has asked this and reads nothing; the upstream's answer comes in one piece, however long."""
    client = scene.client()
    scene.kernel = 256 * 1024
    client.ask(request)
    upstream = await scene.upstream()
    client.wire.pause_reading()
    return client, upstream


async def take_slowly(client: Client, scene: Scene, every: float, times: int) -> None:
    """Take what has come, and no more until then, so often."""
    for _ in range(times):
        await scene.after(every)
        client.wire.resume_reading()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        client.wire.pause_reading()


@pytest.mark.parametrize("closes", [True, False])
@travelling
async def test_who_takes_a_little_now_and_then_is_not_cut(closes: bool) -> None:
    """Only a client that takes nothing at all for `timeouts.stream_idle` is."""
    async with Scene(kernel=KERNEL // 2, timeouts=Timeouts(startup=0.0, stream_idle=5.0)) as scene:
        client, upstream = await stopped(scene, GET.replace(b"Host", b"Connection: close\r\nHost") if closes else GET)
        upstream.send(LONG_ANSWER)
        await take_slowly(client, scene, every=2.0, times=10)
        assert client.got.count(b"~") < LONG_BODY

        await take_slowly(client, scene, every=2.0, times=30)
        assert client.got.count(b"~") == LONG_BODY


@travelling
async def test_who_takes_nothing_is_cut() -> None:
    """After `timeouts.stream_idle`, also where the answer is written and only waits to be taken."""
    async with Scene(kernel=KERNEL // 2, timeouts=Timeouts(startup=0.0, stream_idle=5.0)) as scene:
        client, upstream = await stopped(scene, GET.replace(b"Host", b"Connection: close\r\nHost"))
        upstream.send(LONG_ANSWER)
        await take_slowly(client, scene, every=2.0, times=5)
        await scene.after(4.0)
        assert scene.server.open == 1
        await scene.after(7.0)

        assert scene.server.open == 0
        assert client.wire.was_reset
        assert (scene.server.closed_idle, scene.server.closed_untaken) == (0, 1)


@pytest.mark.parametrize("half_closes", [False, True])
@pytest.mark.parametrize("rest", [b"", b"0\r\n\r\n"])
@travelling
async def test_who_takes_an_early_answer_slowly_has_all_of_it(rest: bytes, half_closes: bool) -> None:
    """It says that the connection ends with it, and to send no more is the right thing to do then."""
    async with Scene(kernel=KERNEL // 2) as scene:
        client, upstream = await stopped(scene, CHUNKED_POST)
        client.stays = True
        upstream.send(LONG_ANSWER)
        await scene.quiet()
        client.send(rest)
        if half_closes:
            client.wire.write_eof()
        await take_slowly(client, scene, every=2.0, times=40)

        assert client.got.count(b"~") == LONG_BODY
        assert not client.reset
        assert scene.server.open == 0


@travelling
async def test_what_comes_behind_does_not_hide_what_was_taken() -> None:
    """A little is taken of one piece while the next is put behind it: the client has not stopped."""
    async with Scene(kernel=KERNEL // 2, timeouts=Timeouts(startup=0.0, stream_idle=5.0)) as scene:
        client, upstream = await stopped(scene, GET)
        # Two pieces: what is before an extension goes on by itself.
        pieces = b"1f40\r\n" + b"~" * 8000 + b"\r\n186a0;x\r\n" + b"~" * LONG_BODY + b"\r\n0\r\n\r\n"
        upstream.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + pieces)
        await take_slowly(client, scene, every=2.0, times=60)

        assert client.got.count(b"~") == 8000 + LONG_BODY


@travelling
async def test_a_tunnel_lives_while_one_half_of_it_moves() -> None:
    """The other one may wait to be taken for as long as that."""
    async with Scene(kernel=KERNEL // 2, timeouts=Timeouts(startup=0.0, stream_idle=5.0)) as scene:
        client = scene.client()
        scene.kernel = 256 * 1024
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
        upstream = await scene.upstream()
        upstream.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
        await scene.quiet()
        client.wire.pause_reading()
        upstream.send(b"~" * 50_000)
        for _ in range(30):
            await scene.after(1.0)
            client.send(b"hello")
        assert scene.book.reasons == []
        await scene.after(6.0)

        assert scene.book.reasons == ["client_gone"]


@travelling
async def test_what_is_in_flight_has_the_time_it_began_with() -> None:
    """Other settings hold from the next request on. A cut answer is told by its exchange, and not counted twice."""
    async with Scene(kernel=KERNEL // 2, timeouts=Timeouts(startup=0.0, stream_idle=300.0)) as scene:
        _, upstream = await stopped(scene, GET)
        scene.server.apply(replace(scene.settings, timeouts=Timeouts(stream_idle=2.0)), scene.server.handler)
        upstream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n" + b"~" * 8000)
        await scene.after(290.0)
        assert scene.book.reasons == []
        await scene.after(310.0)

        assert scene.book.reasons == ["client_gone"]
        assert (scene.server.open, scene.server.closed_untaken) == (0, 0)


@travelling
async def test_a_body_that_still_comes_does_not_excuse_who_takes_nothing() -> None:
    """Else a byte now and then would hold a place, and a connection to the upstream, for ever."""
    async with Scene(kernel=KERNEL // 2) as scene:
        client = scene.client()
        client.stays = True
        client.ask(CHUNKED_POST)
        upstream = await scene.upstream()
        client.wire.pause_reading()
        upstream.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4000\r\n" + b"~" * 0x4000 + b"\r\n")
        for _ in range(5):
            await scene.after(100.0)
            client.send(b"1\r\nx\r\n")

        assert scene.book.reasons == ["client_gone"]


@pytest.mark.parametrize("slow", [2.0, 20.0])
@travelling
async def test_a_drain_lets_an_answer_be_taken_that_is_written(slow: float) -> None:
    """Quiet is counted from its last byte, not from the drain."""
    async with Scene(kernel=KERNEL) as scene:
        client, _ = await unread(scene, 2)
        assert scene.unsettled == []
        scene.server.begin_drain()
        scene.server.close_when_quiet()
        await scene.after(slow)
        assert scene.server.open == 1

        client.wire.resume_reading()
        await scene.quiet()
        assert client.got.count(b"~") == 2 * BODY
        await scene.after(1.5)
        assert scene.server.open == 0


@travelling
async def test_a_drain_leaves_a_head_its_time() -> None:
    """A request that has begun to come is on its way."""
    async with Scene() as scene:
        client = scene.client()
        client.ask(GET[:10])
        await scene.quiet()
        scene.server.begin_drain()
        scene.server.close_when_quiet()
        await scene.after(3.0)
        client.send(GET[10:])
        (await scene.upstream()).send(OK)

        assert (await client.answer()).status == 200


@pytest.mark.parametrize("first", ["client", "upstream"])
@travelling
async def test_a_tunnel_with_one_end_open_gives_its_connection_back(first: str) -> None:
    """When it is cut for standing still, whichever half had ended."""
    async with Scene(timeouts=Timeouts(startup=0.0, stream_idle=5.0)) as scene:
        client = scene.client()
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
        upstream = await scene.upstream()
        upstream.stays = client.stays = True
        upstream.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
        await scene.quiet()
        (client if first == "client" else upstream).wire.write_eof()
        await scene.after(60.0)

        assert scene.unsettled == []
        assert scene.pool.size == 0


@travelling
async def test_an_early_answer_to_who_waits_for_100_ends_the_connection() -> None:
    """The client may send the body or not, and nobody can tell which: its next bytes have two readings."""
    async with Scene() as scene:
        client = scene.client()
        client.ask(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 30\r\nExpect: 100-continue\r\n\r\n")
        (await scene.upstream()).send(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")
        await scene.quiet()

        assert b"Connection: close\r\n" in client.got


@travelling
async def test_what_a_drain_cuts_is_told_as_such() -> None:
    """It was not the client who left."""
    async with Scene() as scene:
        client = scene.client()
        client.ask(GET)
        await scene.upstream()
        scene.server.begin_drain()
        assert scene.server.cut() == 1
        await scene.quiet()

        assert scene.book.reasons == ["draining"]
        assert client.lost
