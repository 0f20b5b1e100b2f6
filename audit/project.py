"""What pyproject.toml asks for, and what that has brought along into this environment. Judges nothing."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from types import MappingProxyType
from typing import Final, NamedTuple

from packaging.requirements import Requirement

# Extras of the project itself, which bring no package.
_OWN: Final = "sidecar"

# Extras that the image has.
_SHIPPED: Final = ("inject", "redis")


class Project(NamedTuple):
    """What is asked for: by those who run the sidecar, and by those who work on it as well.

    `extras` are of those who do one thing with it, by name: they need not be installed, and are not in `all`.
    """

    runtime: list[Requirement]
    development: list[Requirement]
    extras: Mapping[str, list[Requirement]] = MappingProxyType({})

    @property
    def all(self) -> list[Requirement]:
        """What runs it, and what is worked with."""
        return [*self.runtime, *self.development]


def read(file: Path) -> Project:
    """The requirements of a pyproject.toml. Extras that are shipped, in the image, count as runtime."""
    table = tomllib.loads(file.read_text(encoding="utf-8"))["project"]
    extras = table.get("optional-dependencies", {})
    runtime = [*table["dependencies"], *(each for name in _SHIPPED for each in extras.get(name, []))]
    others = {name: _requirements(texts) for name, texts in extras.items() if name not in (*_SHIPPED, "dev")}
    return Project(_requirements(runtime), _requirements(extras.get("dev", [])), others)


def _requirements(texts: Iterable[str]) -> list[Requirement]:
    found = [Requirement(text) for text in texts]
    return [requirement for requirement in found if requirement.name != _OWN]


def canonical(name: str) -> str:
    """A package's name as all of its spellings are compared (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def installed(requirements: Iterable[Requirement]) -> dict[str, Distribution]:
    """Every package that these need in this environment, they and all behind them, by canonical name."""
    found: dict[str, Distribution] = {}
    waiting = [*requirements]
    while waiting:
        requirement = waiting.pop()
        name = canonical(requirement.name)
        if not _applies(requirement) or (name in found and not requirement.extras):
            continue
        try:
            found[name] = distribution(name)
        except PackageNotFoundError:
            raise LookupError(f"{requirement} is asked for and not installed; run `make setup`") from None
        waiting += _needs(found[name], requirement.extras)
    return found


def _needs(package: Distribution, extras: set[str]) -> Iterator[Requirement]:
    for text in package.requires or ():
        requirement = Requirement(text)
        marker = requirement.marker
        wanted = marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras))
        if wanted:
            requirement.marker = None
            yield requirement


def _applies(requirement: Requirement) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"extra": ""})
