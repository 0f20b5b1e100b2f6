"""Whole exchanges: interim and early answers, Expect, upgrades, no bodies, HTTP/1.0, framings, pipelining."""

from __future__ import annotations

from typing import Final

from tests.conformance.case import (
    BODY,
    CHUNKED,
    CLOSE,
    HALF_CLOSE,
    HOST,
    OK,
    OK_END,
    WAIT,
    BadAnswer,
    Case,
    Outcome,
    Passed,
    Refused,
    Step,
    Until,
    answered,
    get,
    message,
    passed,
    post,
    refused,
)

_INTERIM: Final = "9110 15.2"
_EXPECT: Final = "9110 10.1.1"
_UPGRADE: Final = "9110 7.8"
_BODILESS: Final = "9112 6.3"
_OLD: Final = "9112 9.3"
_FRAMING: Final = "9112 6"
_PIPELINE: Final = "9112 9.3.2"

_HINTS: Final = message("HTTP/1.1 103 Early Hints", "Link: </a>")
_CONTINUE: Final = message("HTTP/1.1 100 Continue")
_EXPECTING: Final = post("Expect: 100-continue", "Content-Length: 3")
_WITH_BODY: Final = post("Expect: 100-continue", "Content-Length: 3", body=b"abc")
_FAILED: Final = message("HTTP/1.1 417 Expectation Failed", "Content-Length: 0")

INTERIM: Final = (
    answered("interim/103", _INTERIM, _HINTS + OK, Passed((get(),), (_HINTS, OK))),
    answered("interim/several", _INTERIM, _HINTS * 3 + OK, Passed((get(),), (_HINTS,) * 3 + (OK,))),
    answered("interim/ten", _INTERIM, _HINTS * 10 + OK, Passed((get(),), (_HINTS,) * 10 + (OK,))),
    answered("interim/100-unasked", _INTERIM, _CONTINUE + OK, Passed((get(),), (_CONTINUE, OK))),
    answered("interim/length-zero", _INTERIM, message("HTTP/1.1 103 Early Hints", "Content-Length: 0") + OK,
             Passed((get(),), (message("HTTP/1.1 103 Early Hints"), OK))),
    answered("interim/hop-by-hop", "9110 7.6.1", message("HTTP/1.1 103 Early Hints", "Connection: x", "X: 1") + OK,
             Passed((get(),), (message("HTTP/1.1 103 Early Hints"), OK))),
    answered("interim/to-1.0", _INTERIM, _HINTS + OK, Passed((get(),), (OK_END,), end=True), sent=get(version="1.0")),
    answered("interim/before-204", _INTERIM, _HINTS + message("HTTP/1.1 204 No Content"),
             Passed((get(),), (_HINTS, message("HTTP/1.1 204 No Content")))),
    Case(
        "interim/comes-at-once",
        _INTERIM,
        (get(), Until(b"103 Early Hints")),
        Passed((get(),), (_HINTS, OK)),
        ((BODY, _HINTS, WAIT, OK),),
    ),
)  # fmt: skip

EXPECT: Final = (
    Case(
        "expect/continue",
        _EXPECT,
        (_EXPECTING, Until(b"100 Continue\r\n\r\n"), b"abc"),
        Passed((_WITH_BODY,), (_CONTINUE, OK)),
        ((_CONTINUE, BODY, OK),),
    ),
    passed("expect/body-comes-unasked", _EXPECT, _WITH_BODY),
    # Whether its body comes nobody can tell, so the connection cannot serve on.
    Case(
        "expect/refused-by-upstream",
        _EXPECT,
        (_EXPECTING,),
        Passed(
            (),
            (message("HTTP/1.1 417 Expectation Failed", "Content-Length: 0", "Connection: close"),),
            end=True,
            besides=_EXPECTING,
        ),
        ((_FAILED,),),
    ),
    passed("expect/case", _EXPECT, post("expect: 100-Continue", "Content-Length: 3", body=b"abc")),
    passed("expect/no-body", _EXPECT, get("Expect: 100-continue")),
    refused("expect/repeated", _EXPECT, get("Expect: 100-continue", "Expect: 100-continue")),
    passed("expect/other", _EXPECT, post("Expect: teapots", "Content-Length: 3", body=b"abc")),
)

_LONG: Final = post("Content-Length: 1000000", body=b"x" * 10)
_GONE_ON: Final = message("HTTP/1.1 403 Forbidden", "Content-Length: 2", body=b"no")
_GONE_ON_END: Final = message("HTTP/1.1 403 Forbidden", "Content-Length: 2", "Connection: close", body=b"no")

EARLY: Final = (
    Case("early/length", "9112 9.6", (_LONG,), Passed((), (_GONE_ON_END,), end=True, besides=_LONG), ((_GONE_ON,),)),
    Case(
        "early/chunked",
        "9112 9.6",
        (post(CHUNKED, body=b"5\r\nabcde\r\n"),),
        Passed((), (_GONE_ON_END,), end=True, besides=post(CHUNKED, body=b"5\r\nabcde\r\n")),
        ((_GONE_ON,),),
    ),
    # The little that is missing is read past, and what follows is a request again.
    Case(
        "early/little-is-left",
        "9112 9.6",
        (post("Content-Length: 10", body=b"abcde"), Until(b"\r\n\r\nno"), b"fghij"),
        Passed((), (_GONE_ON,), besides=post("Content-Length: 10", body=b"abcde")),
        ((_GONE_ON,),),
    ),
    # The rest of a body that nobody took is not the next request.
    Case(
        "early/rest-is-no-request",
        "9112 9.6",
        (post("Content-Length: 1000", body=b""), Until(b"\r\n\r\nno"), get(target="/smuggled").ljust(1000, b"x")),
        Passed((), (_GONE_ON,), besides=post("Content-Length: 1000")),
        ((_GONE_ON,),),
    ),
)  # fmt: skip


def _wish(*lines: str, version: str = "1.1") -> bytes:
    return get(*(lines or ("Connection: Upgrade", "Upgrade: echo")), version=version)


_SWITCH: Final = message("HTTP/1.1 101 Switching Protocols", "Connection: Upgrade", "Upgrade: echo")
_TUNNEL: Final[tuple[Step, ...]] = (BODY, _SWITCH, Until(b"ping"), b"pong", CLOSE)


def _no_wish(case: str, *lines: str, body: bytes = b"", version: str = "1.1") -> Case:
    """What is no wish for a tunnel, or one for a tunnel past this proxy, does not reach the upstream as one."""
    sent = get(*lines, version=version) + body
    kept = [line for line in lines if line.startswith("Content-Length")]
    return passed(f"upgrade/{case}", _UPGRADE, sent, get(*kept) + body, end=version == "1.0")


UPGRADE: Final = (
    Case("upgrade/tunnel", _UPGRADE, (_wish(), Until(b"101"), b"ping"),
         Passed((_wish(),), (_SWITCH + b"pong",), end=True, besides=b"ping"),
         (_TUNNEL,)),
    Case("upgrade/early-bytes", _UPGRADE, (_wish() + b"ping",),
         Passed((_wish(),), (_SWITCH + b"pong",), end=True, besides=b"ping"),
         (_TUNNEL,)),
    Case("upgrade/a-request-in-the-tunnel-is-bytes", _UPGRADE, (_wish() + get(target="/smuggled") + b"ping",),
         Passed((_wish(),), (_SWITCH + b"pong",), end=True, besides=get(target="/smuggled") + b"ping"), (_TUNNEL,)),
    Case("upgrade/half-closed-by-client", _UPGRADE, (_wish(), Until(b"101"), b"ping", HALF_CLOSE),
         Passed((_wish(),), (_SWITCH + b"pong",), end=True, besides=b"ping"), (_TUNNEL,)),
    answered("upgrade/declined", _UPGRADE, OK, OK, sent=_wish()),
    answered("upgrade/426", _UPGRADE, message("HTTP/1.1 426 Upgrade Required", "Upgrade: x", "Content-Length: 0"),
             message("HTTP/1.1 426 Upgrade Required", "Content-Length: 0")),
    answered("upgrade/other-than-asked-for", _UPGRADE,
             message("HTTP/1.1 101 Switching Protocols", "Connection: Upgrade", "Upgrade: other"),
             BadAnswer(), sent=_wish()),
    answered("upgrade/one-of-two-asked-for", _UPGRADE,
             (BODY, message("HTTP/1.1 101 Switching Protocols", "Connection: Upgrade", "Upgrade: b"), b"hello", CLOSE),
             message("HTTP/1.1 101 Switching Protocols", "Connection: Upgrade", "Upgrade: b", body=b"hello"),
             sent=_wish("Connection: Upgrade", "Upgrade: a, b"), end=True),
    _no_wish("not-named-by-connection", "Upgrade: echo"),
    _no_wish("not-named-among-others", "Connection: keep-alive", "Upgrade: echo"),
    _no_wish("without-protocol", "Connection: Upgrade"),
    _no_wish("h2c", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMA"),
    _no_wish("h2c-among-others", "Connection: Upgrade", "Upgrade: echo, h2c"),
    _no_wish("in-1.0", "Connection: Upgrade", "Upgrade: echo", version="1.0"),
    _no_wish("with-body", "Connection: Upgrade", "Upgrade: echo", "Content-Length: 3", body=b"abc"),
    answered("upgrade/h2c-switched-all-the-same", _UPGRADE,
             message("HTTP/1.1 101 Switching Protocols", "Connection: Upgrade", "Upgrade: h2c"), BadAnswer(),
             sent=_wish("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMA"), seen=get()),
)  # fmt: skip

_HEAD: Final = message("HEAD /x HTTP/1.1", HOST)


def _bodiless(case: str, answer: bytes, *, sent: bytes = get(), method: str = "GET", seen: bytes | None = None) -> Case:
    return answered(f"bodiless/{case}", _BODILESS, answer, seen or answer, sent=sent, method=method, kept=True)


BODILESS: Final = (
    _bodiless("head-length", message("HTTP/1.1 200 OK", "Content-Length: 70"), sent=_HEAD, method="HEAD"),
    _bodiless("head-chunked", message("HTTP/1.1 200 OK", CHUNKED), sent=_HEAD, method="HEAD",
              seen=message("HTTP/1.1 200 OK")),
    _bodiless("head-neither", message("HTTP/1.1 200 OK"), sent=_HEAD, method="HEAD"),
    _bodiless("head-404", message("HTTP/1.1 404 Not Found", "Content-Length: 70"), sent=_HEAD, method="HEAD"),
    _bodiless("204", message("HTTP/1.1 204 No Content")),
    _bodiless("204-to-post", message("HTTP/1.1 204 No Content"), sent=post("Content-Length: 3", body=b"abc")),
    _bodiless("304", message("HTTP/1.1 304 Not Modified", 'ETag: "x"')),
    _bodiless("304-chunked", message("HTTP/1.1 304 Not Modified", CHUNKED), seen=message("HTTP/1.1 304 Not Modified")),
    _bodiless("205-length-zero", message("HTTP/1.1 205 Reset Content", "Content-Length: 0")),
    _bodiless("200-length-zero", message("HTTP/1.1 200 OK", "Content-Length: 0")),
)  # fmt: skip


def _old(
    case: str, sent: bytes, seen: bytes, answer: bytes, read: bytes, *, end: bool = True, kept: bool = True
) -> Case:
    return answered(f"http-1.0/{case}", _OLD, answer, read, sent=sent, seen=seen, end=end, kept=kept)


_OLD_GET: Final = get(version="1.0")
_CHUNKED_OK: Final = message("HTTP/1.1 200 OK", CHUNKED, body=b"2\r\nok\r\n0\r\n\r\n")
_TO_THE_CLOSE: Final = message("HTTP/1.1 200 OK", "Connection: close", body=b"ok")

OLD: Final = (
    _old("client", _OLD_GET, get(), OK, OK_END),
    _old("client-keep-alive", get("Connection: keep-alive", version="1.0"), get(), OK,
         message("HTTP/1.1 200 OK", "Content-Length: 2", "Connection: keep-alive", body=b"ok"), end=False),
    _old("client-keep-alive-and-close", get("Connection: keep-alive, close", version="1.0"), get(), OK, OK_END),
    _old("client-gets-no-chunks", _OLD_GET, get(), _CHUNKED_OK, _TO_THE_CLOSE),
    # Between CR and LF nothing says yet whether this was the whole of the line.
    Case("http-1.0/client-gets-no-chunks-cut-in-a-size", _OLD, (_OLD_GET, Until(b"\r\n\r\na")),
         Passed((get(),), (message("HTTP/1.1 200 OK", "Connection: close", body=b"abcd"),), end=True, kept=True),
         ((BODY, message("HTTP/1.1 200 OK", CHUNKED, body=b"1\r\na\r\n3\r"), WAIT, b"\nbcd\r\n0\r\n\r\n"),)),
    _old("client-keep-alive-gets-no-chunks", get("Connection: keep-alive", version="1.0"), get(), _CHUNKED_OK,
         _TO_THE_CLOSE),
    _old("client-without-host", message("GET /x HTTP/1.0"), message("GET /x HTTP/1.1", "Host: upstream"), OK, OK_END),
    _old("client-posts", post("Content-Length: 3", body=b"abc", version="1.0"), post("Content-Length: 3", body=b"abc"),
         OK, OK_END),
    _old("client-posts-without-length", post(version="1.0"), post(), OK, OK_END),
    _old("upstream-length", get(), get(), message("HTTP/1.0 200 OK", "Content-Length: 2", body=b"ok"), OK,
         end=False, kept=False),
    _old("upstream-keep-alive", get(), get(),
         message("HTTP/1.0 200 OK", "Content-Length: 2", "Connection: keep-alive", body=b"ok"), OK, end=False),
    answered("http-1.0/upstream-to-the-close", _OLD, (BODY, message("HTTP/1.0 200 OK", body=b"ok"), CLOSE),
             message("HTTP/1.1 200 OK", CHUNKED, body=b"ok")),
    answered("http-1.0/both-to-the-close", _OLD, (BODY, message("HTTP/1.0 200 OK", body=b"ok"), CLOSE), _TO_THE_CLOSE,
             sent=_OLD_GET, seen=get(), end=True),
)  # fmt: skip

FRAMINGS: Final = (
    answered("framing/length", _FRAMING, OK, OK, kept=True),
    answered("framing/chunked", _FRAMING, _CHUNKED_OK, message("HTTP/1.1 200 OK", CHUNKED, body=b"ok"), kept=True),
    Case("framing/chunked-in-two-parts", _FRAMING, (get(), Until(b"~")),
         Passed((get(),), (message("HTTP/1.1 200 OK", CHUNKED, body=b"~bcde"),), kept=True),
         ((BODY, message("HTTP/1.1 200 OK", CHUNKED, body=b"5\r\n~"), WAIT, b"bcde\r\n0\r\n\r\n"),)),
    answered("framing/chunked-empty", _FRAMING, message("HTTP/1.1 200 OK", CHUNKED, body=b"0\r\n\r\n"),
             message("HTTP/1.1 200 OK", CHUNKED)),
    answered("framing/to-the-close", _FRAMING, (BODY, message("HTTP/1.1 200 OK", body=b"ok"), CLOSE),
             message("HTTP/1.1 200 OK", CHUNKED, body=b"ok")),
    answered("framing/to-the-close-empty", _FRAMING, (BODY, message("HTTP/1.1 200 OK"), CLOSE),
             message("HTTP/1.1 200 OK", CHUNKED)),
    answered("framing/upstream-closes", "9112 9.6", OK_END, OK, kept=False),
    answered("framing/upstream-closes-in-a-list", "9112 9.6",
             message("HTTP/1.1 200 OK", "Content-Length: 2", "Connection: x, CLOSE", body=b"ok"), OK, kept=False),
    answered("framing/client-closes", "9112 9.6", OK, OK_END, sent=get("Connection: close"), seen=get(), end=True),
    answered("framing/close-in-a-list", "9112 9.6", OK, OK_END, sent=get("Connection: x, CLOSE"), seen=get(), end=True),
    answered("framing/keep-alive-and-close", "9112 9.6", OK, OK_END,
             sent=get("Connection: keep-alive, close"), seen=get(), end=True),
    answered("framing/chunked-looks-like-an-answer", _FRAMING,
             message("HTTP/1.1 200 OK", CHUNKED, body=b"%x\r\n%b\r\n0\r\n\r\n" % (len(OK), OK)),
             message("HTTP/1.1 200 OK", CHUNKED, body=OK)),
)  # fmt: skip


def _pipeline(
    case: str, sent: bytes, allowed: Outcome, *answers: bytes, methods: tuple[str, ...] = ("GET",) * 2
) -> Case:
    scripts: tuple[tuple[Step, ...], ...] = tuple((BODY, answer) for answer in answers)
    return Case(f"pipeline/{case}", _PIPELINE, (sent,), allowed, scripts, methods)


def _numbered(number: int) -> bytes:
    return message("HTTP/1.1 200 OK", "Content-Length: 1", body=b"%d" % number)


_ONE, _TWO, _THREE = (get(target=f"/{number}") for number in (1, 2, 3))
_POST: Final = post("Content-Length: 3", body=b"abc")
_CHUNKED_POST: Final = post(CHUNKED, body=b"3\r\nabc\r\n0\r\n\r\n")
_TWO_LENGTHS: Final = post("Content-Length: 3", "Content-Length: 4", body=b"abc")

PIPELINE: Final = (
    _pipeline("in-order", _ONE + _TWO + _THREE, Passed((_ONE, _TWO, _THREE), tuple(map(_numbered, (1, 2, 3)))),
              *map(_numbered, (1, 2, 3)), methods=("GET",) * 3),
    _pipeline("behind-length", _POST + _TWO, Passed((_POST, _TWO), (OK, OK))),
    _pipeline("behind-chunked", _CHUNKED_POST + _TWO, Passed((_CHUNKED_POST, _TWO), (OK, OK))),
    _pipeline("behind-empty-line", _POST + b"\r\n" + _TWO, Passed((_POST, _TWO), (OK, OK))),
    _pipeline("behind-two-empty-lines", _POST + b"\r\n\r\n" + _TWO, Passed((_POST,), (OK,), refusal=400)),
    _pipeline("behind-trailers", post(CHUNKED, body=b"0\r\nX-A: b\r\n\r\n") + _TWO,
              Passed((post(CHUNKED, body=b"0\r\nX-A: b\r\n\r\n"), _TWO), (OK, OK))),
    _pipeline("behind-head", message("HEAD /x HTTP/1.1", HOST) + _TWO,
              Passed((message("HEAD /x HTTP/1.1", HOST), _TWO), (message("HTTP/1.1 200 OK", "Content-Length: 2"), OK)),
              message("HTTP/1.1 200 OK", "Content-Length: 2"), OK, methods=("HEAD", "GET")),
    _pipeline("behind-close", get("Connection: close") + _TWO, Passed((get(),), (OK_END,), end=True), methods=("GET",)),
    _pipeline("behind-1.0", _OLD_GET + _TWO, Passed((get(),), (OK_END,), end=True), methods=("GET",)),
    _pipeline("behind-declined-upgrade", _wish() + _TWO, Passed((_wish(), _TWO), (OK, OK))),
    _pipeline("bad-second", _ONE + _TWO_LENGTHS, Passed((_ONE,), (OK,), refusal=400)),
    _pipeline("bad-second-chunk", _ONE + post(CHUNKED, body=b"+3\r\nabc\r\n0\r\n\r\n"),
              Passed((_ONE,), (OK,), refusal=400, besides=post(CHUNKED))),
    _pipeline("bad-second-line", _ONE + b"garbage\r\n\r\n", Passed((_ONE,), (OK,), refusal=400)),
    _pipeline("longer-than-its-length", post("Content-Length: 1", body=b"abc\r\n\r\n"),
              Passed((post("Content-Length: 1", body=b"a"),), (OK,), refusal=400)),
    _pipeline("good-behind-bad", _TWO_LENGTHS + _TWO, Refused(), methods=("GET",)),
    # A request whose length is zero has no body: what follows is a request, on this connection's own account.
    _pipeline("behind-zero-length", post("Content-Length: 0") + _TWO,
              Passed((post("Content-Length: 0"), _TWO), (OK, OK))),
    _pipeline("behind-no-length", post() + _TWO, Passed((post(), _TWO), (OK, OK))),
)  # fmt: skip

CASES: Final[tuple[Case, ...]] = (
    *INTERIM, *EXPECT, *EARLY, *UPGRADE, *BODILESS, *OLD, *FRAMINGS, *PIPELINE
)  # fmt: skip
