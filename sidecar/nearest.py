"""The hint for a word that is not known: which of the known ones may have been meant."""

from __future__ import annotations

from collections.abc import Iterable


def did_you_mean(word: str, known: Iterable[str], otherwise: str, *, prefix: str = "", likeness: float = 0.6) -> str:
    """Name the known word that is most like `word`, after `prefix`; where none is (`likeness`, 0 to 1), `otherwise`."""
    from difflib import get_close_matches  # here: who makes no mistake need not keep it in memory

    close = get_close_matches(word, list(known), n=1, cutoff=likeness)
    return f"did you mean {prefix}{close[0]}?" if close else otherwise
