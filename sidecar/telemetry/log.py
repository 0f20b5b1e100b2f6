"""The log of everything that is not a request: to stderr, through structlog.

Knows how a logger is put together; hands it out instead of configuring structlog as a whole, so that importing this
package changes nothing. Only `route_library_warnings` touches something shared: two loggers of the standard library.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from typing import Any, Final, TextIO

import structlog
from structlog.typing import FilteringBoundLogger

from sidecar.telemetry import render
from sidecar.telemetry.render import Event, Timestamps

_LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40}

# Where aiohttp has the errors of a message that is not HTTP. Their texts quote it, credentials too, and whoever reaches
# the admin port could fill the log with their tracebacks.
_QUOTES: Final = "aiohttp.http_exceptions"

# What the libraries under us complain about through the standard library's logging.
_LIBRARIES: Final = ("asyncio", "aiohttp")


def setup(
    format: str = "auto",
    level: str = "info",
    stream: TextIO | None = None,
    write: Callable[[bytes], None] | None = None,
) -> FilteringBoundLogger:
    """A logger for `stream`, stderr by default. `level` is debug, info, warning or error.

    `write` takes the finished lines in the stream's stead: an `Outlet`, where a reader that blocks must not stop the
    event loop.
    """
    target = stream if stream is not None else sys.stderr
    logger: FilteringBoundLogger = structlog.wrap_logger(
        _Lines(write or _writer(target)),
        processors=[
            structlog.processors.add_log_level,
            _Stamp(),
            structlog.processors.format_exc_info,
            render.choose(format, target),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        context_class=dict,
    ).bind()
    return logger


def route_library_warnings(log: FilteringBoundLogger) -> None:
    """Send warnings and errors of asyncio and aiohttp to `log` instead of the standard library's stderr handler."""
    for name in _LIBRARIES:
        library = logging.getLogger(name)
        library.handlers = [_Handler(log)]
        library.setLevel(logging.WARNING)
        library.propagate = False


class _Lines:
    """What structlog calls with a rendered line, by the method that logged it."""

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self.debug = self.info = self.warning = self.error = self.critical = self.exception = self.msg = write


class _Stamp:
    """Processor: puts time, level and event first, since that is what one reads first."""

    def __init__(self) -> None:
        self._timestamps = Timestamps()

    def __call__(self, logger: Any, name: str, event: Event) -> Event:
        head = {"ts": self._timestamps(), "level": event.pop("level"), "event": event.pop("event", "")}
        return head | dict(event)


class _Handler(logging.Handler):
    def __init__(self, log: FilteringBoundLogger) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        # structlog knows the five levels only.
        level = min(record.levelno // 10 * 10, logging.CRITICAL)
        error = record.exc_info[1] if record.exc_info else None
        if error is not None and type(error).__module__ == _QUOTES:
            self._log.debug("request refused", logger=record.name, error=type(error).__name__)
            return
        self._log.log(level, record.getMessage(), logger=record.name, exc_info=record.exc_info)


def _writer(stream: TextIO) -> Callable[[bytes], None]:
    def write(line: bytes) -> None:
        try:
            stream.write(line.decode("utf-8"))
            stream.flush()
        except (OSError, ValueError):
            # There is nowhere left to say so.
            pass

    return write
