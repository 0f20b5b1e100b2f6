"""Every knob once: name, kind, unit, default, bounds and meaning. Frozen structs; the rest is derived from them.

    Settings ─ upstream, listen
      ├ timeouts   ├ pool    ├ http     ├ forwarding
      ├ probes     ├ health  ├ drain    ├ log    ├ admin
      └ the policies (`policies.py`), and routes that have their own

Durations are seconds, sizes bytes. Flags, environment names, the file's keys, JSON Schema, the template and the
reference all come from here (`knobs.py`). Does not know where values come from (`sources.py`) nor who uses them;
what no single knob can tell is in `checks.py`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from sidecar.address import DEFAULT_ADMIN
from sidecar.settings import kinds
from sidecar.settings.policies import Breaker, Concurrency, Deadline, Guard, Rate, Redis, Retry, Route
from sidecar.settings.section import Section


class Timeouts(Section, frozen=True):
    """How long the sidecar waits."""

    request: Annotated[
        float,
        kinds.DURATION,
        Meta(ge=0, description="From the request's last byte to the response head, all attempts; 0 = off."),
    ] = 15.0
    attempt: Annotated[
        float, kinds.DURATION, Meta(ge=0, description="The same for one attempt; 0 = off, only `request` bounds it.")
    ] = 0.0
    connect: Annotated[
        float, kinds.DURATION, Meta(ge=0.001, description="For the upstream to accept a connection.")
    ] = 1.0
    head: Annotated[
        float,
        kinds.DURATION,
        Meta(ge=0.001, description="For a client to send a request head, then 408; a silent new connection is closed."),
    ] = 10.0
    stream_idle: Annotated[
        float,
        kinds.DURATION,
        Meta(ge=0.001, description="For the next bytes of a body or tunnel, either way, before it is cut."),
    ] = 300.0
    keep_alive: Annotated[
        float, kinds.DURATION, Meta(ge=0.001, description="A client's connection may idle this long between requests.")
    ] = 75.0
    startup: Annotated[
        float,
        kinds.DURATION,
        Meta(ge=0, description="Until the upstream answered once, a refused connection is tried again for this long."),
    ] = 1.0


class Pool(Section, frozen=True):
    """Connections to the upstream."""

    max_connections: Annotated[
        int, kinds.INTEGER, Meta(ge=1, le=65535, description="Connections to the upstream at one time.")
    ] = 1024
    max_pending: Annotated[
        int, kinds.INTEGER, Meta(ge=0, description="Requests that may wait for one of them; more are refused.")
    ] = 1024
    idle: Annotated[
        float,
        kinds.DURATION,
        Meta(ge=0.001, description="An unused connection is kept this long for the next request."),
    ] = 3.0


class Http(Section, frozen=True):
    """Bounds on clients' connections and messages."""

    # Ten times what may be in flight, as most of them are idle: at some 3 KB each, they stay below 50 MB.
    max_connections: Annotated[
        int,
        kinds.INTEGER,
        Meta(ge=0, description="Clients' connections at one time, then 503; 0 = as many as file descriptors allow."),
    ] = 10000
    # Off, as often a load balancer or an ingress stands in front: then a few addresses bring everybody's requests.
    max_connections_per_client: Annotated[
        int,
        kinds.INTEGER,
        Meta(ge=0, description="The same from one address (IPv6: /64) that is no trusted proxy's; 0 = off."),
    ] = 0
    max_header_bytes: Annotated[
        int, kinds.SIZE, Meta(ge=1024, le=1024**2, description="A request head may have this many bytes, then 431.")
    ] = 61440
    max_headers: Annotated[
        int, kinds.INTEGER, Meta(ge=1, le=10000, description="A request head may have this many lines, then 431.")
    ] = 100
    max_body: Annotated[
        int, kinds.SIZE, Meta(ge=0, description="A request body may have this many bytes, then 413; 0 = off.")
    ] = 0
    # Off, as a client may well send what happens now and then.
    min_body_rate: Annotated[
        int,
        kinds.SIZE,
        Meta(ge=0, description="After 5 s a body must have brought so many bytes a second, else 408; 0 = off."),
    ] = 0


class Forwarding(Section, frozen=True):
    """What the upstream is told of the client."""

    trusted_proxies: Annotated[
        tuple[str, ...],
        kinds.NETWORKS,
        Meta(description="Networks whose X-Forwarded-* headers are believed; none = nobody's."),
    ] = ()
    forwarded: Annotated[bool, kinds.SWITCH, Meta(description="Also send the Forwarded header (RFC 7239).")] = False


class Probes(Section, frozen=True):
    """Requests that are health probes: they stay out of the request metrics."""

    user_agents: Annotated[
        tuple[str, ...], kinds.PREFIXES, Meta(description="A request whose User-Agent begins so is a probe.")
    ] = ("kube-probe/",)
    paths: Annotated[tuple[str, ...], kinds.PATHS, Meta(description="A request for exactly this path is a probe.")] = ()


class Health(Section, frozen=True):
    """How the sidecar finds out whether the upstream is up."""

    path: Annotated[str, kinds.PATH, Meta(description="Path to GET; empty = a TCP connection is enough.")] = ""
    interval: Annotated[float, kinds.DURATION, Meta(ge=0.01, description="Time between two checks.")] = 5.0
    timeout: Annotated[float, kinds.DURATION, Meta(ge=0.001, description="Longest wait for one check.")] = 1.0
    app_livez: Annotated[
        str, kinds.PATH, Meta(description="The service's own page behind /app/livez of the admin port; empty = none.")
    ] = "/livez"
    app_readyz: Annotated[str, kinds.PATH, Meta(description="The same behind /app/readyz.")] = "/readyz"


class Drain(Section, frozen=True):
    """How the sidecar leaves."""

    delay: Annotated[
        float, kinds.DURATION, Meta(ge=0, description="After the signal, keep accepting this long while not ready.")
    ] = 0.0
    timeout: Annotated[
        float, kinds.DURATION, Meta(ge=0, description="Then wait this long for what is in flight, and cut the rest.")
    ] = 25.0


class Log(Section, frozen=True):
    """What is written to stdout (access log) and stderr (everything else)."""

    access: Annotated[
        Literal["all", "errors", "off"],
        kinds.choice("all", "errors", "off"),
        Meta(description="Which requests get a line; errors = status 500 and above, or not the upstream's own answer."),
    ] = "all"
    format: Annotated[
        Literal["auto", "console", "json"],
        kinds.choice("auto", "console", "json"),
        Meta(description="How lines look; auto = console on a terminal, else json."),
    ] = "auto"
    level: Annotated[
        Literal["debug", "info", "warning", "error"],
        kinds.choice("debug", "info", "warning", "error"),
        Meta(description="The least level that is written to stderr."),
    ] = "info"
    query: Annotated[bool, kinds.SWITCH, Meta(description="Log query strings too; they often hold secrets.")] = False


class Admin(Section, frozen=True):
    """The admin port: health, metrics, status, drain."""

    listen: Annotated[
        str, kinds.LISTEN, Meta(description="Where the admin port listens: host:port, :port or unix:/path.")
    ] = DEFAULT_ADMIN
    token: Annotated[
        str,
        kinds.SECRET,
        Meta(description="Lets others than this machine use more than health and metrics; empty = nobody."),
    ] = ""
    token_file: Annotated[
        str, kinds.FILE, Meta(description="File that holds the token, read at start; instead of `token`.")
    ] = ""


class Settings(Section, frozen=True):
    """Everything the sidecar can be told."""

    upstream: Annotated[
        str, kinds.UPSTREAM, Meta(description="The service behind: http://host:port or unix:///path.sock.")
    ]
    listen: Annotated[
        str, kinds.LISTEN, Meta(description="Where clients connect: host:port, :port (all interfaces) or unix:/path.")
    ] = "127.0.0.1:8900"
    timeouts: Timeouts = Timeouts()
    pool: Pool = Pool()
    http: Http = Http()
    forwarding: Forwarding = Forwarding()
    probes: Probes = Probes()
    health: Health = Health()
    drain: Drain = Drain()
    log: Log = Log()
    admin: Admin = Admin()
    deadline: Deadline = Deadline()
    rate: Rate = Rate()
    redis: Redis = Redis()
    concurrency: Concurrency = Concurrency()
    guard: Guard = Guard()
    retry: Retry = Retry()
    breaker: Breaker = Breaker()
    routes: tuple[Route, ...] = ()
