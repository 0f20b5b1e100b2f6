"""Template, schema and the settings in force: that they say what the structs say."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import yaml

from sidecar.settings import Settings, load, reference
from sidecar.settings.flags import FLAGS
from sidecar.settings.knobs import Knob, knobs

UPSTREAM = "http://127.0.0.1:8080"


def test_every_knob_explains_itself() -> None:
    """Every setting has a meaning that is a sentence, and every flag belongs to a setting."""
    assert all(knob.meaning.endswith(".") and len(knob.meaning) > 10 for knob in knobs().values())
    assert set(FLAGS) <= set(knobs())
    assert len(set(FLAGS.values())) == len(FLAGS)


def test_every_default_is_a_value_of_its_knob() -> None:
    """Defaults pass the checks that given values must pass, and survive being written."""
    for knob in knobs().values():
        if knob.default is not None:
            assert (
                knob.read(knob.kind.write(knob.default) if not knob.kind.many else list(knob.default)) == knob.default
            )


def test_template_is_a_file_that_changes_nothing(tmp_path: Path) -> None:
    """The template can be used as it is, and says every default truly."""
    file = tmp_path / "sidecar.yaml"
    file.write_text(reference.template())
    assert load({}, {}, file).settings == Settings(upstream=UPSTREAM)

    file.write_text(re.sub(r"^( *)#(\w+:)", r"\1\2", reference.template(), flags=re.MULTILINE))
    settings, origin = load({}, {}, file)
    assert settings == Settings(upstream=UPSTREAM)
    assert set(origin.values()) == {f"file {file}"}


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


def test_schema_has_the_shape_of_the_structs() -> None:
    """The schema has exactly the properties that the structs have, and forbids all others."""
    root = json.loads(reference.schema())
    of_structs = msgspec.json.schema(Settings)["$defs"]
    assert set(root["properties"]) == set(of_structs["Settings"]["properties"])
    for name, section in root["properties"].items():
        if section["type"] == "object":
            assert set(section["properties"]) == set(of_structs[name.capitalize()]["properties"])
            assert section["additionalProperties"] is False
    assert root["additionalProperties"] is False


def test_schema_accepts_every_default() -> None:
    """Type, pattern, choices and bounds that the schema states hold for the defaults it states."""
    root = json.loads(reference.schema())
    for knob in knobs().values():
        stated = _property(root, knob)
        assert stated["description"] == knob.meaning
        if "default" in stated:
            _assert_valid(stated, stated["default"])


def _property(root: dict[str, Any], knob: Knob) -> dict[str, Any]:
    node = root
    for name in knob.path.split("."):
        node = node["properties"][name]
    return node


def _assert_valid(schema: dict[str, Any], value: Any) -> None:
    types = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    names = {str: "string", bool: "boolean", int: "integer", list: "array"}
    assert names[type(value)] in types
    if "pattern" in schema:
        assert re.search(schema["pattern"], str(value))
    if "enum" in schema:
        assert value in schema["enum"]
    assert schema.get("minimum", value) <= value <= schema.get("maximum", value)
