"""`sidecar run` and `sidecar demo`: from the command line to the running proxy."""

from __future__ import annotations

import sys
from typing import Final

from sidecar import __version__
from sidecar.cli.commands import COMMANDS
from sidecar.cli.parsing import Parser, add_knobs, refuse, settings_from, settings_parser, source_of
from sidecar.settings import SettingsError
from sidecar.settings.knobs import knobs

EXIT_FAILED: Final = 1


def run(argv: list[str]) -> int:
    """Run the proxy until it is told to stop."""
    parser = run_parser()
    source = source_of(parser.parse(argv))
    loaded = settings_from(parser, source)
    # Lazy: a mistake in the settings is told without loading the proxy first.
    from sidecar.app import run as run_app

    try:
        return run_app(loaded, source)
    except OSError as error:
        return _failed(error)


def demo(argv: list[str]) -> int:
    """Run the demo until it is told to stop."""
    purpose = f"sidecar demo: {COMMANDS['demo'].purpose}."
    parser = Parser("sidecar demo", purpose, "sidecar demo [--listen ADDRESS] [--admin ADDRESS]")
    add_knobs(parser, ("listen", "admin.listen"))
    given = parser.parse(argv)
    addresses = []
    for path in ("listen", "admin.listen"):
        knob = knobs()[path]
        text = given.get(path, knob.default)
        try:
            addresses.append(knob.read(text))
        except ValueError as error:
            parser.error(f"{path}: {text}: {error}")
    from sidecar.demo import run_demo

    try:
        return run_demo(*addresses)
    except SettingsError as error:
        refuse(parser, error.problems)
    except OSError as error:
        return _failed(error)


def run_parser() -> Parser:
    """The parser of `run`, which is also that of the bare `sidecar`."""
    width = max(map(len, COMMANDS))
    commands = "\n".join(f"  {name:{width}}  {command.purpose}" for name, command in COMMANDS.items())
    parser = settings_parser(
        "sidecar",
        f"A resilient reverse proxy in front of one Go service.\n\ncommands:\n{commands}",
        "sidecar [run] --upstream URL [flags]\n       sidecar COMMAND --help",
        "Every setting, these and more, can also come from a file (-c) or from SIDECAR_* variables; flags win over\n"
        "variables, variables over the file. `sidecar config template` lists them all.",
    )
    parser.add_argument("--version", action="version", version=f"sidecar {__version__}")
    return parser


def _failed(error: OSError) -> int:
    # A port in use, as a rule; who raised it has put the address into the text.
    print(f"sidecar: {error.strerror or error}", file=sys.stderr)
    return EXIT_FAILED
