"""Whether the access log says of each request what its client says: nothing more, nothing less, byte for byte."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tests.load.talk import Asked

Line = dict[str, Any]


def requests(lines: Sequence[Line]) -> list[Line]:
    """The access log without what else goes to stdout."""
    return [line for line in lines if line["event"] == "request"]


def disagreements(asked: Mapping[str, Asked], lines: Sequence[Line]) -> list[str]:
    """What log and clients do not agree on, a sentence each."""
    found: list[str] = []
    asked = {one.known_as or name: one for name, one in asked.items()}
    by_id: dict[str, Line] = {}
    for line in lines:
        if line["request_id"] in by_id:
            found.append(f"two lines: {line}")
        if line["request_id"] not in asked:
            found.append(f"nobody asked this: {line}")
        by_id[line["request_id"]] = line
    for name, one in asked.items():
        logged = by_id.get(name)
        if logged is None:
            found.append(f"no line: {name} {one}")
        elif wrong := _differences(one, logged):
            found.append(f"{', '.join(wrong)}: {one} {logged}")
    return found


def _differences(asked: Asked, line: Line) -> list[str]:
    """Fields in which the two differ. Of an answer that was not read to its end, only bounds are known."""
    told: Line = {"method": asked.method}
    if asked.status:
        told["status"] = asked.status
    if asked.end == "whole":
        told |= {"reason": asked.reason, "bytes_out": asked.got}
        if asked.attempts:
            told["attempts"] = asked.attempts
        if asked.status in (200, 101):  # what is refused need not have been read
            told["bytes_in"] = asked.sent
    wrong = [field for field, value in told.items() if line[field] != value]
    if line["bytes_out"] < asked.got:
        wrong.append("fewer bytes out than came")
    if line["bytes_in"] > asked.sent:
        wrong.append("more bytes in than were sent")
    return wrong
