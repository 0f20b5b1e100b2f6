"""How long the client will wait, and when we answer because of it."""

from __future__ import annotations

import pytest

from sidecar.policy.deadline import answer_within, client_timeout

MILLISECONDS = [b"x-request-timeout-ms", b"x-envoy-expected-rq-timeout-ms", b"connect-timeout-ms"]

# The last two: an Arabic-Indic five and a superscript two, in UTF-8.
MALFORMED = [b"", b" 5", b"5 ", b"+5", b"-5", b"5.0", b"1_000", b"0x10", b"5ms", b"5, 6", b"\xd9\xa5", b"\xc2\xb2"]


@pytest.mark.parametrize("field", MILLISECONDS)
def test_each_field_of_milliseconds_counts(field: bytes) -> None:
    """Whoever the client learned it from: Envoy, Connect, or us."""
    assert client_timeout({field: b"1500"}) == 1.5


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (b"2H", 7200.0),
        (b"3M", 180.0),
        (b"4S", 4.0),
        (b"5m", 0.005),
        (b"6u", 6e-6),
        (b"7n", 7e-9),
        (b"99999999S", 99999999.0),
    ],
)
def test_grpc_says_the_unit(value: bytes, seconds: float) -> None:
    """Eight digits at most, one letter."""
    assert seconds == pytest.approx(client_timeout({b"grpc-timeout": value}))


def test_the_smallest_of_several_wins() -> None:
    """However they are mixed."""
    fields = {b"x-request-timeout-ms": b"900", b"connect-timeout-ms": b"800", b"grpc-timeout": b"250m"}

    assert client_timeout(fields) == 0.25
    assert client_timeout(fields | {b"x-envoy-expected-rq-timeout-ms": b"1"}) == 0.001


def test_silence_is_no_deadline() -> None:
    """None, which is not zero."""
    assert client_timeout({}) is None
    assert client_timeout({b"host": b"5", b"timeout": b"5"}) is None


@pytest.mark.parametrize("field", [*MILLISECONDS, b"grpc-timeout"])
@pytest.mark.parametrize("value", MALFORMED)
def test_what_has_no_single_reading_does_not_count(field: bytes, value: bytes) -> None:
    """Signs, blanks, separators, lists and other scripts' digits: Python would read some, we do not."""
    assert client_timeout({field: value}) is None


@pytest.mark.parametrize("value", [b"5", b"S", b"5s", b"5 S", b"+5S", b"123456789S", b"5SS", b"1.5S", b"\xd9\xa5S"])
def test_malformed_grpc_does_not_count(value: bytes) -> None:
    """By gRPC's own grammar."""
    assert client_timeout({b"grpc-timeout": value}) is None


def test_a_malformed_field_does_not_hide_a_good_one() -> None:
    """Each stands for itself."""
    assert client_timeout({b"x-request-timeout-ms": b"+5", b"connect-timeout-ms": b"70"}) == 0.07


def test_no_number_overflows() -> None:
    """Nine digits are eleven days; with ten nobody means a deadline."""
    assert client_timeout({b"x-request-timeout-ms": b"999999999"}) == 999999.999
    assert client_timeout({b"x-request-timeout-ms": b"1" * 10}) is None
    assert client_timeout({b"x-request-timeout-ms": b"1" * 5000}) is None


def test_zero_is_a_deadline_that_has_passed() -> None:
    """It is not the absence of one."""
    assert client_timeout({b"x-request-timeout-ms": b"0"}) == 0.0


@pytest.mark.parametrize(
    ("timeout", "answer"), [(10.0, 9.990), (0.1, 0.090), (0.05, 0.045), (0.01, 0.009), (0.001, 0.0009), (0.0, 0.0)]
)
def test_the_answer_comes_a_little_earlier(timeout: float, answer: float) -> None:
    """10 ms, but never more than a tenth of the time there is."""
    assert answer == pytest.approx(answer_within(timeout))
