"""The settings: what can be told to the sidecar, where it comes from, and how it is explained. Runs nothing.

    structs ─ every knob once ──▶ knobs ─ the same as a flat table ──▶ sources ─ flags > environment > file > default
      └ kinds, units: text ⇄ value   └ flags: which have one   └ yamlfile   └ checks: what no single knob can tell
                                                                  reference ─ template, schema, what is in force

`load` gives `Loaded`, or raises `SettingsError` with every `Problem`. Those who only read settings need this page.
"""

from __future__ import annotations

from sidecar.settings.loaded import Loaded, Problem, SettingsError
from sidecar.settings.policies import (
    Breaker,
    Concurrency,
    Deadline,
    Guard,
    Mode,
    Rate,
    Redis,
    Retry,
    Route,
)
from sidecar.settings.sources import load
from sidecar.settings.structs import (
    Admin,
    Drain,
    Forwarding,
    Health,
    Http,
    Log,
    Pool,
    Probes,
    Settings,
    Timeouts,
)

__all__ = [
    "Admin",
    "Breaker",
    "Concurrency",
    "Deadline",
    "Drain",
    "Forwarding",
    "Guard",
    "Health",
    "Http",
    "Loaded",
    "Log",
    "Mode",
    "Pool",
    "Probes",
    "Problem",
    "Rate",
    "Redis",
    "Retry",
    "Route",
    "Settings",
    "SettingsError",
    "Timeouts",
    "load",
]
