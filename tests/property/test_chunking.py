"""It does not matter in which pieces bytes arrive."""

from __future__ import annotations

import re

import h11
from hypothesis import given
from hypothesis import strategies as st

from sidecar.errors import BAD_REQUEST
from sidecar.http1.chunks import ChunkError
from sidecar.http1.inflow import Inflow
from sidecar.http1.outflow import Outflow
from tests.flow.scene import Scene
from tests.flow.virtual import travel
from tests.http1.support import Written, scan, slices
from tests.property.messages import PAYLOADS, Message, chunked, cut, cuts, requests, responses

ID = re.compile(rb"X-Request-ID: [0-9a-f]{32}\r\n")


class Seen:
    """What both sides saw of some exchanges."""

    def __init__(self) -> None:
        self.upstream = b""
        self.client = b""
        self.log: list[tuple[object, ...]] = []


async def through(exchanges: list[tuple[Message, Message]], up: list[int], down: list[int]) -> Seen:
    """Let these exchanges pass, one after the other, in pieces of these sizes."""
    seen = Seen()
    async with Scene() as scene:
        client = scene.client()
        for request, response in exchanges:
            before = len(scene.far_upstreams)
            for piece in cut(request.wire, up):
                client.send(piece)
                await scene.quiet()
            upstream = next(far for far in reversed(scene.far_upstreams) if not far.lost)
            assert len(scene.far_upstreams) - before <= 1
            for piece in cut(response.wire, down):
                upstream.send(piece)
                await scene.quiet()
            if response.to_the_close:
                upstream.wire.close()
            await scene.quiet()
            seen.upstream += upstream.take()
        seen.client = client.got
        seen.log = [(each.status, each.reason, each.bytes_in, each.bytes_out) for each in scene.book.ended]
        assert not client.lost
    return seen


def payloads_asked(data: bytes) -> list[tuple[bytes, bytes]]:
    """The requests in a stream as a strict server reads them: (method, payload)."""
    found = []
    while data:
        server = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
        server.receive_data(data)
        body, method = b"", b""
        while True:
            event = server.next_event()
            if isinstance(event, h11.Request):
                method = event.method
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                break
            else:
                raise AssertionError(event)
        found.append((method, body))
        data = server.trailing_data[0]
    return found


@st.composite
def exchanges(draw: st.DrawFn) -> list[tuple[Message, Message]]:
    """Some requests, each with its response."""
    asked = draw(st.lists(requests(), min_size=1, max_size=3))
    return [(request, draw(responses(request.method))) for request in asked]


# Size lines that are looked at in one call: so few that short bodies have more, or as many as by default.
AT_ONCE = st.sampled_from([1, 2, 3, 128])


@given(exchanges(), cuts(), cuts(), AT_ONCE)
def test_any_pieces_give_the_same_exchange(
    given_exchanges: list[tuple[Message, Message]], up: list[int], down: list[int], lines: int
) -> None:
    """Upstream and client read the same messages, and the log has the same facts, as if all had come at once."""
    seen: list[Seen] = []

    async def main() -> None:
        seen.append(await through(given_exchanges, [10**7], [10**7]))

    async def pieces() -> None:
        with slices(lines):
            seen.append(await through(given_exchanges, up, down))

    travel(main)
    travel(pieces)
    at_once, in_pieces = seen
    asked = [(request.method.encode(), request.payload) for request, _ in given_exchanges]
    assert payloads_asked(at_once.upstream) == asked
    assert payloads_asked(in_pieces.upstream) == asked
    assert at_once.log == in_pieces.log
    # Where no body is framed anew, the very bytes are the same.
    if not any(b"chunked" in request.wire for request, _ in given_exchanges):
        assert ID.sub(b"", at_once.upstream) == ID.sub(b"", in_pieces.upstream)
    answered = [response.payload for _, response in given_exchanges]
    assert payloads_told(at_once.client, given_exchanges) == answered
    assert payloads_told(in_pieces.client, given_exchanges) == answered


def payloads_told(data: bytes, given_exchanges: list[tuple[Message, Message]]) -> list[bytes]:
    """The bodies of the answers in a stream; each of them is complete."""
    from tests.flow.scene import read_answers

    answers = read_answers(data, [request.method for request, _ in given_exchanges], ended=False)
    assert all(answer.complete for answer in answers)
    return [answer.body for answer in answers]


@given(PAYLOADS.flatmap(lambda payload: st.tuples(st.just(payload), chunked(payload))), cuts(), st.booleans(), AT_ONCE)
def test_a_chunked_body_means_the_same_behind_us(
    given_body: tuple[bytes, bytes], sizes: list[int], late: bool, lines: int
) -> None:
    """Whichever pieces go out raw and whichever framed anew, an independent reader finds the payload."""
    payload, body = given_body
    inflow = Inflow(
        None, chunked=True, blame=BAD_REQUEST, set_reading=lambda on: None, go_on=lambda: None, on_cancel=lambda: None
    )
    transport = Written()
    outflow = Outflow(
        transport, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", True, lambda error: None
    )
    if not late:
        inflow.attach(outflow)
        outflow.uncork()
    with slices(lines):
        for piece in cut(body, sizes):
            assert inflow.feed(piece) == b""
            while inflow.behind:
                assert inflow.feed(b"") == b""
    if late:
        inflow.attach(outflow)

    assert inflow.complete
    assert payloads_asked(transport.bytes) == [(b"POST", payload)]


@given(
    st.binary(max_size=60)
    | st.lists(st.sampled_from([b"0", b"1", b"a", b";", b"\r", b"\n", b"\r\n", b" ", b"X:"])).map(b"".join),
    cuts(),
    AT_ONCE,
)
def test_any_bytes_are_the_same_body_or_none_in_any_pieces(data: bytes, sizes: list[int], lines: int) -> None:
    """A scanner that refuses them at once refuses them in pieces and in parts, and what it accepts is the same."""

    def outcome(pieces: list[bytes]) -> object:
        try:
            scanner, found = scan(pieces)
        except ChunkError:
            return "refused"
        payload = b"".join(part for part, _ in found)
        return (payload, scanner.done, scanner.trailers, scanner.rest if scanner.done else b"")

    whole = outcome([data])
    assert whole == outcome(cut(data, sizes))
    with slices(lines):
        assert whole == outcome([data])
        assert whole == outcome(cut(data, sizes))
