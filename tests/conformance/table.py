"""All cases, in their order, with readable names: `class/what`. The rows are in the `table_*.py` files."""

from __future__ import annotations

from typing import Final

from tests.conformance import table_answers, table_chunks, table_exchanges, table_fields, table_framing, table_heads
from tests.conformance.case import Case

CASES: Final[tuple[Case, ...]] = (
    *table_framing.CASES,
    *table_chunks.CASES,
    *table_heads.CASES,
    *table_fields.CASES,
    *table_answers.CASES,
    *table_exchanges.CASES,
)

BY_ID: Final = {case.id: case for case in CASES}
