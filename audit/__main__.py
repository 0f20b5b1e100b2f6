"""`python -m audit [--online]`: everything that can be said about what the project pulls in; exits with 1 on a fault.

What needs no network always runs. The database is asked as well; where it cannot be, `--online` fails. Without the flag
it is said loudly, with the age of the table that stands in for the database. An old one is no fault here: what passed
once has to pass again.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Final

from audit import declared, floors, licences, online
from audit.project import Project, installed, read

ROOT: Final = Path(__file__).resolve().parent.parent


def main(argv: list[str] | None = None, ask: online.Ask | None = None, today: date | None = None) -> int:
    """Run one command line; returns the exit code. `today` is for tests."""
    parser = argparse.ArgumentParser("python -m audit", description="Looks over what the project pulls in.")
    parser.add_argument("--online", action="store_true", help="Fail where the advisory database cannot be asked.")
    parser.add_argument("--project", type=Path, default=ROOT / "pyproject.toml", help="Whose requirements.")
    options = parser.parse_args(argv)
    project = read(options.project)
    found = [*_offline(project)]
    versions = {name: package.version for name, package in installed(project.all).items()}
    try:
        found += online.complaints(versions, ask)
        asked = "database asked"
    except online.NotAuditedError as error:
        asked = "DATABASE NOT ASKED"
        print(f"audit: ADVISORY DATABASE NOT ASKED: {error}", file=sys.stderr)
        day, today = floors.looked(), today or datetime.now(UTC).date()
        age = f"{floors.TABLE.name} is of {day}, {(today - day).days} days old"
        print(f"audit: {age}; what has become known since has not been looked for", file=sys.stderr)
        for doubt in floors.doubts(day, today):
            print(f"audit: {doubt}", file=sys.stderr)
        found += ["--online was asked for, and nobody could be asked"] if options.online else []
    for complaint in found:
        print(f"audit: {complaint}", file=sys.stderr)
    if not found:
        print(f"audit: {len(versions)} packages: bounds, imports and licences are good; {asked}")
    return 1 if found else 0


def _offline(project: Project) -> Iterator[str]:
    brought, table = installed(project.all), floors.known()
    yield from floors.complaints(project.all, brought, table)
    yield from floors.unused(brought, table)
    yield from declared.complaints(ROOT, project)
    yield from licences.complaints(installed(project.runtime))


if __name__ == "__main__":
    sys.exit(main())
