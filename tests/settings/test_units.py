"""Durations and sizes: what is read, what is refused and why, and that writing and reading agree."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.settings.units import LONGEST, format_duration, format_size, parse_duration, parse_size


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
    ],
)
def test_refuses_durations(text: str, wrong: str) -> None:
    """A duration that is not one is refused with what to write instead."""
    with pytest.raises(ValueError, match="^" + wrong.replace(".", r"\.")):
        parse_duration(text)


@given(st.integers(0, int(LONGEST) * 1000))
def test_durations_survive_writing(milliseconds: int) -> None:
    """What is written is read back as the same duration, to the millisecond."""
    assert parse_duration(format_duration(milliseconds / 1000)) == milliseconds / 1000


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (0.25, "250ms"), (0.0005, "0.5ms"), (1.5, "1.5s"), (90, "90s"), (300, "5m"), (7200, "2h")],
)
def test_writes_durations_short(seconds: float, text: str) -> None:
    """Durations are shown as people would write them."""
    assert format_duration(seconds) == text


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
