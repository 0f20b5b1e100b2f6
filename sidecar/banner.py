"""What is said once, at the start: for people on a terminal, and as fields of one log line. Prints nothing itself."""

from __future__ import annotations

import os
from typing import Final

from sidecar import __version__
from sidecar.address import parse_listen
from sidecar.settings import Breaker, Concurrency, Loaded, Rate, Retry
from sidecar.settings.checks import notes
from sidecar.settings.knobs import knobs, value_of
from sidecar.units import format_duration, format_rate, format_size

_BOLD, _FAINT, _PLAIN = "\x1b[1m", "\x1b[2m", "\x1b[0m"
_MOST_NAMES: Final = 8
# Said elsewhere in the banner.
_SHOWN: Final = frozenset({"upstream", "listen", "admin.listen"})


def banner(loaded: Loaded, listen: str, admin: str) -> str:
    """Some lines for a terminal, ending in a newline. `listen` and `admin` are the addresses that were really bound.

    Colours are left out when `NO_COLOR` is set (no-color.org).
    """
    bold, faint, plain = ("", "", "") if os.environ.get("NO_COLOR") else (_BOLD, _FAINT, _PLAIN)
    settings, origin = loaded
    url = _url(admin)
    rows = [("listening", f"{bold}{_url(listen)}{plain} -> {settings.upstream}")]
    rows += [("admin", f"{url}/status  {url}/readyz  {url}/metrics")] if "://" in url else [("admin", url)]
    rows += [("timeouts", _timeouts(loaded)), ("limits", _limits(loaded)), ("policies", _policies(loaded))]
    rows += [("routes", _routes(loaded))] if settings.routes else []
    rows += [("drain", _drain(loaded))]
    rows += [
        ("set", f"{path} = {knobs()[path].show(value_of(settings, path))} {faint}({origin[path]}){plain}")
        for path in _set(loaded)
        if path not in _SHOWN
    ]
    rows += [("note", note) for note in notes(settings, origin)]
    head = f"{bold}sidecar {__version__}{plain}"
    return "\n".join([head, *(f"  {faint}{name:10}{plain}{text}" for name, text in rows)]) + "\n"


def started_fields(loaded: Loaded, listen: str, admin: str) -> dict[str, object]:
    """The same as fields for one log line; `set` holds what somebody gave (of routes the names), secrets masked."""
    settings, origin = loaded
    changed = {
        path: {"value": knobs()[path].show(value_of(settings, path)), "from": origin[path]} for path in _set(loaded)
    }
    fields: dict[str, object] = {"version": __version__, "listen": listen, "upstream": settings.upstream}
    fields |= {"admin": admin, "timeouts": _timeouts(loaded), "limits": _limits(loaded)}
    fields |= {"policies": _policies(loaded), "routes": [route.name for route in settings.routes]}
    return fields | {"drain": _drain(loaded), "set": changed, "notes": notes(settings, origin)}


def _set(loaded: Loaded) -> list[str]:
    # Routes have dozens of knobs: `sidecar config show` prints them.
    return [path for path in loaded.given() if path in knobs()]


def _url(address: str) -> str:
    parsed = parse_listen(address)
    if parsed.unix:
        return str(parsed)
    # A browser cannot go to "every interface"; this machine's own is one of them.
    host = "127.0.0.1" if parsed.wildcard else parsed.host
    return f"http://{parsed._replace(host=host)}"


def _timeouts(loaded: Loaded) -> str:
    timeouts = loaded.settings.timeouts
    parts = [("request", timeouts.request), ("attempt", timeouts.attempt), ("connect", timeouts.connect)]
    parts += [("head", timeouts.head), ("stream idle", timeouts.stream_idle), ("keep-alive", timeouts.keep_alive)]
    return ", ".join(f"{name} {format_duration(value) if value else 'off'}" for name, value in parts)


def _limits(loaded: Loaded) -> str:
    pool, http = loaded.settings.pool, loaded.settings.http
    body = format_size(http.max_body) if http.max_body else "off"
    return (
        f"upstream connections {pool.max_connections} (+{pool.max_pending} waiting), "
        f"head {format_size(http.max_header_bytes)} / {http.max_headers} lines, body {body}"
    )


def _policies(loaded: Loaded) -> str:
    settings = loaded.settings
    parts = [_rate(settings.rate), _concurrency(settings.concurrency), _retry(settings.retry)]
    return ", ".join([*parts, _breaker(settings.breaker)])


def _rate(rate: Rate) -> str:
    burst = f" (burst {rate.burst})" if rate.burst else ""
    return _held("rate", rate.mode, f"{format_rate(rate.limit)}{burst}" if rate.limit else "")


def _concurrency(concurrency: Concurrency) -> str:
    bounds = f"{concurrency.min} to {concurrency.max}" if concurrency.adaptive else str(concurrency.max)
    return _held("concurrency", concurrency.mode, bounds if concurrency.max else "")


def _retry(retry: Retry) -> str:
    return _held("retry", retry.mode, f"{retry.attempts} (budget {retry.budget:.0%})" if retry.attempts else "")


def _breaker(breaker: Breaker) -> str:
    causes = [f"{breaker.failures} failures"] if breaker.failures else []
    causes += [f"{breaker.ratio:.0%} of {breaker.requests}"] if breaker.ratio else []
    opens = f"{' or '.join(causes)} (open {format_duration(breaker.open_for)})"
    return _held("breaker", breaker.mode, opens if causes else "")


def _held(name: str, mode: str, numbers: str) -> str:
    if mode == "off" or not numbers:
        return f"{name} off"
    return f"{name} {numbers}" + (" in shadow" if mode == "shadow" else "")


def _routes(loaded: Loaded) -> str:
    names = [route.name for route in loaded.settings.routes]
    shown = ", ".join(names[:_MOST_NAMES])
    return f"{len(names)}: {shown}" + (", …" if len(names) > _MOST_NAMES else "")


def _drain(loaded: Loaded) -> str:
    drain = loaded.settings.drain
    return f"delay {format_duration(drain.delay)}, timeout {format_duration(drain.timeout)}"
