"""`sidecar inject` as its users meet it: pipes, exit codes, one line for each thing that is wrong."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from sidecar.cli import main
from sidecar.inject.options import OPTIONS
from tests.inject.support import DEPLOYMENT, ROOT, injected


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """A file with a workload, with Windows line ends."""
    file = tmp_path / "app.yaml"
    file.write_bytes(DEPLOYMENT.replace("\n", "\r\n").encode())
    return file


def python(code: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Code in a process of its own."""
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=ROOT, input=stdin, capture_output=True, timeout=60, check=False)


def test_a_file_comes_out_with_the_sidecar(manifest: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """Manifests to stdout, every byte as it is to be, and what to know to stderr; the file stays as it was."""
    before = manifest.read_bytes()
    assert main(["inject", "-f", str(manifest), "--retries", "3"]) == 0
    out, err = capfdbinary.readouterr()
    assert out == injected(before.decode(), retries="3").encode()
    assert all(line.startswith(b"sidecar inject: document 1, Deployment/web, line 1: ") for line in err.splitlines())
    assert manifest.read_bytes() == before


def test_pipes(manifest: Path) -> None:
    """`-f -` reads stdin, and `--uninject` undoes what came out."""
    run = "import sys; from sidecar.cli import main; sys.exit(main(sys.argv[1:] or ['inject', '-f', '-'{}]))"
    made = python(run.format(""), manifest.read_bytes())
    assert made.returncode == 0
    assert python(run.format(", '--uninject'"), made.stdout).stdout == manifest.read_bytes()


def test_what_is_refused_prints_nothing(manifest: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """Exit code 1, a line for each problem, and no manifests: half a stream would be applied."""
    manifest.write_text(DEPLOYMENT.replace("8080", "8900"))
    assert main(["inject", "-f", str(manifest)]) == 1
    out, err = capfdbinary.readouterr()
    assert out == b""
    assert b"containers[0].ports: uses port 8900 itself" in err


def test_what_is_left_alone_is_told(manifest: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """Exit code 0, the manifest as it was, and a line on stderr that says what was missing where."""
    manifest.write_text("apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec: {replicas: 3}\n")
    assert main(["inject", "-f", str(manifest)]) == 0
    out, err = capfdbinary.readouterr()
    assert out == manifest.read_bytes()
    assert err.decode() == (
        "sidecar inject: document 1, Deployment/web, line 1: spec.template: there is none here; "
        "left alone, as patches are; in a whole workload, look at the indentation\n"
    )


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ([], 2, "sidecar inject: which manifests? Give -f FILE, or -f - for those on stdin"),
        (["-f", "a", "--timeout", "5"], 2, "sidecar inject: --timeout 5 has no unit; write 5s for seconds"),
        (["-f", "a", "--mode", "magic"], 2, "sidecar inject: --mode magic is not one of the choices; write native or"),
        (["-f", "a", "--admin-token", "s"], 2, "sidecar inject: --admin-token is not known here"),
        (["-f", "/nowhere/a.yaml"], 1, "sidecar inject: /nowhere/a.yaml: No such file or directory"),
        (["-f", str(Path(sys.executable).resolve())], 1, "is not UTF-8"),
    ],
)
def test_wrong_usage_is_one_line(
    arguments: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Usage exits with 2, what cannot be read with 1."""
    try:
        ended = main(["inject", *arguments])
    except SystemExit as error:
        ended = int(str(error.code))
    assert ended == code
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


def test_help_has_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    """Every option with its default, from the one table."""
    with pytest.raises(SystemExit):
        main(["inject", "--help"])
    out = " ".join(capsys.readouterr().out.split())
    for option in OPTIONS.values():
        assert f"{option.flag} {option.metavar} " in out
        assert option.default in out


def test_without_its_library_it_names_the_remedy(manifest: Path) -> None:
    """ruamel.yaml is an extra: who lacks it is told how to get it, in one line."""
    code = (
        "import sys; sys.modules['ruamel'] = None; sys.modules['ruamel.yaml'] = None\n"
        f"from sidecar.cli import main; sys.exit(main(['inject', '-f', {str(manifest)!r}]))"
    )
    done = python(code)
    assert done.returncode == 1
    assert done.stderr.decode() == (
        "sidecar inject: needs ruamel.yaml to read manifests: pip install 'sidecar[inject]'\n"
    )


def test_the_proxy_never_loads_it() -> None:
    """`sidecar run` knows nothing of manifests."""
    code = "import sys, sidecar.app, sidecar.cli.run, sidecar.admin.app; print(*sys.modules)"
    loaded = python(code).stdout.decode().split()
    assert not [name for name in loaded if name.startswith(("ruamel", "sidecar.inject"))]
