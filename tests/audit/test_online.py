"""The advisory database: what it says counts, and silence is not taken for consent.

The answers have the form of pip-audit 2.10; those of the mirror were recorded in front of one that has no database.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from audit import declared, floors, online
from audit.__main__ import main
from tests.support.processes import ROOT

FAULT = {"id": "PYSEC-2024-24", "fix_versions": ["3.9.2"], "aliases": ["CVE-2024-23334"], "description": "..."}
HERE = {"aiohttp": "3.14.3", "yarl": "1.25.1"}
LOOKED = floors.looked()


@pytest.fixture(autouse=True)
def _imports_are_good(monkeypatch: pytest.MonkeyPatch) -> None:
    """To read every file of the project takes a second, and is the other module's."""
    monkeypatch.setattr(declared, "complaints", lambda root, project: [])


class Database:
    """Answers like one that has these faults of these packages, by name and version, and has never heard of others."""

    def __init__(self, faults: Mapping[str, list[dict[str, Any]]], unknown: tuple[str, ...] = ()) -> None:
        self.faults = {"aiohttp==3.8.0": [FAULT], **faults}
        self.unknown = unknown
        self.questions: list[dict[str, str]] = []

    def __call__(self, versions: Mapping[str, str]) -> str:
        self.questions.append(dict(versions))
        return json.dumps({"dependencies": [self._row(*item) for item in versions.items()], "fixes": []})

    def _row(self, name: str, version: str) -> dict[str, object]:
        if name in self.unknown:
            return {"name": name, "skip_reason": f"Dependency not found on PyPI and could not be audited: {name}"}
        return {"name": name, "version": version, "vulns": self.faults.get(f"{name}=={version}", [])}


def mirror(versions: Mapping[str, str]) -> str:
    """What pip-audit makes of a mirror that has packages only; its exit code is 0."""
    rows = [
        {"name": name, "skip_reason": f"Dependency not found on PyPI and could not be audited: {name} ({version})"}
        for name, version in versions.items()
    ]
    return json.dumps({"dependencies": rows, "fixes": []})


def hollow(versions: Mapping[str, str]) -> str:
    """What it makes of an index that knows each package, and no advisory."""
    rows = [{"name": name, "version": version, "vulns": []} for name, version in versions.items()]
    return json.dumps({"dependencies": rows, "fixes": []})


def test_a_known_fault_is_told() -> None:
    """By all its names, and what to do about it."""
    told = online.complaints({"aiohttp": "3.8.0", "yarl": "1.25.1"}, Database({}))

    assert told == ["aiohttp 3.8.0: PYSEC-2024-24, CVE-2024-23334; fixed in 3.9.2"]


def test_nothing_known_is_nothing_told() -> None:
    """The release that is known to be faulty is asked about first, and apart."""
    database = Database({})

    assert online.complaints(HERE, database) == []
    assert database.questions == [{"aiohttp": "3.8.0"}, HERE]


def test_what_the_database_does_not_know_is_told() -> None:
    """pip-audit itself lets it pass."""
    assert online.complaints(HERE, Database({}, unknown=("yarl",))) == ["yarl: the database does not know it"]


@pytest.mark.parametrize("answer", [mirror, hollow, lambda versions: "", lambda versions: "[]", lambda versions: "{}"])
def test_a_mirror_without_a_database_vouches_for_nothing(answer: online.Ask) -> None:
    """It finds no fault with a release that has some, so its word on others is worth nothing."""
    with pytest.raises(online.NotAuditedError):
        online.complaints(HERE, answer)


def test_a_database_that_knows_a_fault_fails_the_check(capsys: pytest.CaptureFixture[str]) -> None:
    """Both `make check` and `make audit`."""

    class Everything(Database):
        def _row(self, name: str, version: str) -> dict[str, object]:
            return {"name": name, "version": version, "vulns": [FAULT] if name in ("aiohttp", "yarl") else []}

    for argv in ([], ["--online"]):
        assert main(argv, Everything({})) == 1
        assert "yarl" in capsys.readouterr().err


def test_an_old_requirement_fails_the_check_without_any_database(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The table in the tree is enough."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    doctored = tmp_path / "pyproject.toml"
    doctored.write_text(text.replace('"aiohttp>=3.14.3"', '"aiohttp>=3.8.0"'), encoding="utf-8")

    assert main(["--project", str(doctored)], mirror, LOOKED) == 1
    assert "aiohttp>=3.8.0: lets in 3.8.0, in spite of CVE-2026-69244" in capsys.readouterr().err


def test_where_the_database_cannot_be_asked_that_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    """`make check` goes on without it, loudly; `make audit` fails."""
    assert main([], mirror, LOOKED + timedelta(7)) == 0
    said = capsys.readouterr()
    assert "ADVISORY DATABASE NOT ASKED" in said.err
    assert f"advisories.toml is of {LOOKED}, 7 days old" in said.err
    assert "DATABASE NOT ASKED" in said.out

    assert main(["--online"], mirror, LOOKED) == 1
    assert "nobody could be asked" in capsys.readouterr().err


def test_where_the_database_cannot_be_asked_an_old_table_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """From the ninety-first day on; with the database, the table's age is nothing."""
    assert main([], mirror, LOOKED + timedelta(90)) == 0
    assert "OLD" not in capsys.readouterr().err

    assert main([], mirror, LOOKED + timedelta(91)) == 0
    assert f"OLD: is of {LOOKED}, 91 days old, and 90 is the most" in capsys.readouterr().err

    assert main([], Database({}), LOOKED + timedelta(91)) == 0
    assert "OLD" not in capsys.readouterr().err


def test_what_the_database_answered_is_what_the_check_says(capsys: pytest.CaptureFixture[str]) -> None:
    """With it, nothing is left open."""
    assert main(["--online"], Database({})) == 0
    said = capsys.readouterr()
    assert said.err == ""
    assert "database asked" in said.out
