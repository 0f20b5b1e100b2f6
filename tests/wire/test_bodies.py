"""Bodies: whole and unchanged both ways, in bounded memory, at the reader's pace; answers that come before the end."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable
from itertools import pairwise
from threading import Event, Thread
from time import monotonic, sleep

import pytest

from tests.faults.bent import CHILD
from tests.support.client import Client
from tests.support.processes import GoService, Proxy
from tests.support.upstream import Peer, Seen, Upstream, always
from tests.support.waiting import eventually
from tests.wire.conftest import Start
from tests.wire.raw import Raw

MIB = 1 << 20
BLOCK = bytes(i % 251 for i in range(251 * 4096))  # about 1 MiB, as the service generates it


def pattern(size: int) -> bytes:
    """The service's generated body of this size."""
    return (BLOCK * (size // len(BLOCK) + 1))[:size]


def pattern_hash(size: int) -> str:
    """Its SHA-256."""
    digest = hashlib.sha256()
    left = size
    while left:
        piece = BLOCK[:left]
        digest.update(piece)
        left -= len(piece)
    return digest.hexdigest()


def chunk(data: bytes) -> bytes:
    """One chunk."""
    return b"%x\r\n%b\r\n" % (len(data), data)


SIZES = [0, 1, 16383, 65535, 65536, 65537, 262144, 1_000_003]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", ["bytes", "chunked"])
def test_downloads(client: Client, kind: str, size: int) -> None:
    """Answers of any size arrive unchanged, with the framing they had."""
    answer = client.get(f"/{kind}/{size}")
    assert answer.framed == ("length" if kind == "bytes" else "chunked")
    assert answer.body == pattern(size)


def test_long_and_short_bodies_take_turns_on_one_connection(client: Client) -> None:
    """A connection is read in another way once it has carried a long body; what comes after it is still read right."""
    for size in [10, 1_000_003, 0, 20_000, 1_000_003, 300]:
        client.ask("/upload", "POST", body=pattern(size))
        assert json.loads(client.read().body) == {"bytes": size, "sha256": pattern_hash(size)}
        for kind in ["bytes", "chunked"]:
            assert client.get(f"/{kind}/{size}").body == pattern(size)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("chunked", [False, True])
def test_uploads(client: Client, size: int, chunked: bool) -> None:
    """Uploads of any size arrive unchanged, and the service is told the framing that the client used."""
    body = pattern(size)
    if chunked:
        client.ask("/upload", "POST", ["Transfer-Encoding: chunked"])
        random_ = random.Random(size)
        position = 0
        while position < size:
            step = random_.choice([1, 7, 100, 16384, 65536, 300_000])
            client.send(chunk(body[position : position + step]))
            position += step
        client.send(b"0\r\n\r\n")
    else:
        client.ask("/upload", "POST", body=body)
    answer = json.loads(client.read().body)
    assert answer == {"bytes": size, "sha256": hashlib.sha256(body).hexdigest()}


def test_framing_is_kept(raw: Raw) -> None:
    """A request keeps its framing: no body stays none, a length stays a length, chunked stays chunked."""
    with raw.client() as client:
        client.get("/none")
        client.post("/length", b"abc")
        client.post("/zero", b"")
        client.send(b"POST /chunked HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
        client.read()
    framings = [(seen.get("Content-Length"), seen.get("Transfer-Encoding")) for seen in raw.seen]
    assert framings == [(None, None), ("3", None), ("0", None), (None, "chunked")]


def test_many_small_chunks(raw: Raw) -> None:
    """Twenty thousand chunks of a few bytes pass both ways."""
    pieces = [bytes([i % 256]) * (i % 5 + 1) for i in range(20_000)]
    data = b"".join(map(chunk, pieces)) + b"0\r\n\r\n"
    raw.upstream.script = always(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + data)
    with raw.client() as client:
        client.send(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + data)
        assert client.read().body == b"".join(pieces)
    assert raw.seen[0].body == b"".join(pieces)


LOOPS = pytest.mark.parametrize("loop", ["as installed", "asyncio"])
BYTES = random.Random(1).randbytes(50_000)
BYTEWISE = b"".join(b"1\r\n%c\r\n" % byte for byte in BYTES) + b"0\r\n\r\n"


@LOOPS
def test_an_upload_in_chunks_of_a_byte(go: GoService, start: Start, loop: str) -> None:
    """More than is looked at in one turn of the loop, many times over: it arrives whole, and its connection goes on."""
    proxy = start(url=go.url, PYTHONPATH=str(CHILD), FAULTS_LOOP=loop)
    with proxy.client() as client:
        for _ in range(2):
            client.ask("/upload", "POST", ["Transfer-Encoding: chunked"])
            client.send(BYTEWISE)
            answer = json.loads(client.read("POST").body)
            assert answer == {"bytes": len(BYTES), "sha256": hashlib.sha256(BYTES).hexdigest()}
        assert client.get("/hello").status == 200
    assert proxy.pool()["connections"] == 1


@LOOPS
@pytest.mark.parametrize("close", [False, True], ids=["stays", "closes"])
def test_a_download_in_chunks_of_a_byte(upstream: Upstream, start: Start, loop: str, close: bool) -> None:
    """The same the other way, also from an upstream that closes behind it."""
    answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + BYTEWISE
    upstream.script = always(answer, close=close)
    proxy = start(PYTHONPATH=str(CHILD), FAULTS_LOOP=loop)
    with proxy.client() as client:
        for _ in range(2):
            body = client.get("/").body
            assert (len(body), hashlib.sha256(body).digest()) == (len(BYTES), hashlib.sha256(BYTES).digest())
    eventually(lambda: proxy.pool()["connections"] == (0 if close else 1))


@pytest.mark.parametrize("seed", range(8))
def test_chunks_split_anywhere(raw: Raw, seed: int) -> None:
    """Wherever the packets split a chunked body, plain or with extensions, the same body comes out."""
    random_ = random.Random(seed)
    body = random_.randbytes(20_000)
    data = b""
    position = 0
    while position < len(body):
        size = random_.choice([1, 2, 15, 16, 255, 4096])
        part = body[position : position + size]
        extension = random_.choice([b"", b"", b";a", b" ;b=c"])
        data += b"%x%b\r\n%b\r\n" % (len(part), extension, part)
        position += size
    data += b"0\r\nX-T: 1\r\n\r\n"
    cuts = sorted(random_.sample(range(1, len(data)), 300))
    pieces = [data[a:b] for a, b in pairwise([0, *cuts, len(data)])]

    def script(peer: Peer, seen: Seen) -> None:
        peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for piece in pieces:
            peer.send(piece)

    raw.upstream.script = script
    with raw.client() as client:
        client.send(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        for piece in pieces:
            client.send(piece)
        answer = client.read()
        assert answer.body == body
        assert answer.trailers == [("X-T", "1")]
    assert raw.seen[0].body == body
    assert raw.seen[0].trailers == [("X-T", "1")]


def test_one_byte_writes(raw: Raw) -> None:
    """Bodies that come in single bytes pass both ways."""
    body = b"0123456789" * 20

    def script(peer: Peer, seen: Seen) -> None:
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 200\r\n\r\n")
        for byte in body:
            peer.send(bytes([byte]))

    raw.upstream.script = script
    with raw.client() as client:
        client.ask("/", "POST", ["Content-Length: 200"])
        for byte in body:
            client.send(bytes([byte]))
        assert client.read().body == body
    assert raw.seen[0].body == body


# ── large bodies in bounded memory

LARGE = 256 * MIB
LARGE_HASH = pattern_hash(LARGE)
GROWTH = 40 * MIB


class Peak:
    """Watches the proxy's resident memory while it is open."""

    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy
        self._stop = Event()
        self.before = proxy.rss()
        self.highest = self.before
        self._thread = Thread(target=self._watch)

    def _watch(self) -> None:
        while not self._stop.wait(0.02):
            self.highest = max(self.highest, self._proxy.rss())

    def __enter__(self) -> Peak:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def growth(self) -> int:
        """By how much it grew at most."""
        return self.highest - self.before


def slow_at_first() -> Callable[[], None]:
    """Something to call at each piece: it sleeps for two seconds at the third."""
    pieces = 0

    def pace() -> None:
        nonlocal pieces
        pieces += 1
        if pieces == 3:
            sleep(2)  # the stopped reader is what is tested

    return pace


@pytest.mark.parametrize("stop", [False, True], ids=["steady", "stopping"])
@pytest.mark.parametrize("kind", ["bytes", "chunked"])
def test_large_downloads(proxy: Proxy, kind: str, stop: bool) -> None:
    """256 MiB come down unchanged in bounded memory, also to a reader that stops for two seconds."""
    digest = hashlib.sha256()
    pace = slow_at_first() if stop else lambda: None

    def take(data: bytes) -> None:
        digest.update(data)
        pace()

    with proxy.client(60) as client, Peak(proxy) as peak:
        client.ask(f"/{kind}/{LARGE}")
        answer = client.read(sink=take)
    assert answer.length == LARGE
    assert digest.hexdigest() == LARGE_HASH
    assert peak.growth < GROWTH


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_large_uploads(proxy: Proxy, chunked: bool) -> None:
    """256 MiB go up unchanged in bounded memory."""
    with proxy.client(60) as client, Peak(proxy) as peak:
        client.ask("/upload", "POST", ["Transfer-Encoding: chunked" if chunked else f"Content-Length: {LARGE}"])
        left = LARGE
        while left:
            piece = BLOCK[:left]
            client.send(chunk(piece) if chunked else piece)
            left -= len(piece)
        if chunked:
            client.send(b"0\r\n\r\n")
        assert json.loads(client.read().body) == {"bytes": LARGE, "sha256": LARGE_HASH}
    assert peak.growth < GROWTH


def test_a_large_upload_to_a_reader_that_stops(raw: Raw) -> None:
    """An upstream that stops reading stops the client: memory stays bounded, and the body arrives whole."""
    digest = hashlib.sha256()

    def on_head(peer: Peer, seen: Seen) -> None:
        pace = slow_at_first()
        left = LARGE
        while left:
            data = peer.read_exactly(min(left, 1 << 18))
            assert data is not None
            digest.update(data)
            left -= len(data)
            peer.received.clear()
            pace()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    raw.upstream.on_head = on_head
    with raw.proxy.client(60) as client, Peak(raw.proxy) as peak:
        client.ask("/", "POST", [f"Content-Length: {LARGE}"])
        left = LARGE
        while left:
            piece = BLOCK[:left]
            client.send(piece)
            left -= len(piece)
        assert client.read().status == 200
    assert digest.hexdigest() == LARGE_HASH
    assert peak.growth < GROWTH


def test_full_duplex(client: Client) -> None:
    """The answer to a request flows while the request is still being sent."""
    client.ask("/echo", "POST", ["Transfer-Encoding: chunked"])
    answer = client.read_head()
    for number in range(20):
        data = b"piece %d" % number
        client.send(chunk(data))
        assert client.read_chunk(answer) == data
    client.send(b"0\r\n\r\n")
    assert client.read_chunk(answer) == b""


def test_large_full_duplex(client: Client) -> None:
    """8 MiB echo through while both sides send and read at the same time."""
    size = 8 * MIB
    data = pattern(size)
    client.ask("/echo", "POST", [f"Content-Length: {size}"])
    writer = Thread(target=client.send, args=(data,))
    writer.start()
    digest = hashlib.sha256()
    answer = client.read(sink=digest.update)
    writer.join(20)
    assert answer.length == size
    assert digest.hexdigest() == pattern_hash(size)


# ── answers that do not wait for the body


@pytest.mark.parametrize("size", [MIB, 64 * MIB])
@pytest.mark.parametrize("status", [200, 413])
def test_early_answers(proxy: Proxy, size: int, status: int) -> None:
    """An answer that comes before the body has been read reaches a client that is still sending."""
    with proxy.client() as client:
        client.ask(f"/early?status={status}", "POST", [f"Content-Length: {size}"])
        block = b"x" * MIB
        began = monotonic()
        try:
            for _ in range(size // MIB):
                client.send(block)
        except OSError:
            # Cut while sending: then the answer must have come before, and is read all the same.
            pass
        assert monotonic() - began < 15
        answer = client.read("POST")
        assert answer.status == status
        assert json.loads(answer.body) == {"status": status}


def test_early_answers_to_clients_that_read_first(client: Client) -> None:
    """A client that looks for an answer while it sends sees it at once, and that it is the last."""
    client.ask("/early", "POST", [f"Content-Length: {100 * MIB}"])
    client.send(b"x" * 1000)
    answer = client.read("POST")
    assert (answer.status, answer["Connection"]) == (200, "close")
    assert client.end() in ("end", "reset")


def test_early_answers_to_small_bodies_keep_the_connection(raw: Raw) -> None:
    """The little that is left of a body is read past, and the connection serves on."""
    raw.upstream.on_head = lambda peer, seen: peer.send(
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nearly"
    )
    with raw.client() as client:
        client.ask("/", "POST", ["Content-Length: 1000"])
        assert client.read().body == b"early"
        raw.upstream.on_head = None
        client.send(b"x" * 1000)
        assert client.get("/next").body == b"ok"
    assert [seen.target for seen in raw.seen] == ["/", "/next"]


def test_an_upstream_that_answers_and_resets(raw: Raw) -> None:
    """An upstream that answers early and then resets, as some do, still has its answer delivered."""

    def on_head(peer: Peer, seen: Seen) -> None:
        peer.send(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")
        peer.half_close()
        peer.wait_gone()

    raw.upstream.on_head = on_head
    with raw.client() as client:
        client.ask("/", "POST", [f"Content-Length: {10 * MIB}"])
        try:
            for _ in range(10):
                client.send(b"x" * MIB)
        except OSError:
            pass
        answer = client.read("POST")
        assert (answer.status, answer.body) == (401, b"no")


def test_slow_readers_do_not_slow_others(proxy: Proxy) -> None:
    """A client that does not read its answer costs the others nothing."""
    with proxy.client() as stuck, proxy.client() as other:
        stuck.ask(f"/bytes/{LARGE}")
        eventually(lambda: proxy.status()["in_flight"] >= 1)
        for _ in range(20):
            began = monotonic()
            assert other.get("/hello").status == 200
            assert monotonic() - began < 2
