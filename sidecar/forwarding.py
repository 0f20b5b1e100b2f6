"""What the upstream is told of the client, and whom we believe about it. Pure.

A peer outside `trusted_proxies` is the client, whatever it claims; what a trusted one says is passed on, with the peer
added. Unix-socket peers have no address, so they are never trusted and add none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

NO_ADDRESS: Final = "unix"


class Forwarding:
    """The rule for all connections. `networks` are CIDRs; `forwarded` also sends RFC 7239's field."""

    def __init__(self, networks: Sequence[str] = (), *, forwarded: bool = False) -> None:
        self._networks: list[IPv4Network | IPv6Network] = [ip_network(network, strict=False) for network in networks]
        self._forwarded = forwarded

    def trusts(self, address: str) -> bool:
        """Whether what comes from `address` may speak for another client."""
        if not self._networks:
            return False
        try:
            parsed = ip_address(address.partition("%")[0])
        except ValueError:
            return False
        if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is not None:
            parsed = parsed.ipv4_mapped
        return any(parsed in network for network in self._networks)

    def client(self, known: Mapping[bytes, bytes], peer: str) -> str:
        """The client behind a trusted `peer`: the last address of X-Forwarded-For that is not itself trusted."""
        chain = known.get(b"x-forwarded-for", b"").decode("ascii", "replace").split(",")
        for address in reversed([part.strip(" \t") for part in chain]):
            if not _is_address(address):
                break
            peer = address
            if not self.trusts(address):
                break
        return peer

    def fields(self, known: Mapping[bytes, bytes], peer: str, *, trusted: bool) -> bytes:
        """The header lines for the upstream."""
        host = known.get(b"host", b"")
        proto = b"http"
        chain = b"" if peer == NO_ADDRESS else peer.encode("ascii")
        if trusted:
            host = known.get(b"x-forwarded-host") or host
            proto = known.get(b"x-forwarded-proto") or proto
            if known.get(b"x-forwarded-for"):
                chain = known[b"x-forwarded-for"] + b", " + chain
        lines = b"X-Forwarded-Proto: %b\r\n" % proto
        if chain:
            lines += b"X-Forwarded-For: %b\r\n" % chain
        if host:
            lines += b"X-Forwarded-Host: %b\r\n" % host
        if self._forwarded:
            lines += self._element(known, peer, host, proto, trusted=trusted)
        return lines

    def _element(self, known: Mapping[bytes, bytes], peer: str, host: bytes, proto: bytes, *, trusted: bool) -> bytes:
        """RFC 7239 section 4: one element a hop."""
        node = "unknown" if peer == NO_ADDRESS else f'"[{peer}]"' if ":" in peer else peer
        element = b"for=%b;proto=%b" % (node.encode("ascii"), proto)
        if host:
            element += b';host="%b"' % host
        if trusted and known.get(b"forwarded"):
            element = known[b"forwarded"] + b", " + element
        return b"Forwarded: %b\r\n" % element


class Peer:
    """One connection's other end, by the rule. Most of its requests name the same Host, so the lines are kept."""

    __slots__ = ("_host", "_lines", "_rule", "name", "trusted")

    def __init__(self, rule: Forwarding, name: str) -> None:
        self.name = name
        self._rule = rule
        self.trusted = rule.trusts(name)
        self._host = b""
        self._lines = b""

    def client(self, known: Mapping[bytes, bytes]) -> str:
        """The address of the client that it speaks for, as a rule itself."""
        return self._rule.client(known, self.name) if self.trusted else self.name

    def fields(self, known: Mapping[bytes, bytes]) -> bytes:
        """The header lines for the upstream."""
        host = known.get(b"host", b"")
        if self.trusted or not host or host != self._host:
            self._host = host
            self._lines = self._rule.fields(known, self.name, trusted=self.trusted)
        return self._lines

    def __repr__(self) -> str:
        return f"<Peer {self.name}{', trusted' if self.trusted else ''}>"


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
