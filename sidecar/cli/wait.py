"""`sidecar wait`: hold until a sidecar is there, for scripts and postStart hooks. Standard library only, as `drain`."""

from __future__ import annotations

import argparse
from time import monotonic, sleep
from typing import Final

from sidecar.cli.control import ControlError
from sidecar.cli.remote import call, failed, parser_of
from sidecar.units import format_duration, parse_duration

# Between two looks; a look itself takes a millisecond.
_LOOK: Final = 0.05  # seconds

_TIMEOUT: Final = 60.0  # seconds, as `kubectl wait` and others have it in tens


def wait(argv: list[str]) -> int:
    """Exit with 0 once the sidecar takes requests, or with --ready once its service does; with 1 after the timeout."""
    parser = parser_of("wait")
    parser.add_argument("--ready", action="store_true", help="Wait for its service, too: until /readyz says yes.")
    parser.add_argument(
        "--timeout",
        metavar="TIME",
        type=_duration,
        default=_TIMEOUT,
        help=f"Give up after this long. Default {format_duration(_TIMEOUT)}.",
    )
    options = parser.parse(argv)
    path, due = "/readyz" if options.ready else "/startupz", monotonic() + options.timeout
    while True:
        try:
            call(options, "GET", path, timeout=max(_LOOK, due - monotonic()))
        except ControlError as error:
            why = str(error)
        else:
            return 0
        if monotonic() + _LOOK > due:
            return failed("wait", f"gave up after {format_duration(options.timeout)}: {why}")
        sleep(_LOOK)


def _duration(text: str) -> float:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text} {error}") from None
