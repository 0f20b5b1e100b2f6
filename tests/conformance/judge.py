"""Judges what was seen of a case: `complaints` holds it to what the case allows, `verdict` sums it up in a word."""

from __future__ import annotations

import re
from typing import Final

from tests.conformance.case import BadAnswer, Case, Cut, Passed, Refused, Unfinished
from tests.conformance.stage import Observed
from tests.support.client import Answer
from tests.support.upstream import Seen

# What the sidecar itself says, once in each message; a second such line would be somebody else's.
_TO_UPSTREAM: Final = (
    rb"X-Request-ID: [!-~]{1,128}\r\n",
    rb"X-Forwarded-Proto: http\r\n",
    rb"X-Forwarded-For: 127\.0\.0\.1\r\n",
    rb"X-Forwarded-Host: [^\r\n]*\r\n",
    rb"x-envoy-attempt-count: 1\r\n",
)
# What it calls the upstream where the client names no host; the port is another one each time.
_NO_HOST: Final = re.compile(rb"\r\nHost: 127\.0\.0\.1:[0-9]+\r\n")
_TO_CLIENT: Final = (rb"X-Request-ID: [!-~]{1,128}\r\n", rb"x-envoy-attempt-count: 1\r\n")

_STATUS: Final = re.compile(rb"HTTP/1\.[01] ([0-9]{3}) ")


def _without(head: bytes, lines: tuple[bytes, ...]) -> bytes:
    for line in lines:
        head = re.sub(b"\r\n" + line, b"\r\n", head, count=1)
    return head


def as_received(seen: Seen) -> bytes:
    """A request as it reached the upstream, less what the sidecar itself says there."""
    return _NO_HOST.sub(b"\r\nHost: upstream\r\n", _without(seen.head, _TO_UPSTREAM)) + seen.raw_body


def _joined(message: bytes) -> bytes:
    """A message with all its chunks made one."""
    head, _, left = message.partition(b"\r\n\r\n")
    if b"\r\ntransfer-encoding: chunked" not in head.lower():
        return message
    payload = b""
    while size := int((line := left.partition(b"\r\n")[0]), 16):
        start = len(line) + 2
        payload += left[start : start + size]
        left = left[start + size + 2 :]
    return b"%b\r\n\r\n%x\r\n%b\r\n%b" % (head, len(payload), payload, left)


def as_read(answer: Answer) -> list[bytes]:
    """An answer and the interim ones before it, less what the sidecar itself says: head, payload, trailer lines."""
    trailers = "".join(f"{name}: {value}\r\n" for name, value in answer.trailers).encode("latin-1")
    whole = _without(answer.head, _TO_CLIENT) + b"\r\n" + answer.body + trailers
    return [*(interim.head + b"\r\n" for interim in answer.interim), whole]


def is_own(answer: Answer) -> bool:
    """Whether the sidecar answered by itself, in the form that its own answers have."""
    return answer.get("Content-Type") == "application/problem+json" and "X-Sidecar-Reason" in answer


def complaints(case: Case, observed: Observed) -> list[str]:
    """What is not as the case allows; empty where all is."""
    found = list(observed.faults)
    allowed = case.allowed
    if isinstance(allowed, Refused):
        found += _not_refused(observed, allowed.status)
        found += _differ("the upstream saw", [as_received(seen) for seen in observed.seen], [])
        found += _differ("the upstream saw", observed.rest, b"")
    elif isinstance(allowed, Unfinished):
        found += _not_refused(observed, allowed.status) if allowed.status else _differ("answers", observed.answers, [])
        found += _differ("whole upstream", [as_received(seen) for seen in observed.seen], [])
        found += _differ("the upstream's connection was kept", observed.kept, False)
    elif isinstance(allowed, Passed):
        found += _not_passed(observed, allowed)
    elif isinstance(allowed, BadAnswer):
        found += _not_bad(observed, allowed)
    else:
        found += _not_cut(observed, allowed)
    return found


def _differ(what: str, seen: object, allowed: object) -> list[str]:
    return [] if seen == allowed else [f"{what}: {seen!r}\n  allowed: {allowed!r}"]


def _not_refused(observed: Observed, status: int) -> list[str]:
    found = _differ("statuses", [answer.status for answer in observed.answers], [status])
    for answer in observed.answers:
        found += _differ("own answer", is_own(answer), True)
        found += _differ("Connection", answer.get("Connection"), "close")
        if b'"detail":"' not in answer.body:
            found.append("the answer does not say why")
    found += _differ("the client's connection", (observed.end, observed.cut), ("end", None))
    return found


def _not_passed(observed: Observed, allowed: Passed) -> list[str]:
    answers = list(observed.answers)
    found = []
    if allowed.refusal:
        last = answers.pop() if answers else None
        found += _differ("refusal", last and (last.status, is_own(last), last.get("Connection")), (
            allowed.refusal, True, "close"
        ))  # fmt: skip
    upstream, allowed_upstream = tuple(map(as_received, observed.seen)), allowed.upstream
    if observed.in_pieces:
        upstream, allowed_upstream = tuple(map(_joined, upstream)), tuple(map(_joined, allowed_upstream))
    found += _differ("the upstream saw", upstream, allowed_upstream)
    if not allowed.besides.startswith(_without(observed.rest, _TO_UPSTREAM)):
        found += _differ("beside that it saw", observed.rest, allowed.besides)
    if allowed.kept is not None:
        found += _differ("the upstream's connection was kept", observed.kept, allowed.kept)
    found += _differ("the client saw", tuple(part for answer in answers for part in as_read(answer)), allowed.client)
    # What the client had sent behind its last request makes a reset of the end.
    ends = ("end", "reset") if allowed.end or allowed.refusal else ("open",)
    if observed.end not in ends or observed.cut is not None:
        found += _differ("the client's connection", (observed.end, observed.cut), (ends, None))
    return found


def _not_bad(observed: Observed, allowed: BadAnswer) -> list[str]:
    reasons = [answer.get("X-Sidecar-Reason") for answer in observed.answers]
    found = _differ("statuses", [answer.status for answer in observed.answers], [502])
    found += _differ("reasons", reasons, [allowed.reason])
    found += _differ("the client's connection", observed.end, "open")
    found += _differ("the upstream's connection was kept", observed.kept, False)
    return found


def _not_cut(observed: Observed, allowed: Cut) -> list[str]:
    found = _differ("whole answers", observed.answers, [])
    found += _differ("the upstream's connection was kept", observed.kept, False)
    cut = observed.cut
    if cut is None or cut.answer is None:
        return [*found, f"no answer that was cut, but: {cut!r}, {observed.end}"]
    found += _differ("the payload before the cut", cut.answer.body, allowed.payload)
    if allowed.how:
        found += _differ("the cut", cut.how, allowed.how)
    return found


def verdict(case: Case, observed: Observed) -> str:
    """What became of a case, in words that are the same for every proxy."""
    sent = b"".join(step for steps in case.answers for step in steps if isinstance(step, bytes))
    upstreams = set(map(int, _STATUS.findall(sent)))
    if observed.faults:
        return "garbled"
    if observed.cut is not None:
        return "cut"
    statuses = [answer.status for answer in observed.answers]
    if not statuses:
        return "dropped" if observed.end in ("end", "reset") else "silent"
    refusals = [status for status in statuses if status >= 400 and status not in upstreams]
    if len(refusals) == len(statuses):
        return f"refused {statuses[0]}"
    return f"passed, refused {refusals[0]}" if refusals else "passed"
