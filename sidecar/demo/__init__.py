"""`sidecar demo`: the real proxy in front of a small service that behaves and misbehaves, with some traffic of its own.

upstream   the service       traffic   its clients       guide   what to try, as text       run   all of it together
"""

from __future__ import annotations

from sidecar.demo.run import run_demo

__all__ = ["run_demo"]
