"""The settings file: YAML whose scalars mean what they say, and its mistakes with their lines."""

from __future__ import annotations

from pathlib import Path

import pytest

from sidecar.settings import Settings, SettingsError, load


def loaded(tmp_path: Path, text: str | bytes) -> Settings:
    """The settings of a file with this text and an upstream."""
    file = tmp_path / "sidecar.yaml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load({"upstream": "http://app:1"}, {}, file).settings


def problems(tmp_path: Path, text: str | bytes) -> list[str]:
    """What is said about such a file, the file's path left out."""
    with pytest.raises(SettingsError) as caught:
        loaded(tmp_path, text)
    file = f"file {tmp_path}/sidecar.yaml "
    return [str(problem).replace(file, "").replace(f"{tmp_path}/", "") for problem in caught.value.problems]


def test_scalars_mean_what_they_say(tmp_path: Path) -> None:
    """`off`, `0123` and `no` are texts, where YAML 1.1 sees false, 83 and false."""
    settings = loaded(tmp_path, "log: {access: off, query: no}\nadmin: {token: 0123}\n")
    assert settings.log.access == "off"
    assert settings.log.query is False
    assert settings.admin.token == "0123"


def test_an_empty_file_or_section_changes_nothing(tmp_path: Path) -> None:
    """A file or a section of which everything is commented out is no mistake."""
    assert loaded(tmp_path, "") == loaded(tmp_path, "timeouts:\n  # request: 5s\npool: ~\n")


def test_quoting_makes_no_difference(tmp_path: Path) -> None:
    """Numbers may be quoted, as templates like to do."""
    assert loaded(tmp_path, 'pool: {max_connections: "7"}\n').pool.max_connections == 7


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("log:\n  level: info\n  level: debug\n", "log.level: is given twice (first in line 2); keep one [line 3]"),
        ("pool: {}\nhttp: {}\npool: {}\n", "pool: is given twice (first in line 1); keep one [line 3]"),
        ("request: 5s\n", "request: is not a setting; did you mean timeouts.request? [line 1]"),
        ("timeout: {}\n", "timeout: is not a setting; did you mean timeouts? [line 1]"),
        (
            "pool:\n  max-connections: 5\n",
            "pool.max-connections: is not a setting; did you mean pool.max_connections? [line 2]",
        ),
        ("zzz: 1\n", "zzz: is not a setting; remove it, or see `sidecar config template` [line 1]"),
        ("timeouts: 5s\n", "timeouts: …: holds one value, not keys; write lines of the form key: value [line 1]"),
        ("timeouts: [5s]\n", "timeouts: […]: is a list; write lines of the form key: value [line 1]"),
        ("log:\n  level:\n", "log.level: has no value; give one, or remove the line for the default [line 2]"),
        ("log: {level: [info, debug]}\n", "log.level: info,debug: is a list; write a single value [line 1]"),
        (
            "timeouts.request: 5s\n",
            "timeouts.request: is not one key; write each part in a line of its own, the inner ones indented [line 1]",
        ),
        ("route: [{name: a}]\n", "route: is not a setting; did you mean routes? [line 1]"),
        (
            "redis: redis://me:hush@h\n",
            "redis: …: holds one value, not keys; write lines of the form key: value [line 1]",
        ),
        ("log: {level: {a: b}}\n", "log.level: …: holds more than plain values; write it in one line [line 1]"),
    ],
)
def test_mistakes_are_named_with_their_line(tmp_path: Path, text: str, wrong: str) -> None:
    """A mistake of form is told with its path, its line and what to do."""
    assert problems(tmp_path, text) == [wrong]


def test_a_file_that_is_not_yaml_is_named_with_its_line(tmp_path: Path) -> None:
    """A syntax error is one problem with its line, and nothing is said of what could not be read."""
    (problem,) = problems(tmp_path, "log:\n  level: [info\nlisten: x\n")
    assert problem.startswith("sidecar.yaml: is not YAML: ")
    assert problem.endswith("[line 3]")


TAG = "has a tag, which begins with an exclamation mark; remove it, or put the value in quotes"
RUN = "!!python/object/apply:os.system"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("log: {level: %s [touch ran]}", "log.level: …"),
        ("listen: %s [touch ran]", "listen: …"),
        ("forwarding: {trusted_proxies: %s [touch ran]}", "forwarding.trusted_proxies: …"),
        ("forwarding: {trusted_proxies: [%s [touch ran]]}", "forwarding.trusted_proxies: …"),
        ("admin:\n  token: %s\n   - touch ran", "admin.token: …"),
        ("log: %s {command: touch ran}", "log: {…}"),
        ("log: {%s [touch ran]: x}", "log.[…]"),
        ("routes: %s [touch ran]", "routes: […]"),
        ("routes: [%s {command: touch ran}]", "routes[0]: {…}"),
        ("%s [touch ran]", "sidecar.yaml: […]"),
    ],
)
def test_yaml_that_asks_for_code_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, told: str
) -> None:
    """Wherever it asks; nothing of it is run."""
    monkeypatch.chdir(tmp_path)
    told_of = [problem.rpartition(" [line ")[0] for problem in problems(tmp_path, text % RUN)]

    assert f"{told}: {TAG}" in told_of
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "text",
    [
        "log: {level: !!python/name:os.system info}",
        "log: {!!python/name:os.system level: info}",
        "log: {level: !!binary aW5mbw==}",
        "log: {level: !level info}",
        "admin:\n  token: !hush",
        "%TAG ! tag:example.com,2000:\n---\nlog: {level: !level info}",
    ],
)
def test_no_tag_is_passed_over(tmp_path: Path, text: str) -> None:
    """It would have the text mean something else than it says; a password that begins so is not shown."""
    (problem,) = problems(tmp_path, text)
    assert TAG in problem
    assert "hush" not in problem


def test_a_tag_that_says_what_is_so_anyway_is_none(tmp_path: Path) -> None:
    """Templates write `!!str` before what could be taken for a number."""
    assert loaded(tmp_path, "admin: !!map {token: !!str 0123}\n").admin.token == "0123"


def laughs(*items: str) -> str:
    """Twelve anchors, each of which names the one before it ten times: at the end, a million million."""
    lines = [f"a0: &a0 {items[0]}"]
    lines += [f"a{n}: &a{n} {items[1]}".replace("*", f"*a{n - 1}") for n in range(1, 13)]
    return "\n".join(lines) + "\n"


LISTS = laughs("[x]", "[*, *, *, *, *, *, *, *, *, *]")
KEYS = laughs("{x: y}", "{a: *, b: *, c: *, d: *, e: *, f: *, g: *, h: *, i: *, j: *}")
MERGED = laughs("{x: y}", "{<<: [*, *, *, *, *, *, *, *, *, *]}")


@pytest.mark.parametrize("bomb", [LISTS, KEYS, MERGED], ids=["lists", "keys", "merged"])
@pytest.mark.parametrize("use", ["log: *a12", "log: {level: *a12}", "routes: *a12", "routes: [*a12, {retry: *a12}]"])
def test_aliases_are_not_followed_further_than_settings_go(tmp_path: Path, bomb: str, use: str) -> None:
    """What would fill any memory is a few mistakes like others."""
    assert 13 <= len(problems(tmp_path, bomb + use)) <= 200


@pytest.mark.parametrize(
    "text",
    [
        f"a: &a {{{', '.join(f'k{n}: 1' for n in range(300))}}}\nroutes: [{', '.join(['*a'] * 300)}]",
        f"a: &a [{', '.join(['x'] * 300)}]\nroutes: [{', '.join(['{path: *a}'] * 300)}]",
        f"a: &a {'x' * 10_000}\nroutes: [{', '.join(['{path: *a}'] * 300)}]",
        f"a: &a {'x' * 1000}\nroutes: [{', '.join(['{*a : 1}'] * 1000)}]",
        f"routes: [{', '.join(['~'] * 20_001)}]",
    ],
    ids=["sections", "lists", "texts", "keys", "items"],
)
def test_what_aliases_name_counts_each_time(tmp_path: Path, text: str) -> None:
    """Few bytes would else come to gigabytes; such a file has one problem, not one for each value."""
    (problem,) = problems(tmp_path, text)
    assert problem.startswith("sidecar.yaml: holds more than 10,000 values or 1 MB of text, ")


def test_a_thousand_routes_are_not_too_much(tmp_path: Path) -> None:
    """More than anybody has written."""
    routes = [f"- {{name: r{n}, path: /r{n}, retry: {{attempts: 1}}, rate: {{limit: 1/s}}}}\n" for n in range(1000)]
    assert len(loaded(tmp_path, "routes:\n" + "".join(routes)).routes) == 1000


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"a: \x00"])
def test_a_file_that_is_not_text_is_refused(tmp_path: Path, content: bytes) -> None:
    """Bytes that are no text are one problem."""
    assert len(problems(tmp_path, content)) == 1


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """A file that cannot be read is one problem, with the system's reason."""
    with pytest.raises(SettingsError) as caught:
        load({}, {}, tmp_path / "none.yaml")
    (problem,) = caught.value.problems
    assert "none.yaml: cannot be read: No such file or directory; check the path" in str(problem)
