"""Targets `chunks` and `body`: a chunked body, and the life of any body between its connection and its taker."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final, NamedTuple

from sidecar.errors import BAD_REQUEST, BODY_TOO_LARGE, CLIENT_GONE, CONNECTION_LOST, SidecarError
from sidecar.http1.chunks import ChunkError
from sidecar.http1.inflow import Inflow
from sidecar.http1.outflow import Outflow
from tests.fuzz import peer
from tests.fuzz.finding import bounded, demand, dice, divisions
from tests.http1.support import Taken, Written, scan, slices

# Size lines that are looked at in one call: so few that short inputs have more, and as many as by default.
_AT_ONCE: Final = (1, 2, 5, 128)
_HEAD: Final = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


class _Scanned(NamedTuple):
    """What became of a chunked body; a refused one says nothing more."""

    end: str
    payload: bytes = b""
    trailers: bytes = b""
    rest: bytes = b""


_REFUSED: Final = _Scanned("refused")


def chunks(data: bytes) -> None:
    """Bytes behind a head that said chunked: a body, or the beginning of one, and what follows it."""
    with bounded():
        outcomes = [_scanned(pieces) for pieces in divisions(data)]
        demand(all(outcome == outcomes[0] for outcome in outcomes), "pieces matter", outcomes)
        outcome, random = outcomes[0], dice(data)
        with slices(random.randint(1, 4)):
            sliced = [_scanned(pieces) for pieces in divisions(data)]
        demand(all(each == outcome for each in sliced), "it matters how much is looked at at once", outcome, sliced)
        if outcome.end == "done":
            reading = peer.requests(_HEAD + data, most=1)
            if not reading.excused:
                _demand_same(outcome, reading, data)
        for number, pieces in enumerate(divisions(data)):
            with slices(random.choice(_AT_ONCE)):
                _through(pieces, outcome, late=number == 1, again=number == 2)


def _scanned(pieces: list[bytes]) -> _Scanned:
    try:
        scanner, found = scan(pieces)
    except ChunkError:
        return _REFUSED
    payload = b"".join(part for part, _ in found)
    if scanner.done:
        return _Scanned("done", payload, scanner.trailers, scanner.rest)
    return _Scanned("open", payload)


def _demand_same(outcome: _Scanned, reading: peer.Reading, data: bytes) -> None:
    theirs = reading.messages[0]
    demand(theirs.complete, "believed here, refused by h11", reading.error, data)
    demand(theirs.body == outcome.payload, "another payload", outcome.payload, theirs.body)
    demand(reading.rest == outcome.rest, "another end", outcome.rest, reading.rest)
    came = peer.passing_trailers(_trailers(outcome.trailers))
    demand(peer.passing_trailers(theirs.trailers) == came, "other trailers", came, theirs.trailers)


def _through(pieces: list[bytes], outcome: _Scanned, *, late: bool, again: bool) -> None:
    """What goes out behind us; `late`: it is taken when all is here; `again`: it was limited to what it has."""
    limit = len(outcome.payload) if again else 0
    wires = []
    for chunked in (True, False):
        wire, inflow = Written(), _inflow(None, chunked=True, limit=limit)
        outflow = Outflow(wire, _HEAD, chunked, lambda error: None)
        rest = _fed(inflow, pieces, partial(inflow.attach, outflow), late=late)
        outflow.uncork()
        demand(inflow.complete is (outcome.end == "done"), "another end in the flow", inflow)
        demand(inflow.failed is None or outcome.end == "refused", "fails in the flow alone", inflow)
        demand(not inflow.complete or (rest == outcome.rest and inflow.received == len(outcome.payload)), "a rest")
        wires.append(wire.bytes)
    if outcome.end == "done":
        demand(wires[1] == _HEAD + outcome.payload, "another payload without chunks", wires[1])
        reading = peer.requests(wires[0])
        demand(len(reading.messages) == 1 and reading.messages[0].complete, "written so that h11 refuses", wires[0])
        onward, came = reading.messages[0], _trailers(outcome.trailers)
        demand(onward.body == outcome.payload, "another payload goes on", wires[0])
        demand(onward.trailers == peer.passing_trailers(came), "other trailers go on", onward.trailers, came)
    if len(outcome.payload) > 1 and outcome.end == "done":
        inflow = _inflow(None, chunked=True, limit=len(outcome.payload) - 1)
        _fed(inflow, pieces, lambda: inflow.attach(Taken()), late=late)
        demand(inflow.failed is not None and inflow.failed.reason is BODY_TOO_LARGE, "a limit that does not hold")


def _trailers(block: bytes) -> peer.Fields:
    """By the simplest reader there is."""
    lines = [line.partition(b":") for line in block.split(b"\r\n")[:-1]]
    return [(name.lower(), value.strip(b" \t")) for name, _, value in lines]


def _inflow(length: int | None, *, chunked: bool, limit: int = 0) -> Inflow:
    return Inflow(
        length,
        chunked=chunked,
        blame=BAD_REQUEST,
        set_reading=lambda on: None,
        go_on=lambda: None,
        on_cancel=lambda: None,
        limit=limit,
    )


def _fed(inflow: Inflow, pieces: list[bytes], attach: Callable[[], None], *, late: bool) -> bytes:
    """Let the pieces come as a connection does: what is behind the end is not fed. Returns that."""
    if not late:
        attach()
    rest = b""
    for piece in pieces:
        rest += piece if inflow.complete else bytes(inflow.feed(piece))
        while inflow.behind:
            rest += bytes(inflow.feed(b""))
    if late:
        attach()
    return rest


class _Life:
    """One body in its connection, with a model of what each side may see."""

    def __init__(self, length: int | None, *, chunked: bool, limit: int) -> None:
        self.turns: list[bool] = []
        self.cancelled = 0
        self.asked = False  # for another turn
        self.taken = Taken()
        self.attached = False
        self.given_up = False
        self.inflow = Inflow(
            length,
            chunked=chunked,
            blame=BAD_REQUEST,
            set_reading=self.turns.append,
            go_on=self._go_on,
            on_cancel=self._on_cancel,
            limit=limit,
        )

    def _on_cancel(self) -> None:
        self.cancelled += 1

    def _go_on(self) -> None:
        self.asked = True

    def act(self, action: int) -> None:
        """One of what both sides may do."""
        inflow = self.inflow
        if action == 0 and not self.attached and not self.given_up:
            self.attached = True
            inflow.attach(self.taken)
        elif action == 1:
            inflow.pause()
        elif action == 2:
            inflow.resume()
        elif action == 3:
            self.given_up = True
            inflow.cancel()
        elif action == 4:
            inflow.end_of_stream(CONNECTION_LOST)
        elif action == 5:
            inflow.abort(SidecarError(CLIENT_GONE, "gone"))
        elif action == 6 and self.asked:
            self.asked = False
            if inflow.behind and inflow.reading:
                self.feed(b"")

    def feed(self, piece: bytes) -> None:
        """Bytes off the connection, which reads no further where it has ended."""
        if not self.inflow.complete:
            self.inflow.feed(piece)

    def look(self) -> None:
        """What holds after each step."""
        inflow, ends = self.inflow, self.taken.ends
        reading = self.turns[-1] if self.turns else True
        demand(reading is (inflow.reading and not inflow.behind), "its connection was told otherwise", inflow)
        changes = [before is not now for before, now in zip([True, *self.turns], self.turns, strict=False)]
        demand(all(changes), "its connection was told twice", self.turns)
        demand(not (inflow.complete and inflow.failed), "complete and failed", inflow)
        demand(not inflow.complete or inflow.reading, "complete, and its connection does not read", inflow)
        demand(self.asked or not (inflow.behind and inflow.reading), "nobody will go on with it", inflow)
        demand(not (inflow.behind and (inflow.complete or inflow.failed)), "it has ended, and is behind", inflow)
        demand(len(ends) <= 1, "it ends twice", ends)
        if self.attached and not self.given_up:
            demand(bool(ends) is (inflow.complete or inflow.failed is not None), "its end is not told", inflow)
            demand(inflow.received >= len(self.taken.content), "more than came", inflow)
            if ends and isinstance(ends[0], bytes):
                demand(inflow.complete, "cut, and looks whole", inflow)
                demand(len(self.taken.content) == inflow.received, "less than came", inflow)
        repr(inflow)

    def catch_up(self, most: int) -> None:
        """Whoever paused it goes on; nothing more comes."""
        for _ in range(most):
            if not self.inflow.behind:
                break
            self.act(2)
            self.act(6)
            self.look()
        demand(not self.inflow.behind, "it stays behind", self.inflow)


def body(data: bytes) -> None:
    """First how it is framed, then by turns what is done and how many bytes come; then those bytes."""
    framing, acts, content = data[:2], data[2:34], data[34:]
    if len(framing) < 2:
        return
    kind, number = framing[0] % 3, framing[1]
    with bounded(), slices(_AT_ONCE[framing[0] // 3 % len(_AT_ONCE)]):
        life = _Life(
            (number * 64 if kind == 0 else None), chunked=kind == 1, limit=number if kind == 1 and number > 127 else 0
        )
        for action in acts:
            life.act(action % 8)
            size = action // 8 * (1 + 600 * (action & 1))
            piece, content = content[:size], content[size:]
            if piece:
                life.feed(piece)
            life.look()
        life.catch_up(len(data))
        demand(life.cancelled <= sum(action % 8 == 3 for action in acts), "cancelled unasked", life.cancelled)
