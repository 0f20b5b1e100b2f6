"""The command line as its users meet it: exit codes, one clear line, nothing loaded that is not needed."""

from __future__ import annotations

import os
import subprocess
import sys
import types
from pathlib import Path

import pytest

from sidecar import __version__
from sidecar.cli import main
from sidecar.cli.commands import COMMANDS
from sidecar.settings import Loaded

UPSTREAM = ["--upstream", "http://127.0.0.1:8080"]


def sidecar(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    """A real `python -m sidecar`, without settings in its environment but these."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("SIDECAR_")}
    command = [sys.executable, "-m", "sidecar", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, env=clean | env, check=False)


class App:
    """A stand-in for the proxy: what it was started with, and how it ends."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.started: list[object] = []
        self.ends: int | Exception = 0
        app, demo = types.ModuleType("sidecar.app"), types.ModuleType("sidecar.demo")
        app.run = self._run  # type: ignore[attr-defined]
        demo.run_demo = self._run  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "sidecar.app", app)
        monkeypatch.setitem(sys.modules, "sidecar.demo", demo)

    def _run(self, *arguments: object) -> int:
        self.started += arguments
        if isinstance(self.ends, Exception):
            raise self.ends
        return self.ends


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> App:
    """The stand-in, installed."""
    return App(monkeypatch)


def test_help_lists_commands_and_flags() -> None:
    """`--help` exits with 0 and shows every command and the flags of `run`."""
    done = sidecar("--help")
    assert done.returncode == 0
    assert all(f"  {name}" in done.stdout for name in COMMANDS)
    assert "--upstream URL" in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Every command explains itself and exits with 0."""
    with pytest.raises(SystemExit) as caught:
        main([name, "--help"])
    assert caught.value.code == 0
    assert capsys.readouterr().out.startswith("usage: sidecar")


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    """`--version` prints name and version."""
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert capsys.readouterr().out == f"sidecar {__version__}\n"


def test_check_of_good_settings_says_so(tmp_path: Path) -> None:
    """`check` exits with 0 and prints OK, what was set and by whom, with secrets masked."""
    file = tmp_path / "s.yaml"
    file.write_text("upstream: http://app:1\nadmin: {listen: ':8901'}\n")
    done = sidecar("check", "-c", str(file), "--timeout", "5s", SIDECAR_ADMIN__TOKEN="hush")
    assert done.returncode == 0
    assert done.stdout.splitlines() == [
        "OK: 127.0.0.1:8900 -> http://app:1, admin :8901",
        f"  upstream = http://app:1  (file {file})",
        "  timeouts.request = 5s  (flag --timeout)",
        f"  admin.listen = :8901  (file {file})",
        "  admin.token = ***  (env SIDECAR_ADMIN__TOKEN)",
        "  everything else is at its default; `sidecar config show` prints it",
    ]


def test_check_of_bad_settings_says_all() -> None:
    """`check` exits with 78 and prints every problem, one line each."""
    done = sidecar("check", *UPSTREAM, SIDECAR_LISTEN="x", SIDECAR_LOG__LEVEL="loud")
    assert done.returncode == 78
    assert len(done.stderr.splitlines()) == 2
    assert done.stdout == ""


def test_bad_yaml_is_a_configuration_error(tmp_path: Path) -> None:
    """A file that is not YAML exits with 78 and one line that names it."""
    file = tmp_path / "s.yaml"
    file.write_text("a: [\n")
    done = sidecar("run", "-c", str(file))
    assert done.returncode == 78
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"sidecar: {file}: is not YAML: ")


def test_bad_flag_value_is_a_usage_error() -> None:
    """A flag's value that means nothing exits with 2 and one line: what was given, what to write, which flag."""
    done = sidecar(*UPSTREAM, "--timeout", "5")
    assert done.returncode == 2
    assert done.stderr == (
        "sidecar: timeouts.request: 5: has no unit; write 5s for seconds or 5ms for milliseconds [flag --timeout]\n"
    )


def test_missing_upstream_is_a_usage_error_with_an_example() -> None:
    """`sidecar` alone exits with 2 and shows how it is started."""
    done = sidecar()
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == "For example: sidecar --upstream http://127.0.0.1:8080"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["stauts"], "sidecar: stauts is not a command; did you mean status?"),
        (["zzz"], "sidecar: zzz is not a command; there are run, demo, check,"),
        (
            ["http://app:1"],
            "sidecar: http://app:1 is not a command; to run in front of it: sidecar --upstream http://app",
        ),
        (["--timout", "5s"], "sidecar: --timout is not known here; did you mean --timeout?"),
        (["run", "--tim", "5s"], "sidecar: --tim is not known here; did you mean --timeout?"),
        (["run", "--timeout=5s", "now"], "sidecar: now is not known here; see --help"),
        (["--timeout"], "sidecar: argument --timeout: expected one argument"),
        (["config"], "sidecar config: the following arguments are required"),
        (["config", "shwo"], "sidecar config: shwo is not known here; write show, schema or template"),
        (["explain"], "sidecar explain: the following arguments are required: ID"),
        (["top", "--interval", "2"], "sidecar top: argument --interval: 2 is no time; write 500ms, 2s or 1m"),
        (["drain", "--now"], "sidecar drain: --now is not known here; see --help"),
        (["demo", "--listen", "8900"], "sidecar demo: listen: 8900: has no host; write 127.0.0.1:8900"),
    ],
)
def test_wrong_usage_is_told_in_one_line(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Unknown commands, flags and words exit with 2 and one line that says what was meant."""
    try:
        code = main(arguments)
    except SystemExit as error:
        code = int(str(error.code))
    assert code == 2
    assert capsys.readouterr().err.splitlines()[0].startswith(said)


@pytest.mark.parametrize("arguments", [UPSTREAM, ["run", *UPSTREAM]])
def test_run_may_be_left_out(app: App, arguments: list[str]) -> None:
    """`sidecar --upstream URL` is `sidecar run --upstream URL`, and the proxy's exit code is the command's."""
    app.ends = 7
    assert main(arguments) == 7
    loaded = app.started[0]
    assert isinstance(loaded, Loaded)
    assert loaded.settings.upstream == "http://127.0.0.1:8080"


@pytest.mark.parametrize("arguments", [["run", *UPSTREAM], ["demo"]])
def test_port_in_use_is_one_line(app: App, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """A listener that cannot be bound exits with 1 and one line with the system's reason."""
    app.ends = OSError(98, "cannot listen on 127.0.0.1:8900: the port is in use")
    assert main(arguments) == 1
    assert capsys.readouterr().err == "sidecar: cannot listen on 127.0.0.1:8900: the port is in use\n"


def test_demo_is_given_its_addresses(app: App) -> None:
    """`demo` runs on the default addresses unless told otherwise."""
    assert main(["demo", "--admin", "127.0.0.1:0"]) == 0
    assert app.started == ["127.0.0.1:8900", "127.0.0.1:0"]


def test_interrupt_has_the_shell_code(app: App) -> None:
    """A Ctrl-C that nobody handled exits with 130, without a traceback."""

    def interrupt(*arguments: object) -> int:
        raise KeyboardInterrupt

    sys.modules["sidecar.app"].run = interrupt  # type: ignore[attr-defined]
    assert main(UPSTREAM) == 130


def test_a_reader_that_leaves_early_is_no_fault() -> None:
    """`sidecar config template | head` ends without a traceback."""
    command = f"{sys.executable} -m sidecar config schema | true"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=30, check=False)
    assert done.stderr == ""


@pytest.mark.parametrize("what", ["schema", "template"])
def test_config_prints_references(what: str, capsys: pytest.CaptureFixture[str]) -> None:
    """`config schema` and `config template` need no settings."""
    assert main(["config", what]) == 0
    assert "upstream" in capsys.readouterr().out


def test_config_show_masks_secrets(capsys: pytest.CaptureFixture[str]) -> None:
    """`config show` prints the settings in force without the token."""
    assert main(["config", "show", *UPSTREAM, "--admin-token", "hush"]) == 0
    out = capsys.readouterr().out
    assert "hush" not in out
    assert "# flag --admin-token" in out


@pytest.mark.parametrize(
    "command",
    [
        *(["status"], ["reload"], ["drain"], ["drain", "--exit"], ["explain", "id-1"], ["tap"], ["top"]),
        *(["wait", "--timeout", "1ms"], ["top", "--interval", "2s"]),
    ],
)
def test_remote_commands_load_nothing_heavy(command: list[str]) -> None:
    """What talks to the admin port runs on the standard library alone, so that a preStop hook takes no time."""
    code = f"import sys; from sidecar.cli import main; main({command!r}); print(*sys.modules)"
    env = dict(os.environ, SIDECAR_ADMIN__LISTEN="unix:/nowhere/admin.sock")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, env=env, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert "argparse" in loaded
    heavy = {
        "msgspec",
        "yaml",
        "aiohttp",
        "asyncio",
        "structlog",
        "prometheus_client",
        "uvloop",
        "http",
        "ssl",
        "email",
    }
    assert not loaded & heavy


def test_checking_loads_neither_the_proxy_nor_yaml() -> None:
    """Without a file PyYAML stays out, and a mistake is told before the proxy is loaded."""
    code = "import sys; from sidecar.cli import main; main(['check', '--upstream', 'http://a:1']); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert not loaded & {"yaml", "aiohttp", "asyncio", "structlog", "prometheus_client", "uvloop"}
