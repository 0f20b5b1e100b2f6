"""Where settings are read from again: what is noticed as a change of the file, what is not, and when it is told.

Nobody waits here: with an interval of 0 the follower looks once in each turn of the loop.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from threading import Thread

import pytest

from sidecar.settings import Loaded, SettingsError
from sidecar.source import Source, fingerprint

UPSTREAM = {"upstream": "http://127.0.0.1:8080"}


def burst(number: int) -> str:
    """A file whose size does not tell the number, of one digit."""
    return f"rate: {{burst: {number}}}\n"


def put(file: Path, text: str) -> None:
    """Write it, no sooner than the file system's clock, which may be a coarse one, tells the moment from the last."""
    while file.exists():
        before = file.stat().st_ctime_ns
        file.chmod(0o600)
        if file.stat().st_ctime_ns != before:
            break
    file.write_text(text)


def remove(file: Path) -> None:
    """Remove it."""
    file.unlink()


class Follower:
    """A source that is being followed: `changes` holds what each change led to, a burst or what is wrong."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.changes: list[int | str] = []

    def load(self) -> Loaded:
        """Read it, as somebody does who was asked to."""
        return self.source.load()

    async def changed(self) -> None:
        """What the follower calls."""
        try:
            self.changes.append(self.load().settings.rate.burst)
        except SettingsError as error:
            self.changes.append(error.problems[0].wrong)

    async def looks(self, count: int = 4) -> list[int | str]:
        """Let it look so often; returns all changes so far."""
        for _ in range(count):
            await asyncio.sleep(0)
        return self.changes


@asynccontextmanager
async def following(file: Path) -> AsyncIterator[Follower]:
    """A follower of a file that was read once, at the start."""
    follower = Follower(Source(UPSTREAM, {}, file))
    follower.load()
    task = asyncio.create_task(follower.source.follow(follower.changed, interval=0))
    try:
        assert await follower.looks() == []
        yield follower
        assert not task.done(), "it still follows"
    finally:
        task.cancel()
        await asyncio.wait([task])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A settings file."""
    file = tmp_path / "sidecar.yaml"
    file.write_text(burst(1))
    return file


# ── what it reads


def test_flags_environment_and_file(file: Path) -> None:
    """All three are read, in their order, and each again: but flags and environment are as they were at the start."""
    flags, env = dict(UPSTREAM), {"SIDECAR_RETRY__ATTEMPTS": "1", "SIDECAR_RATE__MAX_KEYS": "5"}
    source = Source(flags, env, file)
    flags["rate.burst"] = "9"
    env["SIDECAR_RETRY__ATTEMPTS"] = "9"
    file.write_text("rate: {burst: 2, max_keys: 7}\n")
    settings = source.load().settings
    assert (settings.rate.burst, settings.retry.attempts, settings.rate.max_keys) == (2, 1, 5)
    file.write_text(burst(3))
    assert source.load().settings.rate.burst == 3


def test_without_a_file(file: Path) -> None:
    """There is nothing to follow, so following ends; reading again still works."""
    source = Source(UPSTREAM, {}, None)
    assert source.load().settings.upstream == UPSTREAM["upstream"]
    asyncio.run(asyncio.wait_for(source.follow(lambda: pytest.fail("nothing can have changed"), 0), 5))
    assert "without a file" in repr(source)
    assert str(file) in repr(Source({}, {}, file))


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("rate: {burst: -1}", "whole number"),
        ("rate: {burst: 1", "not YAML"),
        ("routes: " + "[" * 2000, "nested too deeply"),
        ("a: " * 5000, "not YAML"),
    ],
)
def test_whatever_the_file_holds(file: Path, text: str, wrong: str) -> None:
    """It is told as a problem of the settings, which names the file."""
    file.write_text(text)
    with pytest.raises(SettingsError) as raised:
        Source(UPSTREAM, {}, file).load()
    assert any(wrong in problem.wrong and str(file) in problem.origin for problem in raised.value.problems)


def test_a_pipe_is_read_once(tmp_path: Path) -> None:
    """A second time it would be empty, and pass for settings that are all defaults: that is refused instead."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = Thread(target=pipe.write_text, args=(burst(5),))
    writer.start()
    source = Source(UPSTREAM, {}, pipe)
    assert source.load().settings.rate.burst == 5
    writer.join()
    with pytest.raises(SettingsError, match="pipe, which can be read only once"):
        source.load()
    assert fingerprint(pipe) is None


# ── what is a change


def edit(file: Path) -> None:
    """Write into it."""
    put(file, burst(2))


def edit_and_keep_times(file: Path) -> None:
    """Write into it and set its times to what they were, as tools that copy do."""
    before = file.stat()
    put(file, burst(2))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def replace(file: Path) -> None:
    """Write anew and rename, as editors do."""
    new = file.with_suffix(".new")
    new.write_text(burst(2))
    new.rename(file)


def replace_and_keep_times(file: Path) -> None:
    """Rename over it another file of the same size and time."""
    before = file.stat()
    new = file.with_suffix(".new")
    new.write_text(burst(2))
    os.utime(new, ns=(before.st_atime_ns, before.st_mtime_ns))
    new.rename(file)


def remove_and_write(file: Path) -> None:
    """Remove it and write it again."""
    file.unlink()
    file.write_text(burst(2))


def become_a_link(file: Path) -> None:
    """Make a symbolic link of it."""
    other = file.with_suffix(".other")
    other.write_text(burst(2))
    file.unlink()
    file.symlink_to(other)


@pytest.mark.parametrize(
    "change",
    [edit, edit_and_keep_times, replace, replace_and_keep_times, remove_and_write, become_a_link],
    ids=lambda change: change.__name__,
)
async def test_a_change_is_told_once(file: Path, change: Callable[[Path], None]) -> None:
    """However the file changes, it is told, and only once."""
    async with following(file) as follower:
        change(file)
        assert await follower.looks() == [2]
        assert await follower.looks() == [2]


class ConfigMap:
    """A mounted ConfigMap, as the kubelet makes it: `..data` leads to the version that holds."""

    def __init__(self, mount: Path) -> None:
        self.mount = mount
        self.file = mount / "sidecar.yaml"
        self._version = 0
        self.put(burst(1))
        self.file.symlink_to("..data/sidecar.yaml")

    def put(self, text: str) -> None:
        """A new version, all at once; the one before is removed."""
        self._version += 1
        new, link = self.mount / f"..{self._version}", self.mount / "..data"
        before = link.resolve() if link.exists() else None
        new.mkdir()
        (new / "sidecar.yaml").write_text(text)
        temporary = self.mount / "..data_tmp"
        temporary.symlink_to(new.name)
        temporary.rename(link)
        if before is not None:
            (before / "sidecar.yaml").unlink()
            before.rmdir()


async def test_a_config_map(tmp_path: Path) -> None:
    """Each new version of a mounted ConfigMap is told, whose file itself is the same link all the time."""
    mounted = ConfigMap(tmp_path)
    async with following(mounted.file) as follower:
        for number in (2, 3, 4):
            mounted.put(burst(number))
            await follower.looks()
        assert follower.changes == [2, 3, 4]


async def test_a_version_that_comes_back(tmp_path: Path) -> None:
    """To go back to the very file that was in force before, by its link, is a change too."""
    for number in (1, 2):
        (tmp_path / str(number)).write_text(burst(number))
    link = tmp_path / "sidecar.yaml"
    link.symlink_to("1")
    async with following(link) as follower:
        for number in (2, 1):
            link.unlink()
            link.symlink_to(str(number))
            await follower.looks()
        assert follower.changes == [2, 1]


async def test_a_bad_version_is_told_once(file: Path) -> None:
    """A file that is not good is read once, not again and again; the next version is read."""
    async with following(file) as follower:
        put(file, "rate: {burst: x}\n")
        (wrong,) = await follower.looks(8)
        assert "whole number" in str(wrong)
        put(file, burst(2))
        assert await follower.looks() == [wrong, 2]


async def test_a_change_before_it_follows(file: Path) -> None:
    """What changed between the first reading and the first look is told."""
    source = Source(UPSTREAM, {}, file)
    source.load()
    put(file, burst(2))
    follower = Follower(source)
    task = asyncio.create_task(source.follow(follower.changed, interval=0))
    assert await follower.looks() == [2]
    task.cancel()


# ── what is none


async def test_nothing_is_told_while_it_changes(file: Path) -> None:
    """A file that is another at each look is being written; only what stays is read."""
    async with following(file) as follower:
        for number in range(2, 10):
            replace(file)
            put(file, f"# {number}\n" * number + burst(number))
            assert await follower.looks(1) == []
        assert await follower.looks() == [9]


async def test_a_file_that_is_gone(file: Path) -> None:
    """That is no change: what was read stays in force. When it is back, it is read."""
    async with following(file) as follower:
        remove(file)
        assert await follower.looks() == []
        put(file, burst(2))
        assert await follower.looks() == [2]


async def test_what_somebody_else_had_read(file: Path) -> None:
    """A version that was read because somebody asked for it is not told again."""
    async with following(file) as follower:
        put(file, burst(2))
        await follower.looks(1)
        assert follower.load().settings.rate.burst == 2
        assert await follower.looks() == []


async def test_a_change_while_it_is_told(file: Path) -> None:
    """What changes while the last change is being taken over is told after it."""
    source = Source(UPSTREAM, {}, file)
    source.load()
    told: list[int] = []

    async def changed() -> None:
        told.append(source.load().settings.rate.burst)
        if len(told) == 1:
            put(file, "# more\n" + burst(3))

    task = asyncio.create_task(source.follow(changed, interval=0))
    put(file, burst(2))
    for _ in range(10):
        await asyncio.sleep(0)
    assert told == [2, 3]
    task.cancel()
