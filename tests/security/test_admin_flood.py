"""Whoever reaches the admin port cannot hurt the proxy through it: the real process, with more callers than room."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from time import sleep

import pytest

from sidecar.admin.door import MOST
from tests.support.client import connect
from tests.support.processes import Proxy
from tests.support.upstream import Upstream
from tests.support.waiting import eventually

CALLERS = 3 * MOST


@pytest.fixture(scope="module")
def proxy() -> Iterator[Proxy]:
    """A proxy with a token, in front of an upstream that answers."""
    with Upstream() as upstream, Proxy(upstream.url, SIDECAR_ADMIN__TOKEN="hush") as proxy:
        yield proxy


@pytest.mark.parametrize(
    "said", [b"", b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nX-"], ids=["silent", "half a head"]
)
def test_callers_that_stay_take_nothing_from_others(proxy: Proxy, said: bytes) -> None:
    """Requests are served, probes answered, and the descriptors of the process bounded."""
    with ExitStack() as stack:
        for _ in range(CALLERS):
            caller = stack.enter_context(connect(proxy.admin))
            caller.sendall(said)
        with proxy.client() as client:
            assert client.get().status == 200
        assert proxy.page("/livez") == (200, b"ok")
        assert proxy.page("/status")[0] == 200
        eventually(lambda: descriptors(proxy) < MOST + 50, "the descriptors to be few")


def test_pages_that_nobody_reads_take_nothing_from_others(proxy: Proxy) -> None:
    """Asked for over and over on connections that are never read from: no more are made than the kernel takes."""
    # Some 10 MB of pages for each connection, of which the kernel takes 4.
    asking = b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" * 1500
    assert proxy.page("/metrics")[0] == 200  # what makes them is there
    before = proxy.rss()
    grown = []

    def at_rest() -> bool:
        """Whether no page is made any more: a second of making them takes most of a second of its time."""
        began = proxy.cpu()
        for _ in range(10):
            sleep(0.1)
            grown.append(proxy.rss() - before)
        return proxy.cpu() - began < 0.1

    with ExitStack() as stack:
        callers = [stack.enter_context(connect(proxy.admin)) for _ in range(4)]
        for caller in callers:
            caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            caller.sendall(asking)
        with proxy.client() as client:
            assert client.get().status == 200
        assert proxy.page("/livez") == (200, b"ok")
        eventually(at_rest, "the last page", timeout=120)
        assert [caller.recv(12) for caller in callers] == [b"HTTP/1.1 200"] * 4
        assert max(grown) < 10 * 1024 * 1024


def descriptors(proxy: Proxy) -> int:
    """How many files and sockets the process has open."""
    return len(os.listdir(f"/proc/{proxy.pid}/fd"))
