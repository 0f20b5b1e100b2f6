"""`sidecar explain`, `tap` and `top`: look at single exchanges, at the stream of them, and at figures that change.

Standard library only. What a client sent may stand in what is shown, so nothing reaches a terminal as it came.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from time import sleep
from typing import Any, Final

from sidecar.cli.control import ControlError, Stream
from sidecar.cli.remote import call, document, failed, open_stream, parser_of, print_json
from sidecar.cli.table import lines
from sidecar.units import parse_duration

_HOME, _REST_OF_LINE, _REST_OF_SCREEN = "\x1b[H", "\x1b[K", "\x1b[J"

# What stands for itself in a URL (RFC 3986 section 2.3).
_UNRESERVED: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")

_LEAST_INTERVAL: Final = 0.1  # seconds


def explain(argv: list[str]) -> int:
    """Print the story of one request."""
    parser = parser_of("explain")
    parser.add_argument("id", metavar="ID", help="The request's ID: X-Request-ID, in answers and in the access log.")
    parser.add_argument("--json", action="store_true", help="Print it for programs.")
    options = parser.parse(argv)
    path = f"/explain/{_quoted(options.id)}"
    try:
        if options.json:
            print_json(document(options, "GET", path))
        else:
            print(call(options, "GET", path, accept="text/plain").body.decode("utf-8", "replace"), end="")
    except ControlError as error:
        return failed("explain", str(error))
    return 0


def tap(argv: list[str]) -> int:
    """Print each exchange as it ends, until it is interrupted or the sidecar leaves."""
    parser = parser_of("tap")
    parser.add_argument("--reason", metavar="REASON", help="Only those with this reason, such as circuit_open.")
    parser.add_argument("--route", metavar="NAME", help="Only those of this route or path template.")
    parser.add_argument("--status", metavar="STATUS", help="Only those with this status: 503, or 5xx.")
    parser.add_argument("--json", action="store_true", help="Print a line of JSON for each.")
    options = parser.parse(argv)
    filters = {name: getattr(options, name) for name in ("reason", "route", "status")}
    query = "&".join(f"{name}={_quoted(value)}" for name, value in filters.items() if value is not None)
    try:
        with open_stream(options, f"/events?{query}" if query else "/events") as events:
            return _tapped(events, options.json)
    except ControlError as error:
        return failed("tap", str(error))
    except KeyboardInterrupt:
        return 0
    except (LookupError, TypeError, ValueError):
        return failed("tap", "the answer is no stream of exchanges: is it the admin port?")


def top(argv: list[str]) -> int:
    """Show a table of what each route does, again and again, until it is interrupted or the sidecar leaves."""
    parser = parser_of("top")
    parser.add_argument("--once", action="store_true", help="Print one table and exit.")
    parser.add_argument("--interval", metavar="TIME", type=_duration, default=2.0, help="Time between two. Default 2s.")
    options = parser.parse(argv)
    seen = False
    try:
        before = document(options, "GET", "/routes")
        while True:
            sleep(options.interval)
            after = document(options, "GET", "/routes")
            _show(lines(before, after), options)
            if options.once:
                return 0
            before, seen = after, True
    except KeyboardInterrupt:
        return 0
    except ControlError as error:
        if seen:
            print(f"sidecar top: it seems to have left: {error}", file=sys.stderr)
            return 0
        return failed("top", str(error))
    except (LookupError, TypeError, ValueError):
        return failed("top", "the answer is no table: is it the admin port?")


def _tapped(events: Stream, as_json: bool) -> int:
    for name, data in _events(events):
        if name == "exchange":
            print(data if as_json else _line(json.loads(data)), flush=True)
        elif name == "dropped":
            dropped = json.loads(data)["dropped"]
            print(f"sidecar tap: {dropped} more ended, faster than they could be shown", file=sys.stderr)
        elif name == "left":
            print("sidecar tap: the sidecar has left", file=sys.stderr)
            return 0
    return failed("tap", "the connection to the sidecar was lost")


def _events(stream: Stream) -> Iterator[tuple[str, str]]:
    """Server-sent events as `(name, data)`: one line of data each, which is all that the admin port sends."""
    name = data = ""
    for line in stream:
        field, _, value = line.decode("utf-8", "replace").partition(": ")
        if field == "event":
            name = value
        elif field == "data":
            data = value
        elif not line and data:
            yield name, data
            name = data = ""


def _line(row: dict[str, Any]) -> str:
    """An exchange in one line, what varies in length at the end."""
    figures = f"{row['ts'][11:]} {row['status']} {row['reason']:17} {row['duration_ms']:9.1f}ms {row['attempts']}x"
    words = (figures, row["method"], row["path"], row["route"], row["request_id"])
    return "  ".join(_plain(word) for word in words if word)


def _plain(word: str) -> str:
    return word if word.isprintable() else ascii(word)


def _show(table: list[str], options: argparse.Namespace) -> None:
    """Over what was shown before on a terminal, one below the other elsewhere."""
    table = [_plain(line) for line in table]
    if options.once or not sys.stdout.isatty():
        print("\n".join(table), end="\n" if options.once else "\n\n", flush=True)
        return
    columns, rows = os.get_terminal_size(sys.stdout.fileno())
    shown = [line[:columns] + _REST_OF_LINE for line in table[: rows - 1]]
    print(_HOME + "\n".join(shown) + "\n" + _REST_OF_SCREEN, end="", flush=True)


def _quoted(text: str) -> str:
    """Text within a URL; `urllib` would take as long to load as all the rest."""
    return "".join(chr(byte) if chr(byte) in _UNRESERVED else f"%{byte:02X}" for byte in os.fsencode(text))


def _duration(text: str) -> float:
    try:
        seconds = parse_duration(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text} is no time; write 500ms, 2s or 1m") from None
    if not _LEAST_INTERVAL <= seconds <= 3600:
        raise argparse.ArgumentTypeError(f"{text} is too short or too long; write 2s")
    return seconds
