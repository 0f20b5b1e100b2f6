"""What no single knob can tell: values that cannot both be meant, and values that may surprise. Pure functions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from sidecar.address import ListenAddress, UpstreamAddress, is_loopback, parse_listen, parse_upstream
from sidecar.settings.policies import Retry, Route
from sidecar.settings.routes import unreached
from sidecar.settings.structs import Settings
from sidecar.units import format_duration

# Conditions of `retry.conditions` that name another knob's list, and that knob.
_LISTS: Final = {"retriable-status-codes": "statuses", "retriable-headers": "headers"}


class Contradiction(NamedTuple):
    """Two knobs that cannot both be meant: `value` of `path` is `wrong` ("what; what to write") beside `other`.

    `idle` says that the value merely comes to nothing: no fault where a route has it from the sidecar.
    """

    path: str
    other: str
    value: str
    wrong: str
    idle: bool = False


def contradictions(settings: Settings) -> list[Contradiction]:
    """Values that cannot both be meant, in routes too."""
    found = [*_of_addresses(settings), *_of_files(settings)]
    for prefix, scope in _scopes(settings):
        found += _of_times(prefix, scope)
        found += _of_retry(prefix, scope.retry)
        found += _of_limits(prefix, scope, bool(settings.redis.url or settings.redis.url_file))
    return found


def notes(settings: Settings, origin: Mapping[str, str] | None = None) -> list[str]:
    """What is allowed but may surprise, one sentence each. `origin` tells where values came from, by path."""
    found = []
    if origin and origin.get("admin.token", "").startswith("flag "):
        found.append(
            "admin.token stands on the command line, where every user of this machine can read it; "
            "give it by SIDECAR_ADMIN__TOKEN or admin.token_file"
        )
    address = parse_listen(settings.admin.listen)
    if not address.loopback and not settings.admin.token:
        found.append(
            f"admin.listen {address} is reachable from outside: health and metrics answer everybody, the rest answers "
            "this machine only until admin.token is set"
        )
    for prefix, scope in _scopes(settings):
        rate, breaker = scope.rate, scope.breaker
        if rate.burst and not rate.limit:
            found.append(f"{prefix}rate.burst {rate.burst} holds nothing back: {prefix}rate.limit is 0")
        # What a route has from the sidecar is said once.
        if scope is not settings and breaker == settings.breaker:
            continue
        if breaker.mode != "off" and not breaker.failures and not breaker.ratio:
            found.append(f"{prefix}breaker opens at nothing: its failures and its ratio are 0")
    for later, earlier in unreached(settings.routes):
        names = [settings.routes[index].name for index in (later, earlier)]
        found.append(
            f"routes[{later}] ({names[0]}) is never reached: routes[{earlier}] ({names[1]}) takes all it would"
        )
    return found


def _scopes(settings: Settings) -> Iterator[tuple[str, Settings | Route]]:
    """The sidecar's own policies and those of each route, with what their paths begin with."""
    yield "", settings
    for index, route in enumerate(settings.routes):
        yield f"routes[{index}].", route


def _of_addresses(settings: Settings) -> Iterator[Contradiction]:
    admin = settings.admin
    listen, admin_listen = parse_listen(settings.listen), parse_listen(admin.listen)
    if _collide(listen, admin_listen):
        wrong = f"takes the same port as listen ({settings.listen}); give the admin port another"
        yield Contradiction("admin.listen", "listen", admin.listen, wrong)
    for name, address in (("listen", listen), ("admin.listen", admin_listen)):
        if _reaches(parse_upstream(settings.upstream), address):
            wrong = f"is the sidecar's own {name} ({address}): it would call itself; give the service's port"
            yield Contradiction("upstream", name, settings.upstream, wrong)


def _of_files(settings: Settings) -> Iterator[Contradiction]:
    admin, redis = settings.admin, settings.redis
    for path, value, file in (("admin.token", admin.token, admin.token_file), ("redis.url", redis.url, redis.url_file)):
        if value and file:
            yield Contradiction(f"{path}_file", path, file, f"is given as well as {path}; keep one of them")


def _of_times(prefix: str, scope: Settings | Route) -> Iterator[Contradiction]:
    request, attempt, hedge = scope.timeouts.request, scope.timeouts.attempt, scope.retry.hedge
    limit, other = format_duration(request), f"{prefix}timeouts.request"
    if 0 < request < attempt:
        wrong = f"is longer than {other} ({limit}) and would never end an attempt; write at most {limit}"
        yield Contradiction(f"{prefix}timeouts.attempt", other, format_duration(attempt), wrong, idle=True)
    if 0 < request <= hedge:
        wrong = f"is not before {other} ({limit}) and would never come to pass; write less than {limit}"
        yield Contradiction(f"{prefix}retry.hedge", other, format_duration(hedge), wrong, idle=True)


def _of_retry(prefix: str, retry: Retry) -> Iterator[Contradiction]:
    path = f"{prefix}retry."
    if retry.cap < retry.base:
        base = format_duration(retry.base)
        wrong = f"is shorter than the first backoff, {path}base ({base}); write at least {base}"
        yield Contradiction(f"{path}cap", f"{path}base", format_duration(retry.cap), wrong)
    for condition, name in _LISTS.items():
        items: tuple[str, ...] = getattr(retry, name)
        if condition in retry.conditions and not items:
            wrong = f"names {condition}, which {path}{name} lists and are none; list some, or leave it out"
            yield Contradiction(f"{path}conditions", f"{path}{name}", ",".join(retry.conditions), wrong)
        if items and condition not in retry.conditions:
            wrong = f"means nothing while {path}conditions does not name {condition}; add it there"
            yield Contradiction(f"{path}{name}", f"{path}conditions", ",".join(items), wrong, idle=True)


def _of_limits(prefix: str, scope: Settings | Route, redis: bool) -> Iterator[Contradiction]:
    if scope.rate.shared and not redis:
        wrong = "needs a Redis to share it in; give redis.url, or write false"
        yield Contradiction(f"{prefix}rate.shared", "redis.url", "true", wrong)
    if not scope.concurrency.adaptive:
        return
    path, least, most = f"{prefix}concurrency.", scope.concurrency.min, scope.concurrency.max
    if most == 0:
        wrong = f"has no bounds to find a limit within, as {path}max is 0; write the most you would allow there"
        yield Contradiction(f"{path}adaptive", f"{path}max", "true", wrong)
    elif least > most:
        wrong = f"is more than {path}max ({most}); write at most {most}"
        yield Contradiction(f"{path}min", f"{path}max", str(least), wrong)


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
