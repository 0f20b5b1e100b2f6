"""`sidecar status`, `reload` and `drain` against admin ports that are real, silent, foreign or not there."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

import pytest

from sidecar.address import ListenAddress, parse_listen
from sidecar.admin import app as admin_app
from sidecar.cli import main
from sidecar.cli.control import ControlError, ask
from sidecar.listen import bind, bound_address
from tests.admin.support import FakePlane


class Peer:
    """A server that takes one request and answers with these bytes; None = with nothing, staying connected."""

    def __init__(self, answer: bytes | None) -> None:
        self._answer = answer
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.request = b""
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        connection, _ = self._listener.accept()
        with connection:
            while b"\r\n\r\n" not in self.request:
                self.request += connection.recv(65536)
            if self._answer is None:
                self._done.wait(10)
            else:
                connection.sendall(self._answer)

    def close(self) -> None:
        """Let the client go and end."""
        self._done.set()
        self._thread.join()
        self._listener.close()


def json_answer(body: object, status: str = "200 OK") -> bytes:
    """An answer as the admin port gives it."""
    return f"HTTP/1.0 {status}\r\nContent-Type: application/json\r\n\r\n{json.dumps(body)}".encode()


@pytest.fixture
def peer(request: pytest.FixtureRequest) -> Iterator[Peer]:
    """A peer with the test's answer."""
    served = Peer(request.param)
    yield served
    served.close()


@pytest.mark.parametrize("peer", [json_answer({"draining": True}, "202 Accepted")], indirect=True)
def test_drain_posts_with_the_token(peer: Peer, capsys: pytest.CaptureFixture[str]) -> None:
    """`drain` sends POST /drain with the token and says what follows."""
    assert main(["drain", "--admin", peer.address, "--admin-token", "s3cret"]) == 0
    lines = peer.request.split(b"\r\n")
    assert lines[0] == b"POST /drain HTTP/1.0"
    assert b"Authorization: Bearer s3cret" in lines
    assert b"Host: " + peer.address.encode() in lines
    assert capsys.readouterr().out == "draining: not ready any more; still serving until SIGTERM\n"


@pytest.mark.parametrize("peer", [json_answer({"draining": True, "ending": True}, "202 Accepted")], indirect=True)
def test_drain_can_end_it_too(peer: Peer, capsys: pytest.CaptureFixture[str]) -> None:
    """`drain --exit` sends POST /quitquitquit: the work of a Job is done, and nobody will send SIGTERM."""
    assert main(["drain", "--exit", "--admin", peer.address]) == 0
    assert peer.request.startswith(b"POST /quitquitquit HTTP/1.0\r\n")
    assert capsys.readouterr().out == "draining: not ready any more; still serving until what is in flight has ended\n"


@pytest.mark.parametrize(
    "peer", [json_answer({"upstream": {"up": True}, "in_flight": 3, "settings": {"version": 1}})], indirect=True
)
def test_status_is_readable(peer: Peer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """`status` prints one line a figure, without the settings; port and token may come from the environment."""
    monkeypatch.setenv("SIDECAR_ADMIN__LISTEN", peer.address)
    monkeypatch.setenv("SIDECAR_ADMIN__TOKEN", "from-env")
    assert main(["status"]) == 0
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        ["upstream.up", "yes"],
        ["in_flight", "3"],
    ]
    assert b"Authorization: Bearer from-env" in peer.request


@pytest.mark.parametrize("peer", [json_answer({"in_flight": 3})], indirect=True)
def test_status_as_json(peer: Peer, capsys: pytest.CaptureFixture[str]) -> None:
    """`status --json` prints the document."""
    assert main(["status", "--json", "--admin", peer.address]) == 0
    assert json.loads(capsys.readouterr().out) == {"in_flight": 3}


@pytest.mark.parametrize(
    ("peer", "said"),
    [
        (
            json_answer({"detail": "the token is wrong"}, "401 Unauthorized"),
            "refused: the token is wrong; the token goes",
        ),
        (b"HTTP/1.0 403 Forbidden\r\n\r\n<html>", "refused: status 403; the token goes into --admin-token"),
        (b"HTTP/1.0 404 Not Found\r\n\r\n", "GET /status was answered with 404: is "),
        (json_answer({"detail": "there is no such page"}, "404 Not Found"), "sidecar status: there is no such page"),
        (json_answer([1]), "the answer is not JSON: is it the admin port?"),
        (b"HTTP/1.0 200 OK\r\n\r\nhello", "the answer is not JSON: is it the admin port?"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "does not speak HTTP: is it the admin port?"),
        (b"", "does not speak HTTP: is it the admin port?"),
    ],
    indirect=["peer"],
)
def test_other_answers_fail_in_one_line(peer: Peer, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A refusal, or a port that is somebody else's, exits with 1 and one line that says what to look at."""
    assert main(["status", "--admin", peer.address]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("sidecar status: ")
    assert said in line


@pytest.mark.parametrize(
    ("peer", "out"),
    [
        (json_answer({"ok": True, "changed": [], "restart_needed": []}), "reloaded: nothing has changed\n"),
        (
            json_answer({"ok": True, "changed": ["a.b", "c"], "restart_needed": ["listen"]}),
            "reloaded: changed a.b, c\nonly a restart changes listen\n",
        ),
    ],
    indirect=["peer"],
)
def test_reload_says_what_has_changed(peer: Peer, out: str, capsys: pytest.CaptureFixture[str]) -> None:
    """`reload` sends POST /config/reload and prints what came of it."""
    assert main(["reload", "--admin", peer.address]) == 0
    assert peer.request.startswith(b"POST /config/reload HTTP/1.0\r\n")
    assert capsys.readouterr().out == out


@pytest.mark.parametrize(
    "peer",
    [json_answer({"detail": "the settings are not good", "problems": ["a: x", "b: y"]}, "422 Unprocessable Entity")],
    indirect=True,
)
def test_a_reload_that_fails_prints_every_problem(peer: Peer, capsys: pytest.CaptureFixture[str]) -> None:
    """One line each, to stderr, and exits with 1."""
    assert main(["reload", "--admin", peer.address]) == 1
    assert capsys.readouterr() == (
        "",
        "sidecar reload: a: x\nsidecar reload: b: y\nsidecar reload: the settings are not good\n",
    )


@pytest.mark.parametrize("peer", [None], indirect=True)
def test_a_silent_port_is_not_waited_for(peer: Peer) -> None:
    """An admin port that does not answer is given up within the timeout."""
    began = monotonic()
    with pytest.raises(ControlError, match=r"did not answer within 0\.05s"):
        ask(parse_listen(peer.address), "GET", "/status", timeout=0.05)
    assert monotonic() - began < 2


@pytest.mark.parametrize("command", [["status"], ["drain"], ["reload"], ["explain", "id-1"], ["tap"], ["top"]])
def test_nothing_there_is_one_line(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Where nothing listens, the command exits with 1 and says how to name the port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
    assert main([*command, "--admin", address]) == 1
    assert capsys.readouterr().err == (
        f"sidecar {command[0]}: nothing listens on {address}; is the sidecar running? "
        "Its admin address is given with --admin or SIDECAR_ADMIN__LISTEN\n"
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--admin", "8901"], "8901 has no host; write 127.0.0.1:8901"),
        (["--admin", ":0"], ":0 says nothing of the port"),
        (["--admin-token", "a\nb"], "the token holds characters that a header cannot carry"),
        (["--admin", "unix:/nowhere/s"], "nothing listens on unix:/nowhere/s"),
    ],
)
def test_what_cannot_be_asked_is_one_line(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """An address or token that cannot be used exits with 1 and one line."""
    assert main(["drain", *arguments]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


@pytest.mark.parametrize("kind", ["tcp", "unix", "wildcard"])
async def test_the_real_admin_port_understands(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`drain` and `status` work against the real admin port, on TCP, a socket file and all interfaces."""
    where = {"tcp": "127.0.0.1:0", "unix": f"unix:{tmp_path}/a.sock", "wildcard": "0.0.0.0:0"}[kind]
    running = FakePlane()
    listener = bind(parse_listen(where))
    server = await admin_app.start(running, bound_address(listener, parse_listen(where)), listener)
    try:
        assert await asyncio.to_thread(main, ["drain", "--admin", server.address]) == 0
        assert running.draining
        assert await asyncio.to_thread(main, ["status", "--json", "--admin", server.address]) == 0
    finally:
        await server.stop()
    assert json.loads(capsys.readouterr().out.partition("\n")[2]) == running.status()


def test_an_address_on_all_interfaces_is_asked_on_this_machine() -> None:
    """The wildcard address of the settings is a usable address for the client."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(ControlError, match=f"nothing listens on :{port}"):
        ask(ListenAddress("", port), "GET", "/status")
