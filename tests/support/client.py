"""A client that says exactly what the test wants said, and reads answers more strictly than any real one.

One blocking connection. An answer that was cut raises `CutError`, with what had come of it; one that is malformed
fails the test. Nothing is repaired.
"""

from __future__ import annotations

import re
import select
import socket
import struct
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Self

from tests.support.waiting import PATIENCE

Address = tuple[str, int] | str
Fields = list[tuple[str, str]]

_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2}) ([\t -~\x80-\xff]*)\r\n")
_FIELD = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([\t -~\x80-\xff]*?)[ \t]*\r\n")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,15})(;[\t -~]*)?\r\n")


def connect(address: Address, timeout: float = PATIENCE) -> socket.socket:
    """A stream socket connected to (host, port) or to a Unix socket's path."""
    if isinstance(address, str):
        sock = socket.socket(socket.AF_UNIX)
        try:
            sock.settimeout(timeout)
            sock.connect(address)
        except OSError:
            sock.close()
            raise
        return sock
    return socket.create_connection(address, timeout)


def reset(sock: socket.socket) -> None:
    """Close so that the peer gets a reset."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


class Answer:
    """One response: its head at first, then also its body (`text`, `trailers`) and how that was `framed`."""

    def __init__(self, status: int, phrase: str, head: bytes, fields: Fields) -> None:
        self.status = status
        self.phrase = phrase
        self.head = head
        self.fields = fields
        self.body = b""
        self.length = 0  # bytes of the body, also where a sink took them
        self.chunks: list[bytes] = []
        self.trailers: Fields = []
        self.framed = ""  # "none", "length", "chunked" or "close"
        self.interim: list[Answer] = []

    def all(self, name: str) -> list[str]:
        """The values of every field of this name."""
        return [value for field, value in self.fields if field.lower() == name.lower()]

    def get(self, name: str) -> str | None:
        """The value of the field, which must not be there twice."""
        values = self.all(name)
        assert len(values) < 2, f"{name} is there {len(values)} times: {values}"
        return values[0] if values else None

    def __getitem__(self, name: str) -> str:
        value = self.get(name)
        assert value is not None, f"no {name} in {self.fields}"
        return value

    def __contains__(self, name: str) -> bool:
        return bool(self.all(name))

    def __repr__(self) -> str:
        return f"<Answer {self.status} {self.fields} {self.framed} {self.length} bytes {self.body[:200]!r}>"


class CutError(Exception):
    """The connection ended (`how`: "end" or "reset") within an answer, or before one; `answer` is what had come."""

    def __init__(self, how: str, answer: Answer | None) -> None:
        super().__init__(f"{how} within {answer}")
        self.how = how
        self.answer = answer


class Client:
    """One connection. `buffer` holds what has come and was not read yet; `versions` are those of HTTP/1 to expect."""

    def __init__(self, address: Address, timeout: float = PATIENCE, *, versions: bytes = b"1") -> None:
        self.versions = versions
        self.sock = connect(address, timeout)
        self.buffer = b""
        if not isinstance(address, str):
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    # ── asking

    def send(self, data: bytes) -> None:
        """Send just this."""
        self.sock.sendall(data)

    def ask(
        self,
        target: str = "/hello",
        method: str = "GET",
        fields: Iterable[str] = (),
        body: bytes | None = None,
        *,
        version: str = "1.1",
        host: str | None = "service.test",
    ) -> None:
        """Send a request. `fields` are whole lines; a `body` is given its Content-Length."""
        lines = [f"{method} {target} HTTP/{version}"]
        if host is not None:
            lines.append(f"Host: {host}")
        lines += fields
        if body is not None:
            lines.append(f"Content-Length: {len(body)}")
        self.send("\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b""))

    def get(self, target: str = "/hello", *fields: str) -> Answer:
        """A GET and its answer."""
        self.ask(target, fields=fields)
        return self.read()

    def post(self, target: str, body: bytes = b"", *fields: str) -> Answer:
        """A POST and its answer."""
        self.ask(target, "POST", fields, body)
        return self.read("POST")

    def send_until_answered(self) -> None:
        """Send `x` as fast as it is taken, until something comes back."""
        while not select.select([self.sock], [], [], 0)[0]:
            readable, writable, _ = select.select([self.sock], [self.sock], [], PATIENCE)
            assert readable or writable, "neither taken nor answered"
            if writable:
                self.sock.send(b"x" * (1 << 18))

    # ── listening

    def _more(self, answer: Answer | None = None) -> None:
        try:
            data = self.sock.recv(1 << 18)
        except ConnectionResetError:
            raise CutError("reset", answer) from None
        if not data:
            raise CutError("end", answer)
        self.buffer += data

    def read_head(self) -> Answer:
        """The next response head, an interim one too."""
        while b"\r\n\r\n" not in self.buffer:
            self._more()
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        head += b"\r\n"
        line = _STATUS_LINE.match(head)
        assert line, f"malformed status line: {head!r}"
        assert line[1] in self.versions, f"another version than expected: {head!r}"
        answer = Answer(int(line[2]), line[3].decode("latin-1"), head, [])
        answer.fields = _fields(head[line.end() :])
        return answer

    def read(self, method: str = "GET", sink: Callable[[bytes], object] | None = None) -> Answer:
        """The next final answer with its body, which goes to `sink` where one is given."""
        interim: list[Answer] = []
        answer = self.read_head()
        while answer.status < 200 and answer.status != 101:
            assert "Content-Length" not in answer
            assert "Transfer-Encoding" not in answer
            interim.append(answer)
            answer = self.read_head()
        answer.interim = interim
        self.read_body(answer, method, sink)
        return answer

    def read_body(self, answer: Answer, method: str = "GET", sink: Callable[[bytes], object] | None = None) -> Answer:
        """The body behind `answer`."""
        coding, length = answer.get("Transfer-Encoding"), answer.get("Content-Length")
        assert coding is None or length is None, f"two framings: {answer}"
        pieces: list[bytes] = []
        take = sink or pieces.append

        def taken(data: bytes) -> None:
            answer.length += len(data)
            take(data)

        try:
            if method == "HEAD" or answer.status in (101, 204, 304):
                answer.framed = "none"
            elif coding is not None:
                assert coding == "chunked", coding
                answer.framed = "chunked"
                self._chunked(answer, taken)
            elif length is not None:
                answer.framed = "length"
                self._counted(answer, int(length), taken)
            else:
                answer.framed = "close"
                self._to_the_close(answer, taken)
        finally:
            answer.body = b"".join(pieces)
        return answer

    def _counted(self, answer: Answer, left: int, take: Callable[[bytes], None]) -> None:
        while left:
            if not self.buffer:
                self._more(answer)
            data, self.buffer = self.buffer[:left], self.buffer[left:]
            left -= len(data)
            take(data)

    def _chunked(self, answer: Answer, take: Callable[[bytes], None]) -> None:
        while True:
            size = int(self._line(answer, _CHUNK), 16)
            if not size:
                break
            if sized := len(self.buffer) >= size:
                answer.chunks.append(self.buffer[:size])
            self._counted(answer, size, take)
            if not sized:
                answer.chunks.append(b"")
            self._expect(answer, b"\r\n")
        lines = b""
        while not self.buffer.startswith(b"\r\n"):
            while b"\r\n" not in self.buffer:
                self._more(answer)
            line, _, self.buffer = self.buffer.partition(b"\r\n")
            lines += line + b"\r\n"
            while len(self.buffer) < 2:
                self._more(answer)
        self._expect(answer, b"\r\n")
        answer.trailers = _fields(lines)

    def read_chunk(self, answer: Answer | None = None) -> bytes:
        """The next chunk of a chunked body, b"" for the last one (whose trailers are left unread)."""
        size = int(self._line(answer, _CHUNK), 16)
        pieces: list[bytes] = []
        if size:
            self._counted(answer or Answer(0, "", b"", []), size, pieces.append)
            self._expect(answer, b"\r\n")
        return b"".join(pieces)

    def _line(self, answer: Answer | None, pattern: re.Pattern[bytes]) -> bytes:
        while b"\n" not in self.buffer:
            self._more(answer)
        match = pattern.match(self.buffer)
        assert match, f"malformed: {self.buffer[:80]!r}"
        self.buffer = self.buffer[match.end() :]
        return match[1]

    def _expect(self, answer: Answer | None, data: bytes) -> None:
        while len(self.buffer) < len(data):
            self._more(answer)
        assert self.buffer.startswith(data), f"{data!r} expected, not {self.buffer[:80]!r}"
        self.buffer = self.buffer[len(data) :]

    def _to_the_close(self, answer: Answer, take: Callable[[bytes], None]) -> None:
        try:
            while True:
                if self.buffer:
                    data, self.buffer = self.buffer, b""
                    take(data)
                self._more(answer)
        except CutError as cut:
            if cut.how != "end":
                raise

    def wait_for(self, mark: bytes) -> None:
        """Wait until `mark` has come; it is left unread, as all that came with it."""
        while mark not in self.buffer:
            self._more()

    def read_rest(self) -> bytes:
        """All that comes up to the end."""
        pieces: list[bytes] = []
        self._to_the_close(Answer(0, "", b"", []), pieces.append)
        return b"".join(pieces)

    def take(self, size: int) -> bytes:
        """Exactly so many bytes, whatever they are."""
        while len(self.buffer) < size:
            self._more()
        data, self.buffer = self.buffer[:size], self.buffer[size:]
        return data

    def end(self) -> str:
        """How the connection ends: "end" or "reset". Bytes before that fail the test."""
        assert not self.buffer, f"unexpected: {self.buffer[:200]!r}"
        try:
            self._more()
        except CutError as cut:
            return cut.how
        raise AssertionError(f"bytes where the end was due: {self.buffer[:200]!r}")

    def quiet(self, seconds: float) -> bool:
        """Whether nothing, not even an end, comes for so long."""
        assert not self.buffer, f"unexpected: {self.buffer[:200]!r}"
        before = self.sock.gettimeout()
        self.sock.settimeout(seconds)
        try:
            data = self.sock.recv(1 << 16)
        except TimeoutError:
            return True
        except ConnectionResetError:
            return False
        finally:
            self.sock.settimeout(before)
        self.buffer += data
        return False

    # ── leaving

    def half_close(self) -> None:
        """Send the end; go on reading."""
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Close with a reset."""
        reset(self.sock)

    def close(self) -> None:
        """Close."""
        self.sock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _fields(block: bytes) -> Fields:
    found: Fields = []
    position = 0
    while position < len(block):
        match = _FIELD.match(block, position)
        assert match, f"malformed field line: {block[position : position + 80]!r}"
        found.append((match[1].decode("ascii"), match[2].decode("latin-1")))
        position = match.end()
    return found
