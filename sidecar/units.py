"""Durations, rates and sizes as people write them: `250ms`, `90/m`, `64KiB`. Pure text, no knowledge of any knob.

What a writer writes, its reader reads as the same number again. Readers raise `ValueError` with one sentence, "what is
wrong; what to write instead", that can be shown as it is.
"""

from __future__ import annotations

import re
from typing import Final

_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION: Final = re.compile(r"(?:[0-9]{1,9}(?:\.[0-9]{1,9})?(?:ms|s|m|h))+")
_PART: Final = re.compile(r"([0-9.]+)(ms|s|m|h)")
_RATE: Final = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,3})?/[smh]")
_SHARE: Final = re.compile(r"[0-9](?:\.[0-9]{1,6})?")
_NUMBER: Final = re.compile(r"[0-9]{1,15}(?:\.[0-9]+)?")

# Timers of event loops take milliseconds in machine integers: what is longer than a year is a slip of the pen.
LONGEST: Final = 365 * 24 * 3600.0
# Digits behind the point that a duration keeps: a microsecond is less than any timer can tell.
_DIGITS: Final = 6

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
    exact = sum(float(number) * _SECONDS[unit] for number, unit in _PART.findall(text))
    seconds = round(exact, _DIGITS)  # so that 250ms is exactly what 0.25s is
    if exact and not seconds:
        raise ValueError("is shorter than a microsecond; write 0 for none, or at least 0.001ms")
    if seconds > LONGEST:
        raise ValueError("is longer than a year; write at most 8760h")
    return seconds


def parse_rate(text: str) -> float:
    """Requests per second meant by `100/s`, `90/m`, `5000/h` or a bare `0`."""
    if text == "0":
        return 0.0
    if not _RATE.fullmatch(text):
        raise ValueError("is not a rate; write it like 100/s, 90/m or 5000/h")
    rate = _per_second(text)
    if rate and rate < 1 / 86400:
        raise ValueError("is less than one in a day; write at least 0.05/h")
    return rate


def format_rate(rate: float) -> str:
    """The shortest text that `parse_rate` reads back: `100/s`, `90/m`."""
    if rate == 0:
        return "0"
    per_unit = {unit: rate * _SECONDS[unit] for unit in ("s", "m", "h")}
    whole = [f"{round(number)}/{unit}" for unit, number in per_unit.items() if round(number)]
    parts = [f"{_plain(number, 3)}/{unit}" for unit, number in per_unit.items()]
    # A text may stand for a neighbouring number: the one that reads back is right. The last is near, if none does.
    return next((text for text in whole + parts if _RATE.fullmatch(text) and _per_second(text) == rate), parts[-1])


def _per_second(text: str) -> float:
    number, _, unit = text.partition("/")
    return float(number) / _SECONDS[unit]


def format_duration(seconds: float) -> str:
    """The shortest text that `parse_duration` reads back: `250ms`, `90s`, `5m`, `1h`."""
    ms = round(seconds * 1000, _DIGITS - 3)
    if ms == 0:
        return "0s"
    for unit, factor in (("h", 3_600_000), ("m", 60_000), ("s", 1000)):
        if ms % factor == 0:
            return f"{int(ms // factor)}{unit}"
    return _plain(ms, _DIGITS - 3) + "ms" if ms < 1000 else _plain(ms / 1000, _DIGITS) + "s"


def parse_share(text: str) -> float:
    """The share meant by `0.25`, `1` or `0`."""
    if not _SHARE.fullmatch(text):
        raise ValueError("is not a share; write it between 0 and 1, like 0.5")
    return float(text)


def format_share(share: float) -> str:
    """The shortest text that `parse_share` reads back."""
    return _plain(share, 6)


def _plain(number: float, digits: int) -> str:
    # Never the exponent form, which the readers refuse.
    text = f"{number:.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


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
