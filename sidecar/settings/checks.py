"""What no single knob can tell: values that cannot both be meant, and values that may surprise. Pure functions."""

from __future__ import annotations

from typing import NamedTuple

from sidecar.address import ListenAddress, UpstreamAddress, is_loopback, parse_listen, parse_upstream
from sidecar.settings.structs import Settings
from sidecar.settings.units import format_duration


class Contradiction(NamedTuple):
    """Two knobs that cannot both be meant: `value` of `path` is `wrong` ("what; what to write") beside `other`."""

    path: str
    other: str
    value: str
    wrong: str


def contradictions(settings: Settings) -> list[Contradiction]:
    """Values that cannot both be meant."""
    found: list[Contradiction] = []
    timeouts, admin = settings.timeouts, settings.admin
    if 0 < timeouts.request < timeouts.attempt:
        limit = format_duration(timeouts.request)
        wrong = f"is longer than timeouts.request ({limit}) and would never end an attempt; write at most {limit}"
        found.append(Contradiction("timeouts.attempt", "timeouts.request", format_duration(timeouts.attempt), wrong))
    listen, admin_listen = parse_listen(settings.listen), parse_listen(admin.listen)
    if _collide(listen, admin_listen):
        wrong = f"takes the same port as listen ({settings.listen}); give the admin port another"
        found.append(Contradiction("admin.listen", "listen", admin.listen, wrong))
    for name, address in (("listen", listen), ("admin.listen", admin_listen)):
        if _reaches(parse_upstream(settings.upstream), address):
            wrong = f"is the sidecar's own {name} ({address}): it would call itself; give the service's port"
            found.append(Contradiction("upstream", name, settings.upstream, wrong))
    if admin.token_file and admin.token:
        wrong = "is given as well as admin.token; keep one of them"
        found.append(Contradiction("admin.token_file", "admin.token", admin.token_file, wrong))
    return found


def notes(settings: Settings) -> list[str]:
    """What is allowed but may surprise, one sentence each."""
    found = []
    address = parse_listen(settings.admin.listen)
    if not address.loopback and not settings.admin.token:
        found.append(
            f"admin.listen {address} is reachable from outside: health and metrics answer everybody, the rest answers "
            "this machine only until admin.token is set"
        )
    return found


def _collide(one: ListenAddress, other: ListenAddress) -> bool:
    if one.unix or other.unix:
        return one.path == other.path
    if one.port != other.port or one.port == 0:
        return False
    return one.host == other.host or one.wildcard or other.wildcard


def _reaches(upstream: UpstreamAddress, address: ListenAddress) -> bool:
    if upstream.unix or address.unix:
        return upstream.path == address.path
    if upstream.port != address.port:
        return False
    here = is_loopback(upstream.host) and (address.loopback or address.wildcard)
    return upstream.host == address.host or here
