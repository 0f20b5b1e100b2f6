"""A body that comes in: framed three ways, with a window before anybody takes it, and ended exactly once."""

from __future__ import annotations

import weakref
from itertools import product
from time import process_time

import pytest

from sidecar.errors import BAD_REQUEST, BODY_TOO_LARGE, CLIENT_GONE, CONNECTION_LOST, SidecarError
from sidecar.http1.inflow import WINDOW, Inflow
from tests.http1.support import Taken, one_by_one, unchunked

CHUNKED = b"5\r\nhello\r\n1;x\r\n!\r\n0\r\nX-Sum: 1\r\nHost: evil\r\n\r\n"


class Valve:
    """The connection's side of a body: whether it is read from, and whether the body was cancelled."""

    def __init__(self) -> None:
        self.turns: list[bool] = []
        self.cancelled = 0
        self.waits = 0  # asked to be fed again

    @property
    def reading(self) -> bool:
        """What was said last."""
        return self.turns[-1] if self.turns else True

    def cancel(self) -> None:
        self.cancelled += 1

    def go_on(self) -> None:
        self.waits += 1


def inflow(length: int | None = None, *, chunked: bool = False, limit: int = 0) -> tuple[Inflow, Valve]:
    """A body and its valve."""
    valve = Valve()
    body = Inflow(
        length,
        chunked=chunked,
        blame=BAD_REQUEST,
        set_reading=valve.turns.append,
        go_on=valve.go_on,
        on_cancel=valve.cancel,
        limit=limit,
    )
    return body, valve


FRAMINGS = pytest.mark.parametrize("early", [True, False], ids=["taken early", "taken late"])


@FRAMINGS
@pytest.mark.parametrize("bytewise", [True, False])
def test_a_body_of_known_length_ends_with_its_last_byte(early: bool, bytewise: bool) -> None:
    """What is behind it comes back."""
    body, _ = inflow(6)
    taken = Taken()
    if early:
        body.attach(taken)
    rests = [body.feed(piece) for piece in (one_by_one(b"hello!") if bytewise else [b"hello!GET"])]
    if not early:
        body.attach(taken)

    assert rests == ([b""] * 6 if bytewise else [b"GET"])
    assert (taken.content, taken.ends) == (b"hello!", [b""])
    assert (body.complete, body.received, body.left) == (True, 6, 0)


@FRAMINGS
@pytest.mark.parametrize("bytewise", [True, False])
def test_a_chunked_body_ends_with_its_last_chunk(early: bool, bytewise: bool) -> None:
    """Its trailers are cleaned, its payload counted."""
    body, _ = inflow(chunked=True)
    taken = Taken()
    if early:
        body.attach(taken)
    rests = [body.feed(piece) for piece in (one_by_one(CHUNKED) if bytewise else [CHUNKED + b"GET"])]
    if not early:
        body.attach(taken)

    assert rests[-1] == (b"" if bytewise else b"GET")
    assert (taken.content, taken.ends) == (b"hello!", [b"X-Sum: 1\r\n"])
    assert (body.complete, body.received, body.left) == (True, 6, 0)


@FRAMINGS
def test_a_body_without_framing_ends_with_the_stream(early: bool) -> None:
    """All that comes is the body's."""
    body, _ = inflow()
    taken = Taken()
    if early:
        body.attach(taken)
    assert body.feed(b"hello") == b""
    assert not body.complete
    body.end_of_stream(CONNECTION_LOST)
    if not early:
        body.attach(taken)

    assert (taken.content, taken.ends) == (b"hello", [b""])
    assert body.complete


@FRAMINGS
@pytest.mark.parametrize(("length", "chunked"), [(6, False), (None, True)])
def test_the_end_of_the_stream_cuts_a_framed_body(early: bool, length: int | None, chunked: bool) -> None:
    """It has not come whole, so it does not end; who takes it is told why."""
    body, _ = inflow(length, chunked=chunked)
    taken = Taken()
    if early:
        body.attach(taken)
    body.feed(b"5\r\nhe")
    body.end_of_stream(CONNECTION_LOST)
    if not early:
        body.attach(taken)

    assert taken.error.reason is CONNECTION_LOST
    assert taken.error is body.failed
    assert not body.complete


def test_the_end_of_the_stream_behind_a_body_is_nothing() -> None:
    """Ended once is ended."""
    body, _ = inflow(1)
    taken = Taken()
    body.attach(taken)
    body.feed(b"a")
    body.end_of_stream(CONNECTION_LOST)
    body.abort(SidecarError(CLIENT_GONE, "late"))

    assert taken.ends == [b""]
    assert body.failed is None


@pytest.mark.parametrize(("length", "chunked"), [(1, False), (None, True)])
def test_whoever_takes_the_last_piece_may_ask_whether_it_was(length: int | None, chunked: bool) -> None:
    """Complete is said before the last piece is passed on."""
    body, _ = inflow(length, chunked=chunked)
    asked: list[bool] = []

    class Asking(Taken):
        def data(self, data: bytes | memoryview, raw: bytes | None) -> None:
            asked.append(body.complete)

    body.attach(Asking())
    body.feed(b"1\r\na\r\n0\r\n\r\n" if chunked else b"a")

    assert asked == [True]


@FRAMINGS
def test_broken_framing_is_blamed_on_its_sender(early: bool) -> None:
    """What came before it is passed on, then the cut; what comes after is not looked at."""
    body, _ = inflow(chunked=True)
    taken = Taken()
    if early:
        body.attach(taken)
    body.feed(b"5\r\nhello\r\n")
    assert body.feed(b"nonsense\r\n") == b""
    assert body.feed(b"5\r\nhello\r\n0\r\n\r\n") == b""
    if not early:
        body.attach(taken)

    assert taken.content == b"hello"
    assert taken.error.reason is BAD_REQUEST
    assert not body.complete


@FRAMINGS
def test_a_body_above_the_limit_is_refused(early: bool) -> None:
    """The piece that breaks it is not passed on; payload counts, not framing."""
    body, _ = inflow(chunked=True, limit=5)
    taken = Taken()
    if early:
        body.attach(taken)
    body.feed(b"5\r\nhello\r\n")
    assert body.failed is None
    assert body.feed(b"1\r\n!\r\n0\r\n\r\nGET") == b""
    if not early:
        body.attach(taken)

    assert taken.content == b"hello"
    assert taken.error.reason is BODY_TOO_LARGE
    assert taken.error.facts == {"limit": 5}
    assert not body.complete


def test_a_body_at_the_limit_passes() -> None:
    """Not one byte less is allowed than was said."""
    body, _ = inflow(chunked=True, limit=5)
    taken = Taken()
    body.attach(taken)
    body.feed(b"5\r\nhello\r\n0\r\n\r\n")

    assert taken.ends == [b""]


def test_nobody_takes_it_so_reading_stops_at_the_window() -> None:
    """And goes on when somebody does."""
    body, valve = inflow(1_000_000)
    body.feed(b"x" * (WINDOW - 1))
    assert valve.turns == []
    body.feed(b"x")
    assert valve.turns == [False]
    body.feed(b"x" * 10)
    taken = Taken()
    body.attach(taken)

    assert len(taken.content) == WINDOW + 10
    assert valve.turns == [False, True]


def test_the_window_counts_framing_too() -> None:
    """Chunks of one byte are six bytes of memory each, and more."""
    body, valve = inflow(chunked=True)
    body.feed(b"1\r\na\r\n" * 10923)

    assert valve.turns == [False]


def test_a_complete_body_stops_nothing() -> None:
    """There is nothing more to hold back, and the connection has its next message to read."""
    body, valve = inflow(100_000)
    body.feed(b"x" * 70_000)
    assert not valve.reading
    body.feed(b"x" * 30_000)

    assert valve.turns == [False, True]


def test_many_small_pieces_cost_no_more_than_their_bytes() -> None:
    """A body of the smallest chunks, every other one extended: counted once, not again with every piece."""
    body, _ = inflow(chunked=True)
    began = process_time()
    body.feed(b"1\r\na\r\n1;\r\nb\r\n" * 10_000)
    while body.behind:
        body.feed(b"")

    assert process_time() - began < 1.0
    assert body.received == 20_000


def test_the_valve_is_turned_only_when_it_has_to_be() -> None:
    """A pause that is on already is not said again."""
    body, valve = inflow(10)
    body.attach(Taken())
    body.pause()
    body.pause()
    body.resume()
    body.resume()

    assert valve.turns == [False, True]


def test_the_last_byte_opens_the_valve() -> None:
    """A pause belongs to the body, and the connection outlives it."""
    body, valve = inflow(2)
    body.attach(Taken())
    body.feed(b"a")
    body.pause()
    body.feed(b"b")
    body.pause()

    assert valve.turns == [False, True]


def test_a_cancelled_body_delivers_nothing_more() -> None:
    """Its connection is told, and its bytes are still counted past."""
    body, valve = inflow(6)
    taken = Taken()
    body.attach(taken)
    body.feed(b"hel")
    body.cancel()
    assert body.feed(b"lo!GET") == b"GET"

    assert (taken.content, taken.ends) == (b"hel", [])
    assert (valve.cancelled, body.complete, body.received) == (1, True, 6)


@pytest.mark.parametrize("broken", [True, False])
def test_to_cancel_what_has_ended_is_nothing(broken: bool) -> None:
    """Complete or cut."""
    body, valve = inflow(1)
    if broken:
        body.abort(SidecarError(CLIENT_GONE, "gone"))
    else:
        body.feed(b"a")
    body.cancel()

    assert valve.cancelled == 0


@pytest.mark.parametrize("ended", [True, False])
def test_a_body_flows_once(ended: bool) -> None:
    """Who would take it twice, or take what was cancelled, has a fault."""
    body, _ = inflow(1)
    if ended:
        body.feed(b"a")
    body.attach(Taken())
    with pytest.raises(RuntimeError, match="once"):
        body.attach(Taken())

    other, _ = inflow(1)
    other.cancel()
    with pytest.raises(RuntimeError, match="once"):
        other.attach(Taken())


def test_an_abort_counts_once() -> None:
    """The first one says why."""
    body, _ = inflow(1)
    taken = Taken()
    body.attach(taken)
    body.abort(SidecarError(CLIENT_GONE, "first"))
    body.abort(SidecarError(CONNECTION_LOST, "second"))
    body.end_of_stream(CONNECTION_LOST)

    assert taken.error.detail == "first"


def test_pieces_keep_their_raw_form() -> None:
    """The sink decides which to take."""
    body, _ = inflow(chunked=True)
    taken = Taken()
    body.attach(taken)
    body.feed(CHUNKED)

    assert taken.pieces == [(b"hello", b"5\r\nhello\r\n"), (b"!", None)]
    assert unchunked(b"5\r\nhello\r\n" + b"1\r\n!\r\n" + b"0\r\n\r\n") == taken.content


@pytest.mark.parametrize(
    ("length", "chunked", "words"), [(5, False, "Inflow 5"), (None, True, "chunked"), (None, False, "to the close")]
)
def test_it_shows_its_state(length: int | None, chunked: bool, words: str) -> None:
    """For whoever debugs."""
    body, _ = inflow(length, chunked=chunked)
    assert words in repr(body)
    assert "open" in repr(body)
    body.abort(SidecarError(CLIENT_GONE, "gone"))
    assert "client_gone" in repr(body)


# ── more than is looked at in one turn

AT_ONCE = 2
FIVE = b"".join(b"1\r\n%c\r\n" % letter for letter in b"abcde")


@pytest.fixture
def slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Little is looked at at once."""
    monkeypatch.setattr("sidecar.http1.chunks._AT_ONCE", AT_ONCE)


def turn(body: Inflow, valve: Valve) -> None:
    """The loop's next turn, as both connections take it."""
    valve.waits = 0
    if body.behind and body.reading:
        assert body.feed(b"") == b""


def catch_up(body: Inflow, valve: Valve) -> int:
    """All turns that are asked for; returns how many."""
    count = 0
    while valve.waits:
        turn(body, valve)
        count += 1
    return count


@pytest.mark.usefixtures("slices")
@FRAMINGS
def test_nothing_is_read_while_it_is_behind(early: bool) -> None:
    """Another turn is asked for after each, once; then reading goes on, and all that came is passed on."""
    body, valve = inflow(chunked=True)
    taken = Taken()
    if early:
        body.attach(taken)
    body.feed(FIVE)
    assert (body.behind, valve.turns, valve.waits) == (True, [False], 1)
    turn(body, valve)
    assert (body.behind, valve.turns, valve.waits) == (True, [False], 1)
    turn(body, valve)
    assert (body.behind, valve.turns, valve.waits) == (False, [False, True], 0)
    if not early:
        body.attach(taken)

    assert taken.pieces == [(b"abcde", FIVE)]
    assert (body.complete, body.received) == (False, 5)


@pytest.mark.usefixtures("slices")
@FRAMINGS
def test_the_end_comes_in_a_later_turn(early: bool) -> None:
    """What is behind it comes back from there, and the connection reads."""
    body, valve = inflow(chunked=True)
    taken = Taken()
    if early:
        body.attach(taken)
    assert body.feed(FIVE + b"0\r\nX-Sum: 1\r\nHost: evil\r\n\r\nGET") == b""
    turn(body, valve)
    assert body.feed(b"") == b"GET"
    if not early:
        body.attach(taken)

    assert (taken.content, taken.ends) == (b"abcde", [b"X-Sum: 1\r\n"])
    assert (body.complete, body.behind, valve.turns) == (True, False, [False, True])


@pytest.mark.usefixtures("slices")
def test_nobody_takes_it_so_the_window_holds_in_parts_too() -> None:
    """All that came is looked at, and then nothing more is read until somebody does."""
    body, valve = inflow(chunked=True)
    body.feed(b"1\r\na\r\n" * WINDOW)
    assert catch_up(body, valve) == WINDOW // AT_ONCE - 1
    assert (body.behind, body.reading, valve.turns) == (False, False, [False])
    taken = Taken()
    body.attach(taken)

    assert taken.content == b"a" * WINDOW
    assert valve.turns == [False, True]


@pytest.mark.usefixtures("slices")
def test_a_pause_while_it_is_behind() -> None:
    """Nothing is looked at until it is over; nothing is said of reading, which is off already."""
    body, valve = inflow(chunked=True)
    taken = Taken()
    body.attach(taken)
    body.feed(FIVE)
    body.pause()
    turn(body, valve)
    assert (body.behind, valve.turns, valve.waits) == (True, [False], 0)
    body.resume()
    assert (valve.turns, valve.waits) == ([False], 1)
    catch_up(body, valve)

    assert taken.content == b"abcde"
    assert valve.turns == [False, True]


@pytest.mark.usefixtures("slices")
def test_a_taker_that_is_full_when_it_has_caught_up() -> None:
    """Its pause is in the place of the other, without a moment of reading between."""
    body, valve = inflow(chunked=True)

    class Full(Taken):
        def data(self, data: bytes | memoryview, raw: bytes | None) -> None:
            super().data(data, raw)
            body.pause()

    taken = Full()
    body.attach(taken)
    body.feed(FIVE)
    catch_up(body, valve)
    assert (taken.content, body.behind, valve.turns) == (b"abcde", False, [False])
    body.resume()

    assert valve.turns == [False, True]


@pytest.mark.usefixtures("slices")
@pytest.mark.parametrize("paused", [True, False])
def test_a_body_that_is_cancelled_while_it_is_behind(paused: bool) -> None:
    """It is read past like any other, where its connection wants that."""
    body, valve = inflow(chunked=True)
    taken = Taken()
    body.attach(taken)
    body.feed(FIVE + b"0\r\n\r\n")
    if paused:
        body.pause()
        turn(body, valve)
    body.cancel()
    assert valve.cancelled == 1
    body.resume()
    assert valve.waits == 1
    catch_up(body, valve)

    assert (body.complete, body.received, valve.reading) == (True, 5, True)
    assert (taken.content, taken.ends) == (b"", [])


@pytest.mark.usefixtures("slices")
@FRAMINGS
@pytest.mark.parametrize("how", ["malformed", "too long", "abort", "end of the stream"])
def test_a_body_that_fails_while_it_is_behind(early: bool, how: str) -> None:
    """Its taker is told; its connection reads again, as nothing is waited for: else an end would not be seen."""
    body, valve = inflow(chunked=True, limit=4 if how == "too long" else 0)
    taken = Taken()
    if early:
        body.attach(taken)
    body.feed(FIVE + (b"nonsense" if how == "malformed" else b"1\r\nf\r\n"))
    if how == "abort":
        body.abort(SidecarError(CLIENT_GONE, "gone"))
    elif how == "end of the stream":
        body.end_of_stream(CONNECTION_LOST)
    catch_up(body, valve)
    if not early:
        body.attach(taken)

    reasons = {"malformed": BAD_REQUEST, "too long": BODY_TOO_LARGE, "abort": CLIENT_GONE}
    assert taken.error.reason is reasons.get(how, CONNECTION_LOST)
    assert taken.content == b""
    assert (body.behind, body.complete, valve.turns) == (False, False, [False, True])
    assert body.feed(b"1\r\na\r\n") == b""


ACTIONS = ["attach", "pause", "resume", "cancel", "abort", "feed", "turn", "end"]


class Played:
    """A body in whose life this happens, in this order; after each step its connection knows what it has to."""

    def __init__(self) -> None:
        self.body, self.valve = inflow(chunked=True)
        self.taken = Taken()
        self.attached = self.cancelled = self.failed = self.ended = False

    def do(self, action: str) -> None:
        body, before = self.body, len(self.valve.turns)
        if action == "attach" and not self.attached and not self.cancelled:
            self.attached = True
            body.attach(self.taken)
        elif action == "pause":
            body.pause()
        elif action == "resume":
            body.resume()
        elif action == "cancel":
            self.cancelled = True
            body.cancel()
        elif action == "abort" and not body.complete:
            self.failed = True
            body.abort(SidecarError(CLIENT_GONE, "gone"))
        elif action == "turn":
            turn(body, self.valve)
        elif action in ("feed", "end") and not self.ended and not body.complete:
            self.ended = action == "end"
            body.feed(FIVE + (b"0\r\n\r\n" if self.ended else b""))
        self.look(before)

    def look(self, before: int) -> None:
        body, turns = self.body, self.valve.turns
        assert self.valve.reading is (body.reading and not body.behind)
        assert all(one is not other for one, other in zip([True, *turns], turns, strict=False))
        assert len(turns) - before <= 1
        assert self.valve.waits or not (body.behind and body.reading), "nobody will ever go on"
        assert not (self.failed and body.behind)

    def finish(self) -> None:
        """In the end somebody takes it, or nobody wants it, and it comes to its end."""
        for action in ("resume", "attach", "turn", "turn", "turn", "end"):
            self.do(action)
        self.do("resume")
        catch_up(self.body, self.valve)
        assert not self.body.behind
        assert self.valve.reading
        assert self.body.complete is not self.failed
        assert self.cancelled or not self.valve.cancelled
        if self.attached and not self.cancelled:
            assert len(self.taken.ends) == 1
            assert self.failed or self.taken.content == b"abcde" * (self.body.received // 5)


@pytest.mark.usefixtures("slices")
@pytest.mark.parametrize("first", ACTIONS)
def test_whatever_happens_while_it_is_behind(first: str) -> None:
    """In every order: reading is on when it is neither paused nor behind, and no body is left waiting for nobody."""
    for actions in product(ACTIONS, repeat=3):
        played = Played()
        for action in ("feed", first, *actions):
            played.do(action)
        played.finish()


def test_what_is_complete_keeps_nobody() -> None:
    """An idle connection may keep its last body, and must not keep an exchange by it."""
    for length in (1, None):
        body, valve = inflow(length, chunked=length is None)
        body.feed(b"a" if length else b"1\r\na\r\n0\r\n\r\n")
        kept = weakref.ref(valve)
        del valve
        assert body.complete
        assert kept() is None


def test_only_a_chunked_body_is_ever_behind() -> None:
    """Who makes another need not say how it goes on."""
    body = Inflow(1, chunked=False, blame=BAD_REQUEST, set_reading=lambda on: None, on_cancel=lambda: None)
    body.feed(b"a" * 10_000)

    assert not body.behind
