"""A request body that can be sent again: whoever gets it gets all of it, and no more is kept than was said."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.errors import BAD_REQUEST, CLIENT_GONE, SidecarError
from sidecar.http1.inflow import Inflow
from sidecar.replay import Replay
from tests.http1.support import Taken


class Client:
    """A body as it comes from a client: `length` bytes, or chunked; what is read is read into one buffer."""

    def __init__(self, length: int | None, cap: int) -> None:
        self.reading = True
        self.cancelled = False
        self.inflow = Inflow(
            length,
            chunked=length is None,
            blame=BAD_REQUEST,
            set_reading=self._set_reading,
            go_on=lambda: None,
            on_cancel=self._cancel,
        )
        self.body = Replay(self.inflow, cap)
        self._buffer = bytearray(4096)

    def _set_reading(self, on: bool) -> None:
        self.reading = on

    def _cancel(self) -> None:
        self.cancelled = True
        self.reading = True

    def send(self, data: bytes) -> None:
        """Bytes arrive; where a sink takes them at once, in a view that is good during the call only."""
        if self.inflow.sink is None or self.inflow.scanned:
            self.inflow.feed(data)
            return
        self._buffer[: len(data)] = data
        self.inflow.feed(memoryview(self._buffer)[: len(data)])
        self._buffer[:] = b"\xff" * len(self._buffer)

    def attempt(self) -> Taken:
        """A new attempt takes the body."""
        taken = Taken()
        self.body.attach(taken)
        return taken


def chunked(pieces: list[bytes], trailers: bytes = b"") -> bytes:
    """These in chunked coding."""
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n" + trailers + b"\r\n"


# ── one after the other


def test_the_second_attempt_gets_what_the_first_got_and_then_the_rest() -> None:
    """Wherever the first one broke off."""
    client = Client(10, 100)
    first = client.attempt()
    client.send(b"hello")
    assert first.source is client.body
    first.source.cancel()
    client.send(b"wo")
    assert client.body.replayable
    client.body.rewind(last=False)
    second = client.attempt()
    client.send(b"rld")

    assert first.content == b"hello"
    assert (second.content, second.ends) == (b"helloworld", [b""])
    assert not client.cancelled


def test_an_attempt_that_is_over_gets_nothing_and_stops_nothing() -> None:
    """Its connection may end much later."""
    client = Client(10, 100)
    first = client.attempt()
    client.send(b"hello")
    client.body.rewind(last=False)
    second = client.attempt()

    assert first.source is None
    client.send(b"world")
    assert (first.content, second.content) == (b"hello", b"helloworld")


def test_a_body_that_nobody_has_taken_is_untouched() -> None:
    """A connect failed: the next attempt is the first to see it."""
    client = Client(5, 100)
    client.send(b"hel")
    client.body.rewind(last=False)
    assert client.body.kept == 0
    taken = client.attempt()
    client.send(b"lo")

    assert taken.content == b"hello"


@pytest.mark.parametrize("cap", [0, 1, 5, 9])
def test_a_body_beyond_the_cap_flows_on_once(cap: int) -> None:
    """Nothing of it is kept then; who breaks off has broken it."""
    client = Client(20, cap)
    taken = client.attempt()
    client.send(b"0123456789")
    assert (client.body.replayable, client.body.kept) == (False, 0)
    assert taken.content == b"0123456789"
    assert taken.source is not None
    taken.source.cancel()

    assert client.cancelled


def test_a_body_of_just_the_cap_is_kept() -> None:
    """The cap is inclusive."""
    client = Client(10, 10)
    client.attempt()
    client.send(b"0123456789")
    client.body.rewind(last=False)

    assert client.attempt().content == b"0123456789"


def test_the_last_attempt_keeps_nothing() -> None:
    """And to break it off is to break the body off."""
    client = Client(20, 100)
    client.attempt()
    client.send(b"01234")
    client.body.rewind(last=True)
    assert client.body.replayable
    taken = client.attempt()
    client.send(b"56789")

    assert taken.content == b"0123456789"
    assert (client.body.replayable, client.body.kept) == (False, 0)
    client.body.cancel()
    assert client.cancelled


def test_the_last_attempt_may_be_the_first_to_take_it() -> None:
    """The others never had a connection."""
    client = Client(5, 100)
    client.body.rewind(last=True)
    client.attempt()
    client.send(b"hel")

    assert client.body.kept == 0


def test_a_body_that_is_not_kept_cannot_be_taken_twice() -> None:
    """That would be a fault of ours, and not pass for a body."""
    client = Client(5, 1)
    client.attempt()
    client.send(b"hel")

    with pytest.raises(RuntimeError):
        client.attempt()


def test_trailers_come_again_too() -> None:
    """With the end."""
    client = Client(None, 100)
    client.attempt()
    client.send(chunked([b"hello"], b"X-Sum: 1\r\n"))
    client.body.rewind(last=False)

    assert client.attempt().trailers == b"X-Sum: 1\r\n"


def test_chunks_come_without_their_framing() -> None:
    """What is in the middle of a chunk can then be broken off and go on elsewhere."""
    client = Client(None, 100)
    first = client.attempt()
    client.send(b"5\r\n")
    client.send(b"he")
    client.body.rewind(last=False)
    second = client.attempt()
    client.send(b"llo\r\n0\r\n\r\n")

    assert [raw for _, raw in first.pieces + second.pieces if raw is not None] == []
    assert all(payload for payload, _ in first.pieces + second.pieces)
    assert (second.content, second.ends) == (b"hello", [b""])


# ── who wants it


def test_the_answer_is_out_and_the_rest_still_flows() -> None:
    """No more is kept, and the attempt may break it off."""
    client = Client(10, 100)
    taken = client.attempt()
    client.send(b"hello")
    client.body.release()
    assert client.body.kept == 0
    assert not client.cancelled
    client.send(b"wor")

    assert taken.content == b"hellowor"
    assert taken.source is not None
    taken.source.cancel()
    assert client.cancelled


def test_the_answer_is_out_and_nobody_takes_the_rest() -> None:
    """It had come before the request was in whole, or no attempt went well: the client's body is not wanted."""
    client = Client(10, 100)
    client.attempt()
    client.send(b"hello")
    client.body.cancel()
    assert not client.cancelled
    client.body.release()

    assert client.cancelled


def test_a_body_that_was_never_begun_is_left_alone() -> None:
    """Its connection decides what becomes of it, as where there are no retries."""
    client = Client(10, 100)
    client.body.release()

    assert not client.cancelled


# ── between the attempts


def test_between_two_attempts_it_comes_in_up_to_the_cap() -> None:
    """Then the client waits."""
    client = Client(1000, 10)
    first = client.attempt()
    client.send(b"01234")
    client.body.pause()
    client.body.rewind(last=False)
    assert client.reading, "the attempt's back-pressure ends with it"
    client.send(b"5678")
    assert client.reading
    client.send(b"9abc")
    assert not client.reading
    assert (client.body.replayable, client.body.kept) == (True, 13)
    second = client.attempt()

    assert client.reading
    assert not client.body.replayable, "it has become too long for a third"
    client.send(b"def")
    assert (first.content, second.content) == (b"01234", b"0123456789abcdef")


def test_a_body_that_has_filled_the_cap_waits_for_the_next_attempt() -> None:
    """At once."""
    client = Client(1000, 5)
    client.attempt()
    client.send(b"01234")
    client.body.rewind(last=False)

    assert not client.reading


@pytest.mark.parametrize("late", [True, False])
def test_a_client_that_breaks_its_body_off_breaks_the_attempt_off(late: bool) -> None:
    """Or the next one, which learns of it as it takes the body."""
    client = Client(10, 100)
    taken = client.attempt()
    client.send(b"hello")
    if late:
        client.body.rewind(last=False)
    client.inflow.abort(SidecarError(CLIENT_GONE, "gone"))
    assert not client.body.replayable
    if late:
        taken = client.attempt()

    assert taken.error.reason is CLIENT_GONE


def test_pressure_of_an_attempt_reaches_the_client() -> None:
    """First attempt or second."""
    client = Client(10, 100)
    for _ in range(2):
        taken = client.attempt()
        assert taken.source is not None
        taken.source.pause()
        assert not client.reading
        taken.source.resume()
        assert client.reading
        client.body.rewind(last=False)


def test_a_piece_is_held_for_as_long_as_the_attempt_holds_it() -> None:
    """Who shares its buffers asks."""

    class Holding(Taken):
        def holds(self) -> bool:
            return True

    client = Client(5, 1)
    assert not client.body.holds()
    client.body.attach(Holding())
    client.send(b"hello")

    assert client.body.holds()


# ── whatever happens


class Play(NamedTuple):
    """A body, in chunked coding or of a length that is known, and what happens to it.

    `breaks`: after so many pieces an attempt fails, and so many come before the next one begins, if they can.
    """

    chunks: list[bytes]
    framed: bool
    cuts: list[int]
    cap: int
    breaks: list[tuple[int, int]]

    @property
    def payload(self) -> bytes:
        """All of it."""
        return b"".join(self.chunks)

    def pieces(self) -> Iterator[bytes]:
        """What arrives, piece by piece."""
        wire = chunked(self.chunks, b"X-Sum: 1\r\n") if self.framed else self.payload
        bounds = [0, *sorted({cut for cut in self.cuts if cut < len(wire)}), len(wire)]
        return iter([wire[begin:end] for begin, end in pairwise(bounds) if begin < end])


PLAYS = st.builds(
    Play,
    st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=5),
    st.booleans(),
    st.lists(st.integers(1, 220), max_size=10),
    st.integers(0, 210),
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3)), max_size=4),
)


@given(PLAYS)
def test_every_attempt_sees_the_body_from_its_beginning(play: Play) -> None:
    """Whatever the pieces, the cap, and the moments at which attempts fail: all of it, or it is not replayable."""
    client = Client(None if play.framed else len(play.payload), play.cap)
    pieces = play.pieces()
    largest = 0

    def arrive(count: int) -> None:
        nonlocal largest
        for _ in range(count):
            piece = next(pieces, None) if client.reading else None
            if piece is None:
                return
            largest = max(largest, len(piece))
            client.send(piece)
            assert client.body.kept <= play.cap + largest

    taken = client.attempt()
    for flows, idles in play.breaks:
        arrive(flows)
        assert play.payload.startswith(taken.content)
        if not client.body.replayable:
            assert len(taken.content) > play.cap
            break
        client.body.cancel()
        arrive(idles)
        client.body.rewind(last=False)
        taken = client.attempt()
    arrive(1000)

    assert taken.content == play.payload
    assert taken.trailers == (b"X-Sum: 1\r\n" if play.framed else b"")
    client.body.release()
    assert client.body.kept == 0
    assert not client.cancelled
