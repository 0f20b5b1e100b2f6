"""The settings as a file for people: a template, and what is in force. Both can be used as they are printed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any, Final

from sidecar import __version__
from sidecar.settings.flags import FLAGS
from sidecar.settings.kinds import DURATION, LISTEN, RATE, SIZE
from sidecar.settings.knobs import Knob, all_knobs, in_route, knobs, route_knobs, sections, value_of
from sidecar.settings.loaded import FROM_DEFAULT, Loaded
from sidecar.settings.policies import Route
from sidecar.settings.schema import plain_value

_EXAMPLE_UPSTREAM: Final = "http://127.0.0.1:8080"
_PLAIN: Final = re.compile(r"[A-Za-z0-9/](?:[A-Za-z0-9./:_-]*[A-Za-z0-9./_-])?")
# Plain words that YAML 1.1 readers take for something else than text.
_NOT_TEXT: Final = frozenset({"on", "off", "yes", "no", "true", "false", "null", "y", "n"})
# Kinds that may begin with a digit and are still text, or may as well be a number.
_DIGIT_FIRST: Final = (DURATION, LISTEN, RATE, SIZE)

_ROUTES: Final = f"""
# {Route.__doc__} Only here, in the file.
# Of timeouts, deadline, retry and breaker, a route need say only what differs from the sidecar's own, above. Its rate
# and concurrency hold for that route alone, on top of the sidecar's.
#routes:
#  - name: orders             # a metric label
#    path: "/orders/{{id}}"     # {{id}} is one part of the path; "{{rest...}}", last, is all that is left
#    methods: [GET, POST]     # GET takes HEAD along; left out = all
#    headers: [X-Tenant=acme] # NAME, or NAME=VALUE; left out = whatever they are
#    timeouts: {{request: 5s, attempt: 2s}}
#    deadline: {{mode: enforce}}
#    rate: {{limit: 50/s, burst: 100, key: client}}
#    concurrency: {{max: 64}}
#    retry: {{attempts: 1}}
#    breaker: {{mode: shadow}}
"""


def template() -> str:
    """A settings file with every knob commented out at its default, upstream excepted."""
    lines = [f"# Settings of sidecar {__version__}. What is commented out stands at its default."]
    lines += ["# Durations: 250ms 2s 1m30s 1h. Sizes: 64KiB 1MiB, or bytes. Rates: 100/s 90/m 5000/h."]
    lines += ["# Flags win over SIDECAR_* variables, variables over this file."]
    for section, own in _grouped(knobs().values()):
        indent = "  " if section else ""
        lines += ["", f"# {sections()[section]}", f"{section}:"] if section else []
        for knob in own:
            lines += ["", f"{indent}# {knob.meaning}", f"{indent}# {_ways(knob)}"]
            hidden = "#" if knob.default is not None else ""
            value = _EXAMPLE_UPSTREAM if knob.default is None else knob.default
            lines.append(f"{indent}{hidden}{_key(knob)}: {_yaml(knob, value)}")
    return "\n".join(lines) + "\n" + _ROUTES


def effective(loaded: Loaded) -> str:
    """The settings in force as a file, with the origin of each as a comment; secrets are masked.

    What a route has from the sidecar is commented out: the route does not say it, and it may come to nothing there.
    """
    rows = [*_rows(loaded, knobs().values(), "")]
    table = all_knobs(len(loaded.settings.routes))
    rows.append(("routes:", "") if loaded.settings.routes else ("routes: []", f"# {FROM_DEFAULT}"))
    for index in range(len(loaded.settings.routes)):
        own = _rows(loaded, (table[in_route(index, inner)] for inner in route_knobs()), "    ")
        first, comment = next(own)
        rows += [(f"  - {first.lstrip()}", comment), *own]
    width = min(44, max(len(line) for line, _ in rows))
    return "".join(f"{line:{width}}  {comment}".rstrip() + "\n" for line, comment in rows)


def _rows(loaded: Loaded, own: Iterable[Knob], indent: str) -> Iterator[tuple[str, str]]:
    """Lines of the file, each with its comment."""
    for section, members in _grouped(own):
        if section:
            yield f"{indent}{section}:", ""
        inner = indent + "  " if section else indent
        for knob in members:
            origin = loaded.origin[knob.path]
            # What was read from a file of its own is not told twice: the file would then contradict itself.
            value = knob.default if origin.startswith("from ") else value_of(loaded.settings, knob.path)
            hidden = "#" if origin.startswith("as ") else ""
            yield f"{inner}{hidden}{_key(knob)}: {_yaml(knob, value)}", f"# {origin}"


def _grouped(own: Iterable[Knob]) -> Iterator[tuple[str, Iterable[Knob]]]:
    """The knobs by their section, in order; empty for what is in none."""
    return groupby(own, lambda knob: knob.section)


def _key(knob: Knob) -> str:
    return _quoted(knob.name) if knob.name in _NOT_TEXT else knob.name


def _yaml(knob: Knob, value: Any) -> str:
    plain = plain_value(knob, value)
    if isinstance(plain, list):
        return "[" + ", ".join(_quoted(knob.kind.show(item)) for item in plain) + "]"
    if isinstance(plain, bool):
        return "true" if plain else "false"
    if not isinstance(plain, str):
        return knob.kind.write(value)
    text = knob.kind.show(plain)
    if not _PLAIN.fullmatch(text) or text.lower() in _NOT_TEXT:
        return _quoted(text)
    return _quoted(text) if text[0].isdigit() and knob.kind not in _DIGIT_FIRST else text


def _quoted(text: str) -> str:
    # Not as JSON has it: there, characters beyond the 65,536th are two, which YAML reads as two.
    kept = [c if " " <= c <= "~" and c not in '"\\' else f"\\U{ord(c):08X}" for c in text]
    return '"' + "".join(kept) + '"'


def _ways(knob: Knob) -> str:
    flag = f"{FLAGS[knob.path]}, " if knob.path in FLAGS else ""
    return f"{knob.kind.name}; {flag}{knob.env}"
