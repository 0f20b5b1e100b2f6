"""Parsers built from the knobs, and the way from a command line to settings. Prints what is wrong, to stderr."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NoReturn

from sidecar.nearest import did_you_mean
from sidecar.settings import Loaded, Problem, SettingsError
from sidecar.settings.flags import FLAGS
from sidecar.settings.knobs import Knob, knobs
from sidecar.source import Source

EXIT_USAGE: Final = 2
EXIT_CONFIG: Final = 78


class Parser(argparse.ArgumentParser):
    """An argument parser that says what was probably meant, in one line."""

    def __init__(self, prog: str, purpose: str, usage: str, epilog: str = "") -> None:
        super().__init__(
            prog=prog,
            usage=usage,
            description=purpose,
            epilog=epilog,
            allow_abbrev=False,
            argument_default=argparse.SUPPRESS,
            formatter_class=lambda prog: argparse.RawDescriptionHelpFormatter(prog, max_help_position=32, width=110),
        )

    def parse(self, argv: list[str]) -> dict[str, str]:
        """The flags that were given, by destination; exits with 2 on what it does not know."""
        given, unknown = self.parse_known_args(argv)
        if unknown:
            word = unknown[0].partition("=")[0]
            self.error(f"{word} is not known here; {did_you_mean(word, self._option_string_actions, 'see --help')}")
        return dict(vars(given))

    def error(self, message: str) -> NoReturn:
        self.exit(EXIT_USAGE, f"{self.prog}: {message}\n")


def add_knobs(parser: argparse.ArgumentParser, paths: Iterable[str]) -> None:
    """Give the parser the flags of these knobs."""
    for path in paths:
        knob = knobs()[path]
        metavar = knob.kind.name if "|" in knob.kind.name else knob.kind.name.upper()
        parser.add_argument(FLAGS[path], dest=path, metavar=metavar, help=_help(knob).replace("%", "%%"))


def settings_parser(prog: str, purpose: str, usage: str, epilog: str = "") -> Parser:
    """The parser of a command that takes every flag, and `-c`."""
    parser = Parser(prog, purpose, usage, epilog)
    parser.add_argument("-c", "--config", dest="config", metavar="FILE", help="Settings file (YAML).")
    add_knobs(parser, FLAGS)
    return parser


def source_of(given: dict[str, str]) -> Source:
    """These flags, the environment, and the file that the flags name."""
    flags = dict(given)
    file = flags.pop("config", None)
    return Source(flags, os.environ, Path(file) if file is not None else None)


def settings_from(parser: Parser, source: Source) -> Loaded:
    """Settings from where they come from; prints every problem and exits if there is one."""
    try:
        return source.load()
    except SettingsError as error:
        refuse(parser, error.problems)


def refuse(parser: Parser, problems: list[Problem]) -> NoReturn:
    """Print every problem and exit: with 2 when all that is wrong stands on the command line, else with 78."""
    for problem in problems:
        print(f"{parser.prog}: {problem}", file=sys.stderr)
    if any(problem.path == "upstream" and not problem.value for problem in problems):
        print("For example: sidecar --upstream http://127.0.0.1:8080", file=sys.stderr)
    sys.exit(_exit_code(problems))


def _exit_code(problems: list[Problem]) -> int:
    return EXIT_USAGE if all(problem.origin.startswith("flag ") for problem in problems) else EXIT_CONFIG


def _help(knob: Knob) -> str:
    if knob.default is None:
        return f"{knob.meaning} Required."
    default = knob.show(knob.default)
    return f"{knob.meaning} Default {default}." if default else knob.meaning
