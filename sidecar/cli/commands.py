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
    "top": Command(
        "sidecar.cli.watch", "top", "show a live table of what a running sidecar does, a row for each route"
    ),
    "tap": Command("sidecar.cli.watch", "tap", "print each exchange of a running sidecar as it ends"),
    "explain": Command("sidecar.cli.watch", "explain", "tell the whole story of one request, by its X-Request-ID"),
    "reload": Command("sidecar.cli.remote", "reload", "have a running sidecar read its settings again"),
    "drain": Command("sidecar.cli.remote", "drain", "have a running sidecar begin to drain (for preStop)"),
    "wait": Command("sidecar.cli.wait", "wait", "wait until a sidecar takes requests, or until its service does"),
    "inject": Command("sidecar.cli.inject", "inject", "put the sidecar into Kubernetes manifests, or take it out"),
}
