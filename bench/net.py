"""Small network helpers: free ports, one plain request, the wait until something answers."""

from __future__ import annotations

import http.client
import random
import resource
import socket
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.children import BenchError

HOST = "127.0.0.1"


@dataclass(frozen=True)
class Answer:
    """A whole response; header names are lower-case."""

    status: int
    headers: dict[str, str]
    body: bytes


def free_port() -> int:
    """A port nobody listens on, below the range that the kernel gives to outgoing connections."""
    for _ in range(200):
        port = random.randint(18000, 31000)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return port
    raise BenchError("no free port found between 18000 and 31000")


def fetch(
    port: int,
    path: str,
    *,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
    timeout: float = 10.0,
) -> Answer:
    """One request on a connection of its own."""
    connection = http.client.HTTPConnection(HOST, port, timeout=timeout)
    try:
        connection.request(method, path, body=body, headers=dict(headers or {}))
        response = connection.getresponse()
        names = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, names, response.read())
    finally:
        connection.close()


def wait_until_answers(port: int, process: subprocess.Popen[bytes], errors: Path, within: float = 20.0) -> float:
    """Ask for ``/hello`` every 2 ms until it is answered 200; return the clock at that moment."""
    deadline = time.perf_counter() + within
    while time.perf_counter() < deadline:
        if process.poll() is not None:
            raise BenchError(f"{errors.parent.name} ended with exit code {process.returncode}\n{tail(errors)}")
        try:
            if fetch(port, "/hello", timeout=2.0).status == 200:
                return time.perf_counter()
        except (OSError, http.client.HTTPException):
            pass
        time.sleep(0.002)
    raise BenchError(f"no answer on port {port} within {within:.0f} s\n{tail(errors)}")


def allow_many_sockets(wanted: int = 65536) -> None:
    """Raise the limit of open files, which child processes inherit, as far as the hard limit lets us."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    ceiling = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft < ceiling:
        resource.setrlimit(resource.RLIMIT_NOFILE, (ceiling, hard))


def tail(path: Path) -> str:
    """The last lines of a file, empty if there is none."""
    text = path.read_text(errors="replace") if path.exists() else ""
    return "\n".join(text.splitlines()[-15:])
