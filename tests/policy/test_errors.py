"""The table of everything that can go wrong: it is a contract with clients, dashboards and alerts."""

from __future__ import annotations

import re

import pytest

from sidecar import errors
from sidecar.errors import REASONS, UPSTREAM, Reason, Retry, Side, SidecarError

NEVER, ALWAYS, IDEMPOTENT = Retry.NEVER, Retry.ALWAYS, Retry.IF_IDEMPOTENT

# token: HTTP status, gRPC status, when we may try again, whether it counts against the upstream
TABLE = {
    "rate_limited": (429, 8, NEVER, False),
    "overloaded": (503, 14, NEVER, False),
    "queue_timeout": (503, 14, NEVER, False),
    "circuit_open": (503, 14, NEVER, False),
    "draining": (503, 14, NEVER, False),
    "unauthenticated": (401, 16, NEVER, False),
    "forbidden": (403, 7, NEVER, False),
    "bad_request": (400, 3, NEVER, False),
    "headers_too_large": (431, 3, NEVER, False),
    "body_too_large": (413, 3, NEVER, False),
    "request_timeout": (408, 3, NEVER, False),
    "client_gone": (499, 1, NEVER, False),
    "connect_failed": (502, 14, ALWAYS, True),
    "connect_timeout": (504, 14, ALWAYS, True),
    "stale_connection": (502, 14, Retry.IF_IDEMPOTENT_OR_UNSENT, False),
    "connection_lost": (502, 14, IDEMPOTENT, True),
    "attempt_timeout": (504, 4, IDEMPOTENT, True),
    "deadline_exceeded": (504, 4, NEVER, True),
    "bad_response": (502, 13, NEVER, True),
    "internal": (500, 13, NEVER, False),
}

# RFC 9209, section 2.3.
PROXY_ERRORS = {
    *("dns_timeout", "dns_error", "destination_not_found", "destination_unavailable", "destination_ip_prohibited"),
    *("destination_ip_unroutable", "connection_refused", "connection_terminated", "connection_timeout"),
    *("connection_read_timeout", "connection_write_timeout", "connection_limit_reached", "tls_protocol_error"),
    *("tls_certificate_error", "tls_alert_received", "http_request_error", "http_request_denied"),
    *("http_response_incomplete", "http_response_header_section_size", "http_response_header_size"),
    *("http_response_body_size", "http_response_trailer_section_size", "http_response_trailer_size"),
    *("http_response_transfer_coding", "http_response_content_coding", "http_response_timeout"),
    *("http_upgrade_failed", "http_protocol_error", "proxy_internal_response", "proxy_internal_error"),
    *("proxy_configuration_error", "proxy_loop_detected"),
}

EVERY = pytest.mark.parametrize("reason", REASONS, ids=[reason.token for reason in REASONS])


def test_the_table_is_what_was_promised() -> None:
    """No row more, none less, none otherwise."""
    assert {row.token: (row.status, row.grpc, row.retry, row.blames_upstream) for row in REASONS} == TABLE


def test_no_row_is_left_out_of_the_vocabulary() -> None:
    """Every reason that the module has is in the tuple, once."""
    rows = [value for value in vars(errors).values() if isinstance(value, Reason)]

    assert sorted(REASONS) == sorted(rows)
    assert len({row.token for row in REASONS} | {UPSTREAM}) == len(REASONS) + 1


@EVERY
def test_a_token_is_a_label_a_header_and_a_field(reason: Reason) -> None:
    """So it is made of lower-case letters; the error type is one of RFC 9209's; the title is for people."""
    assert re.fullmatch("[a-z_]+", reason.token)
    assert reason.proxy_error in PROXY_ERRORS
    assert reason.title[:1].isupper()


@EVERY
def test_only_the_upstreams_failures_count_against_it(reason: Reason) -> None:
    """And only they may be tried again."""
    assert not reason.blames_upstream or reason.side is Side.UPSTREAM
    assert reason.retry is NEVER or reason.side is Side.UPSTREAM


@EVERY
def test_what_was_misread_ends_the_connection(reason: Reason) -> None:
    """After it no byte can be trusted to begin a request; and a drain wants no further one."""
    ends = {"draining", "bad_request", "headers_too_large", "body_too_large", "request_timeout", "client_gone"}

    assert (reason.token in ends) is reason.close


def test_an_error_says_its_reason_and_detail() -> None:
    """In its text and its representation; facts are its own."""
    error = SidecarError(errors.OVERLOADED, "all busy", retry_after=1)

    assert str(error) == "all busy"
    assert repr(error) == "<SidecarError overloaded: all busy>"
    assert (error.sent, error.retry_after, error.facts) == (False, 1, {})
    assert error.facts is not SidecarError(errors.OVERLOADED, "").facts
