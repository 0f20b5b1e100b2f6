"""Path templates: `/users/42/orders` becomes `/users/{id}/orders`, so that a path can be a metric label.

Whatever clients send, there are at most `LIMIT` templates and `other`, and the memory behind them is bounded. Knows
neither exchanges nor metrics.
"""

from __future__ import annotations

import re
from typing import Final

OTHER: Final = "other"
LIMIT: Final = 100  # templates
_ID: Final = "{id}"

_LONGEST_PATH: Final = 1024  # characters; a longer path is nobody's route
_LONGEST_PART: Final = 32
_LONGEST_TEMPLATE: Final = 200
_CACHE: Final = 4096  # paths whose template is remembered …
_LONGEST_CACHED: Final = 256  # … if they are no longer than this: 1 MiB at worst

# Numbers and UUIDs, found in one pass: most of what clients ask for differs from a path seen before in these alone.
_OBVIOUS: Final = re.compile(r"(?<=/)(?:[0-9]+|[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})(?=/|\Z)")
# Letters alone up to this length are a word, unless they are hex.
_WORD: Final = re.compile(r"(?![0-9a-fA-F]{8,}\Z)[A-Za-z]{1,11}")
# Other characters do not occur in routes, but in what people typed: names, e-mails, searches, `;` parameters.
_PLAIN: Final = re.compile(r"[A-Za-z0-9._~:$()+,!*'-]*")
_VERSION: Final = re.compile(r"[vV][0-9]{1,3}(?:\.[0-9]{1,3}){0,2}(?:(?:alpha|beta|rc)[0-9]{0,3})?")
# The parts of a part: `order-42.json` is order, 42, json.
_TOKEN: Final = re.compile(r"[A-Za-z0-9]+")
_HEX: Final = re.compile(r"[0-9a-fA-F]{8,}")
_BARE_NUMBER: Final = re.compile(r"[0-9]+")
_LONG_NUMBER: Final = re.compile(r"[A-Za-z]*[0-9]{4,}[A-Za-z]*")
# GetUserV2, page10: a number at the end of a word counts versions, not things.
_NUMBERED: Final = re.compile(r"[A-Za-z]+[0-9]{1,2}")
# Digits in two places, as in dQw4w9WgXcQ; in one place, if long, as in NffrFeUfNV2Hib.
_SCATTERED: Final = re.compile(r"(?=.{8})[A-Za-z]*[0-9]+[A-Za-z]+[0-9]+[A-Za-z0-9]*")
_LONG_MIXED: Final = re.compile(r"(?=.{12})(?=.*[0-9])(?=.*[A-Za-z]).*")


class PathTemplates:
    """The templates known so far."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._known: set[str] = set()
        self._made: dict[str, str] = {}

    def of(self, path: str, may_add: bool) -> str:
        """The template of `path` if it is known, or may become so now; else `other`.

        `may_add` says that the answer proves the path to be one of the upstream's: a scanner's 404s must not use
        the places up.
        """
        made = self._made.get(path)
        if made is None:
            made = self._make(path)
        if made in self._known:
            return made
        if not may_add or len(self._known) >= self._limit or made == OTHER:
            return OTHER
        self._known.add(made)
        return made

    def _make(self, path: str) -> str:
        if len(path) > _LONGEST_CACHED:
            return template(path)
        if len(self._made) >= _CACHE - 1:
            self._made.clear()
        plain = _OBVIOUS.sub(_ID, path)
        made = self._made.get(plain)
        if made is None:
            made = self._made[plain] = template(plain)
        self._made[path] = made
        return made

    def __repr__(self) -> str:
        return f"<PathTemplates {len(self._known)} of {self._limit}>"


def template(path: str) -> str:
    """`path` with what looks like an identifier replaced by `{id}`; `other` for what is too long to be a route."""
    if len(path) > _LONGEST_PATH:
        return OTHER
    made = "/".join([part if _WORD.fullmatch(part) else _part(part) for part in path.split("/")])
    return made if len(made) <= _LONGEST_TEMPLATE else OTHER


def _part(part: str) -> str:
    if len(part) > _LONGEST_PART or not _PLAIN.fullmatch(part):
        return _ID
    if _VERSION.fullmatch(part):
        return part
    return _ID if any(_identifies(token) for token in _TOKEN.findall(part)) else part


def _identifies(token: str) -> bool:
    """Whether a run of letters and digits is a number, a key or a hash rather than a name."""
    if _BARE_NUMBER.fullmatch(token) or _HEX.fullmatch(token) or _LONG_NUMBER.fullmatch(token):
        return True
    if _NUMBERED.fullmatch(token):
        return False
    return bool(_SCATTERED.fullmatch(token) or _LONG_MIXED.fullmatch(token) or _shuffled(token))


def _shuffled(token: str) -> bool:
    """Whether capitals are as frequent as in random text; in camelCase they are one letter in four or fewer."""
    capitals = sum(map(str.isupper, token))
    return len(token) >= 12 and len(token) <= 3 * capitals <= 2 * len(token)
