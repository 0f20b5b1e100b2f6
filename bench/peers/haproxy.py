"""HAProxy, from the system."""

from __future__ import annotations

import shutil
from pathlib import Path

from bench.peers.base import Peer, Place, write_config


def _find() -> Path | None:
    # Debian keeps it in /usr/sbin, which is not on every user's PATH.
    found = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin:/usr/local/sbin")
    return Path(found) if found else None


def _command(executable: Path, place: Place) -> list[str]:
    return [str(executable), "-db", "-f", str(write_config("haproxy.cfg", place))]


HAPROXY = Peer("haproxy", _find, "apt-get install haproxy", _command)
