"""What was counted and logged since a moment, and where each request has to stand in it exactly once."""

from __future__ import annotations

import re
from itertools import count

from tests.support.processes import Line, Proxy
from tests.support.waiting import eventually

_SAMPLE = re.compile(r'(sidecar_answers_total|sidecar_upstream_attempts_total)\{(?:reason|outcome)="([^"]*)"\}')
_ids = count(1)


def new_id() -> str:
    """A request ID that no other request has."""
    return f"fault-{next(_ids)}"


class Account:
    """The proxy's figures from here on."""

    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy
        self._before = self._read()

    def _read(self) -> dict[tuple[str, str], int]:
        found = [(_SAMPLE.fullmatch(name), value) for name, value in self._proxy.metrics().items()]
        return {(match[1], match[2]): int(value) for match, value in found if match is not None}

    def _grown(self, metric: str) -> dict[str, int]:
        now = self._read()
        grown = {key: value - self._before.get(key, 0) for key, value in now.items() if key[0] == metric}
        return {label: by for (_, label), by in grown.items() if by}

    @property
    def answers(self) -> dict[str, int]:
        """Ended requests by reason."""
        return self._grown("sidecar_answers_total")

    @property
    def attempts(self) -> dict[str, int]:
        """Attempts at the upstream by outcome."""
        return self._grown("sidecar_upstream_attempts_total")

    def comes_to(self, answers: dict[str, int], attempts: dict[str, int]) -> None:
        """These are counted, and no others, once nothing is in flight any more."""
        eventually(lambda: self._proxy.status()["in_flight"] == 0, "the end of all requests")
        found = self.answers, self.attempts
        assert found == (answers, attempts), f"counted {found}"

    def line(self, request_id: str) -> tuple[int, str, int]:
        """What the access log says of a request: status, reason, attempts."""
        line: Line = self._proxy.access(request_id)
        return line["status"], line["reason"], line["attempts"]
