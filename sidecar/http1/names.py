"""What the upstream's name means: asked anew for every connection, and remembered for when the resolver is away.

A resolver that is away says so after many seconds or never, and a question cannot be taken back: it keeps a thread of
the loop's few. So all who want to know wait for the same answer, and few questions are open at a time.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from ipaddress import ip_address
from time import monotonic
from typing import Any, Final

# Gives the addresses, the best first; waits so many seconds for news, where there are old ones. Raises OSError.
Hosts = Callable[[float], Awaitable[Sequence[str]]]

_EVERY: Final = 5.0  # seconds
# An answer can be lost on its way, and then the resolver asks again only after seconds: so we do, after this many.
_AGAIN: Final = 0.5
_QUESTIONS: Final = 4


def is_name(host: str) -> bool:
    """Whether `host` has to be resolved."""
    try:
        ip_address(host)
    except ValueError:
        return bool(host)
    return False


class Names:
    """One name. `spawn` runs a task that is never waited for."""

    def __init__(self, host: str, port: int, spawn: Callable[[Coroutine[Any, Any, None]], None]) -> None:
        self._host = host
        self._port = port
        self._spawn = spawn
        self._known: Sequence[str] = ()
        self._answer: asyncio.Future[Sequence[str] | OSError] | None = None  # the next one, whichever question's
        self._wanted = self._asked = 0.0  # since when, and when it was asked for last
        self._questions = 0  # that are open, also of those that nobody waits for any more

    async def hosts(self, patience: float) -> Sequence[str]:
        """Its addresses now; those of before, where the resolver fails or has said nothing for `patience` seconds.

        Raises OSError where it fails and there were none; where it says nothing, this waits.
        """
        answer = self._ask()
        if not self._known:
            await asyncio.wait([answer])
        elif (left := self._wanted + patience - monotonic()) > 0:
            await asyncio.wait([answer], timeout=left)
        found = answer.result() if answer.done() else self._known
        if not isinstance(found, OSError):
            return found
        if self._known:
            return self._known
        raise _bare(found)

    async def follow(self, changed: Callable[[frozenset[str]], None]) -> None:
        """Tell `changed` the addresses, every few seconds, until cancelled. What is not resolved changes nothing.

        New connections ask by themselves; this is for those that are kept.
        """
        while True:
            answer = self._ask()
            await asyncio.wait([answer])
            found = answer.result()
            if not isinstance(found, OSError):
                # Connections know no zone.
                changed(frozenset(host.partition("%")[0] for host in found))
            await asyncio.sleep(_EVERY)

    def _ask(self) -> asyncio.Future[Sequence[str] | OSError]:
        now = monotonic()
        is_new = self._answer is None or self._answer.done()
        if self._answer is None or is_new:
            self._answer = asyncio.get_running_loop().create_future()
            self._wanted = now
        if self._questions < _QUESTIONS and (is_new or now - self._asked >= _AGAIN):
            self._asked = now
            self._questions += 1
            self._spawn(self._resolve())
        return self._answer

    async def _resolve(self) -> None:
        found: Sequence[str] | OSError
        try:
            said = await asyncio.get_running_loop().getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
            self._known = found = [_text(entry[4]) for entry in said]
        except OSError as error:
            found = _bare(error)
        except UnicodeError as error:  # no name can be like that
            found = OSError(str(error))
        finally:
            self._questions -= 1
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(found)


def _bare(error: OSError) -> OSError:
    """The same without its traceback, which would hold whoever raises it in a circle, for the collector."""
    return type(error)(*error.args)


def _text(address: tuple[Any, ...]) -> str:
    """An address as one writes it, with its zone (the last of four) where it has one."""
    return f"{address[0]}%{address[3]}" if len(address) > 3 and address[3] else str(address[0])
