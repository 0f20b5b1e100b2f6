"""Template, schema and the settings in force: that they say what the structs say, and can be used as they are."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from sidecar.settings import Settings, SettingsError, load, reference
from sidecar.settings.flags import FLAGS
from sidecar.settings.knobs import inherits, knobs, route_knobs, route_sections, value_of
from sidecar.settings.schema import schema
from tests.settings.support import read, violations

UPSTREAM = "http://127.0.0.1:8080"
ROUTES = """
retry: {attempts: 3}
routes:
- {name: orders, path: '/orders/{id}', methods: [GET], headers: [X-Tenant=a b], rate: {limit: 100/m}}
- {name: "no", path: '/{rest...}', retry: {budget: 0.000001}}
"""


def uncommented(template: str) -> str:
    """The template with every knob uncommented, the example of routes left out."""
    return re.sub(r'^( *)#("?\w+"?:)', r"\1\2", template.partition("#routes:")[0], flags=re.MULTILINE)


def example_of_routes() -> str:
    """The template's example of routes, uncommented."""
    _, _, example = reference.template().partition("#routes:")
    return "routes:" + example.replace("\n#", "\n")


def test_every_knob_explains_itself() -> None:
    """Every setting has a meaning that is a sentence, and every flag belongs to a setting."""
    table = [*knobs().values(), *route_knobs().values()]
    assert all(knob.meaning.endswith(".") and len(knob.meaning) > 10 for knob in table)
    assert set(FLAGS) <= set(knobs())
    assert len(set(FLAGS.values())) == len(FLAGS)


def test_every_default_is_a_value_of_its_knob() -> None:
    """Defaults pass the checks that given values must pass, and survive being written."""
    for knob in [*knobs().values(), *route_knobs().values()]:
        if knob.default is not None:
            text = list(knob.default) if knob.kind.many else knob.kind.write(knob.default)
            assert knob.read(text) == knob.default


def test_template_is_a_file_that_changes_nothing(tmp_path: Path) -> None:
    """The template can be used as it is, and says every default truly."""
    file = tmp_path / "sidecar.yaml"
    file.write_text(reference.template())
    assert load({}, {}, file).settings == Settings(upstream=UPSTREAM)

    file.write_text(uncommented(reference.template()))
    settings, origin = load({}, {}, file)
    assert settings == Settings(upstream=UPSTREAM)
    assert set(origin.values()) == {f"file {file}"}


def test_template_shows_what_a_route_can_say(tmp_path: Path) -> None:
    """The example of a route is a good one, and uses all that a route has."""
    loaded = read(tmp_path, example_of_routes())
    given = {path.split(".")[1] for path in loaded.given() if path.startswith("routes")}
    assert given == {inner.partition(".")[0] for inner in route_knobs()}
    assert loaded.settings.routes[0].rate.limit == 50


def test_what_is_in_force_can_be_used_as_a_file(tmp_path: Path) -> None:
    """`config show` prints a file that brings about the same settings."""
    flags = {"upstream": "unix:///run/a.sock", "listen": ":8900", "log.access": "off", "http.max_body": "1MiB"}
    loaded = load(flags, {"SIDECAR_PROBES__PATHS": "/healthz,/x"}, None)
    file = tmp_path / "sidecar.yaml"
    file.write_text(reference.effective(loaded))
    assert load({}, {}, file).settings == loaded.settings
    assert yaml.safe_load(file.read_text())["log"]["access"] == "off"


def test_what_is_in_force_names_origins_and_hides_secrets() -> None:
    """`config show` says where each value comes from and masks the token."""
    text = reference.effective(load({"upstream": UPSTREAM, "admin.token": "hush"}, {"SIDECAR_POOL__IDLE": "2s"}, None))
    assert "hush" not in text
    assert re.search(r'^  token: "\*\*\*" +# flag --admin-token$', text, re.MULTILINE)
    assert re.search(r"^  idle: 2s +# env SIDECAR_POOL__IDLE$", text, re.MULTILINE)
    assert re.search(r"^  connect: 1s +# default$", text, re.MULTILINE)


def test_routes_in_force_say_what_they_have_from_the_sidecar(tmp_path: Path) -> None:
    """`config show` prints routes in full, each value with its origin, as a file that brings about the same."""
    loaded = read(tmp_path, ROUTES)
    text = reference.effective(loaded)
    assert re.search(r"^ {4}retry:\n( {6}.*\n)* {6}#attempts: 3 +# as retry\.attempts$", text, re.MULTILINE)
    assert re.search(r"^ {6}limit: 100/m +# file ", text, re.MULTILINE)
    assert re.search(r"^ {6}burst: 0 +# default$", text, re.MULTILINE)
    assert read(tmp_path, text, {}).settings == loaded.settings
    # Other readers find the same texts: what they would take for something else is quoted.
    routes = yaml.safe_load(text)["routes"]
    assert [route["name"] for route in routes] == ["orders", "no"]
    assert routes[1]["retry"] == {"budget": 1e-06}
    assert yaml.safe_load(text)["retry"]["conditions"] == ["connect-failure", "reset", "gateway-error"]


@pytest.mark.parametrize(("path", "text"), [("admin.token", "hush"), ("redis.url", "redis://:hush@h")])
def test_what_is_in_force_leaves_secrets_in_their_files(tmp_path: Path, path: str, text: str) -> None:
    """What was read from a file of its own is neither shown nor given twice, so that the output is a good file."""
    (tmp_path / "secret").write_text(text)
    loaded = load({"upstream": UPSTREAM}, {knobs()[f"{path}_file"].env: str(tmp_path / "secret")}, None)
    shown = reference.effective(loaded)
    assert "hush" not in shown
    assert f"# from {path}_file" in shown
    assert value_of(read(tmp_path, shown, {}).settings, path) == text


def test_a_password_in_force_is_masked() -> None:
    """`config show` prints a Redis URL that holds a password with all but that."""
    text = reference.effective(load({"upstream": UPSTREAM}, {"SIDECAR_REDIS__URL": "redis://me:hush@h:1/0"}, None))
    assert re.search(r'^  url: "redis://me:\*\*\*@h:1/0" +# env SIDECAR_REDIS__URL$', text, re.MULTILINE)


def test_schema_has_the_shape_of_the_structs() -> None:
    """The schema has exactly the properties that the structs have, and forbids all others."""
    root = json.loads(schema())
    of_structs = msgspec.json.schema(Settings)["$defs"]
    _assert_same_shape(root, "Settings", of_structs)
    route = root["properties"]["routes"]["items"]
    assert route["required"] == ["name", "path"]
    for name in route_sections():
        assert "properties" in route["properties"][name]


def _assert_same_shape(node: dict[str, Any], struct: str, of_structs: dict[str, Any]) -> None:
    """Properties of the node and of the structs below it are those of the struct."""
    assert node["additionalProperties"] is False
    assert set(node["properties"]) == set(of_structs[struct]["properties"])
    for name, inner in node["properties"].items():
        if "properties" in inner:
            of_route = struct == "Route" and name == "timeouts"
            _assert_same_shape(inner, "RouteTimeouts" if of_route else name.capitalize(), of_structs)
        elif name == "routes":
            _assert_same_shape(inner["items"], "Route", of_structs)


def test_schema_accepts_every_default() -> None:
    """Type, pattern, choices and bounds that the schema states hold for the defaults it states."""
    root = json.loads(schema())
    for path, knob in knobs().items():
        stated = _property(root, path)
        assert stated["description"] == knob.meaning
        assert "default" not in stated or violations(stated, stated["default"]) == []
    route = root["properties"]["routes"]["items"]
    for path, knob in route_knobs().items():
        stated = _property(route, path)
        assert ("default" in stated) == (knob.default is not None and not inherits(path))
        assert "default" not in stated or violations(stated, stated["default"]) == []
        assert f"as {path} of the sidecar" in stated["description"] or not inherits(path)


def _property(node: dict[str, Any], path: str) -> dict[str, Any]:
    for name in path.split("."):
        node = node["properties"][name]
    return node


@pytest.mark.parametrize(
    "text",
    [
        ROUTES,
        reference.effective(load({"upstream": UPSTREAM}, {}, None)),
        reference.template(),
        uncommented(reference.template()),
        example_of_routes(),
        "rate: {limit: 0, burst: 5}\ntimeouts: {request: 0, attempt: 1m30s}\nhttp: {max_body: 1024}\n",
        "retry: {budget: 0, conditions: 'reset,retriable-status-codes', statuses: [429, '503']}\nbreaker: {ratio: 1}\n",
    ],
    ids=["routes", "in force", "template", "all of it", "example", "numbers", "lists"],
)
def test_schema_accepts_good_files(tmp_path: Path, text: str) -> None:
    """What the sidecar takes, an editor does not complain about."""
    read(tmp_path, text)
    assert violations(json.loads(schema()), yaml.safe_load(text)) == []


@pytest.mark.parametrize(
    "text",
    [
        "timeouts: {request: 5}",
        "rate: {limit: 100}",
        "rate: {limit: 100/d}",
        "breaker: {ratio: 1.5}",
        "retry: {attempts: 11}",
        "retry: {statuses: [200]}",
        "routes: [{name: a}]",
        "routes: [{name: a, path: a}]",
        "routes: [{name: a, path: /a, guard: {}}]",
        "routes: [{name: a, path: /a, retry: {attemts: 1}}]",
    ],
)
def test_schema_refuses_what_the_sidecar_refuses(tmp_path: Path, text: str) -> None:
    """An editor shows the mistakes that can be told from a value alone."""
    assert len(violations(json.loads(schema()), yaml.safe_load(text))) == 1
    with pytest.raises(SettingsError):
        read(tmp_path, text)
