"""Answers that come before the request has been sent whole, from upstreams that then reset the connection."""

from __future__ import annotations

import os
import signal
from threading import Event

import pytest

from tests.faults.account import Account
from tests.support.upstream import OK, Peer, Seen
from tests.support.waiting import eventually
from tests.wire.raw import Raw

LARGE = b"HTTP/1.1 413 Content Too Large\r\nConnection: close\r\n"
ANSWERS = {
    "length": (LARGE + b"Content-Length: 5\r\n\r\nlarge", b"large"),
    # More chunks than are looked at in one turn of the loop, and there is none after this one.
    "chunks": (LARGE + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\na\r\n" * 1000 + b"0\r\n\r\n", b"a" * 1000),
}


@pytest.mark.parametrize("kept", [False, True], ids=["new", "kept"])
@pytest.mark.parametrize(("large", "body"), ANSWERS.values(), ids=ANSWERS)
def test_an_answer_is_delivered_though_a_write_failed_first(raw: Raw, kept: bool, large: bytes, body: bytes) -> None:
    """An upstream that answers early and resets has answered, also where the proxy learns of the reset by writing."""
    sent, answer_now, answered = Event(), Event(), Event()

    def on_head(peer: Peer, seen: Seen) -> None:
        if seen.method == "GET":
            peer.send(OK)
            return
        peer.read_exactly(1000)
        sent.set()
        answer_now.wait(20)
        peer.send(large)
        peer.reset()
        answered.set()

    raw.upstream.on_head = on_head
    account = Account(raw.proxy)
    with raw.client() as client:
        if kept:
            assert client.get().status == 200
        client.ask("/", "POST", ["Content-Length: 100000000"])
        client.send(b"x" * 1000)
        assert sent.wait(20)
        # All of it happens while the proxy looks away: then it finds bytes to pass on first, the answer after them.
        os.kill(raw.proxy.pid, signal.SIGSTOP)
        try:
            client.send(b"x" * 1000)
            answer_now.set()
            assert answered.wait(20)
        finally:
            os.kill(raw.proxy.pid, signal.SIGCONT)
        answer = client.read("POST")
    assert (answer.status, answer.body) == (413, body)
    account.comes_to({"upstream": 2 if kept else 1}, {"4xx": 1} | ({"2xx": 1} if kept else {}))
    eventually(lambda: raw.proxy.pool()["connections"] == 0)
