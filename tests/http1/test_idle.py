"""How long a kept connection may lie idle, and what teaches it."""

from __future__ import annotations

import pytest

from sidecar.http1.idle import FLOOR, IdleLimit


def closes(limit: IdleLimit, *ages: float, start: float = 100.0) -> list[bool]:
    """The upstream closes connections that had been idle for so long, ten seconds apart."""
    return [limit.closed_by_upstream(age, start + 10 * number) for number, age in enumerate(ages)]


def test_the_configured_limit_holds_at_first() -> None:
    """And is called so."""
    limit = IdleLimit(3.0)

    assert (limit.seconds, limit.source) == (3.0, "configured")
    assert limit.next_rest(0.0) == 3.0
    assert repr(limit) == "<IdleLimit 3s, configured>"


def test_three_closes_at_like_ages_teach() -> None:
    """Two may be chance; the limit stays a fifth below the earliest."""
    limit = IdleLimit(30.0)

    assert closes(limit, 5.0, 5.1, 5.05) == [False, False, True]
    assert limit.seconds == pytest.approx(4.0)
    assert limit.source == "observed closes"


@pytest.mark.parametrize("ages", [(5.0, 6.0, 5.0), (5.0, 5.0), (1.0, 9.0, 5.0), (5.0, 5.0, 5.9)])
def test_closes_at_unlike_ages_do_not(ages: tuple[float, ...]) -> None:
    """A restart closes connections of every age."""
    limit = IdleLimit(30.0)

    assert not any(closes(limit, *ages))
    assert limit.seconds == 30.0


def test_the_last_three_count() -> None:
    """What was before them is forgotten."""
    limit = IdleLimit(30.0)

    assert closes(limit, 20.0, 1.0, 5.0, 5.0, 5.0) == [False, False, False, False, True]
    assert limit.seconds == pytest.approx(4.0)


def test_closes_at_one_time_are_one() -> None:
    """An upstream that stops closes all it has, and that says nothing of a limit."""
    limit = IdleLimit(30.0)

    assert not any(limit.closed_by_upstream(5.0, 100.0 + number / 100) for number in range(50))
    assert limit.seconds == 30.0


def test_closes_near_a_failed_connect_are_a_restart() -> None:
    """Those before it are forgotten, those just after it do not count."""
    limit = IdleLimit(30.0)
    closes(limit, 5.0, 5.0)
    limit.connect_failed(120.0)
    assert not limit.closed_by_upstream(5.0, 121.9)
    assert not limit.closed_by_upstream(5.0, 122.1)
    assert not limit.closed_by_upstream(5.0, 130.0)

    assert limit.seconds == 30.0
    assert limit.closed_by_upstream(5.0, 140.0)


@pytest.mark.parametrize(
    ("field", "seconds"),
    [
        (b"timeout=5", 4.0),
        (b"timeout=5, max=100", 4.0),
        (b"max=100, timeout=5", 4.0),
        (b"max=100,\tTimeout=5 ", 4.0),
        (b"timeout=1", FLOOR),
        (b"timeout=0", FLOOR),
    ],
)
def test_the_upstream_may_say_it(field: bytes, seconds: float) -> None:
    """In its Keep-Alive field; there is a floor below which keeping is not worth it."""
    limit = IdleLimit(30.0)

    assert limit.announced(field)
    assert limit.seconds == pytest.approx(seconds)
    assert limit.source == "keep-alive field"


@pytest.mark.parametrize("field", [b"", b"max=5", b"timeout", b"timeout=", b"timeout=-5", b"timeout=5s", b"xtimeout=5"])
def test_what_says_nothing_teaches_nothing(field: bytes) -> None:
    """Other members, or other notations."""
    limit = IdleLimit(30.0)

    assert not limit.announced(field)
    assert limit.seconds == 30.0


def test_the_configured_limit_is_never_exceeded() -> None:
    """An upstream that keeps connections longer changes nothing, and nobody is told of it."""
    limit = IdleLimit(3.0)

    assert not limit.announced(b"timeout=60")
    assert limit.seconds == 3.0
    assert limit.next_rest(0.0) == 3.0


def test_the_same_lesson_is_learned_once() -> None:
    """Each answer may carry the field; only a change is news."""
    limit = IdleLimit(30.0)

    assert [limit.announced(b"timeout=5") for _ in range(3)] == [True, False, False]
    assert limit.announced(b"timeout=10")


def test_very_short_lives_teach_the_floor() -> None:
    """An upstream that closes at once."""
    limit = IdleLimit(30.0)
    closes(limit, 0.1, 0.1, 0.1)

    assert limit.seconds == FLOOR


def test_one_connection_a_minute_probes_upward() -> None:
    """One at a time, up to what is configured."""
    limit = IdleLimit(5.0)
    limit.announced(b"timeout=5")

    assert [limit.next_rest(now) for now in (0.0, 1.0, 59.9, 60.0, 61.0)] == pytest.approx([5.0, 4.0, 4.0, 5.0, 4.0])


def test_a_connection_that_survived_raises_the_limit() -> None:
    """To what it proves, and no further."""
    limit = IdleLimit(30.0)
    limit.announced(b"timeout=5")
    limit.survived(4.9)
    assert limit.seconds == pytest.approx(4.0)
    limit.survived(6.0)

    assert limit.seconds == pytest.approx(4.8)


def test_nothing_survives_what_was_never_learned() -> None:
    """The configured limit needs no proof."""
    limit = IdleLimit(3.0)
    limit.survived(100.0)

    assert limit.seconds == 3.0


def test_a_probe_that_survived_ends_the_old_evidence() -> None:
    """Closes from before it do not count with those after."""
    limit = IdleLimit(30.0)
    closes(limit, 5.0, 5.0, 5.0)
    limit.survived(8.0)

    assert closes(limit, 5.0, 5.0, start=200.0) == [False, False]
