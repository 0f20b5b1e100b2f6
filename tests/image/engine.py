"""Makes the image's root directory as the Dockerfile says, and runs programs in it, without a container engine.

The base image is played by this machine: its Python, copied to where the base has it (without bytecode, as there), and
its libraries, mounted read-only. A program gets namespaces of its own, in which it is process 1 and the root directory
is all there is; in the finished image that is no shell, no tool and nothing that can be written to. Needs root.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from tests.image.dockerfile import Instruction, Stage, read
from tests.support.processes import ROOT

# The part of the base's environment that matters.
BASE_ENV: Final = {
    "PATH": "/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LD_LIBRARY_PATH": "/usr/local/lib",  # there the linker looks by itself
}
_BUILD_LIMIT: Final = 240.0  # seconds for one RUN; it downloads

# What a base has besides Python: libraries; while it is built, also a shell, tools and this machine's way to PyPI.
_LIBRARIES: Final = ("/lib", "/lib64", "/usr/lib")
_TOOLS: Final = ("/bin", "/usr/bin", "/usr/include", "/etc")
_EMPTY: Final = ("proc", "dev", "tmp", *(place.lstrip("/") for place in (*_LIBRARIES, *_TOOLS)))
_HOST_ENV: Final = ("pip_", "http_proxy", "https_proxy", "no_proxy", "ssl_cert_", "requests_ca_")
_LEFT_OUT: Final = shutil.ignore_patterns("__pycache__", "site-packages", "test", "tests", "config-*", "libpython*.a")

# $1 the root directory, $2 ro or rw, $3 the directories to take from this machine, then what to run.
_ENTER: Final = """
set -eu
root=$1 mode=$2 shared=$3
shift 3
mount --bind "$root" "$root"
for place in $shared; do
    if [ -d "$place" ]; then
        mount --bind "$place" "$root$place"
        mount -o remount,bind,ro "$root$place"
    fi
done
mount -t proc proc "$root/proc"
mount --bind /dev "$root/dev"
mount -o "remount,bind,$mode" "$root"
exec setpriv --no-new-privs "$@"
"""


class Contained(subprocess.Popen[bytes]):
    """A program in the image. Signals go to itself, not to what waits for it outside."""

    @property
    def inner(self) -> int:
        """Its process ID, as seen from outside."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text()
        return int(children) if children else self.pid  # before it has begun, and after its end

    def send_signal(self, sig: int) -> None:
        """Send it a signal."""
        if self.poll() is None:
            os.kill(self.inner, sig)


class Image:
    """The finished root directory, and how the last stage says that it is run."""

    def __init__(self, root: Path, stage: Stage) -> None:
        self.root = root
        self.stage = stage
        self.env = stage.env(BASE_ENV)

    @property
    def user(self) -> str:
        """Who runs in it: uid:gid."""
        return self.stage.last("USER").rest

    def start(self, upstream: str, user: str = "") -> Contained:
        """Its ENTRYPOINT in front of this upstream, as its USER unless told otherwise."""
        flags = ("--upstream", upstream, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0")
        command = [*self.stage.last("ENTRYPOINT").command, *flags]
        return Contained(
            _enter(self.root, "ro", _LIBRARIES, command, user or self.user),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self.env,
        )

    def run(self, *command: str, **env: str) -> subprocess.CompletedProcess[str]:
        """A command in it, to its end, as its USER."""
        return subprocess.run(
            _enter(self.root, "ro", _LIBRARIES, list(command), self.user),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
            env=self.env | env,
        )


def build(place: Path) -> Image:
    """Do what the Dockerfile says, stage by stage, below `place`."""
    os.umask(0o022)
    base = place / "base"
    _make_base(base)
    roots: dict[str, Path] = {}
    for number, stage in enumerate(read(ROOT / "Dockerfile")):
        root = roots[stage.name] = place / f"stage{number}"
        shutil.copytree(base, root, symlinks=True, copy_function=os.link)
        _Build(root, stage, roots).do()
    return Image(root, stage)


class _Build:
    """One stage, as it is built."""

    def __init__(self, root: Path, stage: Stage, roots: Mapping[str, Path]) -> None:
        self._root = root
        self._stage = stage
        self._roots = roots
        self._directory = "/"

    def do(self) -> None:
        for instruction in self._stage.instructions:
            if instruction.word == "WORKDIR":
                self._directory = instruction.rest
                self._inside(self._directory).mkdir(parents=True, exist_ok=True)
            elif instruction.word == "COPY":
                self._copy(instruction)
            elif instruction.word == "RUN":
                self._run(instruction)

    def _inside(self, path: str) -> Path:
        return self._root / os.path.join(self._directory, path).lstrip("/")

    def _copy(self, instruction: Instruction) -> None:
        flags = [word for word in instruction.words if word.startswith("--")]
        *sources, target = [word for word in instruction.words if not word.startswith("--")]
        assert all(flag.startswith("--from=") for flag in flags), instruction
        for source in sources:
            origin = self._roots[flags[0].partition("=")[2]] / source.lstrip("/") if flags else _context(source)
            goal = self._inside(target)
            if origin.is_dir():
                ignore = None if flags else shutil.ignore_patterns("__pycache__")
                shutil.copytree(origin, goal, symlinks=True, ignore=ignore, dirs_exist_ok=True)
            else:
                shutil.copy(origin, goal)

    def _run(self, instruction: Instruction) -> None:
        host = {name: value for name, value in os.environ.items() if name.lower().startswith(_HOST_ENV)}
        command = instruction.command
        if self._directory != "/":
            command = ["/bin/sh", "-c", 'cd "$0" && exec "$@"', self._directory, *command]
        done = subprocess.run(
            _enter(self._root, "rw", (*_LIBRARIES, *_TOOLS), command, "0:0"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_BUILD_LIMIT,
            check=False,
            env=host | self._stage.env(BASE_ENV),
        )
        assert done.returncode == 0, f"RUN {instruction.rest} failed:\n{done.stdout}"


def _context(source: str) -> Path:
    """A file of the build context, which is what .dockerignore lets through."""
    allowed = {
        line.removeprefix("!") for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")
    }
    assert source.removeprefix("./").split("/")[0] in allowed, f".dockerignore keeps {source} from the build"
    return ROOT / source


def _make_base(base: Path) -> None:
    """The root directory that FROM begins with."""
    for place in _EMPTY:
        (base / place).mkdir(parents=True, exist_ok=True)
    (base / "tmp").chmod(0o1777)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    prefix, local = Path(sys.base_prefix), base / "usr/local"
    library = Path(sysconfig.get_path("stdlib"))
    (local / "bin").mkdir(parents=True)
    shutil.copy(prefix / "bin" / version, local / "bin" / version)
    (local / "bin/python3").symlink_to(version)
    shutil.copytree(sysconfig.get_path("include"), local / "include" / version)  # one of the bases compiles
    shutil.copytree(library, local / "lib" / version, symlinks=True, ignore=_LEFT_OUT)
    for shared in (prefix / "lib").glob(f"lib{version}*.so*"):
        shutil.copy(shared, local / "lib", follow_symlinks=False)
    pip = find_spec("pip")
    assert pip is not None
    assert pip.submodule_search_locations is not None
    (found,) = pip.submodule_search_locations
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(found, local / "lib" / version / "site-packages/pip", ignore=ignore)


def _enter(root: Path, mode: str, shared: tuple[str, ...], command: list[str], user: str) -> list[str]:
    """The command line that runs a command in the root directory, as a child of the process that it starts."""
    namespaces = ["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child"]
    entering = ["sh", "-c", _ENTER, "sh", str(root), mode, " ".join(shared)]
    return [*namespaces, *entering, "chroot", f"--userspec={user}", "--groups=", str(root), *command]
