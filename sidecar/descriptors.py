"""How many file descriptors this process may have, and how many of them clients may take.

At the limit nothing can be opened any more: no upstream connection, no answer to a probe on the admin port, so the
whole instance looks dead. Clients are refused before that.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Final

# Files, listeners and pipes of our own, the admin port's clients, Redis, probes, and clients that are turned away.
_OURS: Final = 256
# macOS says that there is no hard limit, and then allows no more than these.
_MACOS: Final = 10240


def raised() -> int:
    """Allow ourselves as many descriptors as we may have; returns how many that is, 0 where nobody says.

    The lower limit, often 1024, is there for programs that use `select`, which cannot tell more of them apart.
    """
    try:
        import resource
    except ImportError:  # Windows
        return 0
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    infinite = resource.RLIM_INFINITY
    for most in (hard, _MACOS):
        if soft == infinite or infinite != most <= soft:
            break
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
            soft = most
            break
    return 0 if soft == infinite else soft


def most_clients(asked: int, descriptors: int, upstream: int) -> int:
    """How many clients may be connected where `asked` are allowed (0 = any number) and `upstream` connections may be.

    Where descriptors are few, half of them: a client's request takes one more, to the upstream.
    """
    if not descriptors:
        return asked
    left = max(descriptors - _OURS, descriptors // 2)
    room = max(left - upstream, left // 2)
    return min(asked, room) if asked else room
