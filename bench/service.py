"""The Go service behind every proxy of the bench."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from bench.children import BenchError, Children, Cpus

REPOSITORY = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Service:
    """The running service."""

    process: subprocess.Popen[bytes]
    port: int


def build_service() -> Path:
    """Return the path of the service's binary, built if need be."""
    # By path, not by import: `examples` is no package, and one of that name may be installed.
    helper = REPOSITORY / "examples" / "go" / "gobuild.py"
    built = subprocess.run([sys.executable, helper], stdout=subprocess.PIPE, text=True, check=False)
    if built.returncode != 0:
        raise BenchError("the Go service could not be built")
    return Path(built.stdout.strip())


def start_service(children: Children, work: Path, cpus: Cpus) -> Service:
    """Start the service on a port of its choice."""
    binary = build_service()
    out = work / "service.log"
    process = children.start([binary, "-listen", "127.0.0.1:0"], out, cpus.others)
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        line = out.read_text()
        if line.endswith("\n"):
            return Service(process, int(line.rpartition(":")[2]))
        time.sleep(0.005)
    raise BenchError("the Go service did not say where it listens")
