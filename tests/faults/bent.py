"""Files that bend the world of a proxy: see `child/sitecustomize.py`."""

from __future__ import annotations

import os
from pathlib import Path

CHILD = Path(__file__).parent / "child"


class Bent:
    """One such file. `env` is what the proxy has to be started with."""

    def __init__(self, file: Path, variable: str, content: str) -> None:
        self._file = file
        self.write(content)
        self.env = {"PYTHONPATH": str(CHILD), variable: str(file)}

    def write(self, content: str) -> None:
        """From now on it is like this. Never half of it: the proxy may look at any moment."""
        draft = self._file.with_suffix(".new")
        draft.write_text(content)
        os.replace(draft, self._file)
