"""This proxy, from the current interpreter: the flags a user would give, and no others."""

from __future__ import annotations

import functools
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

from bench.peers.base import Peer, Place

# The flag that sets each policy's number. A policy whose flag does not exist yet is measured without, and said so.
_POLICY_FLAGS = {
    "rate limit": "--rate-limit",
    "overload": "--max-concurrency",
    "breaker": "--breaker-failures",
    "retry": "--retries",
}


def _find() -> Path | None:
    return Path(sys.executable) if importlib.util.find_spec("sidecar.__main__") else None


@functools.cache
def _known_flags() -> frozenset[str]:
    shown = subprocess.run(
        [sys.executable, "-m", "sidecar", "run", "--help"], capture_output=True, text=True, check=True
    )
    return frozenset(re.findall(r"--[a-z][a-z-]*", shown.stdout))


def _lacks() -> frozenset[str]:
    return frozenset(policy for policy, flag in _POLICY_FLAGS.items() if flag not in _known_flags())


def _command(executable: Path, place: Place) -> list[str]:
    limits = place.limits
    always = {
        "--upstream": f"http://127.0.0.1:{place.upstream}",
        "--listen": f"127.0.0.1:{place.port}",
        "--admin": f"127.0.0.1:{place.admin}",
        "--access-log": "all",
        "--log-format": "json",
        "--timeout": f"{limits.timeout_ms}ms",
    }
    if_known = {
        "--rate-limit": f"{limits.rate}/s",
        "--rate-burst": str(limits.burst),
        "--max-concurrency": str(limits.concurrency),
        "--breaker-failures": str(limits.failures),
    }
    flags = always | {flag: value for flag, value in if_known.items() if flag in _known_flags()}
    return [str(executable), "-m", "sidecar", "run", *(word for flag in flags.items() for word in flag)]


SIDECAR = Peer("sidecar", _find, "install the project into this environment", _command, _lacks)
