"""The demo, as a visitor meets it: what it prints is true, and it leaves cleanly."""

from __future__ import annotations

import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from sidecar.demo import guide, traffic

LAST_LINE = "Ctrl-C drains"
NEEDS_CURL = pytest.mark.skipif(shutil.which("curl") is None, reason="the lines to copy need curl")


class Demo:
    """A running demo. `text` is what it printed up to the end of its guide, `rest` what came after, once stopped."""

    def __init__(self, process: subprocess.Popen[str], stdout: Path) -> None:
        self._process = process
        self._stdout = stdout
        self.rest = ""
        lines = []
        assert process.stderr is not None
        for line in process.stderr:
            lines.append(line)
            if line.startswith(LAST_LINE):
                break
        self.text = "".join(lines)
        (self.proxy,) = re.findall(r"client ──▶ (\S+)", self.text)

    def stop(self, number: signal.Signals) -> int:
        """Send the signal; returns the exit code."""
        self._process.send_signal(number)
        assert self._process.stderr is not None
        self.rest = self._process.stderr.read()
        return self._process.wait()

    def access_log(self) -> list[dict[str, object]]:
        """Every line of the access log."""
        return [json.loads(line) for line in self._stdout.read_text().splitlines()]


@contextmanager
def running(folder: Path, listen: str = "127.0.0.1:0") -> Iterator[Demo]:
    """A demo on ports of its own, killed if it hangs."""
    command = [sys.executable, "-m", "sidecar", "demo", "--listen", listen, "--admin", "127.0.0.1:0"]
    stdout = folder / "stdout"
    with (
        stdout.open("w") as out,
        subprocess.Popen(command, stdout=out, stderr=subprocess.PIPE, text=True, encoding="utf-8") as process,
    ):
        watchdog = threading.Timer(60, process.kill)
        watchdog.start()
        try:
            yield Demo(process, stdout)
        finally:
            watchdog.cancel()
            process.kill()


def run_line(command: str) -> subprocess.CompletedProcess[str]:
    """A line of the guide, pasted into a shell."""
    return subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=30, check=False)


def hold_to_its_word(shows: str, done: subprocess.CompletedProcess[str]) -> None:
    """Compare what a line did with what the guide says it shows."""
    status, reason, _ = re.fullmatch(r"(?:([0-9]{3})(?: (\w+))?[:,] )?(.*)", shows, re.DOTALL).groups()  # type: ignore[union-attr]
    cut = "then cut" in shows
    assert done.returncode == (18 if cut else 0), done.stderr
    assert done.stdout
    head, blank, _ = done.stdout.replace("\r", "").partition("\n\n")
    if status and head.startswith("HTTP/") and blank:
        # `100 Continue` may come first.
        assert f"HTTP/1.1 {status}" in done.stdout
        assert (f"\nX-Sidecar-Reason: {reason}\n".lower() in done.stdout.replace("\r", "").lower()) is bool(reason)
    if reason:
        assert f'"{reason}"' in done.stdout


@NEEDS_CURL
@pytest.mark.parametrize("kind", ["port", "socket file"])
def test_every_line_that_it_prints_does_what_it_says(kind: str, tmp_path: Path) -> None:
    """Each command line, pasted into a shell, gives the status and the reason that stand above it."""
    with running(tmp_path, "127.0.0.1:0" if kind == "port" else f"unix:{tmp_path}/demo.sock") as demo:
        found = re.findall(r"^  (\S.*)\n    (\S.*)$", demo.text, re.MULTILINE)
        assert len(found) == len(guide.TRIES)
        with ThreadPoolExecutor(len(found)) as shells:
            for (shows, _), done in zip(found, shells.map(run_line, [command for _, command in found]), strict=True):
                hold_to_its_word(shows, done)
        (again,) = re.findall(r"This text again.*: (curl .*) \(or a browser\)", demo.text)
        assert demo.text.endswith(run_line(again).stdout)
        assert demo.stop(signal.SIGTERM) == 0
        told = {reason for shows, _ in found for reason in re.findall(r"^[0-9]{3} (\w+):", shows)}
        assert told <= {line["reason"] for line in demo.access_log()}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_leaves_cleanly(number: signal.Signals, tmp_path: Path) -> None:
    """A signal drains it: a report as the last line, exit code 0, no traceback, and whole lines in the access log."""
    with running(tmp_path) as demo:
        with urllib.request.urlopen(f"http://{demo.proxy}/items/42", timeout=10) as response:
            assert response.status == 200
        assert demo.stop(number) == 0
        assert json.loads(demo.rest.splitlines()[-1])["event"] == "drained"
        assert "Traceback" not in demo.rest
        assert "/items/42" in {line["path"] for line in demo.access_log()}


def test_browsers_get_a_page(tmp_path: Path) -> None:
    """`/` shows a browser the guide, with links."""
    with running(tmp_path) as demo:
        request = urllib.request.Request(f"http://{demo.proxy}/", headers={"Accept": "text/html,*/*"})
        with urllib.request.urlopen(request, timeout=10) as response:
            page = response.read().decode()
        assert response.headers["Content-Type"] == "text/html; charset=utf-8"
        assert f'<a href="http://{demo.proxy}/hang">' in page


@pytest.mark.parametrize("taken", ["--listen", "--admin"])
def test_a_port_in_use_is_told_in_one_line(taken: str) -> None:
    """It ends with 1 and one line that names the address."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        where = f"127.0.0.1:{other.getsockname()[1]}"
        addresses = {"--listen": "127.0.0.1:0", "--admin": "127.0.0.1:0", taken: where}
        command = [sys.executable, "-m", "sidecar", "demo", *(word for pair in addresses.items() for word in pair)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"sidecar: cannot listen on {where}: ")


def test_one_port_for_both_is_a_usage_error() -> None:
    """It ends with 2 and one line that says what to write."""
    command = [sys.executable, "-m", "sidecar", "demo", "--admin", "127.0.0.1:8900"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("sidecar demo: admin.listen: 127.0.0.1:8900: takes the same port as listen")


@pytest.mark.parametrize(
    ("address", "url", "socket_file"),
    [
        ("127.0.0.1:8900", "http://127.0.0.1:8900", ""),
        (":8900", "http://127.0.0.1:8900", ""),
        ("0.0.0.0:8900", "http://127.0.0.1:8900", ""),
        ("[::]:8900", "http://[::1]:8900", ""),
        ("unix:/run/x.sock", "http://localhost", "/run/x.sock"),
    ],
)
def test_targets(address: str, url: str, socket_file: str) -> None:
    """Who listens everywhere is reached on this machine's own address, a socket file by its path."""
    assert guide.target(address) == (url, socket_file)


async def test_traffic_outlives_its_failures() -> None:
    """Requests that fail, as many do, end neither the traffic nor the demo; it ends when it is told to."""
    with socket.create_server(("127.0.0.1", 0)) as unused:
        base = f"http://127.0.0.1:{unused.getsockname()[1]}"
    asked = iter([False, False, True])
    await traffic.send(base, "", until=lambda: next(asked))
    assert list(asked) == []
