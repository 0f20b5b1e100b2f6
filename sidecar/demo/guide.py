"""What the demo tells its visitor: where everything is, and command lines to copy with what each of them shows. Pure.

The tests run every line that is printed here and hold the sidecar to what it says.
"""

from __future__ import annotations

import html
import re
from typing import Final, NamedTuple

from sidecar.address import parse_listen


class Try(NamedTuple):
    """Something to try: `shows` is what to see, `command` the line, with {proxy} and {admin} for curl's arguments."""

    shows: str
    command: str


TRIES: Final = (
    Try("200: the service's answer, passed on with an X-Request-ID", "curl -i {proxy}/items/42"),
    Try("200: what the service was told: X-Forwarded-For, X-Request-ID, the time left", "curl -s {proxy}/echo"),
    Try("500: the service's own failure is passed on as it is, without X-Sidecar-Reason", "curl -i {proxy}/status/500"),
    Try("504 deadline_exceeded: it never answers; ours ends after {timeout}", "curl -i {proxy}/hang"),
    Try(
        "504 deadline_exceeded: the client's own deadline, 300 ms, is the shorter",
        "curl -i -H 'X-Request-Timeout-Ms: 300' {proxy}/sleep/1s",
    ),
    Try("502 connection_lost: it drops the connection in place of an answer, three times", "curl -i {proxy}/abort"),
    Try("502 bad_response: it answers what is not HTTP", "curl -i {proxy}/garbage"),
    Try(
        "413 body_too_large: {max_body} may be sent here",
        "head -c 100000 /dev/zero | curl -i --data-binary @- {proxy}/echo",
    ),
    Try("200, then cut: an answer that the service cut is seen as cut; curl says so", "curl -i {proxy}/abort-chunked"),
    Try("200: events, passed on as they come", "curl -N {proxy}/sse"),
    Try(
        "429 rate_limited: each X-Team may ask {rate}, {burst} times at once; this one asked 150 times",
        "curl -s -H 'X-Team: busy' {proxy}/items/\\[1-150\\] | tail -1",
    ),
    Try(
        "503 circuit_open: a handler that fails every time is left alone for a while",
        "curl -s -H 'X-Team: other' {proxy}/broken?n=\\[1-30\\] | tail -1",
    ),
    Try(
        "the story of one request: what was decided, each attempt, who spent the time",
        "curl -s -o /dev/null -H 'X-Request-ID: me' {proxy}/abort; curl -s -H 'Accept: text/plain' {admin}/explain/me",
    ),
    Try("how it is: upstream, connections, what it has learned", "curl -s {admin}/status"),
    Try("the same reasons, counted", "curl -s {admin}/metrics | grep answers_total"),
    Try("whether it is ready; 503 once it drains", "curl -i {admin}/readyz"),
)

_LINK: Final = re.compile(r"http://[^\s<]+")


def text(listen: str, admin: str, upstream: str, flags: dict[str, str], environment: dict[str, str]) -> str:
    """The guide. `listen`, `admin` and `upstream` are the addresses in use, the rest is what the proxy was given."""
    names = {"proxy": curl_target(listen), "admin": curl_target(admin)}
    names |= {"timeout": flags["--timeout"], "max_body": flags["--max-body"]}
    names |= {"rate": flags["--rate-limit"], "burst": flags["--rate-burst"]}
    lines = ["", f"  client ──▶ {listen} sidecar ──▶ {upstream} a service that misbehaves now and then"]
    lines += [f"{' ' * 13}admin {admin}", ""]
    lines += [
        "What comes by from now on is the access log, of traffic that the demo makes. In another terminal, try:",
        "",
    ]
    for shows, command in TRIES:
        lines += [f"  {shows.format(**names)}", f"    {command.format(**names)}"]
    given = " ".join(f"{flag} {value}" for flag, value in flags.items())
    before = "".join(f"{name}={value} " for name, value in environment.items())
    lines += [
        "",
        "An answer of the sidecar's own has the reason in X-Sidecar-Reason, and as `reason` in its log line, in the",
        "metrics and in the problem document that is its body; Proxy-Status (RFC 9209) says it to other proxies.",
        "",
        f"This text again, if it has scrolled away: curl -s {names['proxy']}/ (or a browser)",
        f"The proxy is the real one, as it runs with: {before}sidecar --upstream {upstream} {given}",
        "Ctrl-C drains: what is in flight ends, a last line reports on it.",
    ]
    return "\n".join(lines) + "\n"


def page(guide: str) -> str:
    """The guide for a browser, with its addresses as links."""
    body = _LINK.sub(lambda found: f'<a href="{found[0]}">{found[0]}</a>', html.escape(guide, quote=False))
    style = "body{margin:2em auto;max-width:75em;font:15px/1.5 monospace}"
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>sidecar demo</title><style>{style}</style>'
        f"<pre>{body}</pre></html>\n"
    )


def curl_target(address: str) -> str:
    """What to give curl for a listening address: a URL without its path, after the socket file if it is one."""
    url, socket = target(address)
    return f"--unix-socket {socket} {url}" if socket else url


def target(address: str) -> tuple[str, str]:
    """How this machine reaches a listening address: a URL without its path, and the socket file or nothing."""
    parsed = parse_listen(address)
    if parsed.unix:
        return "http://localhost", parsed.path
    if parsed.wildcard:
        parsed = parsed._replace(host="::1" if parsed.host == "::" else "127.0.0.1")
    return f"http://{parsed}", ""
