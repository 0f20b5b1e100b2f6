"""What is said once, at the start: for people on a terminal, and as fields of one log line. Prints nothing itself."""

from __future__ import annotations

import os
from typing import Final

from sidecar import __version__
from sidecar.address import parse_listen
from sidecar.settings import Loaded
from sidecar.settings.checks import notes
from sidecar.settings.knobs import knobs, value_of
from sidecar.settings.sources import FROM_DEFAULT
from sidecar.settings.units import format_duration, format_size

_BOLD, _FAINT, _PLAIN = "\x1b[1m", "\x1b[2m", "\x1b[0m"
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
    rows += [("timeouts", _timeouts(loaded)), ("limits", _limits(loaded)), ("drain", _drain(loaded))]
    rows += [
        ("set", f"{path} = {knob.show(value_of(settings, path))} {faint}({origin[path]}){plain}")
        for path, knob in knobs().items()
        if origin[path] != FROM_DEFAULT and path not in _SHOWN
    ]
    rows += [("note", note) for note in notes(settings)]
    head = f"{bold}sidecar {__version__}{plain}"
    return "\n".join([head, *(f"  {faint}{name:10}{plain}{text}" for name, text in rows)]) + "\n"


def started_fields(loaded: Loaded, listen: str, admin: str) -> dict[str, object]:
    """The same as fields for one log line; `set` holds what is not at its default, secrets masked."""
    settings, origin = loaded
    changed = {
        path: {"value": knob.show(value_of(settings, path)), "from": origin[path]}
        for path, knob in knobs().items()
        if origin[path] != FROM_DEFAULT
    }
    fields: dict[str, object] = {"version": __version__, "listen": listen, "upstream": settings.upstream}
    fields |= {"admin": admin, "timeouts": _timeouts(loaded), "limits": _limits(loaded), "drain": _drain(loaded)}
    return fields | {"set": changed, "notes": notes(settings)}


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


def _drain(loaded: Loaded) -> str:
    drain = loaded.settings.drain
    return f"delay {format_duration(drain.delay)}, timeout {format_duration(drain.timeout)}"
