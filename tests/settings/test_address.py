"""Addresses: what is read, how it is written canonically, and what is refused with which remedy."""

from __future__ import annotations

import pytest

from sidecar.address import ListenAddress, UpstreamAddress, parse_listen, parse_upstream


@pytest.mark.parametrize(
    ("text", "address", "canonical"),
    [
        ("http://127.0.0.1:8080", UpstreamAddress("127.0.0.1", 8080), "http://127.0.0.1:8080"),
        ("http://127.0.0.1:8080/", UpstreamAddress("127.0.0.1", 8080), "http://127.0.0.1:8080"),
        ("HTTP://my_app.ns.svc:1", UpstreamAddress("my_app.ns.svc", 1), "http://my_app.ns.svc:1"),
        ("http://app", UpstreamAddress("app", 80), "http://app:80"),
        ("http://[::1]:8080", UpstreamAddress("::1", 8080), "http://[::1]:8080"),
        ("http://[::1]", UpstreamAddress("::1", 80), "http://[::1]:80"),
        ("unix:///run/app.sock", UpstreamAddress("", 0, "/run/app.sock"), "unix:///run/app.sock"),
        ("unix:/run/app.sock", UpstreamAddress("", 0, "/run/app.sock"), "unix:///run/app.sock"),
    ],
)
def test_reads_upstreams(text: str, address: UpstreamAddress, canonical: str) -> None:
    """An upstream is an http URL of host and port, or a socket file."""
    assert parse_upstream(text) == address
    assert str(address) == canonical
    assert address.unix == canonical.startswith("unix:")


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("", "has no scheme; write http://host:port"),
        ("127.0.0.1:8080", "has no scheme; write http://127.0.0.1:8080"),
        (":8080", "has no scheme; write http://127.0.0.1:8080"),
        ("https://app:443", "TLS towards the upstream is not here yet; write http://"),
        ("h2c://app:80", "HTTP/2 towards the upstream is not here yet"),
        ("h2c+unix:///run/a", "HTTP/2 towards the upstream is not here yet"),
        ("ftp://app:21", "is not a kind of upstream that the sidecar knows; write http://"),
        ("http://me:secret@app:80", "holds a user name or password; leave it out"),
        ("http://app:80/v1", "holds a path or query; paths pass unchanged"),
        ("http://app:80?a", "holds a path or query"),
        ("http://app:80/#a", "holds a path or query"),
        ("http://app:0", "has port 0; write the port that the service listens on"),
        ("http://app:65536", "has a port above 65535"),
        ("http://app:", "has no port"),
        ("http://app:+80", "has no port"),
        ("http://app:\uff18\uff10", "has no port"),
        ("http://:80", "has no host"),
        ("http://::1:80", r"is ambiguous; write the IPv6 address in brackets: \[::1\]:80"),
        ("http://[::z]:80", "has no IPv6 address in its brackets"),
        ("http://300.1.1.1:80", "has no valid IPv4 address"),
        ("http://a b:80", "has characters that no host name has"),
        ("http://bücher:80", "has characters that no host name has"),
        ("http://app:80\r\nX: y", "has no port"),
        ("unix://app.sock", "has no absolute path"),
        ("unix:///" + "a" * 200, "is too long for a socket"),
    ],
)
def test_refuses_upstreams(text: str, wrong: str) -> None:
    """What is no upstream, or not one yet, is refused with what to write."""
    with pytest.raises(ValueError, match="^" + wrong):
        parse_upstream(text)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:8900", ListenAddress("127.0.0.1", 8900)),
        ("localhost:0", ListenAddress("localhost", 0)),
        (":8900", ListenAddress("", 8900)),
        ("[::1]:8900", ListenAddress("::1", 8900)),
        ("unix:/run/s.sock", ListenAddress("", 0, "/run/s.sock")),
    ],
)
def test_reads_listeners(text: str, address: ListenAddress) -> None:
    """A listener is host and port, a port on all interfaces, or a socket file; the text is canonical."""
    assert parse_listen(text) == address
    assert str(address) == text


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("8900", "has no host; write 127.0.0.1:8900, or :8900 for all interfaces"),
        ("http://127.0.0.1:8900", "is a URL; write host:port"),
        ("*:8900", "has a star for its host; write :8900"),
        ("::1:8900", r"is ambiguous; write the IPv6 address in brackets: \[::1\]:8900"),
        ("localhost", "has no port"),
        (":99999", "has a port above 65535"),
        ("unix:run.sock", "has no absolute path"),
    ],
)
def test_refuses_listeners(text: str, wrong: str) -> None:
    """What cannot be listened on is refused with what to write."""
    with pytest.raises(ValueError, match="^" + wrong):
        parse_listen(text)


@pytest.mark.parametrize(
    ("text", "loopback", "wildcard"),
    [
        ("127.0.0.1:1", True, False),
        ("127.8.8.8:1", True, False),
        ("[::1]:1", True, False),
        ("LocalHost:1", True, False),
        ("unix:/s", True, False),
        (":1", False, True),
        ("0.0.0.0:1", False, True),
        ("[::]:1", False, True),
        ("10.0.0.1:1", False, False),
        ("app:1", False, False),
    ],
)
def test_knows_who_can_reach_a_listener(text: str, loopback: bool, wildcard: bool) -> None:
    """A listener knows whether only this machine reaches it, and whether it is on every interface."""
    address = parse_listen(text)
    assert (address.loopback, address.wildcard) == (loopback, wildcard)
