"""A scene whose requests are tried again, and sent twice, by the knobs of `retry`."""

from __future__ import annotations

from typing import Any, Self

import pytest

from sidecar.settings import Retry
from tests.flow.scene import Far, Scene


class Retrying(Scene):
    """A scene with retries. Every throw of the dice gives `chance`; the other options are a scene's."""

    def __init__(self, knobs: dict[str, Any] | None = None, *, chance: float = 0.5, **options: Any) -> None:
        super().__init__(policies={"retry": Retry(**(knobs or {}))}, **options)
        self._chance = chance

    async def __aenter__(self) -> Self:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("sidecar.ways.random", lambda: self._chance)
            return await super().__aenter__()

    @property
    def counted(self) -> list[tuple[str, str]]:
        """What the metrics say became of failed attempts, each as often as it was counted."""
        return [values for values, times in self._rows("sidecar_retries_total") for _ in range(times)]

    @property
    def shadows(self) -> int:
        """How often shadow mode would have acted."""
        return sum(times for values, times in self._rows("sidecar_policy_shadow_total") if values == ("retry",))

    def _rows(self, name: str) -> list[tuple[Any, int]]:
        (family,) = (family for family in self.book.metrics.snapshot() if family.name == name)
        return [(values, int(times)) for values, times in family.rows if isinstance(times, float)]

    @property
    def verdicts(self) -> list[str]:
        """What was noted of retries, all exchanges together."""
        return [note[2] for exchange in self.book.exchanges for note in exchange.notes if note[1] == "retry"]

    @property
    def asked(self) -> int:
        """How many requests the upstream got, or parts of one."""
        return sum(far.got.count(b" HTTP/1.1\r\n") for far in self.far_upstreams)


def cut(far: Far) -> None:
    """The upstream dies: a reset."""
    far.wire.linger = False
    far.wire.abort()
