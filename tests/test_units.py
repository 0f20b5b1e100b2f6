"""Durations, rates, shares and sizes: what is read, what is refused and why, and that writing and reading agree."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sidecar.units import (
    format_duration,
    format_rate,
    format_share,
    format_size,
    parse_duration,
    parse_rate,
    parse_share,
    parse_size,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("250ms", 0.25), ("2s", 2), ("1.5s", 1.5), ("1m", 60), ("1h", 3600), ("1m30s", 90), ("0", 0), ("0s", 0)],
)
def test_reads_durations(text: str, seconds: float) -> None:
    """Durations are written as Go writes them, and mean seconds."""
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("5", "has no unit; write 5s for seconds or 5ms for milliseconds"),
        ("0.5", "has no unit; write 0.5s for seconds"),
        ("", "is not a duration; write it like 250ms"),
        ("-1s", "is not a duration"),
        ("1 s", "is not a duration"),
        ("5S", "is not a duration"),
        ("1d", "is not a duration"),
        ("٣s", "is not a duration"),
        ("1e3s", "is not a duration"),
        ("infs", "is not a duration"),
        ("5s\n", "is not a duration"),
        ("9000h", "is longer than a year; write at most 8760h"),
        ("0.0004ms", "is shorter than a microsecond; write 0 for none, or at least 0.001ms"),
    ],
)
def test_refuses_durations(text: str, wrong: str) -> None:
    """A duration that is not one is refused with what to write instead."""
    with pytest.raises(ValueError, match="^" + wrong.replace(".", r"\.")):
        parse_duration(text)


@given(st.from_regex(r"([0-9]{1,3}(\.[0-9]{1,9})?(ms|s|m|h)){1,2}", fullmatch=True))
def test_durations_survive_writing(text: str) -> None:
    """Whatever was given, what is written is read back as the same duration; it is whole microseconds."""
    try:
        seconds = parse_duration(text)
    except ValueError:
        return  # less than a microsecond
    assert parse_duration(format_duration(seconds)) == seconds
    assert seconds == round(seconds, 6)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (0.25, "250ms"), (0.0005, "0.5ms"), (1.5, "1.5s"), (90, "90s"), (300, "5m"), (7200, "2h")],
)
def test_writes_durations_short(seconds: float, text: str) -> None:
    """Durations are shown as people would write them."""
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("text", "rate"), [("100/s", 100), ("90/m", 1.5), ("3600/h", 1), ("0.5/s", 0.5), ("0", 0), ("0/h", 0)]
)
def test_reads_rates(text: str, rate: float) -> None:
    """A rate is a number in a second, a minute or an hour."""
    assert parse_rate(text) == rate


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("100", "is not a rate; write it like 100/s, 90/m or 5000/h"),
        ("100/d", "is not a rate"),
        ("100/10s", "is not a rate"),
        ("-1/s", "is not a rate"),
        ("1e3/s", "is not a rate"),
        ("0.04/h", "is less than one in a day; write at least 0.05/h"),
    ],
)
def test_refuses_rates(text: str, wrong: str) -> None:
    """A rate without its time, or one that nobody means, is refused with what to write."""
    with pytest.raises(ValueError, match="^" + wrong):
        parse_rate(text)


@given(st.from_regex(r"[0-9]{1,9}(\.[0-9]{1,3})?/[smh]", fullmatch=True))
@example("1.1/m")
@example("999999999.999/h")
def test_rates_survive_writing(text: str) -> None:
    """Whatever was given, what is written is read back as the same rate."""
    try:
        rate = parse_rate(text)
    except ValueError:
        return  # less than one in a day
    assert parse_rate(format_rate(rate)) == rate


@pytest.mark.parametrize(
    ("rate", "text"), [(0, "0"), (100, "100/s"), (1.5, "90/m"), (100 / 60, "100/m"), (0.05 / 3600, "0.05/h")]
)
def test_writes_rates_short(rate: float, text: str) -> None:
    """Rates are shown as people would write them."""
    assert format_rate(rate) == text


@given(st.integers(0, 10**6))
@example(1)
def test_shares_survive_writing(millionths: int) -> None:
    """A share is read back as it was written, never in powers of ten."""
    assert parse_share(format_share(millionths / 10**6)) == millionths / 10**6


@pytest.mark.parametrize("text", ["", ".5", "50%", "1e-3", "-0.1", "0,5"])
def test_refuses_shares(text: str) -> None:
    """A share is written with its point."""
    with pytest.raises(ValueError, match=r"is not a share; write it between 0 and 1, like 0\.5"):
        parse_share(text)


@pytest.mark.parametrize(
    ("text", "size"), [("0", 0), ("65536", 65536), ("64KiB", 65536), ("1MiB", 1048576), ("2GiB", 2 << 30)]
)
def test_reads_sizes(text: str, size: int) -> None:
    """Sizes are bytes, or powers of 1024 with their unit."""
    assert parse_size(text) == size


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("64KB", r"has a unit that is not exact; write 64KiB"),
        ("64k", r"has a unit that is not exact; write 64KiB"),
        ("1 mb", r"has a unit that is not exact; write 1MiB"),
        ("1.5MiB", r"is not a size; write it like 64KiB, 1MiB or 65536"),
        ("-1", "is not a size"),
        ("", "is not a size"),
        ("1_000", "is not a size"),
        ("²", "is not a size"),
    ],
)
def test_refuses_sizes(text: str, wrong: str) -> None:
    """A size with an ambiguous unit is refused with the exact one."""
    with pytest.raises(ValueError, match="^" + wrong):
        parse_size(text)


@given(st.integers(0, 1 << 40))
def test_sizes_survive_writing(size: int) -> None:
    """What is written is read back as the same size."""
    assert parse_size(format_size(size)) == size
