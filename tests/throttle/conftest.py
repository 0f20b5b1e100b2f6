"""How much Hypothesis tries: the same examples in CI each time, others each time elsewhere. And a real Redis."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.throttle.redis_server import RedisServer

settings.register_profile("here", max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("here"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "here")


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    """A server that runs, and is gone afterwards."""
    with RedisServer() as server:
        yield server
