"""Each row of the tables, against the running program."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from tests.conformance.case import Case
from tests.conformance.judge import complaints, verdict
from tests.conformance.proxies import sidecar
from tests.conformance.stage import Observed, Stage, ways
from tests.conformance.table import CASES
from tests.support.upstream import Upstream

Play = Callable[[Case, int], Observed]


@pytest.fixture(scope="module")
def play() -> Iterator[Play]:
    """The program in front of an upstream on cue; all cases share them, as clients do."""
    with Upstream() as upstream, sidecar(upstream.url) as proxy:
        stage = Stage(upstream)
        yield lambda case, pieces: stage.play(case, proxy.address, pieces)


@pytest.mark.parametrize("case", [pytest.param(case, id=case.id) for case in CASES])
def test_case(play: Play, case: Case) -> None:
    """The one outcome that the row allows, whether its bytes come at once or one by one."""
    for pieces in ways(case):
        observed = play(case, pieces)
        assert complaints(case, observed) == [], observed
        assert verdict(case, observed) == case.allowed.verdict


def test_names_are_unique() -> None:
    """Each case has a name of its own, as the other tables refer to it."""
    assert [name for name, count in Counter(case.id for case in CASES).items() if count > 1] == []
