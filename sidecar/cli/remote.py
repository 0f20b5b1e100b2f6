"""What asks a running sidecar through its admin port: `status`, `reload`, `drain`, and the ground for `watch.py`.

Standard library only, and little of it: `drain` runs as a preStop hook, where every millisecond is the pod's.
"""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any, Final, NoReturn

from sidecar.address import DEFAULT_ADMIN, ListenAddress, parse_listen, without_password
from sidecar.cli.commands import COMMANDS
from sidecar.cli.control import Answer, ControlError, Stream, ask, follow

EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2
_LISTEN, _TOKEN = "SIDECAR_ADMIN__LISTEN", "SIDECAR_ADMIN__TOKEN"

# Reading the settings again may look at files and resolve names.
_RELOAD_TIMEOUT: Final = 30.0  # seconds


class _Parser(argparse.ArgumentParser):
    """`parsing.Parser` knows the settings, which take long to load."""

    def parse(self, argv: list[str]) -> argparse.Namespace:
        """As `parse_args`, but of what is not known only the name is told: behind a misspelt flag stands a secret."""
        options, unknown = self.parse_known_args(argv)
        if unknown:
            self.error(f"{unknown[0].partition('=')[0]} is not known here; see --help")
        return options

    def error(self, message: str) -> NoReturn:
        self.exit(EXIT_USAGE, f"{self.prog}: {message}\n")


class RefusedError(ControlError):
    """The admin port said no; `body` is its problem document."""

    def __init__(self, said: str, body: dict[str, Any]) -> None:
        super().__init__(said)
        self.body = body


def status(argv: list[str]) -> int:
    """Print how the running sidecar is."""
    parser = parser_of("status")
    parser.add_argument("--json", action="store_true", help="Print all that the admin port says, settings too.")
    options = parser.parse(argv)
    try:
        report = document(options, "GET", "/status")
    except ControlError as error:
        return failed("status", str(error))
    if options.json:
        print_json(report)
    else:
        report.pop("settings", None)  # long, and no news
        print("\n".join(_summary(report)))
    return 0


def reload(argv: list[str]) -> int:
    """Have the running sidecar read its settings again; prints what is wrong with them, if something is."""
    options = parser_of("reload").parse(argv)
    try:
        report = document(options, "POST", "/config/reload", _RELOAD_TIMEOUT)
    except RefusedError as refusal:
        for problem in refusal.body.get("problems") or ():
            print(f"sidecar reload: {problem}", file=sys.stderr)
        return failed("reload", str(refusal))
    except ControlError as error:
        return failed("reload", str(error))
    changed, later = report.get("changed"), report.get("restart_needed")
    print(f"reloaded: changed {', '.join(changed)}" if changed else "reloaded: nothing has changed")
    if later:
        print(f"only a restart changes {', '.join(later)}")
    return 0


def drain(argv: list[str]) -> int:
    """Have the running sidecar begin to drain; it keeps serving until SIGTERM, unless it is to end by itself."""
    parser = parser_of("drain")
    parser.add_argument("--exit", action="store_true", help="Have it end as well, as soon as nothing is in flight.")
    options = parser.parse(argv)
    try:
        call(options, "POST", "/quitquitquit" if options.exit else "/drain")
    except ControlError as error:
        return failed("drain", str(error))
    until = "until what is in flight has ended" if options.exit else "until SIGTERM"
    print(f"draining: not ready any more; still serving {until}")
    return 0


def parser_of(name: str) -> _Parser:
    """The parser of a command that talks to the admin port."""
    parser = _Parser(
        f"sidecar {name}",
        description=f"sidecar {name}: {COMMANDS[name].purpose}.",
        allow_abbrev=False,
        # A given width spares argparse the import of shutil, 8 ms.
        formatter_class=lambda prog: argparse.HelpFormatter(prog, width=110),
    )
    parser.add_argument(
        "--admin",
        metavar="ADDRESS",
        default=os.environ.get(_LISTEN) or DEFAULT_ADMIN,
        help=f"Where the admin port is. Default ${_LISTEN}, else {DEFAULT_ADMIN}.",
    )
    parser.add_argument(
        "--admin-token",
        metavar="SECRET",
        default=os.environ.get(_TOKEN, ""),
        help=f"Its token, needed from another machine. Default ${_TOKEN}.",
    )
    return parser


def call(
    options: argparse.Namespace, method: str, path: str, timeout: float = 5.0, accept: str = "application/json"
) -> Answer:
    """What the admin port answers if it says yes. Raises `ControlError`, `RefusedError` where it says why not."""
    answer = ask(_address(options.admin), method, path, _token(options), timeout, accept)
    if not 200 <= answer.status < 300:
        raise _refused(options, f"{method} {path}", answer)
    return answer


def open_stream(options: argparse.Namespace, path: str) -> Stream:
    """A stream of the admin port. Raises like `call`."""
    opened = follow(_address(options.admin), path, _token(options))
    if opened.status == 200:
        return opened
    with opened:
        raise _refused(options, f"GET {path}", Answer(opened.status, b"\n".join(opened)))


def document(options: argparse.Namespace, method: str, path: str, timeout: float = 5.0) -> dict[str, Any]:
    """The JSON document that the admin port answers with. Raises like `call`."""
    import json  # lazy: `drain` does without

    body = call(options, method, path, timeout).body
    try:
        report = json.loads(body)
    except ValueError:
        report = None
    if not isinstance(report, dict):
        raise ControlError("the answer is not JSON: is it the admin port?")
    return report


def print_json(report: object) -> None:
    """Print a document for programs."""
    import json

    print(json.dumps(report, indent=2))


def failed(name: str, why: str) -> int:
    """Say why a command failed; returns its exit code."""
    print(f"sidecar {name}: {why}", file=sys.stderr)
    return EXIT_FAILED


def _token(options: argparse.Namespace) -> str:
    token: str = options.admin_token
    if not (token.isascii() and token.isprintable()):
        raise ControlError("the token holds characters that a header cannot carry")
    return token


def _refused(options: argparse.Namespace, asked: str, answer: Answer) -> ControlError:
    body = _problem(answer)
    detail = str(body.get("detail") or body.get("cause") or "")
    if answer.status in (401, 403):
        said = detail or f"status {answer.status}"
        return RefusedError(f"refused: {said}; the token goes into --admin-token or {_TOKEN}", body)
    if detail:
        return RefusedError(detail, body)
    return ControlError(f"{asked} was answered with {answer.status}: is {options.admin} the admin port?")


def _problem(answer: Answer) -> dict[str, Any]:
    """A problem document, empty if it is none."""
    import json

    try:
        body = json.loads(answer.body)
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _address(text: str) -> ListenAddress:
    try:
        address = parse_listen(text)
    except ValueError as error:
        raise ControlError(f"{without_password(text)} {error}") from None
    if address.port == 0 and not address.unix:
        raise ControlError(f"{text} says nothing of the port; give the one that the sidecar printed, with --admin")
    return address


def _summary(report: Any, prefix: str = "") -> list[str]:
    """A JSON document as lines `name  value`, nested names joined by dots."""
    if not isinstance(report, dict):
        return [f"{prefix:32}  {_plain(report)}"]
    return [line for key, value in report.items() for line in _summary(value, f"{prefix}.{key}" if prefix else key)]


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(_plain, value)) or "none"
    return "none" if value is None or value == "" else str(value)
