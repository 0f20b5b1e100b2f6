"""What the tests of the running program share: the Go service, upstreams on cue, and proxies in front of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count

import pytest

from tests.support.client import Client
from tests.support.processes import GoService, Proxy
from tests.support.upstream import OK, Upstream, always
from tests.wire.raw import Raw

# The data plane alone.
PLAIN = ("--breaker", "off", "--retries", "0")

_ids = count(1)


@pytest.fixture(scope="session")
def go() -> Iterator[GoService]:
    """The example service."""
    with GoService() as service:
        yield service


@pytest.fixture(scope="module")
def service() -> Iterator[GoService]:
    """The example service for one module: what it remembers are that module's requests alone."""
    with GoService() as service:
        yield service


@pytest.fixture(scope="session")
def proxy(go: GoService) -> Iterator[Proxy]:
    """A proxy with all defaults in front of the Go service; tests share it and must not disturb each other."""
    with Proxy(go.url) as proxy:
        yield proxy


@pytest.fixture
def client(proxy: Proxy) -> Iterator[Client]:
    """A connection to the shared proxy."""
    with proxy.client() as client:
        yield client


@pytest.fixture(scope="module")
def _raw() -> Iterator[Raw]:
    with Upstream() as upstream, Proxy(upstream.url, *PLAIN, SIDECAR_HEALTH__INTERVAL="1h") as proxy:
        yield Raw(proxy, upstream)


@pytest.fixture
def raw(_raw: Raw) -> Iterator[Raw]:
    """A proxy without circuits and retries, the module's, in front of an upstream that plays this test's script.

    Most scripts are of failures, and what is asked is what each of them does by itself.
    """
    _raw.upstream.script = always(OK)
    _raw.upstream.on_accept = _raw.upstream.on_head = None
    _raw.forget()
    yield _raw
    _raw.upstream.script = always(OK)
    _raw.upstream.on_accept = _raw.upstream.on_head = None


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    """An upstream for this test alone."""
    with Upstream() as upstream:
        yield upstream


Start = Callable[..., Proxy]


@pytest.fixture
def start(upstream: Upstream) -> Iterator[Start]:
    """Starts proxies for this test alone, as a rule in front of its own upstream."""
    with ExitStack() as stack:

        def begin(*flags: str, url: str | None = None, **env: str) -> Proxy:
            env.setdefault("SIDECAR_HEALTH__INTERVAL", "1h")
            proxy = Proxy(url or upstream.url, *flags, **env)
            stack.enter_context(proxy)
            return proxy

        yield begin


@pytest.fixture
def request_id() -> str:
    """An ID that no other request has."""
    return f"wire-{next(_ids)}"
