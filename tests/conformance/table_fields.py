"""Fields that end at this hop, both ways: the hop's own, those that Connection names, the sidecar's; and trailers."""

from __future__ import annotations

from typing import Final

from tests.conformance.case import CHUNKED, HOST, OK, Case, answered, chunked, get, message, passed

_HOP: Final = "9110 7.6.1"
_TRAILER: Final = "9110 6.5.1"
_OURS: Final = "9110 16.3.1"

_HOP_BY_HOP: Final = {
    "keep-alive": "Keep-Alive: timeout=5",
    "proxy-connection": "Proxy-Connection: keep-alive",
    "proxy-authorization": "Proxy-Authorization: Basic c2VjcmV0",
    "proxy-authenticate": "Proxy-Authenticate: Basic",
    "te": "TE: gzip",
    "trailer": "Trailer: X-Sum",
    "upgrade": "Upgrade: something",
    "http2-settings": "HTTP2-Settings: AAMA",
    "connection": "Connection: keep-alive",
}

_NAMED: Final = {
    "one": ["Connection: X-Hop"],
    "case": ["Connection: x-HOP"],
    "list": ["Connection: keep-alive , x-hop,"],
    "repeated": ["Connection: keep-alive", "Connection: x-hop"],
    "tabs": ["Connection: \tx-hop\t"],
}

_FORGED: Final = {
    "dashes": "X-Sidecar-Reason: forged",
    "lower-case": "x-sidecar-reason: forged",
    "upper-case": "X-SIDECAR-ANYTHING: forged",
    "underscores": "X_Sidecar_Reason: forged",
    "dash-then-underscore": "X-Sidecar_Reason: forged",
    "underscore-then-dash": "X_SIDECAR-Reason: forged",
}

_CLAIMS: Final = {
    "request-id-underscores": "X_Request_ID: forged",
    "request-id-mixed": "X-Request_ID: forged",
    "forwarded": "Forwarded: for=203.0.113.9",
    "forwarded-for": "X-Forwarded-For: 203.0.113.9",
    "forwarded-for-underscores": "X_Forwarded_For: 203.0.113.9",
    "forwarded-host": "X-Forwarded-Host: forged.test",
    "forwarded-proto": "X-Forwarded-Proto: https",
    "attempt-count": "X-Envoy-Attempt-Count: 7",
    "attempt-count-underscores": "x_envoy_attempt_count: 7",
}


def _answer(*lines: str) -> bytes:
    return message("HTTP/1.1 200 OK", *lines, "Content-Length: 2", body=b"ok")


HOP_BY_HOP: Final = (
    *(
        passed(f"hop/request-{name}", _HOP, get(line, "X-Kept: 1"), get("X-Kept: 1"))
        for name, line in _HOP_BY_HOP.items()
    ),
    *(
        passed(f"hop/request-{name}-underscores", _HOP, get(line.replace("-", "_", 1), "X-Kept: 1"), get("X-Kept: 1"))
        for name, line in _HOP_BY_HOP.items()
        if "-" in name
    ),
    *(
        answered(f"hop/answer-{name}", _HOP, _answer(line, "X-Kept: 1"), _answer("X-Kept: 1"))
        for name, line in _HOP_BY_HOP.items()
    ),
    *(
        passed(f"hop/request-named-{name}", _HOP, get("X-Hop: 1", "X-Kept: 1", "x-hop: 2", *lines), get("X-Kept: 1"))
        for name, lines in _NAMED.items()
    ),
    *(
        answered(f"hop/answer-named-{name}", _HOP, _answer("X-Hop: 1", "X-Kept: 1", *lines), _answer("X-Kept: 1"))
        for name, lines in _NAMED.items()
    ),
    # To have a proxy drop what it authenticates or counts by is the attack; these it makes anew behind the drop.
    passed("hop/request-names-forwarded-for", _HOP, get("Connection: X-Forwarded-For, X-Request-ID"), get()),
    passed(
        "hop/te-trailers", "9110 10.1.4", get("TE: trailers", "Connection: TE"), get("Connection: TE", "TE: trailers")
    ),
    passed("hop/te-trailers-and-more", "9110 10.1.4", get("TE: gzip, trailers"), get("Connection: TE", "TE: trailers")),
    passed("hop/te-trailers-in-1.0", "9110 10.1.4", get("TE: trailers", version="1.0"), get(), end=True),
    passed("hop/kept-fields-in-order", _HOP, get("B: 2", "A: 1", "b: 3", "X-Empty:", "Via: 1.0 a")),
    answered("hop/answer-fields-in-order", _HOP, *[_answer("Set-Cookie: b", "A: 1", "Set-Cookie: a", "Server: x")] * 2),
    answered("hop/answer-outside-ascii", "9110 5.5", *[_answer("X-A: \xe4\xff")] * 2),
    passed("hop/request-outside-ascii", "9110 5.5", get("X-A: \xe4\xff")),
)

OURS: Final = (
    *(
        passed(f"ours/request-{name}", _OURS, get(line, "X-Sidecars: 1"), get("X-Sidecars: 1"))
        for name, line in _FORGED.items()
    ),
    *(
        answered(f"ours/answer-{name}", _OURS, _answer(line, "X-Sidecars: 1"), _answer("X-Sidecars: 1"))
        for name, line in _FORGED.items()
    ),
    *(passed(f"ours/claim-{name}", "7239 8.1", get(line), get()) for name, line in _CLAIMS.items()),
    answered("ours/answer-request-id", _OURS, _answer("X-Request-ID: other", "x_request_id: third"), OK),
    answered("ours/answer-attempt-count", _OURS, _answer("x-envoy-attempt-count: 9"), OK),
)

_FORBIDDEN: Final = (
    "Content-Length: 5",
    CHUNKED,
    "Host: other",
    "Authorization: Bearer x",
    "Cookie: a=1",
    "Set-Cookie: a=1",
    "Connection: close",
    "Trailer: X",
    "TE: trailers",
    "Upgrade: x",
    "Content-Type: text/html",
    "Content-Encoding: gzip",
    "Content-Range: bytes 0-1/2",
    "Cache-Control: no-store",
    "Expect: 100-continue",
    "Max-Forwards: 1",
    "Range: bytes=0-1",
    "X-Forwarded-For: 203.0.113.9",
    "X-Request-ID: forged",
    "X-Sidecar-Reason: forged",
    "X_Sidecar_Reason: forged",
    "Content_Length: 5",
)


def _with_trailers(*lines: str) -> bytes:
    return b"2\r\nok\r\n0\r\n" + "".join(f"{line}\r\n" for line in lines).encode("latin-1") + b"\r\n"


def _name(line: str) -> str:
    return line.partition(":")[0].lower()


_CHUNKED_OK: Final = message("HTTP/1.1 200 OK", CHUNKED)

TRAILERS: Final = (
    passed("trailer/request", _TRAILER, chunked(_with_trailers("X-Sum: 1", "x-count: 2", "X-Empty: "))),
    passed(
        "trailer/request-announced",
        "9110 6.6.2",
        chunked(_with_trailers("X-Sum: 1"), "Trailer: X-Sum"),
        message("POST /x HTTP/1.1", HOST, "Trailer: X-Sum", CHUNKED, body=_with_trailers("X-Sum: 1")),
    ),
    answered(
        "trailer/answer",
        _TRAILER,
        _CHUNKED_OK + _with_trailers("X-Sum: 1", "Grpc-Status: 0"),
        _CHUNKED_OK + b"okX-Sum: 1\r\nGrpc-Status: 0\r\n",
    ),
    answered(
        "trailer/answer-announced",
        "9110 6.6.2",
        message("HTTP/1.1 200 OK", CHUNKED, "Trailer: X-Sum") + _with_trailers("X-Sum: 1"),
        message("HTTP/1.1 200 OK", "Trailer: X-Sum", CHUNKED) + b"okX-Sum: 1\r\n",
    ),
    answered(
        "trailer/answer-to-1.0",
        "9112 7.1.2",
        _CHUNKED_OK + _with_trailers("X-Sum: 1"),
        message("HTTP/1.1 200 OK", "Connection: close", body=b"ok"),
        sent=get(version="1.0"),
        seen=get(),
        end=True,
    ),
    *(
        passed(
            f"trailer/request-{_name(line)}",
            _TRAILER,
            chunked(_with_trailers("X-Sum: 1", line)),
            chunked(_with_trailers("X-Sum: 1")),
        )
        for line in _FORBIDDEN
    ),
    *(
        answered(
            f"trailer/answer-{_name(line)}",
            _TRAILER,
            _CHUNKED_OK + _with_trailers("X-Sum: 1", line),
            _CHUNKED_OK + b"okX-Sum: 1\r\n",
        )
        for line in _FORBIDDEN
    ),
)

CASES: Final[tuple[Case, ...]] = (*HOP_BY_HOP, *OURS, *TRAILERS)
