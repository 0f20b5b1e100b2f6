"""What the chart refuses to render, and says why; and what it renders with a warning."""

from __future__ import annotations

import json
from itertools import product
from math import ceil

import helm_python as helm
import pytest

from sidecar.settings import Settings
from sidecar.settings.knobs import knobs
from sidecar.units import parse_duration
from tests.charts.rendering import render, with_defaults


def refusal(values: str) -> str:
    """What is said against these values."""
    with pytest.raises(helm.HelmError) as caught:
        render(with_defaults(values))
    return str(caught.value)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ("shutdown: {gracePeriodSeconds: 44}", "10 + appSeconds 25 + config.drain.timeout 5 + 5 = 45"),
        ("config: {drain: {timeout: 5001ms}}", "config.drain.timeout 6 + 5 = 46"),
        ("config: {drain: {timeout: null}}", "config.drain.timeout 25 + 5 = 65"),
        ("shutdown: {appPreStopSeconds: 9}", "shutdown.appPreStopSeconds is 9"),
        ("config: {drain: {delay: 1m}}", "set at least 62"),
        ("mode: classic", "before the app does at 35 s (appPreStopSeconds + appSeconds); set at least 27s"),
        ("{mode: classic, config: {drain: {timeout: 33s}}}", "config.drain.timeout 33 + 5 = 46"),
        ("kubeVersion: v1.28.3", "mode native needs Kubernetes 1.29, this is v1.28.3"),
        ("{kubeVersion: v1.29.3, shutdown: {appPreStop: sleep}}", "needs Kubernetes 1.30"),
        ("config: {upstream: 'http://127.0.0.1:1'}", "set upstream"),
        ("config: {listen: ':1'}", "set ports.http"),
        ("config: {admin: {listen: ':1'}}", "set ports.admin"),
        ("config: {admin: {token: hush}}", "config.admin.token_file"),
        ("config: {redis: {url: 'redis://:hush@redis:6379'}}", "SIDECAR_REDIS__URL in extraEnv"),
        ("config: {log: {format: console}}", "env.SIDECAR_LOG__FORMAT wins"),
        ("ports: {admin: 8900}", "are the same"),
        ("app: {image: {repository: ''}}", "app.image.repository is empty"),
    ],
)
def test_what_would_not_work(values: str, said: str) -> None:
    """Numbers that lose requests, and what would be said in vain, are refused with what to write instead."""
    assert said in refusal(values)


@pytest.mark.parametrize(
    "values",
    [
        "config: {timeouts: {requst: 5s}}",
        "config: {timeouts: {request: 5}}",
        "config: {routes: [{name: a}]}",
        "config: {breaker: {mode: off}}",
        "replicaCount: 3",
        "mode: sidecar",
        "image: {digest: abc}",
        "image: {tag: 1.10}",
        "ports: {http: 0}",
        "metrics: {podMonitor: {enabled: maybe}}",
    ],
)
def test_what_the_schema_refuses(values: str) -> None:
    """Values that do not exist or are of the wrong form are refused, those of the sidecar's settings too."""
    with pytest.raises(helm.HelmError, match="schema"):
        render(with_defaults(values))


def test_numbers_that_just_do() -> None:
    """The bounds themselves are allowed, in both modes."""
    numbers = "{gracePeriodSeconds: 24, appPreStopSeconds: 4, appSeconds: 10}"
    render(with_defaults(f"{{shutdown: {numbers}, config: {{drain: {{delay: 1500ms, timeout: 5s}}}}}}"))
    numbers = "{gracePeriodSeconds: 19, appPreStopSeconds: 4, appSeconds: 10}"
    render(with_defaults(f"{{mode: classic, shutdown: {numbers}, config: {{drain: {{delay: 2s, timeout: 12s}}}}}}"))


@pytest.mark.parametrize("text", ["0s", "0", "250ms", "1s", "1001ms", "1m30s", "1.5m", "1h", "1h1m1s1ms"])
def test_durations_are_read_as_the_program_reads_them(text: str) -> None:
    """The arithmetic sees each duration as the sidecar will, rounded up to seconds."""
    seconds = ceil(parse_duration(text))
    said = refusal(f"{{shutdown: {{gracePeriodSeconds: 1}}, config: {{drain: {{timeout: {text}}}}}}}")
    assert f"config.drain.timeout {seconds} + 5 = {10 + 25 + seconds + 5}" in said


def test_missing_drain_settings_mean_the_programs_defaults() -> None:
    """Where values take the settings away, the arithmetic goes on with what the program will do."""
    drain = Settings(upstream="http://h:1").drain
    assert (drain.delay, drain.timeout) == (0, 25)
    assert "config.drain.timeout 25 + 5" in refusal("config: {drain: {timeout: null}}")
    render(with_defaults("{config: {drain: {delay: null}}, shutdown: {appPreStopSeconds: 2}}"))


@pytest.mark.parametrize(
    ("section", "name", "value", "env"),
    [
        ("drain", "delay", "1s", "SIDECAR_DRAIN__DELAY"),
        ("retry", "max_body", 1024, "SIDECAR_RETRY__MAX_BODY"),
        ("forwarding", "trusted_proxies", ["10.0.0.0/8"], "SIDECAR_FORWARDING__TRUSTED_PROXIES"),
    ],
)
def test_environment_hides_no_setting(section: str, name: str, value: object, env: str) -> None:
    """A setting in the file that `env` overrides is told; `env` alone may say it."""
    assert knobs()[f"{section}.{name}"].env == env
    said = refusal(f"{{config: {{{section}: {{{name}: {json.dumps(value)}}}}}, env: {{{env}: '0'}}}}")
    assert f"config.{section}.{name} has no effect: env.{env} wins over it" in said
    render(with_defaults("{env: {SIDECAR_RETRY__ATTEMPTS: 0}, config: {redis: {url: 'redis://redis:6379/1'}}}"))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ("mode: classic\nconfig: {drain: {timeout: 27s}}", "mode classic"),
        ("app: {replicas: 1}", "app.replicas is 1"),
        ("app: {replicas: 1}\npodDisruptionBudget: {enabled: true}", "protects nothing"),
        ("app: {image: {tag: latest}}", "app.image.tag is latest"),
        ("resources: {limits: {memory: null}}", "resources.limits.memory is not set"),
        ("resources: {limits: {cpu: 1}}", "resources.limits.cpu is set"),
        ("upstream: http://10.0.0.1:80", "which others may reach"),
        ("config: {forwarding: {trusted_proxies: []}}", "the app sees the address of the ingress controller"),
        ("{}", "nothing scrapes the metrics"),
    ],
)
def test_what_the_notes_warn_of(values: str, said: str) -> None:
    """After an installation the notes name what may surprise."""
    assert any(said in line for line in render(with_defaults(values)).notes.splitlines() if line.startswith("WARNING"))


def test_notes_without_warnings() -> None:
    """Where nothing may surprise, nothing is said."""
    modes = product(
        ("metrics: {annotations: true}", "metrics: {podMonitor: {enabled: true}}"), ("", "upstream: unix:///a")
    )
    for metrics, upstream in modes:
        assert "WARNING" not in render(with_defaults(f"{metrics}\n{upstream}\n")).notes
