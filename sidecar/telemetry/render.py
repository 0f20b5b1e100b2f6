"""How a log line looks: JSON for machines, a console line for people. structlog processors, `(logger, name, event)`.

Knows what is safe to show: whatever a terminal might obey is escaped, in JSON as well, since people read that on
terminals too; so no request can colour a screen or forge a second line. Does not know where lines go.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, MutableMapping, Sequence
from time import gmtime, strftime, time_ns
from typing import Any, Final, TextIO

import msgspec
import structlog

Event = MutableMapping[str, Any]
Renderer = Callable[[Any, str, Event], bytes]

# DEL, the C1 controls, and what changes the direction of writing or ends a line in Unicode.
_UNSEEN: Final = re.compile("[\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")

_encoder: Final = msgspec.json.Encoder(enc_hook=repr)

# Which text of an event may have several lines: it comes from our own code.
_MULTILINE: Final = frozenset({"exception", "stack"})


def choose(format: str, stream: TextIO) -> Renderer:
    """The renderer for `auto`, `console` or `json`; auto is console on a terminal. NO_COLOR is honoured."""
    terminal = stream.isatty()
    if format == "json" or (format == "auto" and not terminal):
        return json_line
    return console(colors=terminal and not os.environ.get("NO_COLOR"))


def json_line(logger: Any, name: str, event: Event) -> bytes:
    """The event as one line of JSON. What JSON cannot say is shown by its `repr`."""
    try:
        return _tame(_encoder.encode(event) + b"\n")
    except ValueError:
        # Half a character, as in a file name that is not UTF-8. A log call never raises.
        return _encoder.encode({key: ascii(value) for key, value in event.items()}) + b"\n"


def json_lines(events: Sequence[Event | msgspec.Struct]) -> bytes:
    """What `json_line` makes of each of `events`, in one call."""
    return _tame(_encoder.encode_lines(events))


def console(colors: bool) -> Renderer:
    """A renderer for people."""
    render = structlog.dev.ConsoleRenderer(
        colors=colors, timestamp_key="ts", sort_keys=False, exception_formatter=structlog.dev.plain_traceback
    )

    def console_line(logger: Any, name: str, event: Event) -> bytes:
        shown = {key: _visible(value, key in _MULTILINE) for key, value in event.items()}
        return f"{render(logger, name, shown)}\n".encode("utf-8", "replace")

    return console_line


class Timestamps:
    """Now, by RFC 3339 in UTC with milliseconds; the text is made once a millisecond, most of it once a second.

    `wall()` gives nanoseconds since the epoch.
    """

    __slots__ = ("_milli", "_prefix", "_second", "_text", "_wall")

    def __init__(self, wall: Callable[[], int] = time_ns) -> None:
        self._wall = wall
        self._milli = self._second = -1
        self._prefix = self._text = ""

    def __call__(self) -> str:
        milli = self._wall() // 1_000_000
        if milli != self._milli:
            self._milli = milli
            second, rest = divmod(milli, 1000)
            if second != self._second:
                self._second = second
                self._prefix = strftime("%Y-%m-%dT%H:%M:%S.", gmtime(second))
            self._text = f"{self._prefix}{rest:03d}Z"
        return self._text


def _tame(line: bytes) -> bytes:
    """Escape, in JSON text, the control characters that JSON itself lets through: they stand within strings."""
    if line.isascii() and b"\x7f" not in line:
        return line
    return _UNSEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", line.decode()).encode()


def _visible(value: Any, multiline: bool) -> Any:
    if isinstance(value, (int, float, bool, type(None))):
        return value
    return printable(value if isinstance(value, str) else repr(value), "\n\t" if multiline else "")


def printable(text: str, also: str = "") -> str:
    """`text` with everything escaped that is not plainly visible, or one of the characters of `also`."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char in also else _escaped(char) for char in text)


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")
