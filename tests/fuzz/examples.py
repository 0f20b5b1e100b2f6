"""The targets under Hypothesis: no coverage guides it, but it runs on every Python, and what it finds it shrinks."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from time import monotonic
from typing import NamedTuple

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests.fuzz.mutate import mutate
from tests.fuzz.seeds import SEEDS
from tests.fuzz.targets import LONGEST, TARGETS

_ROUND = 100  # examples between two looks at the clock


class Tried(NamedTuple):
    """How many inputs, how long, and what was found with which."""

    inputs: int
    seconds: float
    finding: str
    data: bytes


@st.composite
def nearly(draw: st.DrawFn, begin: list[bytes]) -> bytes:
    """One of these inputs, changed."""
    data = draw(st.sampled_from(begin))
    # A number for each change: what Hypothesis shrinks is how many there are. Drawing all chance costs ten times more.
    for chance in draw(st.lists(st.integers(0, 1 << 32), max_size=5)):
        data = mutate(data, Random(chance), begin, LONGEST)
    return data


def attempt(target: str, seconds: float, *, number: int = 0, most: int = _ROUND) -> Tried:
    """Try inputs for so long, in rounds of at most `most`; the first finding ends it."""
    began, inputs, last = monotonic(), 0, b""
    check: Callable[[bytes], None] = TARGETS[target]

    def one(data: bytes) -> None:
        nonlocal inputs, last
        if monotonic() - began > seconds and not last:
            return
        inputs += 1
        try:
            check(data)
        except Exception:
            last = data
            raise

    while monotonic() - began < seconds:
        number += 1
        rule = settings(
            max_examples=most,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate, Phase.shrink],
            print_blob=False,
        )
        try:
            seed(number)(rule(given(nearly(SEEDS[target]))(one)))()
        except Exception as error:
            return Tried(inputs, monotonic() - began, f"{type(error).__name__}: {error}", last)
    return Tried(inputs, monotonic() - began, "", b"")
