"""A kubelet for one pod on this machine: real processes, started and stopped in the order and time of Kubernetes.

What it does of the real one (1.29 and later, kuberuntime_manager.go and kuberuntime_container.go):

    start   init containers one after another; one with `restartPolicy: Always` is a sidecar: it goes on, and the next
            one waits for its startup probe only. Then all ordinary containers at once.
    ready   when every container is, the sidecars too; a container without a readiness probe is while it runs.
    end     all preStop hooks at once; SIGTERM to each ordinary container after its own, to sidecars when the ordinary
            ones have ended, last one first; SIGKILL at the end of the grace period, which began with the hooks.

It has no images: `commands` says for each container which program it runs. Ports are the machine's own.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Callable, Mapping
from time import monotonic
from typing import Any

import aiohttp

from tests.support.processes import ROOT

Spec = dict[str, Any]
# The command line of a container, or of a command that is run in it.
Command = Callable[[Spec, list[str]], list[str]]

_LEAST = 2.0  # seconds between SIGTERM and SIGKILL, however much of the grace period the hook has taken


class Container:
    """One container."""

    def __init__(self, spec: Spec, *, sidecar: bool) -> None:
        self.spec = spec
        self.name: str = spec["name"]
        self.sidecar = sidecar
        self.process: Process | None = None
        self.ready = False
        self.gone = asyncio.Event()  # the kubelet knows that it has ended

    @property
    def running(self) -> bool:
        """Whether its process lives."""
        return self.process is not None and self.code is None

    @property
    def code(self) -> int | None:
        """What it ended with; None while it runs."""
        return self.process.returncode if self.process is not None else None

    def __repr__(self) -> str:
        return f"<Container {self.name} {self.code}>"


class Kubelet:
    """Runs one pod. `log` is what happened, with the seconds since the start, or since the end began."""

    def __init__(self, pod: Spec, commands: Mapping[str, Command]) -> None:
        self._grace: float = pod["terminationGracePeriodSeconds"]
        self._commands = commands
        self._init = [Container(spec, sidecar=_is_sidecar(spec)) for spec in pod.get("initContainers", ())]
        self._ordinary = [Container(spec, sidecar=False) for spec in pod["containers"]]
        self._zero = monotonic()
        self._probes: list[asyncio.Task[None]] = []
        self.log: list[tuple[float, str]] = []
        self.killed: list[str] = []  # those that had to be

    @property
    def containers(self) -> list[Container]:
        """All that live as long as the pod."""
        return [*(container for container in self._init if container.sidecar), *self._ordinary]

    @property
    def ready(self) -> bool:
        """Whether the pod gets requests."""
        return all(container.ready for container in self.containers)

    def of(self, name: str) -> Container:
        """The container of this name."""
        return next(container for container in self.containers if container.name == name)

    # ── start

    async def start(self) -> None:
        """Until all containers have been started."""
        for container in self._init:
            await self._launch(container)
            if container.sidecar:
                await self._started(container)
            elif await self._exit(container) != 0:
                raise RuntimeError(f"{container.name} failed")
        for container in self._ordinary:
            await self._launch(container)
        self._probes = [asyncio.create_task(self._watch(container)) for container in self.containers]

    async def _launch(self, container: Container) -> None:
        spec = container.spec
        command = self._commands[container.name](spec, [*spec.get("command", ()), *spec.get("args", ())])
        env = {entry["name"]: entry["value"] for entry in spec.get("env", ())}
        container.process = await asyncio.create_subprocess_exec(
            *command, env=env, cwd=ROOT, stdout=DEVNULL, stderr=DEVNULL
        )
        self._note(f"{container.name}: started")

    async def _started(self, container: Container) -> None:
        probe = container.spec.get("startupProbe")
        if probe is None:
            return
        for _ in range(probe.get("failureThreshold", 3)):
            if await _holds(container.spec, probe):
                self._note(f"{container.name}: startup probe holds")
                return
            await asyncio.sleep(probe.get("periodSeconds", 10))
        raise RuntimeError(f"{container.name} did not start up")

    async def _watch(self, container: Container) -> None:
        probe = container.spec.get("readinessProbe")
        if probe is None:
            container.ready = True
            await self._exit(container)
            container.ready = False
            return
        missed = 0
        while container.running:
            good = await _holds(container.spec, probe)
            missed = 0 if good else missed + 1
            if good is not container.ready and (good or missed >= probe.get("failureThreshold", 3)):
                container.ready = good
                self._note(f"{container.name}: {'ready' if good else 'not ready'}")
            await asyncio.sleep(probe.get("periodSeconds", 10))

    # ── end

    async def end(self) -> None:
        """The pod is deleted: until no container is left."""
        self._zero = monotonic()
        self._note("pod: deleted")
        ends = [asyncio.create_task(self._end(container)) for container in self.containers]
        await asyncio.gather(*ends)
        for probe in self._probes:
            probe.cancel()
        await asyncio.gather(*self._probes, return_exceptions=True)

    async def _end(self, container: Container) -> None:
        await self._pre_stop(container)
        if container.sidecar:
            await self._its_turn(container)
        if container.running:
            self._signal(container, signal.SIGTERM)
        left = max(_LEAST, self._grace - self._elapsed())
        try:
            await asyncio.wait_for(self._exit(container), left)
        except TimeoutError:
            self.killed.append(container.name)
            self._signal(container, signal.SIGKILL)
            await self._exit(container)
        self._note(f"{container.name}: ended with {container.code}")
        container.gone.set()

    async def _pre_stop(self, container: Container) -> None:
        hook = container.spec.get("lifecycle", {}).get("preStop", {})
        if "sleep" in hook:
            self._note(f"{container.name}: preStop sleeps {hook['sleep']['seconds']} s")
            await asyncio.sleep(hook["sleep"]["seconds"])
        elif "exec" in hook:
            command = self._commands[container.name](container.spec, hook["exec"]["command"])
            process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=DEVNULL, stderr=DEVNULL)
            code = await asyncio.wait_for(process.wait(), self._grace)
            self._note(f"{container.name}: preStop `{' '.join(hook['exec']['command'])}` ended with {code}")

    async def _its_turn(self, container: Container) -> None:
        """Wait for the ordinary containers, and the sidecars that were started after this one, or the grace's end."""
        before = [*self._ordinary, *self._init[self._init.index(container) + 1 :]]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, self._grace - self._elapsed())):
                await asyncio.gather(*(other.gone.wait() for other in before if other in self.containers))

    # ── both

    async def _exit(self, container: Container) -> int:
        assert container.process is not None
        return await container.process.wait()

    def _signal(self, container: Container, number: signal.Signals) -> None:
        assert container.process is not None
        self._note(f"{container.name}: {number.name}")
        container.process.send_signal(number)

    def _elapsed(self) -> float:
        return monotonic() - self._zero

    def _note(self, what: str) -> None:
        self.log.append((round(self._elapsed(), 1), what))

    def kill(self) -> None:
        """Leave nothing behind."""
        for container in [*self._init, *self._ordinary]:
            if container.running and container.process is not None:
                container.process.kill()

    def __str__(self) -> str:
        return "\n".join(f"{when:6.1f} s  {what}" for when, what in self.log)


def _is_sidecar(spec: Spec) -> bool:
    return spec.get("restartPolicy") == "Always"


async def _holds(container: Spec, probe: Spec) -> bool:
    """Ask once, as the kubelet does: any status from 200 to 399 is good."""
    get = probe["httpGet"]
    ports = {port["name"]: port["containerPort"] for port in container.get("ports", ()) if "name" in port}
    port = ports.get(get["port"], get["port"])
    timeout = aiohttp.ClientTimeout(total=probe.get("timeoutSeconds", 1))
    headers = {"User-Agent": "kube-probe/1.29"}
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout, headers=headers) as session,
            session.get(f"http://127.0.0.1:{port}{get['path']}", allow_redirects=False) as answer,
        ):
            return 200 <= answer.status < 400
    except (aiohttp.ClientError, TimeoutError, OSError):
        return False
