"""Plays a case: a client's raw bytes into a proxy, an upstream on cue behind it, and notes what both of them saw.

It judges nothing and knows no proxy in particular: `judge.py` reads its notes, `compare.py` plays the same cases to
another proxy. Behind each case come two sentinels, plain requests: the first on the case's own connection, to see
whether that is still in step, the second on a new one, to see that nothing of the case was still on its way.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from threading import Event
from typing import Final, NamedTuple

from tests.conformance.case import BODY, CLOSE, GONE, HALF_CLOSE, OK, RESET, WAIT, Case, Step, Until
from tests.support.client import Address, Answer, Client, CutError
from tests.support.upstream import Peer, Seen, Upstream
from tests.support.waiting import PATIENCE

_SENTINEL: Final = b"GET /sentinel HTTP/1.1\r\nHost: sentinel.test\r\n\r\n"
# Its connection is the upstream's last, so that each case begins with an empty pool.
_SENTINEL_ANSWER: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\nConnection: close\r\n\r\nsentinel"
_DEFAULT: Final[tuple[Step, ...]] = (BODY, OK)


class Observed(NamedTuple):
    """What was seen of one case."""

    answers: list[Answer]  # to the case's requests, as the client saw them
    cut: CutError | None  # the end that came within an answer
    end: str  # of the client's connection: "open" (the sentinel was answered), "end", "reset", "silent"
    seen: list[Seen]  # the requests that reached the upstream whole
    rest: bytes  # what else did
    kept: bool  # the connection on which the case's first request came was used for the sentinel too, or lies idle
    faults: list[str]  # what a reader could not make sense of
    in_pieces: bool  # where chunks are made anew, their number is a matter of how the bytes arrived


def ways(case: Case) -> tuple[int, ...]:
    """In what pieces a case is to be played: at once, and byte by byte where that is not to matter."""
    return (0,) if case.at_once else (0, 1)


class Stage:
    """An upstream on cue; the proxy under test is somebody else's.

    `patience` is in seconds, `versions` are those of HTTP/1 that the proxy may answer in.
    """

    def __init__(self, upstream: Upstream, patience: float = PATIENCE, versions: bytes = b"1") -> None:
        self._upstream = upstream
        self._versions = versions
        self._patience = patience
        upstream.on_head = self._on_head
        self._whole: list[Seen] = []
        self._sentinels: list[Seen] = []
        self._answers: list[tuple[Step, ...]] = []
        self._client_done = Event()
        self._gone = Event()
        self._pieces = 0

    def play(self, case: Case, address: Address, pieces: int = 0) -> Observed:
        """Play `case`; both sides send `pieces` bytes at a time, or (0) each step at once."""
        upstream = self._upstream
        upstream.forget()
        before = len(upstream.faults)
        self._whole, self._sentinels = [], []
        self._answers = list(case.answers)
        self._client_done, self._gone = Event(), Event()
        self._pieces = pieces
        faults: list[str] = []
        answers: list[Answer] = []
        cut, end = None, ""
        with Client(address, self._patience, versions=self._versions) as client:
            try:
                self._perform(client, case.sent)
                self._client_done.set()
                end, cut = self._listen(client, case, answers)
            except TimeoutError:
                end = "silent"
            except AssertionError as fault:
                faults.append(f"the client could not read: {fault}")
            finally:
                self._client_done.set()
        self._second_sentinel(address, faults)
        kept = self._kept()
        faults += [f"the upstream could not read: {fault}" for fault in upstream.faults[before:]]
        seen = [seen for seen in self._whole if seen not in self._sentinels]
        return Observed(answers, cut, end, seen, self._rest(seen), kept, faults, pieces > 0)

    # ── the client

    def _perform(self, client: Client, steps: Sequence[Step]) -> None:
        try:
            for step in steps:
                if isinstance(step, bytes):
                    self._send(client.sock, step)
                elif isinstance(step, Until):
                    client.wait_for(step.mark)
                elif step is HALF_CLOSE:
                    client.half_close()
                elif step is CLOSE:
                    client.close()
                elif step is RESET:
                    client.reset()
        except TimeoutError:
            raise  # what it waits for does not come
        except (OSError, CutError):
            pass  # it was answered, or cut off, before it had said all of it

    def _send(self, sock: socket.socket, data: bytes) -> None:
        size = max(self._pieces, len(data) // 1000) if self._pieces else len(data)
        for position in range(0, len(data), size or 1):
            sock.sendall(data[position : position + size])

    def _listen(self, client: Client, case: Case, answers: list[Answer]) -> tuple[str, CutError | None]:
        """Read the answers, then the sentinel's; returns how that ended."""
        if client.sock.fileno() < 0:
            return "end", None
        try:
            for method in case.methods:
                answers.append(client.read(method))
                if answers[-1].status == 101:
                    answers[-1].body = client.read_rest()
                    return "end", None
                if answers[-1].framed == "close":
                    return "end", None
            if any(GONE in steps for steps in case.answers):
                self._gone.wait(self._patience)
            if "close" not in answers[-1].all("Connection"):
                self._ask_sentinel(client)
            while (answer := client.read()).body != b"sentinel":
                answers.append(answer)
            return "open", None
        except CutError as cut:
            return cut.how, cut if cut.answer is not None or client.buffer else None

    def _ask_sentinel(self, client: Client) -> None:
        try:
            client.send(_SENTINEL)
        except OSError:
            pass

    def _second_sentinel(self, address: Address, faults: list[str]) -> None:
        with Client(address, self._patience, versions=self._versions) as client:
            try:
                self._ask_sentinel(client)
                if client.read().body != b"sentinel":
                    faults.append("another client got what was not its own")
            except (AssertionError, CutError, TimeoutError) as fault:
                faults.append(f"another client was not served: {fault!r}")

    # ── the upstream

    def _on_head(self, peer: Peer, seen: Seen) -> None:
        if seen.target == "/sentinel":
            if peer.read_body(seen):
                self._whole.append(seen)
                self._sentinels.append(seen)
                peer.send(_SENTINEL_ANSWER)
            return
        for step in self._answers.pop(0) if self._answers else _DEFAULT:
            if step is BODY:
                if not peer.read_body(seen):
                    return
                self._whole.append(seen)
            elif isinstance(step, bytes):
                self._send_from(peer, step)
            elif isinstance(step, Until):
                peer.read_until(step.mark)
            elif step is WAIT:
                self._client_done.wait(self._patience)
            elif step is GONE:
                peer.wait_gone()
                self._gone.set()
            elif step is HALF_CLOSE:
                peer.half_close()
            elif step is CLOSE:
                peer.close()
            elif step is RESET:
                peer.reset()

    def _send_from(self, peer: Peer, data: bytes) -> None:
        try:
            self._send(peer.sock, data)
        except OSError:
            pass  # the proxy has had enough of it

    def _rest(self, seen: list[Seen]) -> bytes:
        """What the upstream received besides `seen` and the sentinels."""
        rest = b""
        for peer in list(self._upstream.peers):
            received = bytes(peer.received)
            for one in [*seen, *self._sentinels]:
                if one.peer is peer:
                    received = received.replace(one.head + one.raw_body, b"", 1)
            rest += received
        return rest

    def _kept(self) -> bool:
        """Whether the first connection that a case's request came on is still in use."""
        first = next((seen.peer for seen in self._upstream.seen if seen.target != "/sentinel"), None)
        if first is None:
            return False
        return any(seen.peer is first for seen in self._sentinels) or not (
            first.closed or first.gone.wait(self._patience)
        )
