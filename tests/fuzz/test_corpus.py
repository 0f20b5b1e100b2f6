"""What the fuzzer has found and reached once holds for ever; a little of the fuzzing itself, on every run."""

from __future__ import annotations

import os
import re
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.http1.heads import HeadReader
from tests.fuzz.__main__ import Report, guided
from tests.fuzz.examples import attempt, nearly
from tests.fuzz.exchanges import SEPARATOR
from tests.fuzz.finding import Finding, demand, divisions
from tests.fuzz.mutate import mutate
from tests.fuzz.peer import KNOWN, answers, requests
from tests.fuzz.planted import BUGS, Bug, changed, is_clean, is_found
from tests.fuzz.seeds import BODIES, SEEDS
from tests.fuzz.targets import TARGETS, corpus
from tests.http1.reading import asked, told
from tests.http1.support import scan

# So many examples take each about a second.
EXAMPLES = {"request": 300, "response": 300, "chunks": 150, "body": 150, "exchange": 25}

_TRIED = Report(1200, 2.0)

ONCE = [(target, name) for target in TARGETS for name in corpus(target)]


@pytest.mark.parametrize(("target", "name"), ONCE, ids=[f"{target}-{name}" for target, name in ONCE])
def test_what_was_reached_once(target: str, name: str) -> None:
    """Each input of the corpus has all properties of its target."""
    TARGETS[target](corpus(target)[name])


@pytest.mark.parametrize("target", TARGETS)
def test_inputs_near_legal_ones(target: str) -> None:
    """Messages that are nearly legal have all properties of their target."""

    @settings(max_examples=EXAMPLES[target], deadline=None, derandomize="CI" in os.environ)
    @given(nearly(SEEDS[target]))
    def examples(data: bytes) -> None:
        TARGETS[target](data)

    examples()


@pytest.mark.parametrize("target", TARGETS)
def test_legal_messages_hold(target: str) -> None:
    """What the fuzzer begins with has the properties itself."""
    for data in SEEDS[target]:
        TARGETS[target](data)


def test_what_it_begins_with_is_believed() -> None:
    """It would else begin with refusals, and try nothing but how things are refused."""
    for head in SEEDS["request"]:
        asked(head)
    for head in SEEDS["response"]:
        told(head)
    assert all(scan([body])[0].done for body in BODIES)
    assert all(SEPARATOR.search(data) for data in SEEDS["exchange"])


@given(st.binary(max_size=50), st.integers())
def test_changes_stay_within_bounds(data: bytes, chance: int) -> None:
    """However an input is changed, it grows no longer than it may; and in pieces it is the same input."""
    assert len(mutate(data, Random(chance), [data], 64)) <= 64
    assert all(b"".join(pieces) == data for pieces in divisions(data))


@pytest.mark.parametrize(
    ("behind", "reason"),
    [(b"1 ;a\r\nx\r\n0\r\n\r\n", 0), (b"0\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 1)],
)
def test_a_known_difference_is_one(behind: bytes, reason: int) -> None:
    """h11 refuses it in the words that the table expects, and we take it; else the row has to go."""
    reading = requests(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + behind)

    assert list(KNOWN.values())[reason].search(reading.error)
    assert reading.excused
    assert scan([behind])[0].done


@pytest.mark.parametrize(
    "fields",
    [
        b"Content-Length: 1\r\nContent-Length: 2\r\n",
        b"Content-Length: +3\r\n",
        b"Transfer-Encoding: gzip, chunked\r\n",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
    ],
)
def test_a_head_has_no_excuse(fields: bytes) -> None:
    """What is a known difference in trailers is none in a head, also behind another message: it would be smuggling."""
    whole = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    first = requests(b"POST / HTTP/1.1\r\nHost: a\r\n" + fields + b"\r\n")
    second = requests(whole + b"POST / HTTP/1.1\r\nHost: a\r\n" + fields + b"\r\n")
    answer = answers(b"HTTP/1.1 200 OK\r\n" + fields + b"\r\n", ["GET"], ended=True)

    for reading in (first, second, answer):
        assert any(pattern.search(reading.error) for pattern in KNOWN.values())
        assert not reading.excused


def test_a_head_that_h11_refuses_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that we believe and h11 does not is found also where what goes on upstream is in order."""
    read = HeadReader.request
    first = b"Content-Length: 1\r\n"
    monkeypatch.setattr(HeadReader, "request", lambda reader, head: read(reader, head.replace(first, b"")))

    with pytest.raises(Finding, match="a request that h11 does not read"):
        TARGETS["exchange"](b"POST / HTTP/1.1\r\nHost: a\r\n" + first + b"Content-Length: 2\r\n\r\nab")


def test_another_reading_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    """The properties can fail: a body whose size lines are read otherwise is found at once."""
    first_digit = re.compile(rb"([0-9])[0-9A-Fa-f]*([ \t]*;.*)?\r\n")
    monkeypatch.setattr("sidecar.http1.chunks._SIZE_LINE", first_digit)
    monkeypatch.setattr("sidecar.http1.chunks._SIZES", {})

    with pytest.raises(Finding, match="another payload"):
        TARGETS["chunks"](b"10\r\na\r\n0\r\n\r\n12345678\r\n0\r\n\r\n")


def test_a_finding_is_told_with_its_input(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first one ends the search."""

    def no_fives(data: bytes) -> None:
        demand(b"5" not in data, "a five")

    monkeypatch.setitem(TARGETS, "chunks", no_fives)
    tried = attempt("chunks", 60.0, number=1)

    assert tried.finding == "Finding: a five"
    assert b"5" in tried.data
    assert tried.inputs > 0


@pytest.mark.parametrize("bug", BUGS, ids=[bug.name for bug in BUGS])
def test_planted_bugs_fit_the_source(bug: Bug) -> None:
    """What `python -m tests.fuzz.planted` changes is there to be changed, and is Python afterwards."""
    for file, text in changed(bug).items():
        compile(text, file, "exec")


def test_a_crash_is_no_finding(tmp_path: Path) -> None:
    """An engine that does not run has no result: no bug is found by that, and nothing is in order either."""
    report = guided("no-such-target", 0.1, tmp_path)
    told = report.line("chunks", "libFuzzer")

    assert "NO RESULT" in told
    assert not report.is_good
    assert not is_found(told)
    assert not is_clean(told)
    assert not is_clean(f"{told}\n{_TRIED.line('chunks', 'Hypothesis')}")


def test_only_a_finding_is_one() -> None:
    """A planted bug is found where a property does not hold; any other error may come of the planting."""
    found = _TRIED._replace(finding="Finding: another payload", file="x").line("chunks", "libFuzzer")
    error = _TRIED._replace(finding="ImportError: x", file="x").line("chunks", "libFuzzer")
    untried = Report(0, 1.0, "Finding: another payload", "x").line("chunks", "libFuzzer")
    nothing = _TRIED.line("chunks", "Hypothesis")

    assert is_found(f"seed 1\n{nothing}\n{found}\n")
    assert not any(is_found(f"seed 1\n{told}\n") for told in (nothing, error, untried))
    assert is_clean(f"seed 1\n{nothing}\n{nothing}\n")
    assert not any(is_clean(f"seed 1\n{nothing}\n{told}\n") for told in (found, error, untried))
    assert not is_clean("seed 1\n")
