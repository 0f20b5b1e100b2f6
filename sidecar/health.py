"""Whether the upstream is up: the state, and the task that finds out when traffic does not tell.

    UpstreamHealth   pure: told of attempts and probes, keeps the state, reports each change once
    Prober           asks the upstream by itself: a connection, or a GET where a path is set

Times are seconds of one monotonic clock. Knows nothing of who asks for the state.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from time import monotonic
from typing import Final, NamedTuple

from sidecar.address import UpstreamAddress, without_secrets
from sidecar.errors import CONNECT_FAILED, CONNECT_TIMEOUT, SHORTAGES
from sidecar.exchange import Outcome

_UNREACHABLE: Final = (CONNECT_FAILED, CONNECT_TIMEOUT)

# While the upstream is down it is asked at least this often: everybody waits for the answer.
_EAGER: Final = 1.0  # seconds


class Change(NamedTuple):
    """The upstream went up or down at `now`, having been the opposite (or unknown) since `since`; `why` says how."""

    up: bool
    why: str
    since: float
    now: float


class UpstreamHealth:
    """The upstream's state. Down until something proves it up; `on_change` is told of the first verdict too.

    With `probe_decides` (a health path is set) an answer to traffic does not lift a state that a probe brought down:
    a service that says it is unhealthy may answer all the same, and the state would flap. `on_proof(now)` is told of
    each probe that found the upstream up.
    """

    def __init__(
        self,
        now: float,
        on_change: Callable[[Change], None] | None = None,
        probe_decides: bool = False,
        on_proof: Callable[[float], None] | None = None,
    ) -> None:
        self.up = False
        self.answered_once = False  # it has been up at some time
        self.since = now  # when `up` last changed; the start, before that
        self.last_error = ""  # why it was last down; kept when it is up again
        self.last_answer = float("-inf")  # when traffic was last answered
        self._on_change = on_change or _ignore
        self._on_proof = on_proof
        self._known = False
        self._probe_decides = probe_decides

    def traffic(self, outcome: Outcome, now: float) -> None:
        """An attempt has ended: an answer means up, a failed connection down; the rest says nothing of either."""
        error = outcome.error
        if error is None:
            self.last_answer = now
            if not self.up and not (self._probe_decides and self._known):
                self._set(True, f"answered {outcome.status}", now)
        elif error.reason in _UNREACHABLE:
            self._down(error.detail, now)

    def probed(self, ok: bool, detail: str, now: float) -> None:
        """A probe has ended; `detail` says how."""
        if ok:
            if not self.up:
                self._set(True, detail, now)
            if self._on_proof is not None:
                self._on_proof(now)
        else:
            self._down(detail, now)

    def _down(self, why: str, now: float) -> None:
        self.last_error = why
        if self.up or not self._known:
            self._set(False, why, now)

    def _set(self, up: bool, why: str, now: float) -> None:
        change = Change(up, why, self.since, now)
        self.up = up
        self.since = now
        self.answered_once = self.answered_once or up
        self._known = True
        self._on_change(change)

    def __repr__(self) -> str:
        state = "up" if self.up else "down" if self._known else "unknown"
        return f"<UpstreamHealth {state} {self.last_error!r}>"


class Prober:
    """Asks the upstream every `interval` seconds, while it is down every second if that is more often.

    `path` is what to GET; empty means that a connection is enough, and then answered traffic saves the probe.
    `timeout` bounds one probe, in seconds. `hosts` says what the upstream's host means, where that is a name, and waits
    for so many seconds before it says what it meant last: a resolver that is away has not moved the upstream.
    """

    def __init__(
        self,
        health: UpstreamHealth,
        address: UpstreamAddress,
        *,
        interval: float,
        timeout: float,
        path: str = "",
        hosts: Callable[[float], Awaitable[Sequence[str]]] | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._health = health
        self._address = address
        self._interval = interval
        self._timeout = timeout
        self._path = path
        self._shown = without_secrets(path)
        self._hosts = hosts
        self._clock = clock
        self._asked = float("-inf")

    async def run(self) -> None:
        """Probe until cancelled, the first time at once."""
        while True:
            if self._due(self._clock()):
                await self.probe()
            # Looks up often, asks seldom: traffic may bring the state down at any moment.
            await asyncio.sleep(min(self._interval, _EAGER))

    async def probe(self) -> None:
        """Ask once and report to the state."""
        if self._path:
            # Here, so that it does not use up the first probe's time.
            import aiohttp  # noqa: F401
        self._asked = self._clock()
        try:
            async with asyncio.timeout(self._timeout):
                ok, detail = await self._ask()
        except TimeoutError:
            ok, detail = False, f"no answer within {self._timeout:g} s"
        except OSError as error:
            if error.errno in SHORTAGES:
                return  # nobody was asked
            ok, detail = False, f"cannot connect: {_why(error)}"
        self._health.probed(ok, detail, self._clock())

    def _due(self, now: float) -> bool:
        if not self._health.up:
            return True
        fresh = self._asked if self._path else max(self._asked, self._health.last_answer)
        return now - fresh >= self._interval

    async def _ask(self) -> tuple[bool, str]:
        ask = self._get if self._path else self._connect
        hosts = await self._hosts(self._timeout / 2) if self._hosts is not None else (self._address.host,)
        for host in hosts[:-1]:
            try:
                return await ask(host)
            except OSError:
                pass
        return await ask(hosts[-1])

    async def _connect(self, host: str) -> tuple[bool, str]:
        address = self._address
        if address.unix:
            _, writer = await asyncio.open_unix_connection(address.path)
        else:
            _, writer = await asyncio.open_connection(host, address.port)
        # Aborted rather than closed: nothing was sent, and nothing is worth waiting for.
        writer.transport.abort()
        return True, "accepts connections"

    async def _get(self, host: str) -> tuple[bool, str]:
        import aiohttp

        try:
            status = await get(self._address, self._path, host=host)
        except aiohttp.ClientConnectorError as error:
            raise error.os_error from None
        except aiohttp.ClientError as error:
            # That error quotes the answer, and the whole URL.
            foreign = isinstance(error, aiohttp.ClientResponseError)
            why = "the answer is not valid HTTP" if foreign else error
            return False, f"GET {self._shown} failed: {why}"
        return 200 <= status < 400, f"GET {self._shown} answered {status}"


async def get(address: UpstreamAddress, path: str, headers: Mapping[str, str] | None = None, *, host: str = "") -> int:
    """The status that the upstream answers a GET with, over a connection of its own. Raises aiohttp.ClientError.

    `host` is where to connect to, where the name has been resolved already.
    """
    # Imported late, as it takes longer than all else until the sidecar can answer.
    import aiohttp

    connector = aiohttp.UnixConnector(address.path) if address.unix else aiohttp.TCPConnector(force_close=True)
    base = "http://localhost" if address.unix else str(address)
    if host and host != address.host:
        headers = {"Host": base.removeprefix("http://"), **(headers or {})}
        base = str(address._replace(host=host))
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        session.get(base + path, headers=headers, allow_redirects=False) as answer,
    ):
        return answer.status


def _why(error: OSError) -> str:
    # asyncio's own text says "Connect call failed" whatever the kernel said; name errors have numbers below zero.
    if error.errno is not None and error.errno > 0:
        return os.strerror(error.errno)
    return error.strerror or str(error)


def _ignore(change: Change) -> None:
    pass
