"""The client's side of the admin port, on sockets alone: what `sidecar status` and `sidecar drain` speak.

Runs as a preStop hook, so it must be up in a moment: `http.client` would bring the e-mail package and TLS along, and
HTTP/1.0 needs no more than this. Knows addresses, not settings.
"""

from __future__ import annotations

import socket
from time import monotonic
from typing import Any, Final, NamedTuple

from sidecar.address import ListenAddress

# An answer of the admin port is a few kilobytes; what is longer is not ours.
_LONGEST: Final = 16 * 1024 * 1024


class Answer(NamedTuple):
    """What the admin port said."""

    status: int
    body: bytes


class ControlError(Exception):
    """The admin port could not be asked; the text is one sentence for the user."""


def ask(address: ListenAddress, method: str, path: str, token: str = "", timeout: float = 5.0) -> Answer:
    """One request to the admin port at `address`, in at most `timeout` seconds. Raises `ControlError`."""
    due = monotonic() + timeout
    try:
        with _dial(address, timeout) as connection:
            connection.sendall(_request(address, method, path, token))
            return _parse(_read_all(connection, due), address)
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


def _request(address: ListenAddress, method: str, path: str, token: str) -> bytes:
    host = "localhost" if address.unix else str(ListenAddress(_target(address), address.port))
    lines = [f"{method} {path} HTTP/1.0", f"Host: {host}", "Accept: application/json", "Content-Length: 0"]
    if token:
        lines.append(f"Authorization: Bearer {token}")
    return "\r\n".join([*lines, "", ""]).encode("ascii")


def _read_all(connection: socket.socket, due: float) -> bytes:
    received = bytearray()
    while len(received) < _LONGEST:
        left = due - monotonic()
        if left <= 0:
            raise TimeoutError
        connection.settimeout(left)
        piece = connection.recv(65536)
        if not piece:
            break
        received += piece
    return bytes(received)


def _parse(received: bytes, address: ListenAddress) -> Answer:
    head, blank, body = received.partition(b"\r\n\r\n")
    version, _, rest = head.partition(b" ")
    status = rest[:3]
    if not blank or not version.startswith(b"HTTP/1.") or len(status) != 3 or not status.isdigit():
        raise ControlError(f"{address} does not speak HTTP: is it the admin port?")
    return Answer(int(status), body)
