"""The proxies that are measured: how each is found, configured and started."""

from __future__ import annotations

from bench.peers.base import Limits, Peer, Place, Running, start_peer
from bench.peers.direct import DIRECT
from bench.peers.envoy import ENVOY
from bench.peers.haproxy import HAPROXY
from bench.peers.nginx import NGINX
from bench.peers.sidecar import BARE, POLICIES_OFF, SIDECAR, Settings, with_settings

PEERS = {peer.name: peer for peer in (SIDECAR, ENVOY, HAPROXY, NGINX, DIRECT)}
USUAL = tuple(name for name in PEERS if name != DIRECT.name)

__all__ = [
    "BARE",
    "ENVOY",
    "PEERS",
    "POLICIES_OFF",
    "SIDECAR",
    "USUAL",
    "Limits",
    "Peer",
    "Place",
    "Running",
    "Settings",
    "start_peer",
    "with_settings",
]
