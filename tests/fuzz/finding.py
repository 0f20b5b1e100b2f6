"""What the fuzzer calls a finding, and the pieces in which an input arrives."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from time import monotonic
from typing import Final
from zlib import crc32

# Hundreds of times what the largest input takes. By the clock: to ask for the CPU's time can cost more than the input.
_MOST: Final = 20.0  # seconds


_BYTEWISE: Final = 300  # bytes at either end


class Finding(AssertionError):  # noqa: N818 - it is what a fuzzer is for, and no error of its own
    """A property that does not hold for this input."""


def demand(holds: object, property_: str, *facts: object) -> None:
    """It is a finding unless this holds."""
    if not holds:
        raise Finding(": ".join([property_, *map(repr, facts)]))


@contextmanager
def bounded() -> Iterator[None]:
    """The work for one input is bounded."""
    began = monotonic()
    yield
    demand(monotonic() - began < _MOST, f"it takes more than {_MOST:g} s")


def dice(data: bytes) -> Random:
    """Chance that is the same whenever the same input is tried."""
    return Random(crc32(data))


def divisions(data: bytes) -> list[list[bytes]]:
    """Ways in which it may arrive: at once, in pieces by chance, byte by byte (a long one at its ends)."""
    random = dice(data)
    pieces, position = [], 0
    while position < len(data):
        size = random.choice((1, 2, 3, random.randint(1, 40), random.randint(1, 4096)))
        pieces.append(data[position : position + size])
        position += size
    middle = data[_BYTEWISE:-_BYTEWISE]
    head, tail = data[:_BYTEWISE], data[_BYTEWISE:][-_BYTEWISE:]
    bytewise = [bytes([byte]) for byte in head], [middle] if middle else [], [bytes([byte]) for byte in tail]
    return [[data] if data else [], pieces, [piece for part in bytewise for piece in part]]
