"""The client's side of the admin port, on sockets alone: what `sidecar status`, `drain`, `tap` and others speak.

Runs as a preStop hook, so it must be up in a moment: `http.client` would bring the e-mail package and TLS along, and
HTTP/1.0 needs no more than this. Knows addresses, not settings.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any, Final, NamedTuple, Self

from sidecar.address import ListenAddress

# An answer of the admin port is a few kilobytes, its head and a line of its stream less; what is longer is not ours.
_LONGEST: Final = 16 * 1024 * 1024
_LONGEST_LINE: Final = 1024 * 1024

_JSON: Final = "application/json"


class Answer(NamedTuple):
    """What the admin port said."""

    status: int
    body: bytes


class ControlError(Exception):
    """The admin port could not be asked; the text is one sentence for the user."""


class Stream:
    """An answer that goes on for as long as both sides want: iterate over its lines, and close it."""

    def __init__(self, connection: socket.socket, address: ListenAddress, answer: Answer, silence: float) -> None:
        self._connection = connection
        self._address = address
        self._silence = silence
        self._received = answer.body
        self.status = answer.status

    def __iter__(self) -> Iterator[bytes]:
        """Each line without its end, until the other side closes. Raises `ControlError`, after `silence` too."""
        with _told(self._address, self._silence):
            while len(self._received) < _LONGEST_LINE:
                *lines, self._received = self._received.split(b"\n")
                yield from lines
                piece = self._connection.recv(65536)
                if not piece:
                    return
                self._received += piece
        raise ControlError(f"{self._address} sends lines that have no end: is it the admin port?")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._connection.close()


def ask(
    address: ListenAddress, method: str, path: str, token: str = "", timeout: float = 5.0, accept: str = _JSON
) -> Answer:
    """One request to the admin port at `address`, in at most `timeout` seconds. Raises `ControlError`."""
    due = monotonic() + timeout
    with _told(address, timeout), _dial(address, timeout) as connection:
        connection.sendall(_request(address, method, path, token, accept))
        return _parse(_read_all(connection, due), address)


def follow(address: ListenAddress, path: str, token: str = "", timeout: float = 5.0, silence: float = 30.0) -> Stream:
    """A stream from the admin port, which begins within `timeout` seconds. Raises `ControlError`."""
    due = monotonic() + timeout
    with _told(address, timeout):
        connection = _dial(address, timeout)
        try:
            connection.sendall(_request(address, "GET", path, token, "text/event-stream"))
            answer = _parse(_read_head(connection, due), address)
        except BaseException:
            connection.close()
            raise
        connection.settimeout(silence)
        return Stream(connection, address, answer, silence)


@contextmanager
def _told(address: ListenAddress, timeout: float) -> Iterator[None]:
    """Tell failures of the socket in a sentence."""
    try:
        yield
    except (ConnectionRefusedError, FileNotFoundError):
        raise ControlError(
            f"nothing listens on {address}; is the sidecar running? "
            "Its admin address is given with --admin or SIDECAR_ADMIN__LISTEN"
        ) from None
    except TimeoutError:
        raise ControlError(f"{address} did not answer within {timeout:g}s") from None
    except OSError as error:
        raise ControlError(f"{address} cannot be asked: {error.strerror or error}") from None


def _dial(address: ListenAddress, timeout: float) -> socket.socket:
    if address.unix:
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(timeout)
        try:
            connection.connect(address.path)
        except OSError:
            connection.close()
            raise
        return connection
    # As bytes: a name as text would load the tables of international names (5 ms), and names are ASCII here.
    where: tuple[Any, int] = (_target(address).encode("ascii"), address.port)
    return socket.create_connection(where, timeout)


def _target(address: ListenAddress) -> str:
    # Who listens on every interface is reached on this machine's own.
    if address.wildcard:
        return "::1" if address.host == "::" else "127.0.0.1"
    return address.host


def _request(address: ListenAddress, method: str, path: str, token: str, accept: str) -> bytes:
    host = "localhost" if address.unix else str(ListenAddress(_target(address), address.port))
    lines = [f"{method} {path} HTTP/1.0", f"Host: {host}", f"Accept: {accept}", "Content-Length: 0"]
    if token:
        lines.append(f"Authorization: Bearer {token}")
    return "\r\n".join([*lines, "", ""]).encode("ascii")


def _read_all(connection: socket.socket, due: float) -> bytes:
    received = bytearray()
    while len(received) < _LONGEST:
        piece = _read(connection, due)
        if not piece:
            break
        received += piece
    return bytes(received)


def _read_head(connection: socket.socket, due: float) -> bytes:
    """Up to the end of the head and a little more; less if the other side closes first."""
    received = b""
    while b"\r\n\r\n" not in received and len(received) < _LONGEST_LINE:
        piece = _read(connection, due)
        if not piece:
            break
        received += piece
    return received


def _read(connection: socket.socket, due: float) -> bytes:
    left = due - monotonic()
    if left <= 0:
        raise TimeoutError
    connection.settimeout(left)
    return connection.recv(65536)


def _parse(received: bytes, address: ListenAddress) -> Answer:
    head, blank, body = received.partition(b"\r\n\r\n")
    version, _, rest = head.partition(b" ")
    status = rest[:3]
    if not blank or not version.startswith(b"HTTP/1.") or len(status) != 3 or not status.isdigit():
        raise ControlError(f"{address} does not speak HTTP: is it the admin port?")
    return Answer(int(status), body)
