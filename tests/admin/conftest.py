"""What every test of the admin port needs."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.admin.support import Client, FakePlane, serving


@pytest.fixture
def plane() -> FakePlane:
    return FakePlane()


@pytest.fixture
async def client(plane: FakePlane) -> AsyncIterator[Client]:
    async with serving(plane) as client:
        yield client
