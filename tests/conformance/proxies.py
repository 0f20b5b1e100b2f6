"""The proxies that the cases are played to: the sidecar, from this tree or another, and Go's."""

from __future__ import annotations

import subprocess
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from tests.support.processes import ROOT, Proxy, go_builder, parse

# The data plane alone, with no limit whose value the upstream would be told: it is to see the same bytes each time.
_FLAGS: Final = ("--breaker", "off", "--retries", "0", "--timeout", "0s")


def sidecar(upstream: str, root: Path = ROOT) -> Proxy:
    """The program, of the package in `root`."""
    return Proxy(upstream, *_FLAGS, root=root, SIDECAR_HEALTH__INTERVAL="1h")


class ReverseProxy:
    """Go's own reverse proxy, running in front of `upstream`."""

    def __init__(self, upstream: str) -> None:
        binary = go_builder().build(package="./reverseproxy", name="goreverseproxy")
        self._process = subprocess.Popen([binary, "-upstream", upstream], stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        said = self._process.stdout.readline().decode().strip()
        self.address = parse(said.removeprefix("listening on "))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()


def go_version() -> str:
    """The version of the Go that it is built with: `go1.27`."""
    builder = go_builder()
    said = subprocess.run(
        [*builder.go_command(), "env", "GOVERSION"],
        env=builder.go_environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    return said.stdout.strip()
