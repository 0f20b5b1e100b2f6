"""The log of everything that is not a request."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from sidecar.telemetry import render
from sidecar.telemetry.log import route_library_warnings, setup


class Terminal(io.StringIO):
    """A stream that is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def libraries() -> Iterator[None]:
    """Puts the loggers of the libraries back as they were."""
    loggers = [logging.getLogger(name) for name in ("asyncio", "aiohttp")]
    before = [(logger.handlers, logger.level, logger.propagate) for logger in loggers]
    yield
    for logger, (handlers, level, propagate) in zip(loggers, before, strict=True):
        logger.handlers, logger.propagate = handlers, propagate
        logger.setLevel(level)


def one(stream: io.StringIO) -> dict[str, Any]:
    """The only line, as JSON."""
    (line,) = stream.getvalue().splitlines()
    read: dict[str, Any] = json.loads(line)
    return read


def test_json_has_time_level_and_event_first() -> None:
    """Then what was said, in its order."""
    stream = io.StringIO()
    setup("json", stream=stream).info("upstream is up", since=1.5, why="answered")

    line = one(stream)
    assert list(line) == ["ts", "level", "event", "since", "why"]
    assert (line["level"], line["event"], line["since"]) == ("info", "upstream is up", 1.5)


def test_what_is_below_the_level_is_not_written() -> None:
    """From the level on, everything is."""
    stream = io.StringIO()
    log = setup("json", "warning", stream)
    log.debug("a")
    log.info("b")
    assert stream.getvalue() == ""
    log.warning("c")
    assert one(stream)["event"] == "c"


def test_an_exception_is_one_line_with_its_traceback() -> None:
    """In JSON the traceback is one field."""
    stream = io.StringIO()
    try:
        raise RuntimeError("no\nway")
    except RuntimeError:
        setup("json", stream=stream).exception("fault in the sidecar")

    line = one(stream)
    assert line["level"] == "error"
    assert line["exception"].endswith("RuntimeError: no\nway")


def test_auto_is_console_on_a_terminal_and_json_elsewhere() -> None:
    """By the stream that the lines go to."""
    assert render.choose("auto", io.StringIO()) is render.json_line
    assert render.choose("auto", Terminal()) is not render.json_line
    assert render.choose("json", Terminal()) is render.json_line
    assert render.choose("console", io.StringIO()) is not render.json_line


def test_colours_are_for_terminals_that_want_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """NO_COLOR takes them away, a file never has them."""
    monkeypatch.delenv("NO_COLOR", raising=False)

    def shown(stream: io.StringIO) -> bool:
        setup("console", stream=stream).info("x")
        return "\x1b[" in stream.getvalue()

    assert shown(Terminal())
    assert not shown(io.StringIO())
    monkeypatch.setenv("NO_COLOR", "1")
    assert not shown(Terminal())


@pytest.mark.parametrize("format", ["console", "json"])
def test_control_characters_do_not_reach_the_terminal(format: str) -> None:
    """Neither in the event, nor in a value, nor within a traceback."""
    stream = io.StringIO()
    log = setup(format, stream=stream)
    try:
        raise RuntimeError("\x1b]0;owned\x07\r")
    except RuntimeError:
        log.exception("a\x1b[2Jb", path="c\x9b31m\u202ed\n", other=["\x1b"])

    assert all(char.isprintable() or char == "\n" for char in stream.getvalue())


@pytest.mark.parametrize("value", ["\udc80", object(), 1 << 80, float("nan"), {"a": {1, 2}}, b"\xff"])
@pytest.mark.parametrize("format", ["console", "json"])
def test_a_log_call_never_raises(format: str, value: object) -> None:
    """Whatever is given to it."""
    stream = io.StringIO()
    setup(format, stream=stream).info("x", value=value)

    assert stream.getvalue().count("\n") == 1


def test_a_stream_that_is_gone_is_no_reason_to_fail() -> None:
    """There is nowhere left to say so."""
    stream = io.StringIO()
    log = setup("json", stream=stream)
    stream.close()

    log.error("x")


def test_lines_may_go_elsewhere() -> None:
    """An outlet takes them instead of the stream."""
    stream, lines = io.StringIO(), list[bytes]()
    setup("json", stream=stream, write=lines.append).info("x")

    assert stream.getvalue() == ""
    assert json.loads(lines[0])["event"] == "x"


@pytest.mark.usefixtures("libraries")
def test_complaints_of_libraries_are_ours(caplog: pytest.LogCaptureFixture) -> None:
    """Warnings of asyncio and aiohttp come as our lines, with the library's name, and only there."""
    stream = io.StringIO()
    route_library_warnings(setup("json", stream=stream))
    route_library_warnings(setup("json", stream=stream))
    logging.getLogger("asyncio").info("nothing of interest")
    logging.getLogger("aiohttp.server").log(35, "odd %s", "thing")

    line = one(stream)
    assert (line["level"], line["event"], line["logger"]) == ("warning", "odd thing", "aiohttp.server")
    assert caplog.records == []


def test_structlog_as_a_whole_stays_as_it_was() -> None:
    """Loggers are handed out, nothing is configured for others."""
    setup("json", stream=io.StringIO())

    assert not structlog.is_configured()
