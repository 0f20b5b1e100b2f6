"""The system's certificates, which aiohttp reads twice when it is imported: 2 MB for its client, never used here.

Only Redis is ever spoken to in TLS (`rediss://`), by redis-py, which reads them itself when it connects.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_PLACES: Final = ("SSL_CERT_FILE", "SSL_CERT_DIR")  # where OpenSSL looks, if they are set


@contextmanager
def out_of_sight() -> Iterator[None]:
    """Have OpenSSL find no certificates meanwhile. To be entered while no other thread reads the environment."""
    were = {name: os.environ.get(name) for name in _PLACES}
    os.environ.update(dict.fromkeys(_PLACES, os.devnull))
    try:
        yield
    finally:
        for name, place in were.items():
            if place is None:
                del os.environ[name]
            else:
                os.environ[name] = place
