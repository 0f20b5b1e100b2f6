"""Which knobs have a flag. The one table of flags: the parsers, the messages and the README's test read it.

Only the knobs that people turn by hand are here; every knob has an environment variable and a key in the file.
"""

from __future__ import annotations

from typing import Final

# Dotted path → flag. A flag exists only once it works.
FLAGS: Final = {
    "upstream": "--upstream",
    "listen": "--listen",
    "admin.listen": "--admin",
    "admin.token": "--admin-token",
    "timeouts.request": "--timeout",
    "timeouts.attempt": "--attempt-timeout",
    "timeouts.connect": "--connect-timeout",
    "http.max_body": "--max-body",
    "rate.limit": "--rate-limit",
    "rate.burst": "--rate-burst",
    "concurrency.max": "--max-concurrency",
    "retry.attempts": "--retries",
    "breaker.mode": "--breaker",
    "breaker.failures": "--breaker-failures",
    "breaker.open_for": "--breaker-open-for",
    "drain.delay": "--drain-delay",
    "drain.timeout": "--drain-timeout",
    "log.access": "--access-log",
    "log.format": "--log-format",
    "log.level": "--log-level",
    "forwarding.trusted_proxies": "--trusted-proxies",
    "health.path": "--health-path",
}
