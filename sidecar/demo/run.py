"""The demo put together: the service, the real proxy in front of it, traffic, and the guide; all on one event loop.

The proxy is `sidecar.app.App` with settings as `sidecar run` would make them of flags; it owns the signals and the
end. Settings in the environment are left alone: what the guide says is to come true on every machine.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from typing import Final

from sidecar.app import App
from sidecar.demo import guide, traffic
from sidecar.demo.upstream import Upstream
from sidecar.loop import run
from sidecar.settings import load
from sidecar.settings.flags import FLAGS

# What makes things go wrong quickly enough to be watched.
_KNOBS: Final = {
    "timeouts.request": "2s",
    "http.max_body": "64KiB",
    "drain.timeout": "5s",
    "rate.limit": "10/s",
    "rate.burst": "40",
    # The traffic's own failures, few and far between, must not open the circuits of what the guide has to show.
    "breaker.failures": "0",
}
# Who does not name a team shares a limit with all who do not.
_ENVIRONMENT: Final = {"SIDECAR_RATE__KEY": "header:X-Team"}

_LOOK: Final = 0.01  # seconds


def run_demo(listen: str, admin: str) -> int:
    """Run the demo on these addresses until a signal ends it; returns the exit code.

    Raises `OSError` where a port cannot be bound, and `SettingsError` where the two addresses do not go together.
    """
    return run(_main(listen, admin))


async def _main(listen: str, admin: str) -> int:
    upstream = Upstream()
    await upstream.start()
    try:
        given = {"upstream": upstream.url, "listen": listen, "admin.listen": admin, **_KNOBS}
        app = App(load(given, _ENVIRONMENT, None))
        attending = asyncio.create_task(_attend(app, upstream))
        try:
            return await app.run()
        finally:
            attending.cancel()
            with suppress(asyncio.CancelledError):
                await attending
    finally:
        await upstream.stop()


async def _attend(app: App, upstream: Upstream) -> None:
    """Once the proxy listens: tell where, and send traffic for as long as it is ready."""
    while not app.started:  # noqa: ASYNC110 - a few looks in a demo's life are no reason for App to have an event
        await asyncio.sleep(_LOOK)
    status = app.status()
    listen, admin = str(status["listen"]), str(status["admin"])
    flags = {FLAGS[path]: value for path, value in _KNOBS.items()}
    upstream.text = guide.text(listen, admin, upstream.url, flags, _ENVIRONMENT)
    upstream.page = guide.page(upstream.text)
    print(upstream.text, file=sys.stderr, flush=True)
    await traffic.send(*guide.target(listen), until=lambda: app.draining)
