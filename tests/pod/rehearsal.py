"""The life of a pod, rehearsed: the chart's Deployment under load, until it is deleted. What do clients see?

`python -m tests.pod.rehearsal [native|classic|hasty]` plays it with the chart's default numbers and prints the log:

    native   the sidecar as Kubernetes knows it since 1.29
    classic  an ordinary container, with the numbers that the chart asks for then
    hasty    an ordinary container with the numbers of a native one, which the chart refuses: what it protects from

Clients come for `LAG` seconds after the deletion, as nobody hears at once that an endpoint has gone; they never ask
twice. Some answers take longer than the app waits until it gets its SIGTERM.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any, Final

from tests.charts.rendering import CHART, DEFAULT, Rendered, over, render, values_of
from tests.load.crowd import Background, Crowd
from tests.load.people import MIXED, Begin, Kind, small
from tests.load.talk import Talk
from tests.pod.kubelet import Kubelet, Spec
from tests.support.processes import go_builder
from tests.support.waiting import eventually

CLASSIC: Final = CHART / "ci" / "classic-values.yaml"
LAG: Final = 4.0  # seconds until everybody has heard that the endpoint is gone
_CALM: Final = 2.0  # seconds of load before the end begins


async def long(talk: Talk, chance: Random, begin: Begin) -> bool:
    """An answer of 18 seconds."""
    asked, name = begin("GET")
    talk.write_head("GET", "/slow-bytes/9000?chunk=100&every=200ms", name)
    await talk.read_head(asked)
    await talk.read_body(asked)
    talk.whole(asked)
    return not asked.told_close


async def lazy(talk: Talk, chance: Random, begin: Begin) -> bool:
    """A small request, and then none for a while on a connection that is kept."""
    goes_on = await small(talk, chance, begin)
    if goes_on:
        await asyncio.sleep(chance.uniform(0.5, 3))
    return goes_on


CROWD: Final[dict[Kind, int]] = {**MIXED, long: 4, lazy: 6}


class Rehearsal:
    """One life of one pod. `kubelet` has its log, `crowd` what clients saw."""

    def __init__(self, mode: str, folder: Path) -> None:
        self._ports = _free_ports(3)
        rendered = _rendered(mode, self._ports)
        self._settings = folder / f"{mode}.yaml"
        self._settings.write_text(rendered.settings)
        # The chart would refuse this one: the settings are those of a native sidecar.
        if mode == "hasty":
            self._settings.write_text(_rendered("native", self._ports).settings)
        app_seconds = values_of(CHART / "values.yaml")["shutdown"]["appSeconds"]
        self._app = [
            str(go_builder().build()),
            "-listen",
            f"127.0.0.1:{self._ports[2]}",
            "-shutdown-timeout",
            f"{app_seconds}s",
        ]
        self.kubelet = Kubelet(rendered.pod["spec"], {"sidecar": self._of_sidecar, "app": self._of_app})
        self.crowd = Crowd(("127.0.0.1", self._ports[0]), CROWD, mode, may_be_cut=frozenset())

    def _of_sidecar(self, container: Spec, words: list[str]) -> list[str]:
        words = words[1:] if words[0] == "sidecar" else words  # the image's entry point, or a command in it
        mounted = "/etc/sidecar/sidecar.yaml"
        return [sys.executable, "-m", "sidecar", *(str(self._settings) if word == mounted else word for word in words)]

    def _of_app(self, container: Spec, words: list[str]) -> list[str]:
        return words or self._app

    async def play(self) -> None:
        """From the first container to the last one's end. Raises AssertionError where the pod does not come up."""
        try:
            await self.kubelet.start()
            await asyncio.to_thread(eventually, lambda: self.kubelet.ready, "the pod to be ready")
            with Background(self.crowd) as clients:
                await asyncio.to_thread(eventually, self.crowd.begun, "all kinds of load")
                await asyncio.sleep(_CALM)
                end = asyncio.create_task(self.kubelet.end())
                await asyncio.sleep(LAG)
                self.crowd.stopping = True
                await end
                await asyncio.to_thread(clients.join, 60)
        finally:
            self.kubelet.kill()

    def __str__(self) -> str:
        asked = self.crowd.asked.values()
        cut = sum(one.end == "cut" for one in asked)
        lines = [str(self.kubelet), f"{len(asked)} requests, {len(self.crowd.failures)} failed ({cut} of them cut)"]
        return "\n".join([*lines, f"{self.crowd.refused} connections refused, killed: {self.kubelet.killed or 'none'}"])


def rehearse(*modes: str) -> list[Rehearsal]:
    """Play them, all at the same time; modes as above."""

    async def play() -> None:
        await asyncio.gather(*(rehearsal.play() for rehearsal in rehearsals))

    with TemporaryDirectory() as folder:
        rehearsals = [Rehearsal(mode, Path(folder)) for mode in modes]
        asyncio.run(play())
    return rehearsals


def _rendered(mode: str, ports: list[int]) -> Rendered:
    files = [DEFAULT] if mode == "native" else [DEFAULT, CLASSIC]
    here: dict[str, Any] = {
        "ports": {"http": ports[0], "admin": ports[1]},
        "upstream": f"http://127.0.0.1:{ports[2]}",
        "kubeVersion": "v1.31.0" if mode == "native" else "v1.28.0",
    }
    return render(over(values_of(*files), here))


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(sock.getsockname()[1]) for sock in sockets]
    for sock in sockets:
        sock.close()
    return ports


def main() -> int:
    """Print how it went; 1 where a request failed."""
    (rehearsal,) = rehearse(sys.argv[1] if len(sys.argv) > 1 else "native")
    print(rehearsal)
    for failure in rehearsal.crowd.failures[:10]:
        print(f"  {failure}")
    return bool(rehearsal.crowd.failures or rehearsal.crowd.refused)


if __name__ == "__main__":
    sys.exit(main())
