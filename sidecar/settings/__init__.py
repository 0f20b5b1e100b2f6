"""The settings: what can be told to the sidecar, where it comes from, and how it is explained. Runs nothing.

    structs, policies ─ every knob once ──▶ knobs ─ the same as a flat table
      └ kinds, units: text ⇄ value            │
    flags, readers (environment, yamlfile) ──▶ sources ─ flags > environment > file > default ──▶ loaded
                                                ├ routes: what each takes from the sidecar
                                                └ checks: what no single knob can tell
    reference, schema ─ what is in force, a template, JSON Schema    changes ─ between two that were loaded

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
