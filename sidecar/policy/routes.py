"""Which route a request takes: the first of the list that has its path, its method and its headers.

What can be spelt in more than one way must not lead a client around a route's limits, so paths are compared as the
service behind would read them. Where a path has escapes, Go's routers read it in one of two ways:

    part by part    net/http.ServeMux since Go 1.22, chi: `/orders/a%2Fb` is `/orders/{id}`, and so is `/orders/%2E%2E`
    as a whole      ServeMux before that, gin, gorilla/mux: `/orders%2F5` is `/orders/{id}`, `/orders/%2E%2E` is `/`

Which of them is there nobody tells us, so a route has a request's path if it has it in either reading. In both, `//`
and dot parts are resolved first (`path.Clean`). The upstream is sent the target as it came.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from sidecar.exchange import Request
from sidecar.headers import Headers
from sidecar.settings import Route

NONE: Final = -1

_DIGITS: Final = "0123456789ABCDEFabcdef"


def _meant(code: int) -> str:
    """What an escape stands for: itself, spelt in one way, where the character would read as something else."""
    character = chr(code)
    return character if "!" <= character <= "~" and character not in "/%" else f"%{code:02X}"


_ESCAPES: Final = {one + two: _meant(int(one + two, 16)) for one in _DIGITS for two in _DIGITS}


class RouteTable:
    """The routes in their order. A route for GET takes HEAD along, as Go's ServeMux has it."""

    __slots__ = ("_count", "_of_method", "_of_others")

    def __init__(self, routes: Sequence[Route]) -> None:
        taken = [{*route.methods, *(("HEAD",) if "GET" in route.methods else ())} for route in routes]
        rows = [_row(place, route) for place, route in enumerate(routes)]
        self._count = len(rows)
        self._of_method = {
            method: _Rows(row for row in rows if not taken[row.place] or method in taken[row.place])
            for method in set().union(*taken)
        }
        self._of_others = _Rows(row for row in rows if not taken[row.place])

    def find(self, request: Request) -> int:
        """The index of the request's route, or NONE."""
        path = request.path
        rows = self._of_method.get(request.method, self._of_others)
        if "%" in path or "//" in path or "/." in path:
            found = [rows.find(reading, request.headers) for reading in _readings(path)]
            return min((index for index in found if index != NONE), default=NONE)
        return rows.find(path, request.headers)

    def __repr__(self) -> str:
        return f"<RouteTable of {self._count}>"


class _Row(NamedTuple):
    """A route: its place in the list, its path if that is plain text, else its pattern, and its demands on headers."""

    place: int
    path: str
    pattern: re.Pattern[str] | None
    demands: tuple[tuple[bytes, bytes | None], ...]

    def accepts(self, headers: Headers) -> bool:
        for name, wanted in self.demands:
            value = headers.get(name)
            if value is None or (wanted is not None and value != wanted):
                return False
        return True


def _row(place: int, route: Route) -> _Row:
    demands = []
    for match in route.headers:
        name, equals, value = match.encode("ascii").partition(b"=")
        demands.append((name.lower(), value if equals else None))
    pattern = re.compile(_pattern(route.path)) if "{" in route.path else None
    return _Row(place, _decoded(route.path), pattern, tuple(demands))


def _pattern(template: str) -> str:
    parts = []
    for part in template.split("/"):
        if part.startswith("{"):
            parts.append(".*" if part.endswith("...}") else "[^/]+")
        else:
            parts.append(re.escape(_decoded(part)))
    return "/".join(parts)


class _Rows:
    """The routes that take a method, in their order: plain paths by a dictionary, all templates by one pattern."""

    __slots__ = ("_any", "_plain", "_templates")

    def __init__(self, rows: Iterable[_Row]) -> None:
        self._plain: dict[str, list[_Row]] = {}
        self._templates: list[tuple[_Row, re.Pattern[str]]] = []
        for row in rows:
            if row.pattern is None:
                self._plain.setdefault(row.path, []).append(row)
            else:
                self._templates.append((row, row.pattern))
        # Its group's number says which template is the first that matches; without any, it matches nothing.
        self._any = re.compile("|".join(f"({pattern.pattern})" for _, pattern in self._templates) or "(?!)")

    def find(self, path: str, headers: Headers) -> int:
        found = NONE
        for row in self._plain.get(path, ()):
            if not row.demands or row.accepts(headers):
                found = row.place
                break
        match = self._any.fullmatch(path)
        if match is not None:
            first = (match.lastindex or 1) - 1
            for row, pattern in self._templates[first:]:
                if found != NONE and found < row.place:
                    break
                if (not row.demands or row.accepts(headers)) and pattern.fullmatch(path):
                    return row.place
        return found


def _readings(path: str) -> set[str]:
    """What a path may mean to the service."""
    decoded = _decoded(path)
    part_by_part = _decoded(_cleaned(path)) if "//" in path or "/." in path else decoded
    return {part_by_part, _cleaned(decoded.replace("%2F", "/"))}


def _decoded(path: str) -> str:
    """The path with its escapes resolved, those apart that would then read as something else."""
    if "%" not in path:
        return path
    first, *rest = path.split("%")
    pieces = [first]
    for piece in rest:
        meant = _ESCAPES.get(piece[:2])
        pieces.append("%" + piece if meant is None else meant + piece[2:])
    return "".join(pieces)


def _cleaned(path: str) -> str:
    """The path without empty and dot parts, as Go's ServeMux cleans it: a slash at the end stays."""
    kept: list[str] = []
    for part in path.split("/"):
        if part == "..":
            if kept:
                kept.pop()
        elif part and part != ".":
            kept.append(part)
    return "/" + "/".join(kept) + ("/" if kept and path.endswith("/") else "")
