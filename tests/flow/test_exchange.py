"""The life of one exchange: limits that only tighten, releases that run once."""

from __future__ import annotations

from math import inf

import pytest

from sidecar.exchange import EMPTY, Exchange, FixedBody, Request, Response
from sidecar.headers import Headers
from tests.http1.support import Taken


class Timer:
    """Remembers what it was asked for."""

    def __init__(self) -> None:
        self.dues: list[float] = []

    def at_latest(self, due: float) -> None:
        self.dues.append(due)


@pytest.fixture
def timer() -> Timer:
    return Timer()


@pytest.fixture
def exchange(timer: Timer) -> Exchange:
    return Exchange(Request("GET", b"/a?b=c", Headers()), b"id", "192.0.2.7", 100.0, timer)


def test_releases_run_once_in_reverse(exchange: Exchange) -> None:
    """Who took last gives back first; a second end changes nothing."""
    order: list[str] = []
    exchange.on_settled(lambda _, now: order.append(f"outer {now:g}"))
    exchange.on_settled(lambda _, now: order.append(f"inner {now:g}"))
    assert not exchange.settled
    exchange.settle(101.0)
    exchange.settle(102.0)

    assert order == ["inner 101", "outer 101"]
    assert exchange.settled


def test_who_comes_after_the_end_is_told(exchange: Exchange) -> None:
    """What would be taken now would never be given back."""
    exchange.settle(101.0)

    with pytest.raises(RuntimeError, match="has ended"):
        exchange.on_settled(lambda _, now: None)


def test_a_release_may_ask_whether_it_is_over(exchange: Exchange) -> None:
    """It is, before the first release runs: no release can settle again."""
    seen: list[bool] = []
    exchange.on_settled(lambda ended, now: seen.append(ended.settled))
    exchange.on_settled(lambda ended, now: ended.settle(now))
    exchange.settle(101.0)

    assert seen == [True]


def test_limits_only_tighten(exchange: Exchange, timer: Timer) -> None:
    """The timer hears of those that do."""
    for due in (150.0, 160.0, 140.0, 140.0):
        exchange.limit(due)

    assert exchange.deadline == 140.0
    assert timer.dues == [150.0, 140.0]


def test_the_timeout_counts_from_the_last_byte(exchange: Exchange, timer: Timer) -> None:
    """Not before the request has come in whole, and only if there is one."""
    exchange.received(105.0)
    assert (exchange.whole, exchange.deadline) == (105.0, inf)
    exchange.timeout = 15.0
    exchange.received(106.0)

    assert exchange.deadline == 121.0
    assert timer.dues == [121.0]


def test_our_own_time_is_what_is_left_of_the_waits(exchange: Exchange) -> None:
    """Never less than none, whatever the clocks' grain."""
    exchange.upstream_wait = 3.0
    exchange.client_wait = 1.5
    assert exchange.overhead(105.0) == 0.5
    assert exchange.overhead(104.0) == 0.0


@pytest.mark.parametrize(
    ("method", "key", "idempotent"),
    [
        *((method, False, True) for method in ("GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE")),
        *((method, False, False) for method in ("POST", "PATCH", "CONNECT", "get", "")),
        ("POST", True, True),
    ],
)
def test_some_requests_may_be_sent_twice(method: str, key: bool, idempotent: bool) -> None:
    """By their method, or by the client's word."""
    headers = Headers(b"Idempotency-Key: 1\r\n", {b"idempotency-key": b"1"}) if key else Headers(b"")

    assert Request(method, b"/", headers).idempotent is idempotent


@pytest.mark.parametrize(
    ("target", "path"),
    [(b"/a?b", "/a"), (b"/", "/"), (b"*", "*"), (b"/?", "/"), (b"/a?b?c", "/a"), (b"/\xff", "/\ufffd")],
)
def test_a_path_is_the_target_without_its_query(target: bytes, path: str) -> None:
    """As text."""
    assert Request("GET", target, Headers()).path == path


@pytest.mark.parametrize(("content", "pieces"), [(b"", []), (b"hi", [(b"hi", None)])])
def test_a_fixed_body_flows_at_once(content: bytes, pieces: list[tuple[bytes, None]]) -> None:
    """As often as it is asked to; its valve does nothing."""
    body = FixedBody(content)
    for _ in range(2):
        taken = Taken()
        body.attach(taken)
        assert taken.pieces == pieces
        assert taken.ends == [b""]
    body.pause()
    body.resume()
    body.cancel()

    assert (body.length, body.complete) == (len(content), True)


def test_no_body_is_one_object() -> None:
    """So that it can be asked for by identity."""
    assert Request("GET", b"/", Headers()).body is EMPTY
    assert Response(200, b"OK", Headers()).body is EMPTY


def test_it_shows_its_state(exchange: Exchange) -> None:
    """Without its query, which may be secret."""
    assert repr(exchange) == "<Exchange id <Request GET /a> waiting>"
    exchange.answered = 1.0
    assert "answering" in repr(exchange)
    exchange.settle(2.0)
    assert "settled" in repr(exchange)
    assert repr(Response(204, b"", Headers())) == "<Response 204>"
