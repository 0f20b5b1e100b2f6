"""A framing rule of the sidecar, as an edit of its source that switches it off, and the case that then fails.

The rules are in the `rules_*.py` files; `mutants.py` holds them to the truth.
"""

from __future__ import annotations

from typing import NamedTuple


class Rule(NamedTuple):
    """In `file` (below `sidecar/`), `text` becomes `instead`, and `case` fails.

    Where the rule `beside` holds that case too, it fails only without both.
    """

    name: str
    file: str
    text: str
    instead: str
    case: str
    beside: str = ""
