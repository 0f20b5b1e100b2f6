"""The commands: one function `(argv) -> exit code` each. This table is light, so that finding one costs nothing."""

from __future__ import annotations

from typing import Final, NamedTuple


class Command(NamedTuple):
    """Where a command's `main(argv) -> exit code` lives, and what it is for."""

    module: str
    function: str
    purpose: str


COMMANDS: Final = {
    "run": Command("sidecar.cli.run", "run", "run the proxy; the default, so that it may be left out"),
    "demo": Command("sidecar.cli.run", "demo", "run the proxy in front of a service made for trying things out"),
    "check": Command("sidecar.cli.check", "check", "say whether the settings are good, and all that is wrong"),
    "config": Command("sidecar.cli.config", "config", "print the settings in force, their schema, or a template"),
    "status": Command("sidecar.cli.remote", "status", "ask a running sidecar how it is"),
    "drain": Command("sidecar.cli.remote", "drain", "have a running sidecar begin to drain (for preStop)"),
}
