"""COMPARISON.md says of the sidecar what is so; of Go, what was so when it was written."""

from __future__ import annotations

from tests.conformance.compare import recorded
from tests.conformance.reasons import REASONS
from tests.conformance.table import CASES


def test_the_page_tells_our_side_as_it_is() -> None:
    """Each case is there with its verdict, which the case's own test holds to the truth."""
    assert {row.id: row.ours for row in recorded()} == {case.id: case.allowed.verdict for case in CASES}


def test_what_is_laxer_has_a_reason() -> None:
    """Nothing that Go refuses passes here without a reason, and no reason outlives its case."""
    laxer = {row.id: row.remark for row in recorded() if row.how == "laxer"}

    assert laxer == REASONS
