"""Errors of the admin port as `application/problem+json` (RFC 9457), with a reason and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

import msgspec
from aiohttp import web


def answer(body: object, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """`body` as JSON."""
    return web.Response(
        body=msgspec.json.encode(body, enc_hook=str) + b"\n",
        status=status,
        content_type="application/json",
        headers={"Cache-Control": "no-store", **(headers or {})},
    )


def problem(
    status: int, reason: str, detail: str, headers: Mapping[str, str] | None = None, **facts: object
) -> web.Response:
    """An error: `reason` is a token for programs, `detail` one sentence that says what to do; `facts` go beside."""
    body = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "reason": reason}
    response = answer({**body, "detail": detail, **facts}, status, headers)
    response.content_type = "application/problem+json"
    return response
