"""The real programs: the proxy as its users start it, and the example service in Go behind it."""

from __future__ import annotations

import http.client
import importlib.util
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType, TracebackType
from typing import IO, Any, Self

from tests.support.client import Address, Client
from tests.support.waiting import PATIENCE, eventually

ROOT = Path(__file__).resolve().parents[2]

Line = dict[str, Any]

# Signs of a fault in the proxy itself, wherever on stderr they stand.
_FAULTS = ("traceback", "exception", "never retrieved", "fault in the sidecar", "background task failed", "internal")


class Lines:
    """What a process writes to a pipe, read as it comes."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self._pipe = pipe
        self.raw: list[bytes] = []
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        for line in self._pipe:
            self.raw.append(line)

    @property
    def text(self) -> str:
        """All of it."""
        return b"".join(self.raw).decode()

    def json(self) -> list[Line]:
        """Each whole line as JSON; fails where one is none."""
        return [json.loads(line) for line in list(self.raw)]

    def join(self) -> None:
        """Wait for the end and close the pipe."""
        self._thread.join(PATIENCE)
        self._pipe.close()


class Proxy:
    """A running `python -m sidecar`. `flags` as on the command line, settings of the environment as `env`.

    `root` is the directory that has the package. It may have so many file `descriptors`, as `ulimit -n` wants them.
    """

    def __init__(
        self,
        upstream: str,
        *flags: str,
        listen: str = "127.0.0.1:0",
        admin: str = "127.0.0.1:0",
        root: Path | str = ROOT,
        descriptors: str = "",
        **env: str,
    ) -> None:
        flags = ("--upstream", upstream, "--listen", listen, "--admin", admin, *flags)
        self._attach(spawn(*flags, root=root, descriptors=descriptors, **env))

    @classmethod
    def around(cls, process: subprocess.Popen[bytes]) -> Self:
        """The proxy that this process is, which has been started in some other way, with its output piped."""
        proxy = cls.__new__(cls)
        proxy._attach(process)
        return proxy

    def _attach(self, process: subprocess.Popen[bytes]) -> None:
        self._signalled = self._awaited = False
        self.process = process
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self.out = Lines(self.process.stdout)
        self.err = Lines(self.process.stderr)
        try:
            started = self.wait_event("started")
        except BaseException:
            self.kill()
            raise
        self.address = parse(str(started["listen"]))
        self.admin = parse(str(started["admin"]))

    @property
    def pid(self) -> int:
        """Its process ID."""
        return self.process.pid

    # ── asking it

    def client(self, timeout: float = PATIENCE) -> Client:
        """A new connection to it."""
        return Client(self.address, timeout)

    def page(self, path: str, method: str = "GET") -> tuple[int, bytes]:
        """A page of the admin port."""
        assert not isinstance(self.admin, str)
        connection = http.client.HTTPConnection(*self.admin, timeout=PATIENCE)
        try:
            connection.request(method, path)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def status(self) -> dict[str, Any]:
        """The page /status."""
        code, body = self.page("/status")
        assert code == 200
        status: dict[str, Any] = json.loads(body)
        return status

    def pool(self) -> dict[str, Any]:
        """What /status says of the pool."""
        pool: dict[str, Any] = self.status()["pool"]
        return pool

    def metrics(self) -> dict[str, float]:
        """All samples of /metrics, by their name with labels."""
        samples = {}
        for line in self.page("/metrics")[1].decode().splitlines():
            if line and not line.startswith("#"):
                name, _, value = line.rpartition(" ")
                samples[name] = float(value)
        return samples

    def rss(self) -> int:
        """Its resident memory now, in bytes."""
        return rss(self.pid)

    def cpu(self) -> float:
        """Seconds of processor time that it has used."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    # ── what it says

    def wait_event(self, event: str, count: int = 1) -> Line:
        """The `count`-th line on stderr of this event, waited for."""

        def look() -> Line | None:
            code = self.process.poll()
            found = [line for line in list(self.err.raw) if b'"' + event.encode() + b'"' in line]
            lines: list[Line] = [line for line in map(json.loads, found) if line.get("event") == event]
            if len(lines) >= count:
                return lines[count - 1]
            assert code is None, f"exited with {code}: {self.err.text}"
            return None

        found = eventually(look, f"the event {event!r}")
        assert found is not None
        return found

    def events(self, event: str) -> list[Line]:
        """The lines on stderr of this event, so far."""
        return [line for line in self.err.json() if line.get("event") == event]

    def access(self, request_id: str) -> Line:
        """The access-log line of a request, waited for."""
        mark = f'"request_id":"{request_id}"'.encode()
        found = eventually(
            lambda: [line for line in list(self.out.raw) if mark in line], f"the access line of {request_id}"
        )
        assert len(found) == 1, found
        line: Line = json.loads(found[0])
        return line

    # ── its end

    def signal(self, number: int = signal.SIGTERM) -> None:
        """Send it a signal."""
        self._signalled = True
        self.process.send_signal(number)

    def wait(self, timeout: float = PATIENCE) -> int:
        """Wait for its exit, and check that it never logged a fault of its own; returns the exit code."""
        try:
            code = self.process.wait(timeout)
            self._awaited = True
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"did not exit within {timeout:g} s") from None
        finally:
            self.out.join()
            self.err.join()
        self.check()
        return code

    def check(self) -> None:
        """Fail if it has logged a fault of its own, or a line that is no JSON."""
        text = self.err.text.lower()
        assert not [sign for sign in _FAULTS if sign in text], self.err.text
        self.err.json()
        self.out.json()

    def stop(self) -> None:
        """End it with SIGTERM, unless the test has, or has waited for its end; it must leave cleanly."""
        by_itself = not self._signalled and not self._awaited and self.process.poll() is not None
        if self.process.poll() is None and not self._signalled:
            self.signal()
        code = self.wait()
        assert not by_itself, f"ended by itself with {code}: {self.err.text}"
        assert code == 0, f"exit code {code}: {self.err.text}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.stop()
        else:
            self.kill()

    def kill(self) -> None:
        """End it at once, whatever it has said."""
        self.process.kill()
        self.process.wait()
        self.out.join()
        self.err.join()


def spawn(*arguments: str, root: Path | str = ROOT, descriptors: str = "", **env: str) -> subprocess.Popen[bytes]:
    """A `python -m sidecar`, without settings in its environment but these, whose output the test reads."""
    limited = ("sh", "-c", f'ulimit -n {descriptors} && exec "$@"', "sh") if descriptors else ()
    return launch(arguments, env, within=limited, root=root)


def launch(
    arguments: Sequence[str],
    env: Mapping[str, str],
    *,
    stdout: int = subprocess.PIPE,
    stderr: int = subprocess.PIPE,
    within: Sequence[str] = (),
    root: Path | str = ROOT,
) -> subprocess.Popen[bytes]:
    """The same with its output elsewhere. `within` is a command that runs it, as `nice` would."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("SIDECAR_")}
    return subprocess.Popen(
        [*within, *_program(root), "-m", "sidecar", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        cwd=root,
        env={**clean, **env},
    )


def _program(root: Path | str) -> tuple[str, ...]:
    """The Python to run the program with: with PROXY_PYTHON another one, in which it is installed, compiled perhaps."""
    other = os.environ.get("PROXY_PYTHON")
    return (other, "-P") if other and root == ROOT else (sys.executable,)


def parse(address: str) -> Address:
    """`host:port` or `unix:/path` as the socket module wants it."""
    if address.startswith("unix:"):
        return address.removeprefix("unix:")
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def rss(pid: int) -> int:
    """A process's resident memory in bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"process {pid} has gone")


class GoService:
    """The example service, running. `listen` is host:port or unix:/path."""

    def __init__(self, listen: str = "127.0.0.1:0", *flags: str) -> None:
        binary = go_builder().build()
        self.process = subprocess.Popen(
            [binary, "-listen", listen, *flags], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        said = self.process.stdout.readline().decode().strip()
        assert said.startswith("listening on "), said
        self.err = Lines(self.process.stderr)
        self.address = parse(said.removeprefix("listening on "))

    @property
    def url(self) -> str:
        """What `--upstream` is to be."""
        if isinstance(self.address, str):
            return f"unix://{self.address}"
        return "http://{}:{}".format(*self.address)

    def record(self, request_id: str) -> list[dict[str, Any]]:
        """What it saw of the requests with this ID."""
        with Client(self.address) as client:
            answer = client.get(f"/_record/{request_id}")
        visits: list[dict[str, Any]] = json.loads(answer.body)
        return visits

    def context_ended(self, request_id: str) -> None:
        """Wait until the one request with this ID is over, because its client had gone."""
        visits = eventually(
            lambda: [v for v in self.record(request_id) if v["finished"]], f"the handler of {request_id} to end"
        )
        assert len(visits) == 1
        assert visits[0]["context_ended"], visits

    def running(self, request_id: str) -> None:
        """Wait until a handler has the request with this ID."""
        eventually(lambda: self.record(request_id), f"the service to see {request_id}")

    def stop(self) -> None:
        """End it."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        finally:
            assert self.process.stdout is not None
            self.process.stdout.close()
            self.err.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def go_builder() -> ModuleType:
    """The module that builds the example service. By its path: `examples` is no package."""
    path = ROOT / "examples" / "go" / "gobuild.py"
    spec = importlib.util.spec_from_file_location("gobuild", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
