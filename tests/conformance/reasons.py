"""Why the sidecar passes what Go's ReverseProxy refuses, case by case."""

from __future__ import annotations

from typing import Final

REASONS: Final[dict[str, str]] = {
    "chunk-ext/space-before": "RFC 9112 7.1.1 has a recipient take whitespace there; the extension ends here anyway",
    "target/percent-alone": "a path is bytes: the service decides, and Go's refuses it as it would without a proxy",
    "start/empty-line-in-front": "RFC 9112 2.2: a server should read past it; Go does so behind a POST only",
    "expect/other": "RFC 9110 10.1.1 lets a server refuse it; whether it does is the service's to say",
    "upgrade/one-of-two-asked-for": "RFC 9110 7.8: of several names the service takes one; Go wants all of them",
}
