"""What loading settings gives: the settings with the origin of each, or everything that is wrong with them."""

from __future__ import annotations

from typing import NamedTuple

from sidecar.settings.structs import Settings


class Problem(NamedTuple):
    """One thing that is wrong: dotted `path`, `value` as given, `wrong` ("what; what to write"), and its `origin`."""

    path: str
    value: str
    wrong: str
    origin: str

    def __str__(self) -> str:
        where = f" [{self.origin}]" if self.origin else ""
        return ": ".join(part for part in (self.path, self.value, self.wrong) if part) + where


class SettingsError(Exception):
    """Settings that cannot be used, with everything that is wrong with them."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems


class Loaded(NamedTuple):
    """Settings, and where each came from: dotted path → `flag --timeout`, `env SIDECAR_…`, `file x.yaml`, `default`."""

    settings: Settings
    origin: dict[str, str]
