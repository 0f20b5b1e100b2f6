"""An upstream that does on cue what real ones do on bad days, and keeps every byte it was sent.

Each connection has a thread. For each request that has come in whole the upstream's `script(peer, request)` is
called; it sends, waits, closes, resets. `on_head(peer, request)`, where set, is called at the request's head instead,
and `on_accept(peer)` has a new connection to itself. Connections that never say anything are probes: they are in
`peers`, but not in `speaking`.
"""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from tests.support.client import Fields, _fields, reset
from tests.support.waiting import PATIENCE

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Seen:
    """A request as it came in: `head` is its bytes, `fields` and `body` what they mean, `trailers` raw lines."""

    def __init__(self, peer: Peer, head: bytes) -> None:
        self.peer = peer
        self.head = head
        line, _, block = head.partition(b"\r\n")
        self.line = line.decode("latin-1")
        self.method, self.target, self.version = self.line.split(" ")
        self.fields: Fields = _fields(block[:-2])
        self.body = b""
        self.raw_body = b""
        self.trailers: Fields = []

    def all(self, name: str) -> list[str]:
        """The values of every field of this name."""
        return [value for field, value in self.fields if field.lower() == name.lower()]

    def get(self, name: str) -> str | None:
        """The value of the field, which must not be there twice."""
        values = self.all(name)
        assert len(values) < 2, f"{name} is there {len(values)} times: {values}"
        return values[0] if values else None

    @property
    def names(self) -> set[str]:
        """The names of all fields, in lower case."""
        return {name.lower() for name, _ in self.fields}

    def __repr__(self) -> str:
        return f"<Seen {self.line} {self.fields} {len(self.body)} bytes>"


class Peer:
    """One accepted connection."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        sock.settimeout(PATIENCE)
        if sock.family != socket.AF_UNIX:
            # What is sent goes at once: otherwise a second piece waits until the proxy speaks.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.received = bytearray()  # all of it
        self._unread = b""
        self.gone = threading.Event()  # the proxy has closed or reset it, and that was seen
        self.how = ""  # "end" or "reset", then

    def _more(self) -> bool:
        try:
            data = self.sock.recv(1 << 18)
        except TimeoutError:
            raise
        except OSError:
            data, self.how = b"", "reset"
        if not data:
            self.how = self.how or "end"
            self.gone.set()
            return False
        self.received += data
        self._unread += data
        return True

    def read_until(self, mark: bytes) -> bytes | None:
        """Up to `mark`, that included; None where the connection ended before."""
        while mark not in self._unread:
            if not self._more():
                return None
        found, _, self._unread = self._unread.partition(mark)
        return found + mark

    def read_exactly(self, size: int) -> bytes | None:
        """So many bytes; None where the connection ended before."""
        while len(self._unread) < size:
            if not self._more():
                return None
        data, self._unread = self._unread[:size], self._unread[size:]
        return data

    def read_head(self) -> Seen | None:
        """A request's head; None where the connection ended."""
        head = self.read_until(b"\r\n\r\n")
        return Seen(self, head) if head is not None else None

    def read_body(self, seen: Seen) -> bool:
        """The body behind it; False where it was cut."""
        if seen.get("Transfer-Encoding") == "chunked":
            return self._read_chunks(seen)
        body = self.read_exactly(int(seen.get("Content-Length") or 0))
        seen.body = seen.raw_body = body or b""
        return body is not None

    def _read_chunks(self, seen: Seen) -> bool:
        while True:
            line = self.read_until(b"\r\n")
            if line is None:
                return False
            assert re.fullmatch(rb"[0-9A-Fa-f]+\r\n", line), f"the proxy sent the chunk size line {line!r}"
            size = int(line, 16)
            seen.raw_body += line
            if not size:
                break
            data = self.read_exactly(size + 2)
            if data is None:
                return False
            assert data.endswith(b"\r\n"), f"no CRLF behind a chunk: {data[-20:]!r}"
            seen.raw_body += data
            seen.body += data[:-2]
        lines = b""
        while True:
            line = self.read_until(b"\r\n")
            if line is None:
                return False
            seen.raw_body += line
            if line == b"\r\n":
                seen.trailers = _fields(lines)
                return True
            lines += line

    def send(self, data: bytes) -> None:
        """Send; a proxy that has gone meanwhile is no fault of the test."""
        try:
            self.sock.sendall(data)
        except OSError:
            self.how = self.how or "reset"
            self.gone.set()

    def wait_gone(self) -> str:
        """Read past everything until the proxy closes; returns how it did."""
        while self._more():
            self._unread = b""
        return self.how

    def half_close(self) -> None:
        """Send the end; go on reading."""
        self.sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Close."""
        self.sock.close()

    def reset(self) -> None:
        """Close with a reset."""
        reset(self.sock)

    @property
    def closed(self) -> bool:
        """Whether this side has closed it."""
        return self.sock.fileno() < 0


def always(answer: bytes, *, close: bool = False) -> Callable[[Peer, Seen], None]:
    """A script that sends this to every request."""

    def script(peer: Peer, seen: Seen) -> None:
        peer.send(answer)
        if close:
            peer.close()

    return script


def in_turn(*scripts: Callable[[Peer, Seen], None]) -> Callable[[Peer, Seen], None]:
    """The first script for the first request, and so on; the last one for all that follow."""
    left = list(scripts)
    lock = threading.Lock()

    def script(peer: Peer, seen: Seen) -> None:
        with lock:
            step = left.pop(0) if len(left) > 1 else left[0]
        step(peer, seen)

    return script


class Upstream:
    """A listening upstream. Set `script` or `on_accept` at any time: they hold from the next request or connection."""

    def __init__(self, path: str | None = None, backlog: int = 128, sock: socket.socket | None = None) -> None:
        self.path = path
        if sock is not None:
            self.sock = sock
        elif path is not None:
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.bind(path)
            self.sock.listen(backlog)
        else:
            self.sock = socket.create_server(("127.0.0.1", 0), backlog=backlog)
        self.script: Callable[[Peer, Seen], None] = always(OK)
        self.on_head: Callable[[Peer, Seen], None] | None = None
        self.on_accept: Callable[[Peer], None] | None = None
        self.seen: list[Seen] = []
        self.peers: list[Peer] = []
        self.faults: list[BaseException] = []
        self._threads: list[threading.Thread] = []
        self._closing = False
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()

    @property
    def url(self) -> str:
        """What `--upstream` is to be."""
        return f"unix://{self.path}" if self.path else f"http://127.0.0.1:{self.port}"

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.sock.getsockname()[1])

    @property
    def speaking(self) -> list[Peer]:
        """The connections that something came on: all but the probes."""
        return [peer for peer in self.peers if peer.received]

    def forget(self) -> None:
        """Begin with nothing seen. Its connections stay: what a script broke is broken already."""
        self.peers[:] = [peer for peer in self.peers if not peer.closed]
        for peer in self.peers:
            peer.received.clear()
        self.seen.clear()

    def _accept(self) -> None:
        while not self._closing:
            try:
                sock, _ = self.sock.accept()
            except OSError:
                return
            if self._closing:
                sock.close()
                return
            peer = Peer(sock)
            self.peers.append(peer)
            thread = threading.Thread(target=self._serve, args=(peer,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, peer: Peer) -> None:
        try:
            if self.on_accept is not None:
                self.on_accept(peer)
                return
            while not peer.closed and (seen := peer.read_head()) is not None:
                if self.on_head is not None:
                    self.seen.append(seen)
                    self.on_head(peer, seen)
                    continue
                if not peer.read_body(seen):
                    return
                self.seen.append(seen)
                self.script(peer, seen)
        except (OSError, ValueError):
            # The test has closed the connection under its script.
            pass
        except BaseException as fault:
            self.faults.append(fault)
        finally:
            peer.close()

    def close(self) -> None:
        """Close everything, and fail if the proxy ever sent something malformed."""
        self._closing = True
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.sock.close()
        self._acceptor.join(PATIENCE)
        for peer in list(self.peers):
            try:
                peer.sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        for thread in self._threads:
            thread.join(PATIENCE)
        for peer in self.peers:
            peer.close()
        assert not self.faults, self.faults

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
