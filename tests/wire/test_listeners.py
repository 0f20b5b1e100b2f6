"""Where the proxy listens, and where it finds its upstream: TCP of both versions, and Unix sockets."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.support.client import Client
from tests.support.processes import GoService, Proxy, spawn
from tests.support.upstream import Upstream
from tests.support.waiting import PATIENCE


@pytest.fixture
def short() -> Iterator[Path]:
    """A directory whose path is short enough for Unix sockets."""
    with TemporaryDirectory(prefix="sc") as directory:
        yield Path(directory)


def _ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


def test_ipv4(go: GoService) -> None:
    """127.0.0.1 with port 0 gets a port, which is told."""
    with Proxy(go.url) as proxy, proxy.client() as client:
        assert client.get("/hello").status == 200
        assert proxy.status()["listen"] == "{}:{}".format(*proxy.address)


@pytest.mark.skipif(not _ipv6(), reason="no IPv6 here")
def test_ipv6(upstream: Upstream) -> None:
    """[::1] works, and the upstream is told the client's IPv6 address."""
    with Proxy(upstream.url, listen="[::1]:0") as proxy, proxy.client() as client:
        assert client.get("/").status == 200
    assert upstream.seen[0].get("X-Forwarded-For") == "::1"


@pytest.mark.skipif(not _ipv6(), reason="no IPv6 here")
def test_forwarded_for_ipv6(upstream: Upstream) -> None:
    """In Forwarded an IPv6 address is quoted and bracketed (RFC 7239 section 6)."""
    with Proxy(upstream.url, listen="[::1]:0", SIDECAR_FORWARDING__FORWARDED="true") as proxy, proxy.client() as client:
        client.get("/")
    assert (upstream.seen[0].get("Forwarded") or "").startswith('for="[::1]";')


def test_all_interfaces(upstream: Upstream) -> None:
    """`:0` listens on all interfaces, and an IPv4 client is called by its IPv4 address."""
    with Proxy(upstream.url, listen=":0") as proxy:
        assert not isinstance(proxy.address, str)
        with Client(("127.0.0.1", proxy.address[1])) as client:
            assert client.get("/").status == 200
    assert upstream.seen[0].get("X-Forwarded-For") == "127.0.0.1"


def test_unix_listener(upstream: Upstream, short: Path, request_id: str) -> None:
    """A Unix socket serves, its clients have no address, and its file is removed at the exit."""
    path = short / "proxy.sock"
    with Proxy(upstream.url, listen=f"unix:{path}") as proxy:
        assert proxy.address == str(path)
        with proxy.client() as client:
            assert client.get("/", f"X-Request-ID: {request_id}").status == 200
            assert client.get("/").status == 200
        assert proxy.access(request_id)["client"] == "unix"
    assert upstream.seen[0].get("X-Forwarded-For") is None
    assert upstream.seen[0].get("X-Forwarded-Proto") == "http"
    assert not path.exists()


def test_a_stale_socket_file_is_taken_over(upstream: Upstream, short: Path) -> None:
    """A socket file that a killed process left behind is in nobody's way."""
    path = short / "proxy.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    assert path.exists()
    with Proxy(upstream.url, listen=f"unix:{path}") as proxy, proxy.client() as client:
        assert client.get("/").status == 200
    assert not path.exists()


def refused(*arguments: str) -> str:
    """What a start that fails says on stderr: one line; its exit code is 1."""
    process = spawn(*arguments)
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1, err
    assert out == b""
    assert err.count(b"\n") == 1, err
    assert b"Traceback" not in err
    return err.decode()


@pytest.mark.parametrize("kind", ["live", "file"])
def test_taken_paths_are_refused(upstream: Upstream, short: Path, kind: str) -> None:
    """A path at which somebody listens, or that is another kind of file, is refused and left alone."""
    path = short / "taken"
    with socket.socket(socket.AF_UNIX) as live:
        if kind == "live":
            live.bind(str(path))
            live.listen()
        else:
            path.write_text("precious")
        said = refused("--upstream", upstream.url, "--listen", f"unix:{path}", "--admin", "127.0.0.1:0")
        assert str(path) in said
        assert path.exists()
        if kind == "file":
            assert path.read_text() == "precious"


def test_nothing_is_left_of_a_start_that_failed(upstream: Upstream, short: Path) -> None:
    """A taken admin port leaves no socket file of the data port behind."""
    path = short / "proxy.sock"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        admin = f"127.0.0.1:{taken.getsockname()[1]}"
        assert admin in refused("--upstream", upstream.url, "--listen", f"unix:{path}", "--admin", admin)
    assert not path.exists()


def test_a_socket_file_that_was_removed(upstream: Upstream, short: Path) -> None:
    """Somebody else's removal of the socket file does not spoil the exit."""
    path = short / "proxy.sock"
    with Proxy(upstream.url, listen=f"unix:{path}"):
        os.unlink(path)


@pytest.mark.parametrize("kind", ["tcp", "localhost", "unix"])
def test_upstream_addresses(short: Path, kind: str) -> None:
    """The upstream is reached by address, by name and over a Unix socket."""
    listen = f"unix:{short / 'go.sock'}" if kind == "unix" else "127.0.0.1:0"
    with GoService(listen) as go:
        url = go.url.replace("127.0.0.1", "localhost") if kind == "localhost" else go.url
        with Proxy(url) as proxy, proxy.client() as client:
            for _ in range(3):
                assert client.get("/hello").status == 200
            assert client.post("/upload", b"x" * 100_000).status == 200
            assert proxy.pool()["connections"] == 1


def test_a_name_without_address(short: Path, request_id: str) -> None:
    """A name that does not resolve is told as connect_failed, with the name in the detail."""
    with Proxy("http://no-such-host.invalid:80", SIDECAR_TIMEOUTS__STARTUP="0s") as proxy, proxy.client() as client:
        answer = client.get("/", f"X-Request-ID: {request_id}")
        assert answer.status in (502, 504)
        assert answer["X-Sidecar-Reason"] in ("connect_failed", "connect_timeout")
        assert b"no-such-host.invalid" in answer.body
