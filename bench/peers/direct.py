"""The Go service itself, with no proxy before it: for reference. Its CPU is what answering costs the service."""

from __future__ import annotations

from pathlib import Path

from bench.peers.base import Peer, Place
from bench.service import build_service


def _command(executable: Path, place: Place) -> list[str]:
    return [str(executable), "-listen", f"127.0.0.1:{place.port}"]


DIRECT = Peer("direct", build_service, "the Go service could not be built", _command)
