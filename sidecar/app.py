"""The composition root and the process's life: build, start, become ready, drain, stop. Owns every task and signal.

    bind both ports → serve → (admin port) → ready … SIGTERM → drain → report → exit 0

Everything is put together here and nowhere else; what is put together is in the modules that are imported here.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import signal
import socket
import sys
from collections.abc import Coroutine
from contextlib import ExitStack
from time import monotonic
from typing import Any

from sidecar import __version__, stack
from sidecar.address import ListenAddress, parse_listen, parse_upstream
from sidecar.banner import banner, started_fields
from sidecar.drain import Drain
from sidecar.exchange import Request
from sidecar.health import Change, Prober, UpstreamHealth
from sidecar.http1.idle import IdleLimit
from sidecar.http1.names import follow, is_name
from sidecar.http1.pool import Pool
from sidecar.http1.server import Http1Server
from sidecar.http1.upstream import Http1Upstream
from sidecar.listen import BACKLOG, SocketFile, accept_rest, bind, bound_address
from sidecar.settings import Loaded
from sidecar.telemetry import lag, log, render
from sidecar.telemetry.access import AccessLog
from sidecar.telemetry.metrics import Metrics
from sidecar.telemetry.outlet import Outlet
from sidecar.telemetry.recorder import Recorder


def run(loaded: Loaded) -> int:
    """Run the proxy until a signal ends it; returns the exit code. Raises OSError where a port cannot be bound."""
    # Requests leave nothing for the collector, so it need not look often, nor at what was here from the start. A
    # thousand requests in flight are some 20,000 objects: to walk them over and over cost 5 µs a request.
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        return runner.run(_main(loaded))


async def _main(loaded: Loaded) -> int:
    return await App(loaded).run()


def loop_factory() -> Any:
    """What makes the event loop: uvloop's factory where it exists, else None, which means asyncio's own."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


class App:
    """One sidecar. Implements `admin.plane.Plane`."""

    def __init__(self, loaded: Loaded) -> None:
        settings = loaded.settings
        self._loaded = loaded
        self._settings = settings
        self.token = settings.admin.token
        self.started = False
        self._started_at = monotonic()
        self._tasks: set[asyncio.Task[None]] = set()
        self._stop = asyncio.Event()
        self._waited_for_upstream = False
        self._probe_paths = frozenset(settings.probes.paths)
        self._probe_agents = tuple(agent.encode() for agent in settings.probes.user_agents)
        self._build_telemetry()
        address = parse_upstream(settings.upstream)
        self._pool = Pool(address, settings, self)
        upstream = Http1Upstream(self._pool, str(address), settings.timeouts.attempt)
        handler = stack.build(
            upstream,
            self._recorder,
            is_probe=self._is_probe,
            draining=lambda: self.draining,
            timeout=settings.timeouts.request,
        )
        self._server = Http1Server(settings, handler)
        self._drain = Drain(self._server, settings.drain, self._close_listener)
        self._name = (address.host, address.port) if not address.unix and is_name(address.host) else None
        self._prober = Prober(
            self.health,
            address,
            interval=settings.health.interval,
            timeout=settings.health.timeout,
            path=settings.health.path,
        )

    def _build_telemetry(self) -> None:
        settings = self._settings
        self._errlet = Outlet(sys.stderr.fileno())
        self._log = log.setup(settings.log.format, settings.log.level, write=self._errlet.write)
        log.route_library_warnings(self._log)
        self._outlet = Outlet(sys.stdout.fileno(), trouble=lambda what: self._log.warning("access log", problem=what))
        self._access = AccessLog(
            self._outlet.write,
            render.choose(settings.log.format, sys.stdout),
            settings.log.access,
            settings.log.query,
        )
        self.metrics = Metrics(__version__)
        self.health = UpstreamHealth(monotonic(), self._upstream_changed, probe_decides=bool(settings.health.path))
        self._recorder = Recorder(self.metrics, self._access, self.health, self._log)
        self.metrics.live(
            upstream_up=lambda: self.health.up,
            draining=lambda: self.draining,
            client_connections=lambda: self._server.open,
            upstream_connections=lambda: self._pool.size,
            log_lines_dropped=lambda: self._outlet.dropped + self._errlet.dropped,
        )

    # ── life

    async def run(self) -> int:
        """Start, serve, drain, stop. Raises OSError where a port cannot be bound, with nothing left behind."""
        settings = self._settings
        listen, admin = parse_listen(settings.listen), parse_listen(settings.admin.listen)
        with ExitStack() as files:
            self._sock = bind(listen)
            files.callback(SocketFile(listen).remove)
            try:
                admin_sock = bind(admin)
            except OSError:
                self._sock.close()
                raise
            files.callback(SocketFile(admin).remove)
            self._watch_signals()
            try:
                await self._serve()
                self._announce(bound_address(self._sock, listen), bound_address(admin_sock, admin))
                await self._until_left(admin_sock, bound_address(admin_sock, admin))
            finally:
                await self._end()
        return 0

    async def _until_left(self, admin_sock: socket.socket, admin: ListenAddress) -> None:
        # Imported now and beside the loop, as requests are served already: it takes longer than all the rest.
        module = await asyncio.to_thread(importlib.import_module, "sidecar.admin.app")
        admin_server = await module.start(self, admin, admin_sock)
        await self._stop.wait()
        await self._leave()
        await admin_server.stop()

    async def _serve(self) -> None:
        # A second descriptor of the listening socket: it outlives the loop's server, see `_close_listener`.
        # The loop listens again, so it has to be told how many may wait.
        self._listener = await asyncio.get_running_loop().create_server(
            self._server.accept, sock=self._sock.dup(), backlog=BACKLOG
        )
        self.started = True
        self._spawn(self._prober.run())
        self._spawn(lag.sample(self.metrics.loop_lag))
        if self._name is not None:
            self._spawn(follow(*self._name, self._pool.addresses_are))

    def _announce(self, listen: ListenAddress, admin: ListenAddress) -> None:
        self._where = (str(listen), str(admin))
        if sys.stderr.isatty():
            self._errlet.write(banner(self._loaded, *self._where).encode())
        else:
            self._log.info("started", **started_fields(self._loaded, *self._where))

    async def _leave(self) -> None:
        self.begin_drain("signal")
        report = await self._drain.finish()
        self._log.info("drained", **report._asdict())

    async def _close_listener(self) -> None:
        loop = asyncio.get_running_loop()
        if isinstance(self._listener, asyncio.base_events.Server):
            # asyncio's own server would drop what it has accepted and not yet handed over.
            for listening in self._listener.sockets:
                loop.remove_reader(listening.fileno())
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        self._listener.close()
        await accept_rest(self._sock, self._server.accept)

    async def _end(self) -> None:
        for task in self._tasks:
            task.cancel()
        self._server.cut()
        self._pool.close()
        await asyncio.sleep(0)
        self._access.flush()
        self._outlet.close()
        self._errlet.close()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self._log.error("a background task failed", task=repr(task), exc_info=task.exception())

    def _watch_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._signalled, number)

    def _signalled(self, number: signal.Signals) -> None:
        if self._stop.is_set():
            self._log.warning("second signal: not waiting any longer", signal=signal.Signals(number).name)
            self._drain.hurry.set()
            return
        self.begin_drain(signal.Signals(number).name)
        self._stop.set()

    # ── what the admin port asks for

    @property
    def draining(self) -> bool:
        """Whether a drain has begun."""
        return self._drain.began

    def begin_drain(self, cause: str) -> None:
        """Begin a drain and go on accepting; joins one that runs."""
        if self._drain.begin(cause):
            self._recorder.watch = self._drain.ended
            self._log.info("draining", cause=cause, in_flight=self._server.in_flight)

    def status(self) -> dict[str, object]:
        """Everything live, ready to become JSON."""
        settings, pool, health = self._settings, self._pool, self.health
        return {
            "version": __version__,
            "uptime_seconds": round(monotonic() - self._started_at, 3),
            "state": "draining" if self.draining else "ready" if health.up else "upstream down",
            "listen": self._where[0],
            "admin": self._where[1],
            "upstream": {
                "address": settings.upstream,
                "up": health.up,
                "for_seconds": round(monotonic() - health.since, 3),
                "last_error": health.last_error,
            },
            "in_flight": self._server.in_flight,
            "connections": self._server.open,
            "pool": {
                "connections": pool.size,
                "idle": pool.idle,
                "waiting": pool.waiting,
                "idle_limit_seconds": round(pool.idle_limit.seconds, 3),
                "idle_limit_source": pool.idle_limit.source,
            },
            "log_lines_dropped": self._outlet.dropped + self._errlet.dropped,
            "settings": started_fields(self._loaded, *self._where),
        }

    # ── what people are told

    def _is_probe(self, request: Request) -> bool:
        if request.path in self._probe_paths:
            return True
        block = request.headers.block
        for agent in self._probe_agents:
            # A quick look first: to find the field itself costs more than most requests are worth.
            if block.find(agent) >= 0 and (request.headers.get(b"user-agent") or b"").startswith(self._probe_agents):
                return True
        return False

    def _upstream_changed(self, change: Change) -> None:
        event = "upstream is up" if change.up else "upstream is down"
        level = self._log.info if change.up else self._log.warning
        level(event, upstream=self._settings.upstream, why=change.why, after=round(change.now - change.since, 3))

    def waiting_for_upstream(self, detail: str) -> None:
        """See pool.Events."""
        if not self._waited_for_upstream:
            self._waited_for_upstream = True
            self._log.info("waiting for the upstream to listen", why=detail)

    def idle_limit_learned(self, limit: IdleLimit) -> None:
        """See pool.Events."""
        self._log.info(
            "learned how long the upstream keeps idle connections",
            keep_for=round(limit.seconds, 3),
            source=limit.source,
        )
