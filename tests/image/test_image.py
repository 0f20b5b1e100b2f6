"""The image, made as the Dockerfile says: what is in it, and that the proxy runs with nothing but that."""

from __future__ import annotations

import json
import os
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sidecar import __version__
from tests.image.dockerfile import read
from tests.image.engine import Image, build
from tests.support.processes import ROOT, GoService, Proxy
from tests.support.upstream import Upstream

STAGES = read(ROOT / "Dockerfile")
FINAL = STAGES[-1]

# Extras that are for working on the project.
FOR_WORK = {"audit", "bench", "dev", "fuzz"}

# Run in the image: what of these modules has no bytecode.
WITHOUT_BYTECODE = """
import json, os, sys
import sidecar.app, sidecar.admin.app, sidecar.cli.run, sidecar.cli.remote, redis.asyncio, yaml
specs = [module.__spec__ for module in sys.modules.values() if getattr(module, "__spec__", None)]
print(json.dumps([s.name for s in specs if s.cached and not os.path.exists(s.cached)]))
"""
# Run in the image: the directories in which a file can be made. Libraries are this machine's, mounted read-only.
WRITABLE = """
import json, os
found = []
for place, directories, _ in os.walk("/"):
    directories[:] = [d for d in directories if place != "/" or d not in ("proc", "dev", "lib", "lib64")]
    try:
        open(os.path.join(place, "x"), "w")
    except OSError:
        pass
    else:
        found.append(place)
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    """The image."""
    if not (sys.platform == "linux" and os.geteuid() == 0):
        why = "making the image's root directory and entering it needs Linux and root: sudo make test"
        # CI is where it has to run; people need not be root.
        (pytest.fail if os.environ.get("CI") else pytest.skip)(why)
    return build(tmp_path_factory.mktemp("image"))


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    """A service on this machine, whose network the image shares."""
    with Upstream() as upstream:
        yield upstream


def admin_of(proxy: Proxy) -> str:
    """Its admin port as a setting."""
    assert not isinstance(proxy.admin, str)
    return "{}:{}".format(*proxy.admin)


def printed(image: Image, code: str) -> Any:
    """What Python code prints in the image, as JSON."""
    done = image.run("python3", "-c", code)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_it_starts_serves_and_drains(image: Image) -> None:
    """As process 1, user 65532, with a read-only root and no home: it starts, serves, drains and leaves with 0."""
    with GoService() as go, Proxy.around(process := image.start(go.url)) as proxy:
        status = Path(f"/proc/{process.inner}/status").read_text()
        assert "\nUid:\t65532\t65532\t65532\t65532\n" in status
        assert "\nCapEff:\t0000000000000000\n" in status
        with proxy.client() as client:
            assert client.get("/hello").status == 200
            done = image.run("sidecar", "drain", SIDECAR_ADMIN__LISTEN=admin_of(proxy))
            assert done.returncode == 0, done.stderr
            assert proxy.page("/readyz")[0] == 503
            assert client.get("/hello")["Connection"] == "close"
        proxy.signal()
        assert proxy.wait() == 0
    assert len(proxy.events("drained")) == 1


def test_it_runs_as_whatever_user_it_is_given(image: Image, upstream: Upstream) -> None:
    """A platform that hands out user IDs of its own (OpenShift, with group 0) can run it as well."""
    with Proxy.around(image.start(upstream.url, user="1000680000:0")) as proxy, proxy.client() as client:
        assert client.get("/").status == 200


def test_the_healthcheck(image: Image, upstream: Upstream) -> None:
    """HEALTHCHECK succeeds while the proxy runs, wherever its admin port is, and fails once it has gone."""
    command = FINAL.last("HEALTHCHECK").command
    with Proxy.around(image.start(upstream.url)) as proxy:
        where = admin_of(proxy)
        done = image.run(*command, SIDECAR_ADMIN__LISTEN=where)
        assert done.returncode == 0, done.stderr
    assert image.run(*command, SIDECAR_ADMIN__LISTEN=where).returncode == 1


def test_the_healthcheck_wants_an_answer_of_200(image: Image, upstream: Upstream) -> None:
    """HEALTHCHECK fails where something else than 200 is answered."""
    upstream.script = lambda peer, seen: peer.send(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
    where = upstream.url.removeprefix("http://")
    assert image.run(*FINAL.last("HEALTHCHECK").command, SIDECAR_ADMIN__LISTEN=where).returncode == 1


def test_it_has_all_bytecode(image: Image) -> None:
    """Nothing that the proxy imports has to be compiled at the start, of the standard library neither."""
    assert printed(image, WITHOUT_BYTECODE) == []


def test_nothing_in_it_can_be_written(image: Image) -> None:
    """As the image is run, no directory of it takes a file, /tmp neither, and the user has no home."""
    assert printed(image, WRITABLE) == []
    assert "HOME" not in image.env


def test_it_belongs_to_root(image: Image) -> None:
    """All that the build adds belongs to root, and others may read it but not change it."""
    added = [path for path in (image.root / "opt").rglob("*") if not path.is_symlink()]
    assert len(added) > 500
    assert [str(path) for path in added if path.stat().st_uid != 0 or path.stat().st_mode & 0o022] == []
    assert [str(path) for path in added if not path.stat().st_mode & 0o004] == []


def test_what_every_request_passes_through_is_compiled(image: Image) -> None:
    """All of it that the project names for that."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    named = project["tool"]["hatch"]["build"]["targets"]["wheel"]["hooks"]["mypyc"]["include"]
    (package,) = (image.root / "opt").glob("sidecar/lib/python3.*/site-packages/sidecar")
    compiled = {
        f"/sidecar/{path.relative_to(package).parent / path.name.split('.')[0]}.py" for path in package.rglob("*.so")
    }
    assert compiled == set(named)


def test_it_holds_no_tools(image: Image) -> None:
    """Neither pip nor the sources of the build are in it."""
    added = {path.name for path in (image.root / "opt").rglob("*")}
    assert added & {"pip", "hatchling", "pytest", "tests", "pyproject.toml"} == set()
    assert not (image.root / "src").exists()


def test_what_the_dockerfile_declares() -> None:
    """Both stages have one Python, the user is a number, the entry point needs no shell, the version is ours."""
    assert {stage.base.removesuffix("-slim") for stage in STAGES} == {STAGES[0].base}
    assert FINAL.last("USER").rest == "65532:65532"
    assert FINAL.last("ENTRYPOINT").command == ["sidecar"]
    assert FINAL.last("EXPOSE").words == ["8900", "8901"]
    (labels,) = FINAL.all("LABEL")
    assert labels.pairs["org.opencontainers.image.version"] == __version__


def test_all_that_can_be_switched_on_is_installed() -> None:
    """The image has every extra that serves who runs the proxy: there nothing can be installed later."""
    (install,) = [run.rest for run in STAGES[0].all("RUN")]
    (extras,) = re.findall(r"\.\[([a-z,]+)\]", install)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert set(extras.split(",")) == set(project["optional-dependencies"]) - FOR_WORK
