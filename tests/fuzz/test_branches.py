"""The kept inputs reach the framing: what nothing reaches, no fuzzer is looking at."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.fuzz import branches
from tests.fuzz.branches import Share
from tests.support.processes import ROOT


def test_kept_inputs_reach_the_framing() -> None:
    """Seeds and corpus take 95 % of its branches; in a process of its own, as the modules must not be imported yet."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz.branches"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(("taken", "status"), [(19, 0), (18, 1)])
def test_less_is_an_error(taken: int, status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command fails below 95 % of all files together, whatever one of them has."""
    files = [Share("a", 10, 10, ""), Share("b", 10, taken - 10, ""), *[Share("none", 0, 0, "")] * 4]
    monkeypatch.setattr(branches, "shares", lambda: files)

    assert branches.main() == status
