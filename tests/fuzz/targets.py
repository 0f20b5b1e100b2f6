"""The targets of the fuzzer by name: each takes an input and raises what it finds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from tests.fuzz import bodies, exchanges, heads

TARGETS: Final[dict[str, Callable[[bytes], None]]] = {
    "request": heads.request,
    "response": heads.response,
    "chunks": bodies.chunks,
    "body": bodies.body,
    "exchange": exchanges.exchange,
}

CORPUS: Final = Path(__file__).parent / "corpus"
LONGEST: Final = 10_000  # bytes of an input: longer than trailers may be


def corpus(target: str) -> dict[str, bytes]:
    """The inputs that are kept for a target, by name."""
    folder = CORPUS / target
    if not folder.is_dir():
        return {}  # as in the copy that bugs are planted into
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir())}
