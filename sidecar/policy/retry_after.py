"""How long a `Retry-After` field asks to wait (RFC 9110 section 10.2.3). Pure, and on bytes."""

from __future__ import annotations

import re
from calendar import timegm
from math import inf
from typing import Final

_SECONDS: Final = re.compile(rb"[0-9]+")
_MOST_DIGITS: Final = 9  # so many seconds are as good as never

_TIME: Final = rb"(?P<hour>[01][0-9]|2[0-3]):(?P<minute>[0-5][0-9]):(?P<second>[0-5][0-9]|60)"
_MONTH: Final = rb"(?P<month>Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
# RFC 9110 section 5.6.7: the form of today, and the two of old that must still be understood.
_DATES: Final = (
    re.compile(rb"[A-Z][a-z]{2}, (?P<day>[0-3][0-9]) " + _MONTH + rb" (?P<year>[1-9][0-9]{3}) " + _TIME + rb" GMT"),
    re.compile(rb"[A-Z][a-z]{5,8}, (?P<day>[0-3][0-9])-" + _MONTH + rb"-(?P<year>[0-9]{2}) " + _TIME + rb" GMT"),
    re.compile(rb"[A-Z][a-z]{2} " + _MONTH + rb" (?P<day>[ 0-3][0-9]) " + _TIME + rb" (?P<year>[1-9][0-9]{3})"),
)
_MONTHS: Final = (b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec")
_FIFTY_YEARS: Final = 50 * 365.25 * 86400


def retry_after(value: bytes, wall: float) -> float | None:
    """Seconds to wait, from `wall` (seconds since 1970) where the field names a date; None where it says nothing.

    A date that has passed is 0; what is beyond all patience is `inf`.
    """
    if _SECONDS.fullmatch(value):
        digits = value.lstrip(b"0")
        return float(digits or b"0") if len(digits) <= _MOST_DIGITS else inf
    for form in _DATES:
        date = form.fullmatch(value)
        if date is not None:
            return max(0.0, _seconds(date, wall) - wall)
    return None


def _seconds(date: re.Match[bytes], wall: float) -> float:
    """Seconds since 1970. A year of two digits is of this century, unless that is more than 50 years from now."""
    month, day = _MONTHS.index(date["month"]) + 1, int(date["day"])
    clock = int(date["hour"]), int(date["minute"]), int(date["second"])
    year = int(date["year"])
    if len(date["year"]) == 4:
        return timegm((year, month, day, *clock))
    due = timegm((2000 + year, month, day, *clock))
    return due if due <= wall + _FIFTY_YEARS else timegm((1900 + year, month, day, *clock))
