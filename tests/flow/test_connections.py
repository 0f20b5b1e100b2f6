"""Clients that are too many, say nothing, or say it too slowly: what they are told, and when."""

from __future__ import annotations

import json

import pytest

from sidecar.http1.server import Http1Server
from sidecar.settings import Forwarding, Http, Settings, Timeouts
from tests.flow.scene import GET, OK, Client, Scene
from tests.flow.virtual import travelling

POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n"


def refused(client: Client) -> bool:
    """Whether it was told to come later, and that its connection ends."""
    if not client.got.startswith(b"HTTP/1.1 503 "):
        return False
    head, _, body = client.got.partition(b"\r\n\r\n")
    assert b"\r\nX-Sidecar-Reason: overloaded\r\n" in head
    assert b"\r\nRetry-After: 1\r\n" in head
    assert b"\r\nConnection: close" in head
    assert json.loads(body)["limit"] == 2
    return client.ended


@travelling
async def test_one_connection_too_many_is_told_so_when_it_asks() -> None:
    """Not before: clients take an answer that comes unasked for a fault. Those that are served notice nothing."""
    async with Scene(http=Http(max_connections=2)) as scene:
        first, second, third = (scene.client() for _ in range(3))
        await scene.quiet()
        assert third.got == b""
        assert scene.server.open == 2

        third.send(GET[:3])
        await scene.quiet()
        assert refused(third)
        third.send(GET[3:])
        await scene.quiet()
        assert third.got.count(b"HTTP/1.1") == 1
        for client in (first, second):
            client.ask(GET)
            await scene.quiet()
            (await scene.upstream()).send(OK)
            assert (await client.answer()).status == 200
        # It was no request.
        assert len(scene.book.ended) == 2
        assert scene.book.refusals == [("max_connections", "192.0.2.7", 2)]


@travelling
async def test_a_place_that_comes_free_is_the_next_client_s() -> None:
    """Whoever comes then is served."""
    async with Scene(http=Http(max_connections=2)) as scene:
        first, _ = scene.client(), scene.client()
        await scene.quiet()
        first.wire.close()
        await scene.quiet()
        third = scene.client()
        third.ask(GET)
        (await scene.upstream()).send(OK)

        assert (await third.answer()).status == 200


@travelling
async def test_who_is_refused_and_says_nothing_is_closed() -> None:
    """After a second; one that asked has another, whatever it does meanwhile, to take its answer."""
    async with Scene(http=Http(max_connections=2)) as scene:
        _, _, silent, talks = (scene.client() for _ in range(4))
        talks.stays = True
        await scene.after(0.9)
        assert not silent.ended
        talks.send(GET)
        await scene.after(0.2)
        assert (silent.ended, silent.got) == (True, b"")
        assert refused(talks)
        assert not talks.wire.peer.lost
        talks.send(GET)
        await scene.after(0.9)

        assert talks.wire.peer.lost
        assert talks.got.count(b"HTTP/1.1") == 1


@travelling
async def test_a_flood_of_connections_is_not_all_told() -> None:
    """Each that is told takes a descriptor for a while, so beyond some the others are closed at once."""
    async with Scene(http=Http(max_connections=2)) as scene:
        clients = [scene.client() for _ in range(102)]
        await scene.quiet()

        lost = [client.lost for client in clients]
        assert lost == [False] * 34 + [True] * 68
        assert len(scene.book.refusals) == 100


@travelling
async def test_a_client_s_own_share() -> None:
    """Counted for its address, of IPv6 for its /64; one that is full leaves the others theirs."""
    async with Scene(http=Http(max_connections_per_client=2)) as scene:
        names = ["192.0.2.7"] * 3 + ["::ffff:192.0.2.7", "192.0.2.8", "2001:db8::1", "2001:db8::2", "2001:db8::3"]
        for name in [*names, "2001:db8:0:1::1"]:
            scene.client(name)
        await scene.quiet()

        assert [client for _, client, _ in scene.book.refusals] == ["192.0.2.7", "192.0.2.7", "2001:db8::3"]
        assert {reason for reason, _, _ in scene.book.refusals} == {"max_connections_per_client"}


@travelling
async def test_proxies_that_are_trusted_have_no_share() -> None:
    """They bring everybody's requests."""
    async with Scene(http=Http(max_connections_per_client=1)) as scene:
        trusting = Settings(
            upstream="http://127.0.0.1:8080",
            http=scene.settings.http,
            forwarding=Forwarding(trusted_proxies=("192.0.2.0/24",)),
        )
        scene.server = Http1Server(trusting, scene.server.handler, scene.book.refused)
        for name in ["192.0.2.7"] * 3 + ["198.51.100.1"] * 2:
            scene.client(name)
        await scene.quiet()

        assert [client for _, client, _ in scene.book.refusals] == ["198.51.100.1"]


@travelling
async def test_other_settings_hold_from_the_next_connection_on() -> None:
    """Those that are open stay so, and count."""
    async with Scene() as scene:
        for _ in range(3):
            scene.client()
        await scene.quiet()
        bounded = Settings(upstream="http://127.0.0.1:8080", http=Http(max_connections=3))
        scene.server.apply(bounded, scene.server.handler)
        scene.client()
        await scene.quiet()

        assert scene.server.open == 3
        assert len(scene.book.refusals) == 1


@travelling
async def test_the_end_closes_those_that_are_refused_too() -> None:
    """They are not waited for."""
    async with Scene(http=Http(max_connections=1)) as scene:
        scene.client()
        refused_one = scene.client()
        await scene.quiet()
        scene.server.cut()
        await scene.quiet()

        assert refused_one.lost


@pytest.mark.parametrize(("keep_alive", "closed"), [(75.0, 10.0), (5.0, 5.0)])
@travelling
async def test_a_connection_that_never_says_anything(keep_alive: float, closed: float) -> None:
    """It has the time of a head and is closed without a word: it was no request, and some connect ahead of need."""
    async with Scene(timeouts=Timeouts(startup=0.0, head=10.0, keep_alive=keep_alive)) as scene:
        client = scene.client()
        await scene.after(closed - 0.1)
        assert not client.ended
        await scene.after(0.2)

        assert (client.ended, client.got) == (True, b"")
        assert scene.book.ended == []


@travelling
async def test_a_connection_that_has_asked_may_idle_for_longer() -> None:
    """For as long as `timeouts.keep_alive` says."""
    async with Scene(timeouts=Timeouts(startup=0.0, head=10.0, keep_alive=75.0)) as scene:
        client = scene.client()
        client.ask(GET)
        (await scene.upstream()).send(OK)
        assert (await client.answer()).status == 200
        await scene.after(74.0)
        assert not client.ended
        await scene.after(2.0)

        assert client.ended


@pytest.mark.parametrize("drains", [True, False])
@travelling
async def test_a_blank_line_at_the_last_moment_keeps_no_connection(drains: bool) -> None:
    """It is seen that something came, and that it is no request is found out after that."""
    async with Scene() as scene:
        client = scene.client()
        client.stays = True
        await scene.quiet()
        if drains:
            scene.server.close_when_quiet()
        (end,) = [timer.when() for timer in scene.loop.timers]
        scene.loop.call_at(end - 5e-10, client.send, b"\r\n")
        await scene.after(end - scene.loop.time() + 5.0)

        assert scene.server.open == 0
        assert (scene.server.closed_idle, scene.server.closed_untaken) == (1, 0)


async def drip(scene: Scene, client: Client, seconds: int, size: int) -> None:
    """Send so many bytes each second, as long as there is somebody to send to."""
    for _ in range(seconds):
        await scene.after(1.0)
        if client.ended:
            return
        client.send(b"x" * size)


@pytest.mark.parametrize(("size", "reasons"), [(10, ["request_timeout"]), (200, [])])
@travelling
async def test_a_body_that_drips(size: int, reasons: list[str]) -> None:
    """One that comes more slowly than `http.min_body_rate` is answered 408; one that does not lives."""
    async with Scene(http=Http(min_body_rate=100)) as scene:
        client = scene.client()
        client.send(POST)
        await drip(scene, client, 60, size)

        assert scene.book.reasons == reasons
        assert client.got.startswith(b"HTTP/1.1 408 ") == bool(reasons)


@travelling
async def test_a_body_that_waits_for_100_is_not_slow() -> None:
    """As it said it would; it is from when the upstream wants it."""
    async with Scene(http=Http(min_body_rate=100)) as scene:
        client = scene.client()
        client.ask(POST.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n"))
        upstream = await scene.upstream()
        await scene.after(60.0)
        assert scene.book.reasons == []
        upstream.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        await scene.after(4.0)
        assert scene.book.reasons == []
        await scene.after(8.0)

        assert scene.book.reasons == ["request_timeout"]


@travelling
async def test_a_body_that_drips_lives_unless_told_otherwise() -> None:
    """There is no least rate by default: a body may be what happens now and then."""
    async with Scene() as scene:
        client = scene.client()
        client.send(POST)
        await drip(scene, client, 600, 1)

        assert scene.book.reasons == []


@travelling
async def test_a_body_that_the_upstream_does_not_take_is_not_slow() -> None:
    """The client can do nothing about that; it ends by `timeouts.stream_idle`, and not as the client's fault."""
    timeouts = Timeouts(startup=0.0, stream_idle=60.0)
    async with Scene(http=Http(min_body_rate=10_000), timeouts=timeouts, kernel=4096) as scene:
        client = scene.client()
        client.send(POST)
        await scene.quiet()
        (await scene.upstream()).wire.pause_reading()
        client.send(b"x" * 100_000)
        await scene.after(55.0)
        assert scene.book.reasons == []
        await scene.after(10.0)

        assert scene.book.reasons == ["attempt_timeout"]
