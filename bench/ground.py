"""What every measurement stands on: processors, a directory, child processes, the Go service."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.children import Children, Cpus
from bench.net import allow_many_sockets
from bench.service import Service, start_service


@dataclass(frozen=True)
class Ground:
    """All of it, for as long as :func:`prepared` lasts."""

    children: Children
    work: Path
    cpus: Cpus
    service: Service


@contextmanager
def prepared() -> Iterator[Ground]:
    """Start the service; at the end, stop every process and remove every file."""
    allow_many_sockets()
    cpus = Cpus.split()
    os.sched_setaffinity(0, cpus.others)
    with tempfile.TemporaryDirectory(prefix="bench-") as directory, Children() as children:
        work = Path(directory)
        yield Ground(children, work, cpus, start_service(children, work, cpus))
