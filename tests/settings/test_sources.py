"""Where settings come from: each source, who wins, and that everything wrong is said at once."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from sidecar.settings import Settings, SettingsError, load
from sidecar.settings.knobs import knobs, value_of

UPSTREAM = {"upstream": "http://app:8080"}


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    """Writes a settings file and returns its path."""

    def write_file(text: str) -> Path:
        file = tmp_path / "sidecar.yaml"
        file.write_text(text, encoding="utf-8")
        return file

    return write_file


def problems(
    flags: Mapping[str, str] = UPSTREAM, env: Mapping[str, str] | None = None, file: Path | None = None
) -> list[str]:
    """What is said about these sources, without the file's path."""
    with pytest.raises(SettingsError) as caught:
        load(flags, env or {}, file)
    return [re.sub(r"file \S+/", "file ", str(problem)) for problem in caught.value.problems]


def test_defaults_need_only_an_upstream() -> None:
    """With nothing but an upstream, every other setting stands at its default and says so."""
    loaded = load(UPSTREAM, {}, None)
    assert loaded.settings == Settings(upstream="http://app:8080")
    assert loaded.origin.pop("upstream") == "flag --upstream"
    assert set(loaded.origin.values()) == {"default"}
    assert set(loaded.origin) | {"upstream"} == set(knobs())


def test_flags_win_over_environment_over_file(write: Callable[[str], Path]) -> None:
    """Flags win over variables, variables over the file, the file over defaults; each value knows its origin."""
    file = write("upstream: http://file:1\ntimeouts: {request: 1s, connect: 1s, head: 1s}\n")
    env = {"SIDECAR_TIMEOUTS__REQUEST": "2s", "SIDECAR_TIMEOUTS__CONNECT": "2s"}
    settings, origin = load({"timeouts.request": "3s"}, env, file)
    timeouts = settings.timeouts
    assert (timeouts.request, timeouts.connect, timeouts.head, timeouts.keep_alive) == (3, 2, 1, 75)
    assert origin["timeouts.request"] == "flag --timeout"
    assert origin["timeouts.connect"] == "env SIDECAR_TIMEOUTS__CONNECT"
    assert origin["timeouts.head"] == f"file {file}"
    assert origin["timeouts.keep_alive"] == "default"


def test_every_knob_has_its_variable() -> None:
    """Every setting can be given by the environment, in the form in which it is shown."""
    env = {knob.env: knob.show(knob.default) for knob in knobs().values() if knob.default is not None}
    settings, origin = load({}, env | {"SIDECAR_UPSTREAM": "http://app:8080"}, None)
    assert settings == Settings(upstream="http://app:8080")
    assert all(text.startswith("env SIDECAR_") for text in origin.values())


def test_all_problems_of_all_sources_are_told_at_once(write: Callable[[str], Path]) -> None:
    """Every problem of file, environment and flags is reported together, with path, value, fault, remedy, origin."""
    file = write("upstream: http://app:8080\ntimeouts:\n  request: 5\n  attemt: 3s\nhttp:\n  max_body: 64KB\n")
    assert problems({"listen": "8900"}, {"SIDECAR_POOL__IDEL": "1s", "SIDECAR_LOG__LEVEL": "loud"}, file) == [
        "timeouts.attemt: is not a setting; did you mean timeouts.attempt? [file sidecar.yaml line 4]",
        "SIDECAR_POOL__IDEL: is not a setting; did you mean SIDECAR_POOL__IDLE? [environment]",
        "listen: 8900: has no host; write 127.0.0.1:8900, or :8900 for all interfaces [flag --listen]",
        "timeouts.request: 5: has no unit; write 5s for seconds or 5ms for milliseconds [file sidecar.yaml line 3]",
        "http.max_body: 64KB: has a unit that is not exact; write 64KiB (powers of 1024) [file sidecar.yaml line 6]",
        "log.level: loud: is not one of the choices; write debug, info, warning or error [env SIDECAR_LOG__LEVEL]",
    ]


@pytest.mark.parametrize(
    ("path", "text", "wrong"),
    [
        ("timeouts.connect", "0s", "is too small; write at least 1ms"),
        ("pool.max_connections", "0", "is too small; write at least 1"),
        ("pool.max_connections", "+5", "is not a whole number; write digits only"),
        ("http.max_header_bytes", "2MiB", "is too large; write at most 1MiB"),
        ("forwarding.forwarded", "maybe", "is neither true nor false; write true or false"),
        ("forwarding.trusted_proxies", "10.0.0.1/8", "has bits set behind its prefix; write 10.0.0.0/8"),
        ("forwarding.trusted_proxies", "inside", "is not a network; write it like 10.0.0.0/8"),
        ("health.path", "healthz", "is not a request path; write it like /healthz"),
        ("admin.token", "two words", "holds characters that a header cannot carry"),
    ],
)
def test_each_kind_names_its_remedy(path: str, text: str, wrong: str) -> None:
    """A value outside its kind or bounds is refused with what to write instead."""
    name = knobs()[path].env
    (problem,) = problems(env={name: text})
    assert problem.startswith(f"{path}: ")
    assert wrong in problem
    assert problem.endswith(f"[env {name}]")


def test_lists_come_with_commas_or_as_yaml(write: Callable[[str], Path]) -> None:
    """A list is a comma-separated text in flags and variables, and a YAML list, or such a text, in the file."""
    file = write("probes: {paths: [/a, /b], user_agents: curl}\n")
    settings = load({**UPSTREAM, "forwarding.trusted_proxies": "10.0.0.0/8, ::1"}, {}, file).settings
    assert settings.forwarding.trusted_proxies == ("10.0.0.0/8", "::1/128")
    assert settings.probes.paths == ("/a", "/b")
    assert settings.probes.user_agents == ("curl",)


def test_missing_upstream_is_named_with_an_example() -> None:
    """Without an upstream, the message says how to give one."""
    assert problems({}) == [
        "upstream: is not given; say where the service is, for example http://127.0.0.1:8080 [flag --upstream]"
    ]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SIDECAR_SERVICE_HOST", "10.96.0.7"),
        ("SIDECAR_SERVICE_PORT", "80"),
        ("SIDECAR_SERVICE_PORT_HTTP_METRICS", "80"),
        ("SIDECAR_PORT", "tcp://10.96.0.7:80"),
        ("SIDECAR_PORT_80_TCP", "tcp://10.96.0.7:80"),
        ("SIDECAR_PORT_80_TCP_ADDR", "10.96.0.7"),
        ("SIDECAR_ADMIN_SERVICE_HOST", "10.96.0.7"),
        ("SIDECAR_ADMIN_PORT", "tcp://10.96.0.7:80"),
    ],
)
def test_service_links_of_kubernetes_are_no_mistakes(name: str, value: str) -> None:
    """What Kubernetes sets for a Service called "sidecar" or "sidecar-…" is ignored."""
    assert load(UPSTREAM, {name: value}, None).settings.upstream == "http://app:8080"


def test_a_port_written_by_hand_is_a_mistake() -> None:
    """SIDECAR_PORT=8080 is nobody's service link, so it is reported."""
    assert problems(env={"SIDECAR_PORT": "8080"})[0].startswith("SIDECAR_PORT: is not a setting; ")


def test_secrets_are_never_told(write: Callable[[str], Path]) -> None:
    """No message shows a token, be it misspelt or malformed, nor the password in a URL."""
    file = write("admin: {token: hush hush, tokn: hush}\n")
    told = problems({"upstream": "http://me:hush@app:80"}, {"SIDECAR_ADMIN__TOKN": "hush"}, file)
    assert len(told) == 4
    assert "hush" not in " ".join(told)
    assert any(text.startswith("admin.token: ***: ") for text in told)


@pytest.mark.parametrize(("path", "text"), [("admin.token", "s3cret"), ("redis.url", "redis://:hush@h:6379/0")])
def test_secrets_may_stand_in_files(tmp_path: Path, path: str, text: str) -> None:
    """A token or URL may stand in a file, whose closing newline does not belong to it; what it is from is told."""
    file = tmp_path / "secret"
    file.write_text(f"{text}\n")
    loaded = load(UPSTREAM, {knobs()[f"{path}_file"].env: str(file)}, None)
    assert value_of(loaded.settings, path) == text
    assert loaded.origin[path] == f"from {path}_file"
    assert loaded.given() == ["upstream", f"{path}_file"]


@pytest.mark.parametrize(
    ("path", "content", "wrong"),
    [
        ("admin.token", None, "cannot be read: No such file"),
        ("admin.token", b"\n", "is empty; put admin.token into it"),
        ("admin.token", b"hush hush", "holds characters that a header cannot carry"),
        ("admin.token", b"\xff", "is not text; save it as UTF-8"),
        ("redis.url", b"hush@h", "is not a Redis URL; write redis://host:6379/0"),
    ],
)
def test_a_file_without_its_secret_is_refused(tmp_path: Path, path: str, content: bytes | None, wrong: str) -> None:
    """A file that is missing, empty or holds something else is named, its content is not."""
    file = tmp_path / "secret"
    if content is not None:
        file.write_bytes(content)
    (problem,) = problems(env={knobs()[f"{path}_file"].env: str(file)})
    assert problem.startswith(f"{path}_file: {file}: {wrong}")
    assert "hush" not in problem


def test_all_files_of_secrets_are_looked_at(tmp_path: Path) -> None:
    """Of several files that cannot be read, each is told."""
    env = {"SIDECAR_ADMIN__TOKEN_FILE": str(tmp_path / "a"), "SIDECAR_REDIS__URL_FILE": str(tmp_path / "b")}
    assert len(problems(env=env)) == 2


def test_a_password_of_redis_is_never_told() -> None:
    """What is wrong with a URL is told without its password."""
    assert problems(env={"SIDECAR_REDIS__URL": "http://me:hush@h:6379"}) == [
        "redis.url: http://me:***@h:6379: is not a Redis URL; write redis://host:6379/0, rediss://... or unix:///path "
        "[env SIDECAR_REDIS__URL]"
    ]


def test_limits_have_flags() -> None:
    """The policies that people turn by hand have flags, in the units of the file."""
    flags = {"rate.limit": "90/m", "rate.burst": "7", "concurrency.max": "8", "retry.attempts": "1"}
    flags |= {"breaker.mode": "shadow", "breaker.failures": "3", "breaker.open_for": "1m"}
    settings, origin = load(UPSTREAM | flags, {}, None)
    assert (settings.rate.limit, settings.rate.burst, settings.concurrency.max) == (1.5, 7, 8)
    assert (settings.retry.attempts, settings.breaker.mode, settings.breaker.failures) == (1, "shadow", 3)
    assert settings.breaker.open_for == 60
    assert origin["breaker.open_for"] == "flag --breaker-open-for"
