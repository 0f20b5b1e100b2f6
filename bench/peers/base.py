"""What a peer is, and how any of them is started."""

from __future__ import annotations

import getpass
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.children import BenchError
from bench.ground import Ground
from bench.net import free_port, wait_until_answers

TEMPLATES = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Limits:
    """The numbers of the policies; the defaults never refuse anything in a measurement."""

    rate: int = 1_000_000
    burst: int = 100_000
    concurrency: int = 2048
    failures: int = 5
    retries: int = 2
    timeout_ms: int = 15_000


@dataclass(frozen=True)
class Place:
    """Where one start of a peer lives: its directory, ports, limits and access log."""

    work: Path
    port: int
    admin: int
    upstream: int
    limits: Limits

    @property
    def log(self) -> Path:
        """The access log: standard output of those that write it there, else a file of this name."""
        return self.work / "access.log"

    @property
    def errors(self) -> Path:
        """Standard error."""
        return self.work / "access.log.err"


@dataclass(frozen=True)
class Peer:
    """A proxy: ``find`` gives its executable or None, ``command`` writes its config and gives its command line."""

    name: str
    find: Callable[[], Path | None]
    remedy: str
    command: Callable[[Path, Place], list[str]]


@dataclass(frozen=True)
class Running:
    """A peer that answers."""

    name: str
    process: subprocess.Popen[bytes]
    place: Place
    first_answer: float
    """Seconds from the start of the process to its first answer."""

    @property
    def session(self) -> int:
        """What procstat measures."""
        return self.process.pid

    def __repr__(self) -> str:
        return f"<{self.name} port={self.place.port} pid={self.process.pid}>"


def start_peer(peer: Peer, ground: Ground, limits: Limits | None = None) -> Running:
    """Start a peer in a directory of its own and wait for its first answer."""
    executable = peer.find()
    if executable is None:
        raise BenchError(f"{peer.name} is not here: {peer.remedy}")
    port = free_port()
    work = ground.work / f"{peer.name}-{port}"
    work.mkdir()
    place = Place(work, port, free_port(), ground.service.port, limits or Limits())
    command = peer.command(executable, place)
    began = time.perf_counter()
    process = ground.children.start(command, place.log, ground.cpus.proxy)
    answered = wait_until_answers(port, process, place.errors)
    return Running(peer.name, process, place, answered - began)


def write_config(template: str, place: Place) -> Path:
    """Fill a template's ``@names@`` and write it beside the peer's log."""
    text = (TEMPLATES / template).read_text()
    values = {
        "work": place.work,
        "log": place.log,
        "port": place.port,
        "admin": place.admin,
        "upstream": place.upstream,
        "user": getpass.getuser(),
        "rate": place.limits.rate,
        "burst": place.limits.burst,
        "concurrency": place.limits.concurrency,
        "failures": place.limits.failures,
        "retries": place.limits.retries,
        "tries": 1 + place.limits.retries,
        "timeout_ms": place.limits.timeout_ms,
        "timeout_s": place.limits.timeout_ms / 1000,
    }
    for name, value in values.items():
        text = text.replace(f"@{name}@", str(value))
    path = place.work / template
    path.write_text(text)
    return path
