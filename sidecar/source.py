"""Where the settings come from, to be read again, and how a change of the file is noticed.

Kubernetes puts a ConfigMap's new version beside the old one and moves a symbolic link on the way to it; editors write
anew and rename. Both show in what the path leads to, so that is looked at now and then. It is cheap and, unlike
inotify, works on every file system. Knows nothing of what the settings mean.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final

from sidecar.settings import Loaded, Problem, SettingsError, load

_INTERVAL: Final = 0.5  # seconds between two looks

Fingerprint = tuple[int, ...]


class Source:
    """Flags (dotted paths to texts), the environment and the file (or None), as they were when the process began."""

    def __init__(self, flags: Mapping[str, str], env: Mapping[str, str], file: Path | None) -> None:
        self._flags = dict(flags)
        self._env = dict(env)
        self.file = file
        self._read: Fingerprint | None = None  # of the file, just before it was read
        self._loaded = False  # it has been read once

    def load(self) -> Loaded:
        """Read everything. Raises SettingsError with all that is wrong."""
        file = self.file
        if file is not None:
            if self._loaded and _is_pipe(file):
                # What comes out of a pipe once would be nothing the next time: a file without settings, and a good one.
                raise self._unreadable("is a pipe, which can be read only once; use a file to have it read again")
            self._read = fingerprint(file)
            self._loaded = True
        try:
            return load(self._flags, self._env, file)
        except RecursionError:
            raise self._unreadable("is nested too deeply; look for a bracket that is never closed") from None

    def _unreadable(self, wrong: str) -> SettingsError:
        return SettingsError([Problem(str(self.file), "", wrong, f"file {self.file}")])

    async def follow(self, changed: Callable[[], Awaitable[object]], interval: float = _INTERVAL) -> None:
        """Await `changed()`, which loads, when the file is another and has been the same for one interval (seconds).

        Never ends, unless there is no file. One that has gone is no change: it is being replaced, or what was read
        from it stays in force.
        """
        import asyncio  # here, as `check` reads settings too and has no loop to wait with

        before = self._read
        while self.file is not None:
            await asyncio.sleep(interval)
            now = fingerprint(self.file)
            if now is not None and now == before and now != self._read:
                await changed()
            before = now

    def __repr__(self) -> str:
        return f"<Source {self.file or 'without a file'}>"


def fingerprint(path: Path) -> Fingerprint | None:
    """What tells one version of a file from the next; None where there is none now, or nothing that has versions."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    if not stat.S_ISREG(found.st_mode):
        return None
    # The time of the last change of any kind too: tools that copy or restore files set the one of their contents.
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size


def _is_pipe(path: Path) -> bool:
    try:
        return stat.S_ISFIFO(os.stat(path).st_mode)
    except OSError:
        return False
