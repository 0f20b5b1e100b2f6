"""Request heads that are malformed byte by byte, and hosts, targets, versions and methods that are out of the way."""

from __future__ import annotations

from typing import Final

from tests.conformance.case import HOST, Case, get, message, passed, refused

_LINE: Final = "9112 2.2"
_FIELD: Final = "9112 5.1"
_VALUE: Final = "9110 5.5"
_HOST: Final = "9112 3.2"
_TARGET: Final = "9112 3.2"
_START: Final = "9112 3"
_VERSION: Final = "9112 2.3"

_BYTES: Final = {
    "line/lf-ends-request-line": (_LINE, b"GET /x HTTP/1.1\nHost: x\r\n\r\n"),
    "line/lf-ends-field": (_LINE, b"GET /x HTTP/1.1\r\nHost: x\nX-A: b\r\n\r\n"),
    "line/lf-lf-ends-head": (_LINE, b"GET /x HTTP/1.1\r\nHost: x\n\n"),
    "line/crlf-lf-ends-head": (_LINE, b"GET /x HTTP/1.1\r\nHost: x\r\n\n"),
    "line/all-lf": (_LINE, b"GET /x HTTP/1.1\nHost: x\n\n"),
    "line/bare-cr-in-value": (_LINE, b"GET /x HTTP/1.1\r\nHost: x\r\nX-A: b\rX-C: d\r\n\r\n"),
    "line/bare-cr-ends-request-line": (_LINE, b"GET /x HTTP/1.1\rHost: x\r\n\r\n"),
    "line/cr-cr-lf": (_LINE, b"GET /x HTTP/1.1\r\nHost: x\r\r\n\r\n"),
    "line/bare-cr-in-name": (_LINE, b"GET /x HTTP/1.1\r\nHost: x\r\nX\rA: b\r\n\r\n"),
    "line/bare-cr-in-target": (_LINE, b"GET /\rx HTTP/1.1\r\nHost: x\r\n\r\n"),
    "line/space-behind-request-line": (_LINE, b"GET /x HTTP/1.1\r\n Host: y\r\nHost: x\r\n\r\n"),
    "byte/nul-in-value": (_VALUE, b"GET /x HTTP/1.1\r\nHost: x\r\nX-A: b\0c\r\n\r\n"),
    "byte/nul-in-name": (_FIELD, b"GET /x HTTP/1.1\r\nHost: x\r\nX\0A: b\r\n\r\n"),
    "byte/nul-in-target": (_START, b"GET /\0x HTTP/1.1\r\nHost: x\r\n\r\n"),
    "byte/nul-in-method": (_START, b"G\0ET /x HTTP/1.1\r\nHost: x\r\n\r\n"),
    "byte/control-in-value": (_VALUE, b"GET /x HTTP/1.1\r\nHost: x\r\nX-A: \x01\r\n\r\n"),
    "byte/escape-in-value": (_VALUE, b"GET /x HTTP/1.1\r\nHost: x\r\nX-A: \x1b[31m\r\n\r\n"),
    "byte/delete-in-value": (_VALUE, b"GET /x HTTP/1.1\r\nHost: x\r\nX-A: \x7f\r\n\r\n"),
    "byte/vertical-tab-in-value": (_VALUE, b"GET /x HTTP/1.1\r\nHost: x\r\nX-A: a\x0bb\r\n\r\n"),
    "byte/outside-ascii-in-name": (_FIELD, b"GET /x HTTP/1.1\r\nHost: x\r\nX-\xc3\xa4: b\r\n\r\n"),
    "byte/outside-ascii-in-target": (_START, b"GET /\xc3\xa4 HTTP/1.1\r\nHost: x\r\n\r\n"),
    "byte/delete-in-target": (_START, b"GET /\x7f HTTP/1.1\r\nHost: x\r\n\r\n"),
    "field/space-before-colon": (_FIELD, b"GET /x HTTP/1.1\r\nHost: x\r\nX-A : b\r\n\r\n"),
    "field/host-space-before-colon": (_FIELD, b"GET /x HTTP/1.1\r\nHost : x\r\n\r\n"),
    "field/tab-before-colon": (_FIELD, b"GET /x HTTP/1.1\r\nHost: x\r\nX-A\t: b\r\n\r\n"),
    "field/no-colon": (_FIELD, b"GET /x HTTP/1.1\r\nHost: x\r\nX-A\r\n\r\n"),
    "field/empty-name": (_FIELD, b"GET /x HTTP/1.1\r\nHost: x\r\n: b\r\n\r\n"),
    "field/space-within-name": (_FIELD, b"GET /x HTTP/1.1\r\nHost: x\r\nX A: b\r\n\r\n"),
    "field/parenthesis-in-name": (_FIELD, b"GET /x HTTP/1.1\r\nHost: x\r\nX(A): b\r\n\r\n"),
    "field/slash-in-name": (_FIELD, b"GET /x HTTP/1.1\r\nHost: x\r\nX/A: b\r\n\r\n"),
    "fold/space": ("9112 5.2", b"GET /x HTTP/1.1\r\nHost: x\r\nX-A: b\r\n c\r\n\r\n"),
    "fold/tab": ("9112 5.2", b"GET /x HTTP/1.1\r\nHost: x\r\nX-A: b\r\n\tc\r\n\r\n"),
    "fold/hides-a-field": ("9112 5.2", b"GET /x HTTP/1.1\r\nHost: x\r\nX-A: b\r\n Content-Length: 9\r\n\r\n"),
    "fold/blank": ("9112 5.2", b"GET /x HTTP/1.1\r\nHost: x\r\nX-A: b\r\n \r\n\r\n"),
}

HEAD_BYTES: Final = tuple(refused(name, rfc, data) for name, (rfc, data) in _BYTES.items())

_BAD_HOSTS: Final = {
    "missing": [],
    "missing-beside-forwarded": ["X-Forwarded-Host: a"],
    "repeated": ["Host: a", "Host: b"],
    "repeated-equal": ["Host: a", "Host: a"],
    "repeated-case-of-name": ["Host: a", "HOST: b"],
    "list": ["Host: a, b"],
    "userinfo": ["Host: user@a"],
    "userinfo-password": ["Host: user:secret@a"],
    "path": ["Host: a/b"],
    "query": ["Host: a?b"],
    "fragment": ["Host: a#b"],
    "scheme": ["Host: http://a"],
    "backslash": ["Host: a\\b"],
    "space": ["Host: a b"],
    "quote": ['Host: "a"'],
    "angle-brackets": ["Host: <a>"],
    "port-of-letters": ["Host: a:http"],
    "port-signed": ["Host: a:+80"],
    "port-of-six-digits": ["Host: a:123456"],
    "two-ports": ["Host: a:1:2"],
    "open-bracket": ["Host: [::1"],
    "behind-bracket": ["Host: [::1]x"],
    "outside-ascii": ["Host: \xc3\xa4"],
    "named-by-connection": [HOST, "Connection: Host"],
}

_GOOD_HOSTS: Final = {
    "port": "a:8080",
    "empty-port": "a:",
    "ipv4": "10.0.0.1:1",
    "ipv6": "[::1]:8080",
    "ipv6-no-port": "[::1]",
    "case": "Service.TEST",
    "underscore": "a_b.c-d",
    "empty": "",
}

HOSTS: Final = (
    *(refused(f"host/{name}", _HOST, message("GET /x HTTP/1.1", *lines)) for name, lines in _BAD_HOSTS.items()),
    refused("host/repeated-in-1.0", _HOST, message("GET /x HTTP/1.0", "Host: a", "Host: b")),
    refused("host/garbage-in-1.0", _HOST, message("GET /x HTTP/1.0", "Host: a@b")),
    *(passed(f"host/{name}", _HOST, message("GET /x HTTP/1.1", f"Host: {host}")) for name, host in _GOOD_HOSTS.items()),
)

_BAD_TARGETS: Final = {
    "absolute-other-host": "http://other.test/x",
    "absolute-other-port": "http://service.test:81/x",
    "absolute-userinfo": "http://user@service.test/x",
    "absolute-userinfo-hides-host": "http://service.test@other.test/x",
    "absolute-no-authority": "http:///x",
    "absolute-other-scheme": "ftp://service.test/x",
    "absolute-backslash": "http:\\\\service.test\\x",
    "absolute-longer-host": "http://service.test.other.test/x",
    "authority-form": "service.test:80",
    "asterisk": "*",
    "asterisk-and-more": "*x",
    "fragment": "/x#y",
    "fragment-absolute": "http://service.test/x#y",
    "fragment-in-authority": "http://service.test#@other.test/x",
    "no-slash": "x",
    "query-alone": "?x",
    "data-url": "data:text/plain,x",
}

_GOOD_TARGETS: Final = {
    "dot-segments": "/a/../../b/./c",
    "encoded-slash": "/a%2fb%2F..",
    "encoded-nul": "/%00",
    "encoded-crlf": "/%0d%0aX-Smuggled:%201",
    "percent-alone": "/%zz%",
    "double-slash": "//other.test/x",
    "backslash": "/\\other.test\\x",
    "second-question-mark": "/x?a?b",
    "empty-query": "/x?",
    "semicolon": "/x;a=b?c;d",
    "brackets-and-quotes": "/x[\"<>|^`{}']",
    "url-in-path": "/http://other.test/x",
}

TARGETS: Final = (
    *(refused(f"target/{name}", _TARGET, get(target=target)) for name, target in _BAD_TARGETS.items()),
    refused("target/options-asterisk-and-more", _TARGET, message("OPTIONS *x HTTP/1.1", HOST)),
    refused("target/options-fragment", _TARGET, message("OPTIONS /x#y HTTP/1.1", HOST)),
    refused("target/connect", "9110 9.3.6", message("CONNECT service.test:443 HTTP/1.1", "Host: service.test:443")),
    refused("target/connect-path", "9110 9.3.6", message("CONNECT /x HTTP/1.1", HOST)),
    refused("target/connect-absolute", "9110 9.3.6", message("CONNECT http://service.test/ HTTP/1.1", HOST)),
    refused("target/absolute-without-host", _TARGET, message("GET http://service.test/x HTTP/1.1")),
    refused("target/absolute-without-host-1.0", _TARGET, message("GET http://service.test/x HTTP/1.0")),
    refused("target/absolute-no-authority-nor-host", _TARGET, get(target="http:///x", host="Host:")),
    *(passed(f"target/{name}", _TARGET, get(target=target)) for name, target in _GOOD_TARGETS.items()),
    passed("target/absolute", _TARGET, get(target="http://service.test/x?y"), get(target="/x?y")),
    passed("target/absolute-https", _TARGET, get(target="https://service.test/x"), get()),
    passed("target/absolute-case", _TARGET, get(target="HTTP://SERVICE.test/x"), get()),
    passed("target/absolute-no-path", _TARGET, get(target="http://service.test"), get(target="/")),
    passed("target/absolute-no-path-query", _TARGET, get(target="http://service.test?y"), get(target="/?y")),
    passed("target/options-asterisk", _TARGET, message("OPTIONS * HTTP/1.1", HOST)),
    passed(
        "target/options-absolute-no-path",
        _TARGET,
        message("OPTIONS http://service.test HTTP/1.1", HOST),
        message("OPTIONS * HTTP/1.1", HOST),
    ),
)

_BAD_LINES: Final = {
    "version/0.9": (_VERSION, b"GET /x\r\n\r\n"),
    "version/0.9-by-number": (_VERSION, b"GET /x HTTP/0.9\r\nHost: x\r\n\r\n"),
    "version/1.2": (_VERSION, b"GET /x HTTP/1.2\r\nHost: x\r\n\r\n"),
    "version/1.10": (_VERSION, b"GET /x HTTP/1.10\r\nHost: x\r\n\r\n"),
    "version/1": (_VERSION, b"GET /x HTTP/1\r\nHost: x\r\n\r\n"),
    "version/2.0": (_VERSION, b"GET /x HTTP/2.0\r\nHost: x\r\n\r\n"),
    "version/11": (_VERSION, b"GET /x HTTP/11\r\nHost: x\r\n\r\n"),
    "version/comma": (_VERSION, b"GET /x HTTP/1,1\r\nHost: x\r\n\r\n"),
    "version/lower-case": (_VERSION, b"GET /x http/1.1\r\nHost: x\r\n\r\n"),
    "version/none": (_VERSION, b"GET /x HTTP/\r\nHost: x\r\n\r\n"),
    "version/rtsp": (_VERSION, b"OPTIONS * RTSP/1.0\r\nHost: x\r\n\r\n"),
    "version/ice": (_VERSION, b"SOURCE /x ICE/1.0\r\nHost: x\r\n\r\n"),
    "version/preface-of-http-2": (_VERSION, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    # What would be its second half is another message here.
    "version/preface-as-1.0": (_VERSION, b"PRI * HTTP/1.0\r\n\r\n"),
    "version/two": (_START, b"GET /x HTTP/1.1 HTTP/1.1\r\nHost: x\r\n\r\n"),
    "start/two-spaces": (_START, b"GET  /x HTTP/1.1\r\nHost: x\r\n\r\n"),
    "start/two-spaces-before-version": (_START, b"GET /x  HTTP/1.1\r\nHost: x\r\n\r\n"),
    "start/tab": (_START, b"GET\t/x\tHTTP/1.1\r\nHost: x\r\n\r\n"),
    "start/space-in-front": (_START, b" GET /x HTTP/1.1\r\nHost: x\r\n\r\n"),
    "start/space-behind": (_START, b"GET /x HTTP/1.1 \r\nHost: x\r\n\r\n"),
    "start/space-in-target": (_START, b"GET /x y HTTP/1.1\r\nHost: x\r\n\r\n"),
    "start/no-target": (_START, b"GET HTTP/1.1\r\nHost: x\r\n\r\n"),
    "start/an-answer": (_START, b"HTTP/1.1 200 OK\r\nHost: x\r\n\r\n"),
    "start/tls": (_START, b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03"),
    "start/smtp": (_START, b"EHLO service.test\r\n\r\n"),
    "start/ssh": (_START, b"SSH-2.0-OpenSSH_9.2\r\n\r\n"),
    "start/binary": (_START, b"\x00\x01\x02\x03\r\n\r\n"),
    "method/lower-case": ("9110 9.1", b"get /x HTTP/1.1\r\nHost: x\r\n\r\n"),
    "method/mixed-case": ("9110 9.1", b"Get /x HTTP/1.1\r\nHost: x\r\n\r\n"),
    "method/unknown": ("9110 9.1", b"FETCH /x HTTP/1.1\r\nHost: x\r\n\r\n"),
    "method/parenthesis": ("9110 9.1", b"GE(T /x HTTP/1.1\r\nHost: x\r\n\r\n"),
    "method/empty": ("9110 9.1", b" /x HTTP/1.1\r\nHost: x\r\n\r\n"),
}

_METHODS: Final = ("PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "REPORT", "PURGE", "QUERY")

START_LINES: Final = (
    *(refused(name, rfc, data) for name, (rfc, data) in _BAD_LINES.items()),
    *(passed(f"method/{name.lower()}", "9110 9.3", message(f"{name} /x HTTP/1.1", HOST)) for name in _METHODS),
    *(
        passed(
            f"method/{name.lower()}-with-body",
            "9110 9.3",
            message(f"{name} /x HTTP/1.1", HOST, "Content-Length: 3", body=b"abc"),
        )
        for name in _METHODS
    ),
    passed("start/empty-line-in-front", _LINE, b"\r\n" + get(), get()),
    refused("limit/too-many-fields", "9110 5.4", get(*["X-A: b"] * 101), 431),
    refused("limit/too-many-short-fields", "9110 5.4", get(*["A:"] * 101), 431),
    refused("limit/head-too-large", "9110 5.4", get("X-A: " + "b" * 70_000), 431),
    refused("limit/target-too-long", "9112 3", get(target="/" + "x" * 70_000), 431),
)

CASES: Final[tuple[Case, ...]] = (*HEAD_BYTES, *HOSTS, *TARGETS, *START_LINES)
