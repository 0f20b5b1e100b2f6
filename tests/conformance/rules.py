"""All framing rules, each with the case that fails without it."""

from __future__ import annotations

from typing import Final

from tests.conformance.rule import Rule
from tests.conformance.rules_bodies import BODIES, CHUNKS, CONNECTIONS
from tests.conformance.rules_heads import HEADS

RULES: Final[tuple[Rule, ...]] = (*HEADS, *CHUNKS, *BODIES, *CONNECTIONS)
BY_NAME: Final = {rule.name: rule for rule in RULES}
