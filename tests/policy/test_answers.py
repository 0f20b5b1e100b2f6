"""The answers the sidecar gives itself, as the client reads them."""

from __future__ import annotations

import json
from email.utils import parsedate_to_datetime

import h11
import pytest

from sidecar.answers import answer
from sidecar.errors import OVERLOADED, REASONS, Reason, SidecarError
from sidecar.exchange import FixedBody, Flow, Response
from sidecar.headers import index


class Taken:
    """A sink that keeps what it is given."""

    source: Flow | None = None

    def __init__(self) -> None:
        self.content = b""
        self.ended = False

    def data(self, data: bytes | memoryview, raw: bytes | None) -> None:
        self.content += data

    def holds(self) -> bool:
        return False

    def end(self, trailers: bytes) -> None:
        self.ended = True

    def abort(self, error: SidecarError) -> None:
        raise AssertionError(error)


def body_of(response: Response) -> bytes:
    """The body, which is here already."""
    assert isinstance(response.body, FixedBody)
    taken = Taken()
    response.body.attach(taken)
    assert taken.ended
    assert response.body.length == len(taken.content)
    return taken.content


@pytest.mark.parametrize("reason", REASONS, ids=[reason.token for reason in REASONS])
def test_every_reason_is_an_answer_that_explains_itself(reason: Reason) -> None:
    """The same token in the body and both headers, and a body in the form of RFC 9457."""
    response = answer(SidecarError(reason, "it was so"), b"id-1")
    headers = index(response.headers.block)
    body = body_of(response)

    assert response.status == reason.status
    assert json.loads(body) == {
        "type": "about:blank",
        "title": reason.title,
        "status": reason.status,
        "detail": "it was so",
        "reason": reason.token,
        "request_id": "id-1",
    }
    assert headers[b"content-type"] == b"application/problem+json"
    assert headers[b"content-length"] == b"%d" % len(body)
    assert headers[b"cache-control"] == b"no-store"
    assert headers[b"x-sidecar-reason"] == reason.token.encode()
    assert headers[b"proxy-status"] == b"sidecar; error=" + reason.proxy_error.encode()
    assert b"retry-after" not in headers
    assert parsedate_to_datetime(headers[b"date"].decode()).tzinfo is not None


@pytest.mark.parametrize("reason", REASONS, ids=[reason.token for reason in REASONS])
def test_every_answer_is_http(reason: Reason) -> None:
    """A strict reader takes its head, phrase and all."""
    response = answer(SidecarError(reason, "é\r\n\x00"), b"id")
    reader = h11.Connection(h11.CLIENT)
    reader.send(h11.Request(method="GET", target="/", headers=[("Host", "a")]))
    reader.send(h11.EndOfMessage())
    reader.receive_data(b"HTTP/1.1 %d %b\r\n%b\r\n" % (response.status, response.phrase, response.headers.block))
    head = reader.next_event()

    assert response.phrase
    assert isinstance(head, h11.Response)
    assert head.status_code == reason.status


@pytest.mark.parametrize(("after", "told"), [(0, 1), (0.2, 1), (1, 1), (1.01, 2), (29.5, 30)])
def test_retry_after_is_in_whole_seconds(after: float, told: int) -> None:
    """Rounded up, and never zero, which would mean at once."""
    response = answer(SidecarError(OVERLOADED, "busy", retry_after=after), b"id")

    assert index(response.headers.block)[b"retry-after"] == b"%d" % told
    assert json.loads(body_of(response))["retry_after"] == told


def test_the_numbers_that_decided_are_told() -> None:
    """As members of the body."""
    problem = json.loads(body_of(answer(SidecarError(OVERLOADED, "busy", facts={"limit": 5, "waiting": 2}), b"id")))

    assert (problem["limit"], problem["waiting"]) == (5, 2)


def test_nothing_in_a_detail_gets_into_the_head() -> None:
    """Line ends in it are the body's, escaped."""
    response = answer(SidecarError(OVERLOADED, "a\r\nX-Evil: 1"), b"id")

    assert b"Evil" not in response.headers.block
    assert json.loads(body_of(response))["detail"] == "a\r\nX-Evil: 1"
