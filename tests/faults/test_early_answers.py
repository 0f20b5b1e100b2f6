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


@pytest.mark.parametrize("kept", [False, True], ids=["new", "kept"])
def test_an_answer_is_delivered_though_a_write_failed_first(raw: Raw, kept: bool) -> None:
    """An upstream that answers early and resets has answered, also where the proxy learns of the reset by writing."""
    sent, answer_now, answered = Event(), Event(), Event()

    def on_head(peer: Peer, seen: Seen) -> None:
        if seen.method == "GET":
            peer.send(OK)
            return
        peer.read_exactly(1000)
        sent.set()
        answer_now.wait(20)
        peer.send(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 5\r\nConnection: close\r\n\r\nlarge")
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
    assert (answer.status, answer.body) == (413, b"large")
    account.comes_to({"upstream": 2 if kept else 1}, {"4xx": 1} | ({"2xx": 1} if kept else {}))
    eventually(lambda: raw.proxy.pool()["connections"] == 0)
