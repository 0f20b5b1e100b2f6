"""The advisory database, asked by pip-audit for exactly what is installed here.

pip-audit passes what its database does not know, and a package mirror without one knows nothing: then it says "no known
vulnerabilities" about anything. So the first question is about a release that is known to be faulty. Only a database
that finds fault with it is believed about the rest.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

# Some advisories against it are years old: a database that has none is none.
CANARY: Final = ("aiohttp", "3.8.0")
_TIMEOUT: Final = 180.0  # seconds
# Where the Makefile puts pip-audit: beside what it looks at, not among it.
_PYTHON: Final = Path(sys.prefix, "audit", "bin", "python")

# Asks about these packages, by name and version, and returns what pip-audit prints.
Ask = Callable[[Mapping[str, str]], str]


class NotAuditedError(Exception):
    """The database could not be asked, or what answered is none."""


def complaints(versions: Mapping[str, str], ask: Ask | None = None) -> list[str]:
    """What the database has against these versions. Raises `NotAuditedError` where nobody can tell."""
    put = ask or pip_audit
    name, version = CANARY
    if not any(package.get("vulns") for package in _answer(put({name: version}))):
        raise NotAuditedError(
            f"the database knows nothing against {name} {version}: it is none, or a mirror without one"
        )
    answer = _answer(put(versions))
    known = {package["name"] for package in answer if "version" in package}
    found = [_told(package, fault) for package in answer for fault in package.get("vulns", [])]
    return found + [f"{name}: the database does not know it" for name in versions if name not in known]


def _answer(text: str) -> list[dict[str, Any]]:
    """pip-audit's document; a package that was not looked up has a `skip_reason` there and no `version`."""
    try:
        packages: list[dict[str, Any]] = json.loads(text)["dependencies"]
    except (ValueError, KeyError, TypeError):
        raise NotAuditedError("pip-audit's answer is not understood") from None
    return packages


def _told(package: Mapping[str, Any], fault: Mapping[str, Any]) -> str:
    fixed = ", ".join(fault.get("fix_versions", [])) or "no release yet"
    names = ", ".join([fault["id"], *fault.get("aliases", [])])
    return f"{package['name']} {package['version']}: {names}; fixed in {fixed}"


def pip_audit(versions: Mapping[str, str]) -> str:
    """Run pip-audit on exactly these versions; nothing is installed or resolved."""
    with tempfile.TemporaryDirectory() as folder:
        pins = Path(folder, "pins.txt")
        pins.write_text("".join(f"{name}=={version}\n" for name, version in versions.items()), encoding="utf-8")
        flags = ["--format", "json", "--progress-spinner", "off", "--no-deps", "--disable-pip", "--timeout", "10"]
        command = [str(_PYTHON), "-m", "pip_audit", "--requirement", str(pins), *flags]
        try:
            done = subprocess.run(  # noqa: S603 - our own words, no shell
                command, capture_output=True, text=True, timeout=_TIMEOUT, check=False
            )
        except FileNotFoundError:
            raise NotAuditedError("pip-audit is not installed: `make audit` does it") from None
        except subprocess.TimeoutExpired:
            raise NotAuditedError(f"pip-audit did not end within {_TIMEOUT:g} s") from None
    # 1 is both "found something", with an answer, and "could not ask", without.
    if done.returncode not in (0, 1) or not done.stdout.strip():
        said = done.stderr.strip().splitlines()
        raise NotAuditedError(f"pip-audit failed: {said[-1] if said else f'exit code {done.returncode}'}")
    return done.stdout
