"""Lower bounds against advisories that are known: no release with a known fault may satisfy what the project asks for.

The table is `advisories.toml`. What comes by way of others needs a bound of its own in pyproject.toml, or an old
release that somebody has installed already would do.
"""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Iterable, Iterator
from datetime import date
from pathlib import Path
from typing import Final, NamedTuple

from packaging.requirements import Requirement
from packaging.version import Version

from audit.project import canonical

TABLE: Final = Path(__file__).with_name("advisories.toml")

# So long the table may be taken for what is known, where nobody can be asked.
FRESH: Final = 90  # days


class Known(NamedTuple):
    """Advisories about one package; `fixed` is the first release free of them."""

    name: str
    fixed: Version
    advisories: list[str]


def known(file: Path = TABLE) -> list[Known]:
    """The table."""
    rows = tomllib.loads(file.read_text(encoding="utf-8"))["package"]
    return [Known(row["name"], Version(row["fixed"]), row["advisories"]) for row in rows]


def looked(file: Path = TABLE) -> date:
    """The last day whose advisories were looked for."""
    day = tomllib.loads(file.read_text(encoding="utf-8"))["looked"]
    if type(day) is not date:
        raise ValueError(f"{file}: `looked` is {day!r}; write a day as it is in a calendar, without quotes: 2026-10-09")
    return day


def doubts(day: date, today: date) -> Iterator[str]:
    """What speaks against a table of that day, if nobody can be asked today."""
    age = (today - day).days
    if age > FRESH:
        yield (
            f"{TABLE.name}: OLD: is of {day}, {age} days old, and {FRESH} is the most to rely on; "
            "run `make audit` where that can be reached, mend what it tells, and set `looked` to the day"
        )
    if age < -1:  # tomorrow has begun somewhere
        yield f"{TABLE.name}: `looked` is {day}, which is yet to come; set it to the day that was looked up to"


def complaints(requirements: Iterable[Requirement], brought: Collection[str], table: list[Known]) -> Iterator[str]:
    """What is asked for too loosely. `brought` are the canonical names of all that it brings along."""
    asked = {canonical(requirement.name): requirement for requirement in requirements}
    for requirement in asked.values():
        if _floor(requirement) is None:
            yield f"{requirement}: has no lower bound; write the release that the tests have passed with"
    for name, fixed, advisories in table:
        wanted = asked.get(canonical(name))
        why = f"{', '.join(advisories)}; write {name}>={fixed}"
        if wanted is None:
            if canonical(name) in brought:
                yield f"{name}: comes along without a bound, in spite of {why}"
        elif (floor := _floor(wanted)) is not None and floor < fixed:
            yield f"{wanted}: lets in {floor}, in spite of {why}"


def unused(brought: Collection[str], table: list[Known]) -> Iterator[str]:
    """Rows about what the project no longer brings along."""
    for row in table:
        if canonical(row.name) not in brought:
            yield f"{row.name}: is in {TABLE.name} and no part of the project any more; delete the row"


def _floor(requirement: Requirement) -> Version | None:
    """The least release that is let in."""
    bounds = [Version(bound.version) for bound in requirement.specifier if bound.operator in (">=", "==", "~=")]
    return max(bounds, default=None)
