"""The load generator: wrk, pinned away from the proxy."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from bench.children import BenchError, Cpus

SCRIPT = Path(__file__).resolve().parent / "wrk.lua"


@dataclass(frozen=True)
class Scenario:
    """One kind of load. ``group`` is its name on the command line."""

    group: str
    title: str
    path: str
    connections: int
    upload: bool = False


SMALL_32 = Scenario("small", "small JSON response, 32 connections", "/hello", 32)
SMALL_1024 = Scenario("small", "small JSON response, 1,024 connections", "/hello", 1024)
BIG = Scenario("big", "1 MiB response, 32 connections", "/bytes/1048576", 32)
UPLOAD = Scenario("upload", "1 MiB upload, 32 connections", "/upload?hash=0", 32, upload=True)
SCENARIOS = (SMALL_32, SMALL_1024, BIG, UPLOAD)


@dataclass(frozen=True)
class Load:
    """What the client counted."""

    requests: int
    seconds: float
    p50_us: int
    p99_us: int
    errors: dict[str, int]
    """By kind, as wrk names them; a status error is an answer of 400 or above."""


def require_wrk() -> Path:
    """Return wrk's path, or say how to get it."""
    found = shutil.which("wrk")
    if found is None:
        raise BenchError("wrk is required for the load: apt-get install wrk")
    return Path(found)


def run_wrk(wrk: Path, port: int, scenario: Scenario, seconds: int, cpus: Cpus) -> Load:
    """Load one proxy for so many seconds."""
    command = [str(wrk), "-t1", f"-c{scenario.connections}", f"-d{seconds}s", "--timeout", "10s", "-s", str(SCRIPT)]
    command.append(f"http://127.0.0.1:{port}{quote(scenario.path, safe='/?=&')}")
    if scenario.upload:
        command += ["--", "upload"]
    result = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=seconds + 30,
        check=False,
        preexec_fn=lambda: os.sched_setaffinity(0, cpus.others),
    )
    lines = [line for line in result.stdout.splitlines() if line.startswith("{")]
    if result.returncode != 0 or not lines:
        raise BenchError(f"wrk failed: {result.stderr.strip() or result.stdout.strip()}")
    seen = json.loads(lines[-1])
    errors = {kind: seen[kind] for kind in ("connect", "read", "write", "timeout", "status") if seen[kind]}
    return Load(seen["requests"], seen["seconds"], seen["p50_us"], seen["p99_us"], errors)
