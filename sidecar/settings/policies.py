"""The knobs of the policies, and routes that have their own. Frozen structs, as in `structs.py`.

A route's `rate` and `concurrency` hold for that route alone, on top of those for the whole sidecar: both must admit.
Its `timeouts`, `deadline`, `retry` and `breaker` need to say only what differs from the sidecar's.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import Meta

from sidecar.settings import kinds
from sidecar.settings.section import Section

Mode = Annotated[
    Literal["enforce", "shadow", "off"],
    kinds.choice("enforce", "shadow", "off"),
    Meta(description="enforce; shadow = decide and count, but let through; off."),
]


class Rate(Section, frozen=True):
    """How much may be asked: a token bucket."""

    mode: Mode = "enforce"
    limit: Annotated[
        float, kinds.RATE, Meta(ge=0, description="Requests in a time: 100/s, 90/m or 5000/h; 0 = no limit.")
    ] = 0.0
    burst: Annotated[
        int, kinds.INTEGER, Meta(ge=0, description="Requests at once after a quiet time; 0 = two seconds' worth.")
    ] = 0
    key: Annotated[
        str,
        kinds.KEY,
        Meta(description="A bucket for each of these: client (its address) or header:NAME; empty = one for all."),
    ] = ""
    max_keys: Annotated[
        int, kinds.INTEGER, Meta(ge=1, le=1_000_000, description="Buckets that are kept; further keys share one.")
    ] = 10_000
    wait: Annotated[
        float,
        kinds.DURATION,
        Meta(ge=0, le=60, description="Instead of refusing, let requests wait in order for up to this long; 0 = off."),
    ] = 0.0
    shared: Annotated[bool, kinds.SWITCH, Meta(description="One bucket for all replicas, kept in `redis.url`.")] = False


class Redis(Section, frozen=True):
    """Where limits that all replicas share are kept."""

    url: Annotated[
        str, kinds.REDIS, Meta(description="redis://[user:password@]host:port/db, rediss:// or unix:///path.")
    ] = ""
    url_file: Annotated[
        str, kinds.FILE, Meta(description="File that holds the URL, read at start; instead of `url`.")
    ] = ""
    timeout: Annotated[
        float, kinds.DURATION, Meta(ge=0.001, le=1, description="Longest wait for an answer of Redis.")
    ] = 0.005
    replicas: Annotated[
        int, kinds.INTEGER, Meta(ge=1, description="While Redis is away, each replica grants limit / replicas.")
    ] = 1
    prefix: Annotated[str, kinds.TEXT, Meta(description="What its keys in Redis begin with.")] = "sidecar:"


class Concurrency(Section, frozen=True):
    """How many requests may be in flight at once; a queue as long as that waits for a place."""

    mode: Mode = "enforce"
    max: Annotated[int, kinds.INTEGER, Meta(ge=0, description="Requests in flight; 0 = no limit.")] = 1024
    queue_wait: Annotated[
        float, kinds.DURATION, Meta(ge=0, description="A request waits for a place this long; 0 = not at all.")
    ] = 0.1
    adaptive: Annotated[
        bool, kinds.SWITCH, Meta(description="Find the limit, between `min` and `max`, from how latency changes.")
    ] = False
    min: Annotated[int, kinds.INTEGER, Meta(ge=1, description="The adaptive limit never goes below.")] = 2
    priority: Annotated[
        str,
        kinds.HEADER,
        Meta(description="Header that says high, normal or low; low is refused first; empty = all are alike."),
    ] = ""


class Guard(Section, frozen=True):
    """When the sidecar itself is overloaded, it refuses at once."""

    mode: Mode = "enforce"
    lag: Annotated[float, kinds.DURATION, Meta(ge=0, description="The event loop is this late; 0 = off.")] = 0.5
    wait: Annotated[
        float, kinds.DURATION, Meta(ge=0, description="A new request would wait this long for its turn; 0 = off.")
    ] = 0.5
    memory: Annotated[int, kinds.SIZE, Meta(ge=0, description="The process's resident memory; 0 = off.")] = 0


class Deadline(Section, frozen=True):
    """What becomes of work that the client's deadline leaves too little time for."""

    mode: Annotated[
        Literal["enforce", "shadow", "off"],
        kinds.choice("enforce", "shadow", "off"),
        Meta(description="Refuse at once what has less time left than its route usually takes; shadow = only count."),
    ] = "shadow"


class Retry(Section, frozen=True):
    """When a request is sent to the upstream again."""

    mode: Mode = "enforce"
    attempts: Annotated[
        int, kinds.INTEGER, Meta(ge=0, le=10, description="Further attempts after the first; 0 = none.")
    ] = 2
    conditions: Annotated[
        tuple[str, ...],
        kinds.RETRY_ON,
        Meta(description="After which failures, by Envoy's names; only where sending twice does no harm."),
    ] = ("connect-failure", "reset", "gateway-error")
    statuses: Annotated[
        tuple[str, ...], kinds.STATUSES, Meta(description="What `retriable-status-codes` stands for.")
    ] = ()
    headers: Annotated[
        tuple[str, ...], kinds.HEADERS, Meta(description="Response headers that `retriable-headers` looks for.")
    ] = ()
    base: Annotated[
        float, kinds.DURATION, Meta(ge=0.001, description="First backoff; each next is twice as long, all jittered.")
    ] = 0.1
    cap: Annotated[float, kinds.DURATION, Meta(ge=0.001, description="No backoff is longer.")] = 2.0
    budget: Annotated[
        float, kinds.RATIO, Meta(ge=0, le=1, description="Retries as a share of requests, 0.2 = one in five.")
    ] = 0.2
    max_body: Annotated[
        int, kinds.SIZE, Meta(ge=0, le=16 * 1024**2, description="A longer request body is not kept for a retry.")
    ] = 65536
    hedge: Annotated[
        float,
        kinds.DURATION,
        Meta(ge=0, description="A safe request without answer is sent a second time after this long; 0 = never."),
    ] = 0.0


class Breaker(Section, frozen=True):
    """When the upstream is not asked for a while, because it fails."""

    mode: Mode = "enforce"
    failures: Annotated[
        int, kinds.INTEGER, Meta(ge=0, description="Failures in a row that open the circuit; 0 = that alone does not.")
    ] = 5
    ratio: Annotated[
        float, kinds.RATIO, Meta(ge=0, le=1, description="Share of failures in `window` that opens it; 0 = off.")
    ] = 0.5
    requests: Annotated[
        int, kinds.INTEGER, Meta(ge=1, description="The ratio counts from this many attempts in the window.")
    ] = 20
    window: Annotated[float, kinds.DURATION, Meta(ge=1, le=600, description="Time that the ratio looks back.")] = 10.0
    slow: Annotated[
        float, kinds.DURATION, Meta(ge=0, description="An attempt that takes longer counts as failed; 0 = off.")
    ] = 0.0
    open_for: Annotated[
        float, kinds.DURATION, Meta(ge=0.01, description="How long it stays open, then one probe; up to 20 % longer.")
    ] = 30.0
    ramp: Annotated[
        float, kinds.DURATION, Meta(ge=0, description="After closing, admit more and more for this long; 0 = all.")
    ] = 0.0


class RouteTimeouts(Section, frozen=True):
    """How long this route may take, where it differs."""

    request: Annotated[float, kinds.DURATION, Meta(ge=0, description="As timeouts.request.")] = 15.0
    attempt: Annotated[float, kinds.DURATION, Meta(ge=0, description="As timeouts.attempt.")] = 0.0


# What a route need not say: where it does not, the sidecar's own value holds.
INHERITED: Final = frozenset({"timeouts", "deadline", "retry", "breaker"})


class Route(Section, frozen=True):
    """Requests that are treated alike; the first route that matches is a request's."""

    name: Annotated[str, kinds.NAME, Meta(description="Its name, a metric label.")]
    path: Annotated[
        str, kinds.TEMPLATE, Meta(description="Path template: /orders/{id}, or /files/{rest...} for all below.")
    ]
    methods: Annotated[
        tuple[str, ...], kinds.METHODS, Meta(description="Only these methods; GET takes HEAD along; none = all.")
    ] = ()
    headers: Annotated[
        tuple[str, ...], kinds.MATCHES, Meta(description="Only with these headers: NAME, or NAME=VALUE.")
    ] = ()
    timeouts: RouteTimeouts = RouteTimeouts()
    deadline: Deadline = Deadline()
    rate: Rate = Rate()
    concurrency: Concurrency = Concurrency(max=0)
    retry: Retry = Retry()
    breaker: Breaker = Breaker()
