"""Addresses as people write them: where the upstream is, and where to listen. Pure text: nothing is resolved.

Readers raise `ValueError` with one sentence, "what is wrong; what to write instead", that can be shown as it is.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

# Where the admin port is unless told otherwise: here, because `sidecar drain` must know it without the settings.
DEFAULT_ADMIN: Final = "127.0.0.1:8901"

_NAME: Final = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9_.])?")
_OCTET: Final = "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_IPV4: Final = re.compile(rf"{_OCTET}(?:\.{_OCTET}){{3}}")
_PORT: Final = re.compile(r"[0-9]{1,5}")
_SOCKET: Final = re.compile(r"/[!-~]+")

# Linux keeps 108 bytes for a socket's path, the closing NUL among them; macOS 104.
_LONGEST_SOCKET: Final = 103

MASK: Final = "***"
_SECRET: Final = re.compile(r"([?&][^=&]*(?:auth|cred|key|pass|pwd|secret|sig|token)[^=&]*=)[^&#]*", re.IGNORECASE)

_LATER: Final = {
    "https": "TLS towards the upstream is not here yet; write http:// and the plain port",
    "h2c": "HTTP/2 towards the upstream is not here yet; write http://",
    "h2c+unix": "HTTP/2 towards the upstream is not here yet; write unix:///path.sock",
}
_LIKE: Final = "write http://host:port or unix:///path.sock"


class UpstreamAddress(NamedTuple):
    """Where the upstream is: `host` and `port`, or the socket file `path`. `str()` gives the canonical text."""

    host: str
    port: int
    path: str = ""

    @property
    def unix(self) -> bool:
        """Whether it is a socket file."""
        return bool(self.path)

    def __str__(self) -> str:
        return f"unix://{self.path}" if self.path else f"http://{_bracketed(self.host)}:{self.port}"


class ListenAddress(NamedTuple):
    """Where to listen: `host` (empty = all interfaces) and `port` (0 = any free one), or the socket file `path`."""

    host: str
    port: int
    path: str = ""

    @property
    def unix(self) -> bool:
        """Whether it is a socket file."""
        return bool(self.path)

    @property
    def wildcard(self) -> bool:
        """Whether it means every interface of the machine."""
        return not self.path and self.host in ("", "0.0.0.0", "::")

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return bool(self.path) or is_loopback(self.host)

    def __str__(self) -> str:
        return f"unix:{self.path}" if self.path else f"{_bracketed(self.host)}:{self.port}"


def parse_upstream(text: str) -> UpstreamAddress:
    """The address meant by `http://host:port` (port 80 if left out) or `unix:///path.sock`."""
    if text.startswith("unix:"):
        return UpstreamAddress("", 0, _socket_path(text))
    scheme, separator, rest = text.partition("://")
    if not separator:
        raise ValueError(f"has no scheme; {_guess(text)}")
    scheme = scheme.lower()
    if scheme in _LATER:
        raise ValueError(_LATER[scheme])
    if scheme != "http":
        raise ValueError(f"is not a kind of upstream that the sidecar knows; {_LIKE}")
    if "@" in rest:
        raise ValueError(f"holds a user name or password; leave it out: {_LIKE}")
    authority, _, path = rest.partition("/")
    if path or "?" in rest or "#" in rest:
        raise ValueError(f"holds a path or query; paths pass unchanged, so leave it out: {_LIKE}")
    host, port = _host_port(authority if ":" in authority.rpartition("]")[2] else authority + ":80", _LIKE)
    if not host:
        raise ValueError(f"has no host; {_LIKE}")
    if port == 0:
        raise ValueError("has port 0; write the port that the service listens on, 1 to 65535")
    return UpstreamAddress(host, port)


def parse_listen(text: str) -> ListenAddress:
    """The address meant by `host:port`, `[::1]:port`, `:port` (all interfaces) or `unix:/path`."""
    like = "write host:port, :port for all interfaces, or unix:/path"
    if text.startswith("unix:"):
        return ListenAddress("", 0, _socket_path(text))
    if "://" in text:
        raise ValueError(f"is a URL; {like}")
    if _PORT.fullmatch(text):
        raise ValueError(f"has no host; write 127.0.0.1:{text}, or :{text} for all interfaces")
    if text.startswith("*:"):
        raise ValueError(f"has a star for its host; write {text[1:]} for all interfaces")
    host, port = _host_port(text, like)
    return ListenAddress(host, port)


def is_loopback(host: str) -> bool:
    """Whether a host name or IP address means this machine only."""
    if host.lower() == "localhost":
        return True
    from ipaddress import ip_address  # lazy: `sidecar drain` is in a hurry, and needs none of it

    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def without_password(url: str) -> str:
    """A URL, well-formed or not, whose password cannot be seen."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        scheme, rest = "", url
    # Up to the last @: an unescaped one may belong to the password.
    login, at, place = rest.rpartition("@")
    if at:
        user, colon, _ = login.partition(":")
        # What stands there alone may be a password, where somebody forgot the colon.
        login = f"{user}:{MASK}" if colon and separator else MASK
    return scheme + separator + login + at + without_secrets(place)


def without_secrets(text: str) -> str:
    """A URL, or a part of one, whose query's secrets cannot be seen, as far as their names tell."""
    return _SECRET.sub(rf"\1{MASK}", text)


def _host_port(text: str, like: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or not _PORT.fullmatch(port):
        raise ValueError(f"has no port; {like}")
    if int(port) > 65535:
        raise ValueError("has a port above 65535; write one from 0 to 65535")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        _check_ipv6(host)
    elif ":" in host:
        # Shown only where it is one: a login (user:password@host) is none.
        example = f"[{host}]:{port}" if re.fullmatch("[0-9A-Fa-f:.]+", host) else "[::1]:8080"
        raise ValueError(f"is ambiguous; write the IPv6 address in brackets: {example}")
    elif host:
        _check_name(host, like)
    return host, int(port)


def _check_ipv6(host: str) -> None:
    from ipaddress import IPv6Address

    try:
        IPv6Address(host)
    except ValueError:
        raise ValueError("has no IPv6 address in its brackets; write it like [::1]:8080") from None


def _check_name(host: str, like: str) -> None:
    if not _NAME.fullmatch(host):
        raise ValueError(f"has characters that no host name has; {like}")
    # What ends in a number is an IPv4 address to every resolver (WHATWG URL, "ends in a number").
    if host.rstrip(".").rpartition(".")[2].isdigit() and not _IPV4.fullmatch(host):
        raise ValueError("has no valid IPv4 address; write it like 127.0.0.1")


def _socket_path(text: str) -> str:
    path = text.removeprefix("unix:").removeprefix("//")
    if not _SOCKET.fullmatch(path):
        raise ValueError("has no absolute path of visible ASCII; write unix:///run/app.sock")
    if len(path) > _LONGEST_SOCKET:
        raise ValueError(f"is too long for a socket; use a path of at most {_LONGEST_SOCKET} bytes")
    return path


def _guess(text: str) -> str:
    # `:8080` and `localhost:8080` are what people type first.
    if re.fullmatch(r":[0-9]{1,5}", text):
        return f"write http://127.0.0.1{text}"
    if re.fullmatch(r"[A-Za-z0-9._-]+:[0-9]{1,5}", text):
        return f"write http://{text}"
    return _LIKE


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
