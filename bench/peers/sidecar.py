"""This proxy, compiled as the image has it: with flags and settings that a user would give, and no others."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import yaml

from bench.peers.base import Peer, Place

Settings = Mapping[str, object]

POLICIES_OFF: Settings = {
    name: {"mode": "off"} for name in ("rate", "concurrency", "guard", "deadline", "retry", "breaker")
}

_REMEDY = "run it as `make bench`, which compiles it"


def with_settings(name: str, settings: Settings) -> Peer:
    """This proxy under a name of its own, its policies as a settings file says; those it does not name are as usual."""

    def command(executable: Path, place: Place) -> list[str]:
        file = place.work / "sidecar.yaml"
        file.write_text(yaml.safe_dump(dict(settings), sort_keys=False))
        return [*_run(executable, place), "--config", str(file)]

    return Peer(name, _find, _REMEDY, command)


def _find() -> Path | None:
    program = Path(sys.prefix) / "compiled" / "bin" / "sidecar"
    return program if program.exists() else None


def _command(executable: Path, place: Place) -> list[str]:
    """Every policy that is on unless it is switched off, and a rate limit."""
    limits = place.limits
    numbers = {
        "--rate-limit": f"{limits.rate}/s",
        "--rate-burst": limits.burst,
        "--max-concurrency": limits.concurrency,
        "--breaker-failures": limits.failures,
        "--retries": limits.retries,
    }
    return _run(executable, place) + _words(numbers)


def _run(executable: Path, place: Place) -> list[str]:
    flags = {
        "--upstream": f"http://127.0.0.1:{place.upstream}",
        "--listen": f"127.0.0.1:{place.port}",
        "--admin": f"127.0.0.1:{place.admin}",
        "--access-log": "all",
        "--log-format": "json",
        "--timeout": f"{place.limits.timeout_ms}ms",
    }
    return [str(executable), "run", *_words(flags)]


def _words(flags: Mapping[str, object]) -> list[str]:
    return [str(word) for flag in flags.items() for word in flag]


SIDECAR = Peer("sidecar", _find, _REMEDY, _command)
BARE = with_settings("sidecar, no policies", POLICIES_OFF)
