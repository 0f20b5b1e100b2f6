"""The story of one exchange: what each policy decided and by which numbers, each attempt, and who spent the time.

Pure: a `Record` becomes a dict that JSON can hold (`row`, `story`), and that dict becomes text for a terminal (`text`).
All times in it are milliseconds since the request's first byte, but `ts`. Texts are short, whatever clients sent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from math import inf, isfinite
from typing import Any, Final

from sidecar.errors import (
    CLIENT_GONE,
    REASONS,
    UPSTREAM,
)
from sidecar.exchange import Facts
from sidecar.telemetry.metrics import UNTOLD
from sidecar.telemetry.record import Record
from sidecar.telemetry.render import printable

ATTEMPT: Final = "attempt"  # what the notes of attempts are filed under, among the policies' names
_RETRY: Final = "retry"
_SHADOW: Final = "would "  # what verdicts begin with that were only counted

_MOST_FACTS: Final = 16
_LONGEST_FACT: Final = 200  # characters

_TABLE: Final = {reason.token: reason for reason in REASONS}

# Why there was no further attempt, by retry's tokens.
_NOT_AGAIN: Final = {
    "exhausted": "no attempt was left",
    "body": "the body could not be sent again",
    "deadline": "the deadline was too near",
    "budget": "the retry budget was spent",
}

Step = dict[str, Any]


def row(record: Record, now: float, clock: float) -> dict[str, object]:
    """An exchange in one line, with the access log's names. `clock` turns monotonic seconds into the epoch's."""
    ended = now if record.ended is None else record.ended
    total = ended - record.started
    waits = record.upstream_wait + record.client_wait + record.queue_wait + record.backoff_wait
    return {
        "ts": _timestamp(ended + clock),
        "method": record.method,
        "path": record.path,
        "status": record.status or (UNTOLD if record.ended is not None else 0),
        "reason": record.reason,
        "route": record.route,
        "template": record.label,
        "attempts": record.attempts,
        "duration_ms": _ms(total),
        "upstream_ms": _ms(record.upstream_wait),
        "queue_ms": _ms(record.queue_wait),
        "backoff_ms": _ms(record.backoff_wait),
        "client_ms": _ms(record.client_wait),
        "own_ms": _ms(max(0.0, total - waits)),
        "bytes_in": record.bytes_in,
        "bytes_out": record.bytes_out,
        "request_id": record.id.decode("ascii", "replace"),
        "upstream": record.upstream,
        "client": record.client,
    }


def story(record: Record, now: float, clock: float) -> dict[str, object]:
    """The whole story. `own_ms` is what is left of the total: attempts that overlap may leave nothing of it."""
    steps = _steps(record)
    answered = record.answered
    return {
        **row(record, now, clock),
        "in_flight": record.ended is None,
        "whole_ms": _since(record, record.whole),
        "answered_ms": _since(record, answered),
        "budget_ms": _ms(record.deadline - record.started),
        "left_ms": _left(record, answered) if answered is not None else None,
        "steps": steps,
        "why": _why(record, steps, now),
    }


def text(told: Mapping[str, Any]) -> str:
    """What `story` gave, for a terminal: no line holds anything that a terminal would obey."""
    status = told["status"] or "no answer yet"
    lines = [f"{told['method']} {told['path']} -> {status} {told['reason'] if told['status'] else ''}".rstrip()]
    names = {"id": "request_id", "route": "route", "template": "template", "client": "client", "upstream": "upstream"}
    lines += [f"{name:9} {told[key]}" for name, key in names.items() if told[key]]
    lines += [f"{'now' if told['in_flight'] else 'ended':9} {told['ts']}", "", f"{'at ms':>11}  {'left ms':>9}"]
    lines += [f"{at:11.3f}  {'' if left is None else f'{left:.1f}':>9}  {what}" for at, left, what in _timeline(told)]
    spent = [f"{name} {told[f'{name}_ms']:g}" for name in ("upstream", "queue", "backoff", "client")]
    lines += ["", f"spent     {', '.join(spent)}, sidecar {told['own_ms']:g}: {told['duration_ms']:g} ms in all"]
    if told["budget_ms"] is not None:
        left = "" if told["left_ms"] is None else f", {told['left_ms']:g} ms left at the answer"
        lines.append(f"budget    {told['budget_ms']:g} ms{left}")
    lines += ["", f"why       {told['why']}"]
    return "\n".join(map(printable, lines))


# ── steps


def _steps(record: Record) -> list[Step]:
    """The notes in the order in which things began: an attempt is noted at its end."""
    steps = [_step(record, *note) for note in list(record.notes)]
    steps.sort(key=lambda step: step["at_ms"])
    number = 0
    for step in steps:
        if step["policy"] == ATTEMPT:
            number += 1
            step["number"] = number
    return steps


def _step(record: Record, at: float, policy: str, verdict: str, noted: Facts) -> Step:
    pairs = zip(noted[::2], noted[1::2], strict=True) if isinstance(noted, tuple) else (noted or {}).items()
    facts = {str(name): value for name, value in pairs}
    if policy == ATTEMPT:
        # It is noted at its end, and told where it began.
        began = facts.pop("began", at)
        if isinstance(began, float):
            facts = {"elapsed_ms": (at - began) * 1e3, **facts}
            at = began
    return {
        "at_ms": _since(record, at),
        "policy": policy,
        "verdict": verdict[:_LONGEST_FACT],
        "left_ms": _left(record, at),
        "facts": {name: _fact(value) for name, value in list(facts.items())[:_MOST_FACTS]},
    }


def _left(record: Record, at: float) -> float | None:
    """Milliseconds left at a time of what the client, or once the request was in whole the sidecar, gives."""
    whole = record.whole is not None and at >= record.whole
    return _ms((record.deadline if whole else record.client_deadline) - at)


def _fact(value: object) -> object:
    """A value of any kind as JSON can hold it, short."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return round(value, 3) if isfinite(value) else None
    return str(value)[:_LONGEST_FACT]


def _timeline(told: Mapping[str, Any]) -> list[tuple[float, float | None, str]]:
    moments: list[tuple[float, float | None, str]] = [(0.0, None, "the request's first byte")]
    if told["whole_ms"] is not None:
        moments.append((told["whole_ms"], None, "the request is in whole"))
    moments += [(step["at_ms"], step["left_ms"], _told(step)) for step in told["steps"]]
    if told["answered_ms"] is not None:
        moments.append((told["answered_ms"], told["left_ms"], f"the answer begins: {told['status']}"))
    if not told["in_flight"]:
        sizes = f"{told['bytes_in']} bytes of body in, {told['bytes_out']} out"
        moments.append((told["duration_ms"], None, f"the end: {sizes}"))
    return sorted(moments, key=lambda moment: moment[0])


def _told(step: Mapping[str, Any]) -> str:
    """One step in one line."""
    number = f" {step['number']}" if step["policy"] == ATTEMPT else ""
    return f"{step['policy'] + number:12} {step['verdict']:17} {_numbers(step['facts'])}".rstrip()


def _numbers(facts: Mapping[str, object]) -> str:
    """Facts as `remaining 12, elapsed 3.2 ms`."""
    return ", ".join(_number(name, value) for name, value in facts.items())


def _number(name: str, value: object) -> str:
    if isinstance(value, bool) or value is None:
        return f"{name} {'yes' if value else 'none' if value is None else 'no'}"
    shown = f"{value:g}" if isinstance(value, float) else str(value)
    word, _, unit = name.rpartition("_")
    return f"{word} {shown} {unit}" if word and unit in ("ms", "s") else f"{name} {shown}"


# ── why


def _why(record: Record, steps: Sequence[Step], now: float) -> str:
    if record.ended is None:
        return _whereabouts(record, steps, now)
    shadows = {f"{step['policy']} {step['verdict']}": None for step in steps if step["verdict"].startswith(_SHADOW)}
    shadow = f"; in shadow mode: {', '.join(shadows)}" if shadows else ""
    return _because(record, steps, record.ended) + shadow


def _because(record: Record, steps: Sequence[Step], ended: float) -> str:
    status, reason = record.status or UNTOLD, record.reason
    verdicts = [str(step["verdict"]) for step in steps if step["policy"] == ATTEMPT]
    if reason == UPSTREAM:
        before = f", after {' and '.join(verdicts[:-1])}" if len(verdicts) > 1 else ""
        which = f"attempt {len(verdicts)}" if len(verdicts) > 1 else "the first attempt"
        return f"answered {status}: the upstream's own answer to {which}{before}{_not_again(steps)}"
    if reason == CLIENT_GONE.token:
        when = f"the client left after {_ms(ended - record.started):g} ms"
        if record.answered is not None:
            return f"{when}, in the middle of the answer ({status})"
        return f"{when}, before it was answered; {_attempts(verdicts)}"
    own = _TABLE.get(reason)
    cause = record.detail or (own.title.lower() if own is not None else "")
    if verdicts and verdicts[-1] == str(status) and own is not None and own.status != status:
        return f"answered {status} by the upstream, then cut, {reason}: {cause}"
    return f"answered {status} {reason}: {cause}; {_attempts(verdicts)}{_not_again(steps)}"


def _attempts(verdicts: Sequence[str]) -> str:
    if not verdicts:
        return "no attempt was made"
    return f"{len(verdicts)} attempt{'s were' if len(verdicts) > 1 else ' was'} made ({', '.join(verdicts)})"


def _not_again(steps: Sequence[Step]) -> str:
    """Why retry made no further attempt, if it was asked."""
    last = steps[-1] if steps else None
    facts = last["facts"] if last is not None and last["policy"] == _RETRY else {}
    if "because" not in facts or "after" not in facts:
        return ""  # the second of a hedge is refused while the first goes on
    because = facts["because"]
    return f"; not tried again: {_NOT_AGAIN.get(because, because)}"


def _whereabouts(record: Record, steps: Sequence[Step], now: float) -> str:
    """Where an exchange is that has not ended."""
    if record.answered is not None:
        return f"answered {record.status}; the body is under way for {_ms(now - record.answered):g} ms"
    left = _left(record, now)
    budget = f"; {left:g} ms of the budget are left" if left is not None else ""
    if record.attempts > sum(step["policy"] == ATTEMPT for step in steps):
        return f"not answered yet: the upstream has it, in attempt {record.attempts}{budget}"
    last = f", after {steps[-1]['policy']} {steps[-1]['verdict']}" if steps else ""
    return f"not answered yet: it waits in the sidecar{last}{budget}"


# ── figures


def _since(record: Record, at: float | None) -> float | None:
    return None if at is None else _ms(at - record.started)


def _ms(seconds: float) -> float | None:
    """Milliseconds to the microsecond; None for ever."""
    return round(seconds * 1e3, 3) if seconds != inf else None


def _timestamp(seconds: float) -> str:
    """RFC 3339 in UTC with milliseconds, as in the log."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
