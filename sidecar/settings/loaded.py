"""What loading settings gives: the settings with the origin of each, or everything that is wrong with them."""

from __future__ import annotations

from typing import Final, NamedTuple

from sidecar.settings.structs import Settings

FROM_DEFAULT: Final = "default"
_GIVEN: Final = ("flag ", "env ", "file ")


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
    """Settings, and where each came from: dotted path → origin.

    An origin is `flag --timeout`, `env SIDECAR_…` or `file x.yaml` where somebody gave the value; else `default`, `as
    retry.attempts` (a route's that is the sidecar's own), or `from admin.token_file` (read from the file named there).
    """

    settings: Settings
    origin: dict[str, str]

    def given(self) -> list[str]:
        """The paths that somebody gave, in the order of the structs."""
        return [path for path, origin in self.origin.items() if origin.startswith(_GIVEN)]
