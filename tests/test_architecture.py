"""The house rules that a machine can check: who may import whom, how long things are, what has no global state."""

from __future__ import annotations

import ast
import importlib
import statistics
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HOUSE = ROOT / "sidecar"
FILES = sorted(HOUSE.rglob("*.py"))

LONGEST_FILE, MEDIAN_FILE = 350, 130
LONGEST_FUNCTION, NINTH_DECILE = 60, 30

# What does I/O, or waits.
IO = frozenset(
    {
        *("asyncio", "concurrent", "multiprocessing", "select", "selectors", "signal", "socket", "ssl", "subprocess"),
        *("http.client", "logging", "pathlib", "shutil", "tempfile", "threading", "urllib"),
        *("aiohttp", "httptools", "prometheus_client", "redis", "structlog", "uvloop", "yaml"),
    }
)
DOES_IO = frozenset({"open", "print", "input", "exec", "eval"})

# Floors of the house, lowest first: a module imports from its own floor and from those below.
FLOORS: list[set[str]] = [
    {
        "errors",
        "headers",
        "address",
        "units",
        "__init__",
        "settings",
        "telemetry.tally",
        "alarm",
        "descriptors",
        "loop",
        "nearest",
        "certificates",
    },
    {"exchange", "forwarding", "policy", "listen", "source"},
    {"answers", "relay", "replay", "health", "drain", "throttle", "layers", "stack"},
    {"telemetry", "http1"},
    {"admin", "banner", "ways"},
    {"app", "demo", "inject"},
    {"cli"},
    {"__main__"},
]

PURE = ["exchange", "errors", "headers", "forwarding", "answers"]
SANS_IO = ["http1.heads", "http1.chunks", "http1.idle", "http1.answer_head"]


def name_of(file: Path) -> str:
    """The module's name within the package: `http1.pool`."""
    return ".".join(file.relative_to(HOUSE).with_suffix("").parts).removesuffix(".__init__")


TREES = {name_of(file): ast.parse(file.read_text(encoding="utf-8")) for file in FILES}

POLICIES = [name for name in TREES if name.startswith("policy")]

CHANGING = frozenset(
    {
        *("append", "appendleft", "extend", "insert", "remove", "pop", "popleft", "clear", "sort"),
        *("add", "discard", "update", "setdefault", "popitem"),
    }
)
FUNCTION = ast.FunctionDef | ast.AsyncFunctionDef


def imports(tree: ast.AST, *, at_module_level: bool = False) -> Iterator[str]:
    """Full names of what is imported, less what is for the type checker alone."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif not is_for_later(node, within_functions=at_module_level):
            yield from imports(node, at_module_level=at_module_level)


def is_for_later(node: ast.AST, *, within_functions: bool) -> bool:
    """Whether what it holds is not run on import, or never."""
    if isinstance(node, ast.If):
        return ast.unparse(node.test) == "TYPE_CHECKING"
    return within_functions and isinstance(node, FUNCTION)


def from_library(imported: str, library: str) -> bool:
    """Whether an imported name is the library or comes from it."""
    return imported == library or imported.startswith(library + ".")


def module_meant(imported: str) -> str | None:
    """The module of ours that an imported name is in: `sidecar.http1.pool.Pool` is in `http1.pool`."""
    if not from_library(imported, "sidecar"):
        return None
    inner = imported.removeprefix("sidecar").removeprefix(".")
    while inner and inner not in TREES:
        inner = inner.rpartition(".")[0]
    return inner or "__init__"


def floor(module: str) -> int:
    """The floor a module stands on, by its own name or its package's."""
    for level, names in enumerate(FLOORS):
        if module in names:
            return level
    return next(level for level, names in enumerate(FLOORS) if module.partition(".")[0] in names)


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Every function and method."""
    for node in ast.walk(tree):
        if isinstance(node, FUNCTION):
            yield node


def lines_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """How long it is, without its decorators."""
    assert function.end_lineno is not None
    return function.end_lineno - function.lineno + 1


def imported_from(module: str, libraries: Iterable[str]) -> set[str]:
    """What a module imports from these."""
    return {name for name in imports(TREES[module]) if any(from_library(name, library) for library in libraries)}


def test_imports_point_downward() -> None:
    """No module imports from a floor above its own."""
    upward = {
        f"{module} imports {name}"
        for module, tree in TREES.items()
        for name in imports(tree)
        if (meant := module_meant(name)) is not None and floor(meant) > floor(module)
    }

    assert upward == set()


def test_no_imports_go_in_a_circle() -> None:
    """At module level, the house is a tree of dependencies; a circle would make the order of imports matter."""
    needs = {
        module: {meant for name in imports(tree, at_module_level=True) if (meant := module_meant(name)) is not None}
        for module, tree in TREES.items()
    }
    for module in needs:
        needs[module] -= {"", "__init__", module}
    while free := {module for module, needed in needs.items() if not needed & needs.keys()}:
        for module in free:
            del needs[module]

    assert needs == {}


@pytest.mark.parametrize("module", [*PURE, *POLICIES])
def test_nouns_and_policies_do_no_io(module: str) -> None:
    """What decides imports nothing that waits, reads or writes, and calls no builtin that does."""
    nodes = list(ast.walk(TREES[module]))
    called = {node.func.id for node in nodes if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}

    assert imported_from(module, IO) == set()
    assert called & DOES_IO == set()
    assert not any(isinstance(node, ast.AsyncFunctionDef | ast.Await) for node in nodes)


@pytest.mark.parametrize("module", [*POLICIES, "http1.idle", "health"])
def test_decisions_are_told_the_time(module: str) -> None:
    """The clock is an argument, so that a decision can be tested at any moment."""
    clocks = ["datetime"] if module == "health" else ["time", "datetime"]  # health's prober has a clock of its own

    assert imported_from(module, clocks) == set()


@pytest.mark.parametrize("module", SANS_IO)
def test_the_wire_format_is_read_without_io(module: str) -> None:
    """Bytes in, facts out: of all libraries only the parser is allowed."""
    parser = {"httptools"} if module == "http1.heads" else set()

    assert imported_from(module, IO) <= parser


@pytest.mark.parametrize(
    ("room", "strangers"),
    [("telemetry", ["http1", "admin", "app"]), ("admin", ["http1", "app"]), ("http1", ["telemetry", "admin", "app"])],
)
def test_neighbours_do_not_know_each_other(room: str, strangers: list[str]) -> None:
    """Telemetry and admin serve any wire protocol, and a wire protocol does not know how it is counted."""
    modules = [module for module in TREES if from_library(module, room)]
    met = {name for module in modules for name in imported_from(module, [f"sidecar.{other}" for other in strangers])}

    assert modules
    assert met == set()


def test_the_web_framework_stays_in_the_admin_plane() -> None:
    """Requests never pass it; health makes its control calls with it, the demo its service and that one's clients."""
    users = {module for module in TREES if imported_from(module, ["aiohttp"])}

    assert {module.partition(".")[0] for module in users} <= {"admin", "health", "demo"}


@pytest.mark.parametrize("library", ["aiohttp", "prometheus_client", "yaml", "redis"])
def test_the_data_plane_starts_without(library: str) -> None:
    """What the listener does not need is loaded once it listens, or never."""
    code = f"import sys, sidecar.app; sys.exit({library!r} in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=30, check=False)

    assert done.returncode == 0


def test_the_house_imports_without_uvloop() -> None:
    """It is there or not, and nothing else changes."""
    code = (
        "import sys; sys.modules['uvloop'] = None; from sidecar import app, loop; sys.exit(bool(loop.loop_factory()))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=30, check=False)

    assert done.returncode == 0


def test_files_are_short() -> None:
    """None above the limit, and half of them far below."""
    lengths = {name_of(file): len(file.read_text(encoding="utf-8").splitlines()) for file in FILES}

    assert {name: length for name, length in lengths.items() if length > LONGEST_FILE} == {}
    assert statistics.median(lengths.values()) <= MEDIAN_FILE


def test_functions_are_short() -> None:
    """None above the limit, and nine in ten far below."""
    lengths = {
        f"{module}:{function.name}": lines_of(function)
        for module, tree in TREES.items()
        for function in functions(tree)
    }

    assert {name: length for name, length in lengths.items() if length > LONGEST_FUNCTION} == {}
    assert statistics.quantiles(lengths.values(), n=10)[8] <= NINTH_DECILE


def test_every_public_thing_says_what_it_is() -> None:
    """Every file, class, function and method has a docstring; a method may leave that to its interface."""
    bare = [module for module, tree in TREES.items() if not ast.get_docstring(tree)]
    for module, tree in TREES.items():
        classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
        methods = [(owner, method) for owner in classes for method in owner.body if isinstance(method, FUNCTION)]
        documented = {method.name for _, method in methods if ast.get_docstring(method)}
        bare += [f"{module}:{node.name}" for node in tree.body if isinstance(node, FUNCTION) and is_bare(node)]
        bare += [f"{module}:{node.name}" for node in classes if is_bare(node)]
        bare += [
            f"{module}:{owner.name}.{method.name}"
            for owner, method in methods
            if owner.name[0] != "_" and is_bare(method) and method.name not in documented | inherited(owner)
        ]

    assert bare == []


def is_bare(node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether it is public and has no docstring."""
    return node.name[0] != "_" and not ast.get_docstring(node)


def inherited(owner: ast.ClassDef) -> set[str]:
    """Names that a class has from a library's class, which documents them."""
    found: set[str] = set()
    for base in owner.bases:
        library, _, name = ast.unparse(base).rpartition(".")
        if library in ("argparse", "asyncio"):
            found |= set(dir(getattr(importlib.import_module(library), name)))
    return found


def test_nothing_global_changes() -> None:
    """State has an owner that is built, and so two sidecars can live in one process."""
    globals_used = [module for module, tree in TREES.items() if any(isinstance(n, ast.Global) for n in ast.walk(tree))]
    changed = {f"{module}:{name}" for module, tree in TREES.items() for name in changed_globals(tree)}

    assert globals_used == []
    assert changed == set()


def changed_globals(tree: ast.Module) -> set[str]:
    """Names assigned at module level whose object some function changes."""
    assigned = [node for node in tree.body if isinstance(node, ast.Assign | ast.AnnAssign)]
    targets = [
        target for node in assigned for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
    ]
    names = {target.id for target in targets if isinstance(target, ast.Name)}
    found: set[str] = set()
    for function in functions(tree):
        nodes = list(ast.walk(function))
        own = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
        own |= {node.arg for node in nodes if isinstance(node, ast.arg)}
        found |= {name for node in nodes if (name := changed_name(node)) in names - own}
    return found


def changed_name(node: ast.AST) -> str:
    """The name whose object this changes in place, if it does: `x.append(…)`, `x[…] = …`, `del x[…]`, `x.y = …`."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CHANGING:
        owner: ast.expr = node.func.value
    elif isinstance(node, ast.Subscript | ast.Attribute) and isinstance(node.ctx, ast.Store | ast.Del):
        owner = node.value
    else:
        return ""
    return owner.id if isinstance(owner, ast.Name) else ""


def test_what_is_compiled_can_be() -> None:
    """It is there, has no coroutine, and no exception's name is another thing's too: mypyc makes faults of those."""
    hooks = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]["hooks"]
    for name in hooks["mypyc"]["include"]:
        nodes = list(ast.walk(ast.parse((ROOT / name.lstrip("/")).read_text(encoding="utf-8"))))
        assert not any(isinstance(node, ast.AsyncFunctionDef) for node in nodes), name
        for function in (node for node in nodes if isinstance(node, ast.FunctionDef)):
            inner = list(ast.walk(function))
            caught = {node.name for node in inner if isinstance(node, ast.ExceptHandler)}
            stored = {node.id for node in inner if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
            assert not caught & (stored | {node.arg for node in inner if isinstance(node, ast.arg)}), function.name
