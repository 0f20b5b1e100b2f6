"""What a case is: the bytes that a client sends, the upstream's script, and the one class of outcome that is allowed.

The tables beside this file are made of these words alone; `stage.py` plays a case, `judge.py` says what was wrong.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Final, NamedTuple


class Until(NamedTuple):
    """Read on until the other side has sent this."""

    mark: bytes


class Do(Enum):
    """What either side can do besides sending and reading."""

    BODY = auto()  # the upstream reads the request's body
    WAIT = auto()  # the upstream waits until the client has taken its steps
    GONE = auto()  # the upstream waits until the proxy has closed, and the client until then
    HALF_CLOSE = auto()
    CLOSE = auto()
    RESET = auto()


BODY: Final = Do.BODY
WAIT: Final = Do.WAIT
GONE: Final = Do.GONE
HALF_CLOSE: Final = Do.HALF_CLOSE
CLOSE: Final = Do.CLOSE
RESET: Final = Do.RESET

Step = bytes | Until | Do


class Refused(NamedTuple):
    """The sidecar's own answer with this status, then the connection's end; the upstream saw not a byte."""

    status: int = 400

    @property
    def verdict(self) -> str:
        """In one word, for the comparison."""
        return f"refused {self.status}"


class Unfinished(NamedTuple):
    """The upstream never saw the request whole: the client is told this status, or (0, it has left) nothing."""

    status: int = 400

    @property
    def verdict(self) -> str:
        """In one word, for the comparison."""
        return f"refused {self.status}" if self.status else "dropped"


class Passed(NamedTuple):
    """The upstream saw exactly these requests, the client exactly these answers, all without the sidecar's own fields.

    An answer is its head, its payload and its trailer lines, whichever way the payload was framed: the head says how.
    Afterwards the client's connection serves on, or has come to its `end`. Where a `refusal` is given, that status
    followed the answers, as the sidecar's own. `besides` is the most that the upstream was sent behind its requests:
    in a tunnel, or of a request that it did not read whole. `kept`, where it is given, says whether the upstream's
    connection served on.
    """

    upstream: tuple[bytes, ...]
    client: tuple[bytes, ...]
    end: bool = False
    refusal: int = 0
    besides: bytes = b""
    kept: bool | None = None

    @property
    def verdict(self) -> str:
        """In one word, for the comparison."""
        return f"passed, refused {self.refusal}" if self.refusal else "passed"


class BadAnswer(NamedTuple):
    """The client is told 502 `bad_response`, or another reason, and served on; the upstream's connection is closed."""

    reason: str = "bad_response"

    @property
    def verdict(self) -> str:
        """In one word, for the comparison."""
        return "refused 502"


class Cut(NamedTuple):
    """The client saw this much of an answer's payload and then, visibly, no end of it."""

    payload: bytes = b""
    how: str = ""  # "end" or "reset", where only one of them shows

    @property
    def verdict(self) -> str:
        """In one word, for the comparison."""
        return "cut"


Outcome = Refused | Unfinished | Passed | BadAnswer | Cut


class Case(NamedTuple):
    """One row. The upstream plays `answers` in turn, one to a request; `methods` are those of the requests sent.

    `at_once` says that the outcome is for bytes that arrive together, and another one where they do not.
    """

    id: str
    rfc: str
    sent: tuple[Step, ...]
    allowed: Outcome
    answers: tuple[tuple[Step, ...], ...] = ()
    methods: tuple[str, ...] = ("GET",)
    at_once: bool = False


def message(first: str, *lines: str, body: bytes = b"") -> bytes:
    """A request or an answer of these lines; bytes outside ASCII are written as in Latin-1."""
    return "\r\n".join([first, *lines, "", ""]).encode("latin-1") + body


HOST: Final = "Host: service.test"
CHUNKED: Final = "Transfer-Encoding: chunked"
OK: Final = message("HTTP/1.1 200 OK", "Content-Length: 2", body=b"ok")
OK_END: Final = message("HTTP/1.1 200 OK", "Content-Length: 2", "Connection: close", body=b"ok")


def get(*lines: str, target: str = "/x", host: str = HOST, version: str = "1.1") -> bytes:
    """A GET with these lines behind Host."""
    return message(f"GET {target} HTTP/{version}", host, *lines)


def post(*lines: str, body: bytes = b"", version: str = "1.1") -> bytes:
    """A POST with these lines behind Host."""
    return message(f"POST /x HTTP/{version}", HOST, *lines, body=body)


def chunked(body: bytes, *lines: str) -> bytes:
    """A chunked POST."""
    return post(CHUNKED, *lines, body=body)


SMUGGLED: Final = get(target="/smuggled")


def refused(case: str, rfc: str, sent: bytes, status: int = 400) -> Case:
    """A case of a head that must not be believed."""
    return Case(case, rfc, (sent,), Refused(status))


def unfinished(case: str, rfc: str, *sent: Step, status: int = 400) -> Case:
    """A case of a body that must not be believed, or was not sent whole."""
    return Case(case, rfc, sent, Unfinished(status))


def passed(case: str, rfc: str, sent: bytes, seen: bytes | None = None, *, end: bool = False) -> Case:
    """A case of a request that reaches the upstream as `seen`, or as it was sent."""
    return Case(case, rfc, (sent,), Passed((sent if seen is None else seen,), (OK_END if end else OK,), end))


def answered(
    case: str,
    rfc: str,
    answer: bytes | tuple[Step, ...],
    allowed: Outcome | bytes,
    *,
    sent: bytes = get(),
    seen: bytes | None = None,
    end: bool = False,
    method: str = "GET",
    kept: bool | None = None,
) -> Case:
    """A case of an upstream's answer; where `allowed` is bytes, the client is to see just these."""
    if isinstance(allowed, bytes):
        allowed = Passed((sent if seen is None else seen,), (allowed,), end, kept=kept)
    steps: tuple[Step, ...] = (BODY, answer) if isinstance(answer, bytes) else answer
    return Case(case, rfc, (sent,), allowed, (steps,), (method,))
