"""Plays all cases to the sidecar and to Go's `httputil.ReverseProxy`: `python -m tests.conformance.compare`.

It writes COMPARISON.md beside this file; `test_comparison.py` holds our own column of it to the truth. Go is the
yardstick because it is what stands behind the sidecar, and what a service would be fronted with otherwise.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple

from tests.conformance.case import Case
from tests.conformance.judge import complaints, verdict
from tests.conformance.proxies import ReverseProxy, go_version, sidecar
from tests.conformance.reasons import REASONS
from tests.conformance.stage import Observed, Stage
from tests.conformance.table import CASES
from tests.support.upstream import Upstream

PAGE: Final = Path(__file__).with_name("COMPARISON.md")

# Some of what Go does with these cases is to wait.
_PATIENCE: Final = 3.0
# What either proxy says for itself, and what Go's server always adds.
_OWN: Final = re.compile(
    r"(?:x-(?:request-id|forwarded-(?:for|host|proto)|envoy-attempt-count)|date):.*"
    r"|content-type: text/plain; charset=utf-8"
)
_PORT: Final = re.compile(r"127\.0\.0\.1:[0-9]+")


class Row(NamedTuple):
    """One line of the page."""

    id: str
    rfc: str
    ours: str
    gos: str
    how: str  # "stricter", "same", "laxer", "otherwise": the sidecar, measured by Go
    remark: str


def row(case: Case, ours: Observed, gos: Observed) -> Row:
    """What the two made of a case."""
    own, other = verdict(case, ours), verdict(case, gos)
    refuses, other_refuses = _refuses(own), _refuses(other)
    remark = ""
    if refuses and other_refuses:
        how = "same"
    elif refuses:
        how = "stricter"
    elif other_refuses:
        how = "laxer"
    else:
        remark = differences(ours, gos) if other == "passed" else ""
        how = "same" if own == other and not remark else "otherwise"
    return Row(case.id, case.rfc, own, other, how, REASONS.get(case.id, remark))


def _refuses(verdict: str) -> bool:
    """Whether something was not passed, and somebody was told."""
    return "refused" in verdict or verdict in ("cut", "dropped")


def differences(ours: Observed, gos: Observed) -> str:
    """In what a case that both have passed is not the same: what reached the upstream, what reached the client."""
    found = []
    upstream = [_requests(observed) for observed in (ours, gos)]
    client = [_answers(observed) for observed in (ours, gos)]
    for side, (own, other) in (("upstream", upstream), ("client", client)):
        if own == other:
            continue
        more, less = list((Counter(own) - Counter(other)).elements()), list((Counter(other) - Counter(own)).elements())
        told = [f"only here {', '.join(map(_code, more))}"] if more else []
        told += [f"only Go {', '.join(map(_code, less))}"] if less else []
        found.append(f"{side}: {'; '.join(told)}")
    return " · ".join(found)


def _code(text: str) -> str:
    text = text if len(text) < 60 else text[:57] + "..."
    return "`" + text.replace("|", "\\|").replace("`", "'") + "`"


def _fields(fields: Iterable[tuple[str, str]]) -> list[str]:
    lines = sorted(_PORT.sub("upstream", f"{name.lower()}: {value}") for name, value in fields)
    return [line for line in lines if not _OWN.fullmatch(line)]


def _requests(observed: Observed) -> list[str]:
    return [
        part
        for seen in observed.seen
        for part in (
            seen.line,
            *_fields(seen.fields),
            f"body {seen.body!r}",
            *(f"trailer {field}" for field in _fields(seen.trailers)),
        )
    ]


def _answers(observed: Observed) -> list[str]:
    return [
        part
        for answer in observed.answers
        for part in (
            *(f"{interim.status}" for interim in answer.interim),
            f"{answer.status}",
            *_fields(answer.fields),
            f"body {answer.body!r}",
            *(f"trailer {field}" for field in _fields(answer.trailers)),
        )
    ]


def rows() -> list[Row]:
    """All cases, played to both."""
    ours, gos = {}, {}
    with Upstream() as upstream, sidecar(upstream.url) as proxy:
        stage = Stage(upstream)
        for case in CASES:
            ours[case.id] = stage.play(case, proxy.address)
            assert not complaints(case, ours[case.id]), f"run the tests first: {case.id}"
    with Upstream() as upstream, ReverseProxy(upstream.url) as other:
        stage = Stage(upstream, _PATIENCE, b"01")
        for case in CASES:
            gos[case.id] = stage.play(case, other.address)
        upstream.faults.clear()  # told of in the rows
    return [row(case, ours[case.id], gos[case.id]) for case in CASES]


_HEAD: Final = """\
# The same cases, played to the sidecar and to Go's ReverseProxy

Written by `python -m tests.conformance.compare`, with {go}. The names are those of the tables beside this file, the
sections those of RFC 9110, 9112 and 7239. Both refuse, or both pass the same: *same*. The sidecar refuses what Go
passes: *stricter*; the other way round: *laxer*, with the reason. Both pass, but not the same: *otherwise*. "Refused
502" is said of an upstream's answer; "cut" of one that the client saw no end of; "dropped" of a client that was told
nothing; "silent" of one that was left waiting for {patience:g} s; "garbled" of bytes that a strict reader behind the
proxy, or before it, could not read.

{counts}
"""
_SECTIONS: Final = ("laxer", "otherwise", "stricter", "same")


def page(rows: list[Row], go: str) -> str:
    """The page as Markdown."""
    count = Counter(row.how for row in rows)
    counts = f"Of {len(rows)} cases: " + ", ".join(f"{count[how]} {how}" for how in _SECTIONS) + "."
    text = _HEAD.format(go=go, patience=_PATIENCE, counts=counts)
    for how in _SECTIONS:
        text += f"\n## {how.capitalize()}\n\n| case | RFC | sidecar | Go | |\n|---|---|---|---|---|\n"
        text += "".join(
            f"| `{row.id}` | {row.rfc} | {row.ours} | {row.gos} | {row.remark} |\n" for row in rows if row.how == how
        )
    return text


def recorded() -> list[Row]:
    """The rows of the page as it was written."""
    found, how = [], ""
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            how = line.removeprefix("## ").lower()
        elif line.startswith("| `"):
            name, rfc, ours, gos, remark = line.removeprefix("| ").removesuffix(" |").split(" | ", 4)
            found.append(Row(name.strip("`"), rfc, ours, gos, how, remark))
    return found


def main() -> int:
    """Play, and write the page."""
    found = rows()
    PAGE.write_text(page(found, go_version()), encoding="utf-8")
    bare = [row.id for row in found if row.how == "laxer" and not row.remark]
    print(f"{PAGE}: {dict(Counter(row.how for row in found))}")
    if bare:
        print(f"laxer without a reason in reasons.py: {', '.join(bare)}")
    return 1 if bare else 0


if __name__ == "__main__":
    sys.exit(main())
