"""More requests at once than begin in one turn of the event loop."""

from __future__ import annotations

import asyncio

from sidecar.exchange import Exchange, Response
from sidecar.http1.entry import MOST
from tests.flow.scene import Scene, fine
from tests.flow.virtual import travelling

_REQUEST = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"

_MANY = 12 * MOST  # so many that some still wait when the news of their leaving has come


@travelling
async def test_all_that_come_at_once_are_answered() -> None:
    """Those who have to wait for their turn too, and their wait is told."""
    async with Scene(fine) as scene:
        clients = [scene.client() for _ in range(3 * MOST)]
        for client in clients:
            client.ask(_REQUEST)
        for client in clients:
            assert (await client.answer()).status == 200
        assert len(scene.book.ended) == 3 * MOST


@travelling
async def test_who_leaves_while_he_waits_to_begin_is_counted() -> None:
    """As one that has left; he is not sent to the service, and nothing of him is left."""
    served: list[bytes] = []

    async def count(exchange: Exchange) -> Response:
        served.append(exchange.id)
        return await fine(exchange)

    async with Scene(count) as scene:
        gone = []
        for number in range(_MANY):
            client = scene.client()
            client.ask(_REQUEST)
            if number >= MOST:
                gone.append(client)
        for _ in range(100):  # turns of the loop
            if scene.server.entry.waiting:
                break
            await asyncio.sleep(0)
        for client in gone:
            client.wire.abort()
        await scene.loop.quiet()
        reasons = [exchange.reason for exchange in scene.book.ended]
        assert len(reasons) == _MANY
        assert reasons.count("client_gone") >= _MANY - len(served) > 0
