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
from contextlib import ExitStack, nullcontext
from time import monotonic
from typing import Any

from sidecar import __version__, certificates
from sidecar.address import ListenAddress, parse_listen, parse_upstream
from sidecar.admin.plane import AppHealth, ReloadResult
from sidecar.banner import banner, started_fields
from sidecar.descriptors import raised
from sidecar.drain import Drain
from sidecar.health import Change, Prober, UpstreamHealth
from sidecar.http1.idle import IdleLimit
from sidecar.http1.names import Names, is_name
from sidecar.http1.pool import Pool
from sidecar.http1.server import Http1Server
from sidecar.http1.upstream import Http1Upstream
from sidecar.listen import BACKLOG, SocketFile, bind, bound_address, close_listener
from sidecar.loop import run as run_loop
from sidecar.settings import Loaded, SettingsError, reference
from sidecar.settings.changes import changes, merged, needs_restart
from sidecar.source import Source
from sidecar.telemetry import lag, log, render
from sidecar.telemetry.access import AccessLog
from sidecar.telemetry.metrics import Metrics
from sidecar.telemetry.outlet import Outlet
from sidecar.telemetry.recent import Recent
from sidecar.telemetry.recorder import Recorder
from sidecar.telemetry.refusals import Refusals
from sidecar.ways import Ways


def run(loaded: Loaded, source: Source) -> int:
    """Run the proxy until a signal ends it; returns the exit code. Raises OSError where a port cannot be bound."""
    collect_seldom()
    return run_loop(_main(loaded, source, raised()))


def collect_seldom() -> None:
    """Requests leave nothing for the collector, so it need not look often, nor at what was here from the start.

    A thousand requests in flight are some 20,000 objects: to walk them over and over cost 5 µs a request.
    """
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)


async def _main(loaded: Loaded, source: Source, descriptors: int) -> int:
    return await App(loaded, source, descriptors).run()


class App:
    """One sidecar. Implements `admin.plane.Plane`."""

    def __init__(self, loaded: Loaded, source: Source | None = None, descriptors: int = 0) -> None:
        settings = loaded.settings
        self._source = source  # None where settings cannot be read again
        self._loaded = loaded
        self._settings = settings
        self.token = settings.admin.token
        self.started = False
        self._started_at = monotonic()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._stop, self._signals = asyncio.Event(), 0
        self._waited_for_upstream = False
        self._reloading = asyncio.Lock()
        self._build_telemetry()
        address = parse_upstream(settings.upstream)
        self.app_health = AppHealth(address, settings.health.app_livez, settings.health.app_readyz)
        self._names = Names(address.host, address.port, self._spawn) if is_name(address.host) else None
        hosts = self._names.hosts if self._names is not None else None
        self._pool = Pool(address, settings, self, hosts)
        self._ways = Ways(
            Http1Upstream(self._pool, str(address)),
            self._recorder,
            self.metrics,
            self._log,
            has_answered=lambda: self._pool.answered_once,
            draining=lambda: self.draining,
            spawn=self._spawn,
        )
        self._server = Http1Server(
            settings,
            self._ways.build(settings),
            Refusals(self.metrics, self._log).refused,
            descriptors,
            self._ways.guard.bounds,
        )
        self._drain = Drain(self._server, settings.drain, self._close_listener)
        self._prober = Prober(
            self.health,
            address,
            interval=settings.health.interval,
            timeout=settings.health.timeout,
            path=settings.health.path,
            hosts=hosts,
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
        self.health = UpstreamHealth(
            monotonic(),
            self._upstream_changed,
            probe_decides=bool(settings.health.path),
            on_proof=lambda now: self._ways.circuits.upstream_proved_up(now),
        )
        self.recent = Recent(in_flight=lambda: self._server.exchanges)
        self._recorder = Recorder(self.metrics, self._access, self.health, self.recent, self._log)
        self.metrics.live(
            upstream_up=lambda: self.health.up,
            draining=lambda: self.draining,
            client_connections=lambda: self._server.open,
            upstream_connections=lambda: self._pool.size,
            resting=lambda: self._server.entry.rests.count,
            closed_idle=lambda: self._server.closed_idle,
            closed_untaken=lambda: self._server.closed_untaken,
            log_lines_dropped=lambda: self._outlet.dropped + self._errlet.dropped,
            circuits=lambda: self._ways.circuit_rows(),
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
        with nullcontext() if self._settings.redis.url.startswith("rediss:") else certificates.out_of_sight():
            module = await asyncio.to_thread(importlib.import_module, "sidecar.admin.app")
        admin_server = await module.start(self, admin, admin_sock)
        await self._stop.wait()
        await self._leave()
        await admin_server.stop()

    async def _serve(self) -> None:
        # A second descriptor of the listening socket: it outlives the loop's server, see `close_listener`.
        # The loop listens again, so it has to be told how many may wait.
        self._listener = await asyncio.get_running_loop().create_server(
            self._server.accept, sock=self._sock.dup(), backlog=BACKLOG
        )
        self.started = True
        self._spawn(self._prober.run())
        self._spawn(lag.sample(self.metrics.loop_lag, tell=self._ways.guard.sampled))
        if self._source is not None:
            self._spawn(self._source.follow(lambda: self.reload("the file changed")))
        if self._names is not None:
            self._spawn(self._names.follow(self._pool.addresses_are))

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
        await close_listener(self._listener, self._sock, self._server.accept)

    async def _end(self) -> None:
        for task in self._tasks:
            task.cancel()
        self._server.cut()
        self._pool.close()
        await self._ways.close()
        await asyncio.sleep(0)
        self._access.flush()
        self._outlet.close()
        self._errlet.close()

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self._log.error("a background task failed", task=repr(task), exc_info=task.exception())

    def _watch_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._signalled, number)
        loop.add_signal_handler(signal.SIGHUP, lambda: self._spawn(self.reload("SIGHUP")))

    def _signalled(self, number: signal.Signals) -> None:
        self._signals += 1
        if self._signals > 1:
            self._log.warning("second signal: not waiting any longer", signal=signal.Signals(number).name)
            self._drain.hurry.set()
            return
        self.leave(signal.Signals(number).name)

    # ── other settings

    async def reload(self, cause: str) -> ReloadResult:
        """Read the settings again and put them into force; where they are not good, the old ones stay."""
        async with self._reloading:
            if self._source is None:
                return ReloadResult(False, ["these settings come from nowhere that could be read again"], [], [])
            try:
                loaded = await asyncio.to_thread(self._source.load)
                changed = changes(self._loaded, loaded)
                settings = merged(self._settings, loaded.settings)
                handler = self._ways.build(settings)
            except SettingsError as error:
                problems = [str(problem) for problem in error.problems]
                self.metrics.reloaded(False)
                self._log.error("settings not reloaded: they are not good", cause=cause, problems=problems)
                return ReloadResult(False, problems, [], [])
            later = needs_restart(changed)
            # What stays as it was has not come from where the new value did.
            origin = loaded.origin | {path: self._loaded.origin[path] for path in later}
            self._settings, self._loaded = settings, Loaded(settings, origin)
            self._server.apply(settings, handler)
            self._pool.apply(settings)
            self._drain.limits = settings.drain
            self.token = settings.admin.token
            self.metrics.reloaded(True)
            now = [path for path in changed if path not in later]
            self._log.info("settings reloaded", cause=cause, changed=now, restart_needed=later)
            return ReloadResult(True, [], now, later)

    # ── what the admin port asks for

    def config(self) -> str:
        """The settings in force as a file, each with its origin; secrets are masked."""
        return reference.effective(self._loaded)

    def circuit(self, action: str, name: str) -> None:
        """Open or close a circuit by hand. Raises LookupError."""
        circuits = self._ways.circuits
        (circuits.force_open if action == "open" else circuits.force_close)(name, monotonic())
        self._log.warning(f"circuit: {action} by hand", circuit=name)

    @property
    def draining(self) -> bool:
        """Whether a drain has begun."""
        return self._drain.began

    def begin_drain(self, cause: str) -> None:
        """Begin a drain and go on accepting; joins one that runs."""
        if self._drain.begin(cause):
            self._recorder.watch = self._drain.ended
            self._spawn(self._drain.close_idle())
            self._log.info("draining", cause=cause, in_flight=self._server.in_flight)

    def leave(self, cause: str) -> None:
        """Drain, and end."""
        self.begin_drain(cause)
        self._stop.set()

    def status(self) -> dict[str, object]:
        """Everything live, ready to become JSON."""
        settings, health = self._settings, self.health
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
            "waiting": self._server.entry.waiting,
            "tasks": len(asyncio.all_tasks()),
            "connections": self._server.open,
            "resting": self._server.entry.rests.count,
            "max_connections": self._server.max_connections,
            "pool": self._pool.status(),
            "policies": self._ways.status(),
            "log_lines_dropped": self._outlet.dropped + self._errlet.dropped,
            "settings": started_fields(self._loaded, *self._where),
        }

    # ── what people are told

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
