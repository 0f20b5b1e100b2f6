"""Durations and sizes as people write them: `250ms`, `1m30s`, `64KiB`. Pure text, no knowledge of any knob.

Readers raise `ValueError` with one sentence, "what is wrong; what to write instead", that can be shown as it is.
"""

from __future__ import annotations

import re
from typing import Final

_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION: Final = re.compile(r"(?:[0-9]{1,9}(?:\.[0-9]{1,9})?(?:ms|s|m|h))+")
_PART: Final = re.compile(r"([0-9.]+)(ms|s|m|h)")
_RATE: Final = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)/(s|m|h)")
_NUMBER: Final = re.compile(r"[0-9]{1,15}(?:\.[0-9]+)?")

# Timers of event loops take milliseconds in machine integers: what is longer than a year is a slip of the pen.
LONGEST: Final = 365 * 24 * 3600.0

_BYTES: Final = {"": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}
_SIZE: Final = re.compile(r"([0-9]{1,15})(KiB|MiB|GiB|)")
_LOOSE_SIZE: Final = re.compile(r"([0-9]{1,15}) ?([kmg])i?b?", re.IGNORECASE)


def parse_duration(text: str) -> float:
    """Seconds meant by `250ms`, `2s`, `1.5s`, `1m30s`, `1h` or a bare `0` (Go's notation, without its µs and ns)."""
    if text == "0":
        return 0.0
    if not _DURATION.fullmatch(text):
        if _NUMBER.fullmatch(text):
            raise ValueError(f"has no unit; write {text}s for seconds or {text}ms for milliseconds")
        raise ValueError("is not a duration; write it like 250ms, 2s, 1m30s or 1h")
    # Summed in milliseconds, so that 250ms is exactly what 0.25s is.
    seconds = sum(float(number) * (_SECONDS[unit] * 1000) for number, unit in _PART.findall(text)) / 1000
    if seconds > LONGEST:
        raise ValueError("is longer than a year; write at most 8760h")
    return seconds


def parse_rate(text: str) -> float:
    """Requests per second meant by `100/s`, `90/m`, `5000/h` or a bare `0`."""
    if text == "0":
        return 0.0
    match = _RATE.fullmatch(text)
    if not match:
        raise ValueError("is not a rate; write it like 100/s, 90/m or 5000/h")
    rate = float(match[1]) / _SECONDS[match[2]]
    if rate and rate < 1 / 86400:
        raise ValueError("is less than one in a day; write at least 0.05/h")
    return rate


def format_rate(rate: float) -> str:
    """The shortest text that `parse_rate` reads back: `100/s`, `90/m`."""
    if rate == 0:
        return "0"
    for unit in ("s", "m", "h"):
        number = rate * _SECONDS[unit]
        if abs(number - round(number)) < 1e-9 * number:
            return f"{round(number)}/{unit}"
    return f"{_plain(rate * 3600)}/h"


def format_duration(seconds: float) -> str:
    """The shortest text that `parse_duration` reads back: `250ms`, `90s`, `5m`, `1h`."""
    ms = round(seconds * 1000, 6)
    if ms == 0:
        return "0s"
    for unit, factor in (("h", 3_600_000), ("m", 60_000), ("s", 1000)):
        if ms % factor == 0:
            return f"{int(ms // factor)}{unit}"
    return _plain(ms) + "ms" if ms < 1000 else _plain(ms / 1000) + "s"


def _plain(number: float) -> str:
    # Never the exponent form, which the reader refuses.
    return f"{number:.9f}".rstrip("0").rstrip(".")


def parse_size(text: str) -> int:
    """Bytes meant by `64KiB`, `1MiB`, `1GiB` or a plain number."""
    match = _SIZE.fullmatch(text)
    if match:
        return int(match[1]) * _BYTES[match[2]]
    loose = _LOOSE_SIZE.fullmatch(text)
    if loose:
        raise ValueError(f"has a unit that is not exact; write {loose[1]}{loose[2].upper()}iB (powers of 1024)")
    raise ValueError("is not a size; write it like 64KiB, 1MiB or 65536")


def format_size(size: int) -> str:
    """The shortest exact text that `parse_size` reads back: `60KiB`, `1MiB`, `1500`."""
    for unit in ("GiB", "MiB", "KiB"):
        if size and size % _BYTES[unit] == 0:
            return f"{size // _BYTES[unit]}{unit}"
    return str(size)
