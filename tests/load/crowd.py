"""A crowd of clients: starts them, keeps the record of every request, and says what failed.

They never ask twice. A client goes on with a new connection when it was told `Connection: close`, when its kind wants
one, or after an answer that it did not wait for. One that is refused a connection goes home: nobody listens any more.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Mapping
from random import Random
from threading import Thread
from time import time
from types import TracebackType
from typing import Self

from tests.load.people import Kind
from tests.load.talk import Asked, CutError, OddError, Talk

# What a client takes a rest for when the way is closed: else they would do little but ask in vain.
_MOMENT = 0.1


class Crowd:
    """So many clients of each kind. `asked` is every request by its ID, `failures` what must not have happened.

    `name` begins all IDs. `may_be_cut` are kinds whose answers may end before their end, None means all. `statuses` are
    those of the answers that may come.
    """

    def __init__(
        self,
        address: tuple[str, int],
        kinds: Mapping[Kind, int],
        name: str,
        *,
        seed: int = 1,
        may_be_cut: frozenset[str] | None = frozenset(),
        statuses: frozenset[int] = frozenset({200, 101}),
    ) -> None:
        self._address = address
        self._kinds = kinds
        self._name = name
        self._seed = seed
        self._may_be_cut = may_be_cut if may_be_cut is not None else frozenset(kind.__name__ for kind in kinds)
        self._statuses = statuses
        self.asked: dict[str, Asked] = {}
        self.failures: list[str] = []
        self.refused = 0
        self.stopping = False

    async def run(self) -> None:
        """Until `stopping` is set, or all have gone home."""
        people = [kind for kind, count in self._kinds.items() for _ in range(count)]
        await asyncio.gather(*(self._live(kind, number) for number, kind in enumerate(people)))

    def begun(self) -> bool:
        """Whether each kind has asked twice."""
        return self.have_asked(2)

    def have_asked(self, times: int, after: int = 0) -> bool:
        """Whether each kind has asked so often, not counting the first `after` requests of all."""
        asked = Counter(asked.kind for asked in list(self.asked.values())[after:])
        return all(asked[kind.__name__] >= times for kind in self._kinds if kind.__name__ != "endless")

    async def _live(self, kind: Kind, number: int) -> None:
        chance = Random(self._seed * 1000 + number)
        while not self.stopping:
            try:
                talk = await Talk.open(self._address)
            except ConnectionRefusedError:
                self.refused += 1
                return
            except OSError as error:
                self.failures.append(f"connecting: {error!r}")
                return
            try:
                while await self._ask(kind, talk, chance, number) and not self.stopping:
                    pass
            finally:
                talk.close()
                with contextlib.suppress(OSError):
                    await talk.writer.wait_closed()

    async def _ask(self, kind: Kind, talk: Talk, chance: Random, number: int) -> bool:
        last: list[Asked] = []

        def begin(method: str) -> tuple[Asked, str]:
            name = f"{self._name}-{number}-{len(self.asked)}"
            asked = self.asked[name] = Asked(kind.__name__, method, time())
            last.append(asked)
            return asked, name

        try:
            goes_on = await kind(talk, chance, begin)
            if last[-1].status not in self._statuses and last[-1].end != "left":
                self.failures.append(f"another answer than may come: {last[-1]}")
            if last[-1].reason == "circuit_open":
                await asyncio.sleep(_MOMENT)
            return goes_on
        except (CutError, OddError, OSError, TimeoutError, ValueError) as error:
            asked = last[-1]
            asked.ended, asked.end = time(), "cut" if isinstance(error, CutError) else "odd"
            if not (asked.end == "cut" and kind.__name__ in self._may_be_cut):
                self.failures.append(f"{error!r} of {asked}")
            return False


class Background:
    """A crowd in a thread of its own, for those who do other things meanwhile; stopped at the end of the block."""

    def __init__(self, crowd: Crowd) -> None:
        self.crowd = crowd
        self._thread = Thread(target=lambda: asyncio.run(crowd.run()), daemon=True)

    def join(self, timeout: float) -> None:
        """Wait until all have gone home."""
        self._thread.join(timeout)
        assert not self._thread.is_alive(), f"clients are left after {timeout:g} s: {self.crowd.failures[:3]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.crowd.stopping = True
        if kind is None:
            self.join(60)
