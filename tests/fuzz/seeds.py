"""Legal messages that the fuzzer begins with, one or more of each kind that there is."""

from __future__ import annotations

from typing import Final

_GET: Final = b"GET /a?b=c HTTP/1.1\r\nHost: a\r\n\r\n"
_POST: Final = b"POST / HTTP/1.1\r\nHost: a:80\r\nContent-Length: 5\r\n\r\n"
_CHUNKED: Final = b"PUT /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\nTE: trailers\r\n\r\n"
_OK: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"
_STREAM: Final = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"

BODIES: Final = [
    b"5\r\nhello\r\n0\r\n\r\n",
    b"1;a=b\r\na\r\nA\r\n0123456789\r\n0\r\nX-Sum: 1\r\nHost: evil\r\n\r\nGET / HTTP/1.1\r\n",
    b"00f \t;x\r\n0123456789abcde\r\n000;last\r\n\r\n",
]

_PIECES: Final = b"1\r\na\r\n" * 3 + b"1;x\r\nb\r\n01\r\nc\r\n" * 2 + b"0\r\n\r\n"

_REQUESTS: Final = [
    _GET,
    _POST,
    _CHUNKED,
    b"OPTIONS * HTTP/1.0\r\nConnection: keep-alive, x-a\r\nX-A: 1\r\nX-B: \xe4\r\n\r\n",
    b"GET http://A.b:1/p?q HTTP/1.1\r\nhost: a.B:1\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
    b"HEAD / HTTP/1.1\r\nHost: [::1]:8\r\nX-Sidecar-A: 1\r\nX_Forwarded_For: 1\r\nExpect: 100-continue\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X-A: 1\r\n" * 18 + b"\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nX-A: " + b"a" * 1900 + b"\r\n\r\n",
]
_RESPONSES: Final = [
    _OK,
    _STREAM,
    b"HTTP/1.0 404\r\nX-B: 1\r\nConnection: keep-alive\r\n\r\n",
    b"HTTP/1.1 204 No Content\r\nConnection: close, x-a\r\nX-A: 1\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 304 \r\nContent-Length: 5\r\nX-Request-ID: 1\r\nX-Sidecar-Reason: no\r\n\r\n",
    b"HTTP/1.1 103 Early\r\nLink: </a>\r\n\r\n",
    b"HTTP/1.1 101 Go\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n",
]
_ANSWERS: Final = b"\n<<< answers\n"
_CLOSES: Final = b"\n<<< answers and closes\n"
_EARLY: Final = b"\n<<< answers early\n"

_EXCHANGES: Final = [
    _GET + _ANSWERS + _OK + b"ok",
    _POST + b"hello" + _GET + _ANSWERS + _STREAM + BODIES[0] + _CLOSES + b"HTTP/1.1 200 OK\r\n\r\nto the close",
    _CHUNKED + BODIES[1] + b"Host: a\r\n\r\n" + _ANSWERS + b"HTTP/1.1 100 Continue\r\n\r\n" + _OK + b"ok",
    _GET.replace(b"GET", b"HEAD") + _GET + _ANSWERS + _OK + _ANSWERS + _STREAM + BODIES[2],
    _GET + _CLOSES + _STREAM + BODIES[1],
    _GET.replace(b"1.1", b"1.0") + _CLOSES + _STREAM + BODIES[0],
    _POST + b"hel" + _EARLY + _OK + b"ok",
    _POST.replace(b"5", b"490") + b"hello" + b"o" * 485 + _GET + _EARLY + _OK + b"ok",
    b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nraw"
    + _CLOSES
    + _RESPONSES[-1]
    + b"raw too",
]

SEEDS: Final[dict[str, list[bytes]]] = {
    "request": _REQUESTS,
    "response": _RESPONSES,
    "chunks": BODIES,
    "body": [
        bytes([kind, 40]) + bytes(acts) + b"A" * (34 - 2 - len(acts)) + content
        for kind, content in ((0, b"a" * 2570), (1, BODIES[0] + BODIES[1]), (2, b"b" * 200))
        for acts in ([0, 49, 2, 4], [8 * 30 + 1, 16, 0, 12], [24, 0, 19, 13], [0, 24, 5, 4])
    ]
    + [
        bytes([kind, 0]) + bytes(acts) + b"\6" * (34 - 2 - len(acts)) + _PIECES
        for kind in (1, 4, 7)
        for acts in ([0, 246, 6, 1, 6, 2], [246, 6, 0, 1, 2, 3], [0, 243, 6, 2], [0, 246, 6, 241, 2], [0, 246, 6, 4])
    ],
    "exchange": _EXCHANGES,
}
