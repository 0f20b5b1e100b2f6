"""After each test of the flow, nothing is left: neither in the scenes, nor of tasks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.flow.scene import Scene


@pytest.fixture(autouse=True)
def _nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every scene that was entered has been left with nothing in it: no exchange, count, task or timer."""
    entered: list[Scene] = []
    enter = Scene.__aenter__

    async def noted(scene: Scene) -> Scene:
        entered.append(scene)
        return await enter(scene)

    monkeypatch.setattr(Scene, "__aenter__", noted)
    yield
    assert [scene for scene in entered if not scene.nothing_is_left] == []
