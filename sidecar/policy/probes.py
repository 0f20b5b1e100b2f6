"""Which requests are health probes: they pass all limits, and stay out of the request metrics."""

from __future__ import annotations

from sidecar.exchange import Request
from sidecar.settings import Probes


class ProbeRule:
    """By exact path, or by the beginning of the User-Agent."""

    __slots__ = ("_agents", "_paths")

    def __init__(self, probes: Probes) -> None:
        self._paths = frozenset(probes.paths)
        self._agents = tuple(agent.encode() for agent in probes.user_agents)

    def __call__(self, request: Request) -> bool:
        """Whether `request` is one."""
        if request.path in self._paths:
            return True
        block = request.headers.block
        for agent in self._agents:
            # A quick look first: to find the field itself costs more than most requests are worth.
            if block.find(agent) >= 0 and (request.headers.get(b"user-agent") or b"").startswith(self._agents):
                return True
        return False
