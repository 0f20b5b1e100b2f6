"""nginx, from the system."""

from __future__ import annotations

import shutil
from pathlib import Path

from bench.peers.base import Peer, Place, write_config


def _find() -> Path | None:
    # Debian keeps it in /usr/sbin, which is not on every user's PATH.
    found = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    return Path(found) if found else None


def _command(executable: Path, place: Place) -> list[str]:
    config = write_config("nginx.conf", place)
    return [str(executable), "-p", str(place.work), "-c", str(config), "-e", str(place.errors)]


NGINX = Peer("nginx", _find, "apt-get install nginx-light", _command)
