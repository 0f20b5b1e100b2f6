"""`sidecar status` and `sidecar drain`: talk to a running sidecar through its admin port.

Standard library only, and little of it: `drain` runs as a preStop hook, where every millisecond is the pod's.
"""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any, Final

from sidecar.address import DEFAULT_ADMIN, ListenAddress, parse_listen
from sidecar.cli.commands import COMMANDS
from sidecar.cli.control import Answer, ControlError, ask

EXIT_FAILED: Final = 1
_LISTEN, _TOKEN = "SIDECAR_ADMIN__LISTEN", "SIDECAR_ADMIN__TOKEN"


def status(argv: list[str]) -> int:
    """Print how the running sidecar is."""
    parser = _parser("status")
    parser.add_argument("--json", action="store_true", help="Print all that the admin port says, settings too.")
    options = parser.parse_args(argv)
    import json  # lazy: `drain` does without

    try:
        body = _call(options, "GET", "/status").body
        report = json.loads(body)
    except ControlError as error:
        return _failed("status", str(error))
    except ValueError:
        return _failed("status", "the answer is not JSON: is it the admin port?")
    if options.json:
        print(json.dumps(report, indent=2))
    else:
        if isinstance(report, dict):
            report.pop("settings", None)  # long, and no news
        print("\n".join(_summary(report)))
    return 0


def drain(argv: list[str]) -> int:
    """Have the running sidecar begin to drain; it keeps serving until it gets SIGTERM."""
    options = _parser("drain").parse_args(argv)
    try:
        _call(options, "POST", "/drain")
    except ControlError as error:
        return _failed("drain", str(error))
    print("draining: not ready any more; still serving until SIGTERM")
    return 0


def _parser(name: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
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


def _call(options: argparse.Namespace, method: str, path: str) -> Answer:
    token: str = options.admin_token
    if not (token.isascii() and token.isprintable()):
        raise ControlError("the token holds characters that a header cannot carry")
    answer = ask(_address(options.admin), method, path, token)
    if answer.status in (401, 403):
        raise ControlError(f"refused: {_detail(answer)}; the token goes into --admin-token or {_TOKEN}")
    if not 200 <= answer.status < 300:
        raise ControlError(f"{method} {path} was answered with {answer.status}: is {options.admin} the admin port?")
    return answer


def _detail(answer: Answer) -> str:
    """What a problem document says, else the bare status."""
    import json

    try:
        return str(json.loads(answer.body)["detail"])
    except (ValueError, LookupError, TypeError):
        return f"status {answer.status}"


def _address(text: str) -> ListenAddress:
    try:
        address = parse_listen(text)
    except ValueError as error:
        raise ControlError(f"{text} {error}") from None
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


def _failed(name: str, why: str) -> int:
    print(f"sidecar {name}: {why}", file=sys.stderr)
    return EXIT_FAILED
