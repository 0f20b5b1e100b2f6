"""The command line: finds the command, hands it the rest, and sees to exit codes. Knows no flag and no knob.

    0   clean, a drained SIGTERM too
    1   failed while running, a port in use included
    2   usage: unknown command or flag, a flag's value that means nothing, no upstream
    78  bad configuration in the file or the environment (EX_CONFIG of sysexits.h)

`sidecar drain` runs as a preStop hook on a busy node, so each command imports what it needs and nothing is imported
here that costs time.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module

from sidecar.cli.commands import COMMANDS


def main(argv: list[str] | None = None) -> int:
    """Run one command line (default: this process's) and return its exit code; usage errors raise SystemExit(2)."""
    _open_standard_files()
    arguments = sys.argv[1:] if argv is None else argv
    name = arguments[0] if arguments and not arguments[0].startswith("-") else ""
    if name and name not in COMMANDS:
        return _unknown(name)
    command = COMMANDS[name or "run"]
    try:
        function = getattr(import_module(command.module), command.function)
        code: int = function(arguments[1:] if name else arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read our output has left (`sidecar config schema | head`); the interpreter must not try again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return 130
    return code


def _open_standard_files() -> None:
    """Let what was closed of stdin, stdout and stderr lead nowhere, instead of into the first socket that is opened."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
    # Python has none where there was no descriptor, whatever its type says.
    sys.stdout = sys.stdout or os.fdopen(1, "w", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", closefd=False)


def _unknown(name: str) -> int:
    if "://" in name:
        from sidecar.address import without_password

        name = without_password(name)
        hint = f"to run in front of it: sidecar --upstream {name}"
    else:
        from sidecar.nearest import did_you_mean

        hint = did_you_mean(name, COMMANDS, f"there are {', '.join(COMMANDS)}")
    print(f"sidecar: {name} is not a command; {hint}", file=sys.stderr)
    return 2
