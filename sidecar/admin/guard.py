"""Who may use the admin port: one middleware in front of every view.

Health and metrics are open. Everything else is for this machine, or for whoever shows the token. Against web pages
that people on this machine have open: the Host header must be an address of this machine (DNS rebinding), and what
changes something must not come from a foreign Origin.
"""

from __future__ import annotations

import hmac
import socket
from collections.abc import Awaitable, Callable
from ipaddress import IPv6Address, ip_address
from typing import Final
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Middleware

from sidecar.admin.problems import problem

OPEN: Final = frozenset({"/livez", "/readyz", "/startupz", "/healthz", "/app/livez", "/app/readyz", "/metrics"})
_INTERNET: Final = frozenset({socket.AF_INET, socket.AF_INET6})
_READING: Final = frozenset({"GET", "HEAD", "OPTIONS"})

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def guard(token: Callable[[], str], bound_host: str, refused: Callable[[int], None]) -> Middleware:
    """The middleware. `token()` is the token now, empty if there is none; `bound_host` where the port listens, empty
    for everywhere, which is no name to ask for; `refused` is told the status of each refusal."""

    @web.middleware
    async def guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
        refusal = None if request.path in OPEN else _refusal(request, token(), bound_host)
        if refusal is not None:
            refused(refusal.status)
            return refusal
        try:
            return await handler(request)
        except web.HTTPException as error:
            return _plain(error)

    return guarded


def _refusal(request: web.Request, token: str, bound_host: str) -> web.Response | None:
    shown = request.headers.get("Authorization")
    trusted = shown is not None and token != "" and _matches(shown, token)
    if shown is not None and not trusted:
        return _unauthenticated("the token is wrong" if token else "no token is set; start with --admin-token")
    if not trusted:
        refusal = _unknown_peer(request, token, bound_host)
        if refusal is not None:
            return refusal
    if request.method not in _READING and not _same_origin(request):
        return problem(403, "foreign_origin", "a page of another origin may not change anything here")
    return None


def _unknown_peer(request: web.Request, token: str, bound_host: str) -> web.Response | None:
    peer = _peer(request)
    if peer is not None and not is_loopback(peer):
        if token:
            return _unauthenticated("send the token: Authorization: Bearer ...")
        return problem(403, "not_local", "only this machine may ask for this; start with --admin-token to let others")
    # A browser cannot reach a socket file, so no page can have been rebound to it.
    if peer is not None and not _our_host(request.headers.get("Host", ""), bound_host):
        return problem(403, "foreign_host", "the Host header names no address of this machine; use 127.0.0.1")
    return None


def _peer(request: web.Request) -> str | None:
    """The peer's IP address, empty if it is not known; None for a socket file, which only this machine has."""
    if request.transport is None:
        return ""
    # A TCP peer that has gone has no name either, so the missing name alone proves nothing.
    if request.transport.get_extra_info("socket").family not in _INTERNET:
        return None
    name = request.transport.get_extra_info("peername")
    return str(name[0]) if name else ""


def is_loopback(host: str) -> bool:
    """Whether an IP address is this machine's own; IPv4 in IPv6 clothing too. Names are not."""
    try:
        address = ip_address(host)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return (mapped or address).is_loopback


def _our_host(host: str, bound_host: str) -> bool:
    name = _name(f"//{host}")
    return name == "localhost" or is_loopback(name) or (bound_host != "" and name == bound_host.lower())


def _same_origin(request: web.Request) -> bool:
    origin = request.headers.get("Origin")
    if origin is None:
        return True  # no browser: they all say where a POST comes from
    return urlsplit(origin).scheme in ("http", "https") and origin.partition("//")[2] == request.headers.get("Host")


def _name(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _matches(authorization: str, token: str) -> bool:
    scheme, _, value = authorization.partition(" ")
    # Compared in any case, and as bytes: text that is not ASCII would be refused with an exception.
    same = hmac.compare_digest(value.strip().encode("utf-8", "replace"), token.encode("utf-8"))
    return scheme.lower() == "bearer" and same


def _unauthenticated(detail: str) -> web.Response:
    return problem(401, "unauthenticated", detail, {"WWW-Authenticate": 'Bearer realm="sidecar"'})


def _plain(error: web.HTTPException) -> web.Response:
    """aiohttp's own refusals, told as ours."""
    if error.status == 405:
        allowed = error.headers.get("Allow", "")
        return problem(405, "method_not_allowed", f"use {allowed}", {"Allow": allowed})
    if error.status == 404:
        return problem(404, "not_found", "there is no such page; GET / lists them all")
    return problem(error.status, "refused", error.reason)
