"""Prometheus's own programs, which come from the distribution: `apt install prometheus prometheus-alertmanager`."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
RULES = ROOT / "charts" / "sidecar" / "files" / "rules.yaml"


def tool(*names: str) -> str:
    """The path of the program that goes by one of these names. Where there is none: skipped, but failed in CI."""
    for name in names:
        path = shutil.which(name)
        if path:
            return path
    missing = f"{names[0]} is not installed: apt install prometheus prometheus-alertmanager"
    if os.environ.get("CI"):
        pytest.fail(missing)
    pytest.skip(missing)


def run(*command: str | Path, given: bytes = b"") -> str:
    """What it prints when `given` that to read; fails the test with that where it exits with anything but 0."""
    done = subprocess.run([str(part) for part in command], input=given, capture_output=True, timeout=240)
    assert done.returncode == 0, (done.stdout + done.stderr).decode()
    return done.stdout.decode()
