"""What is written can be read as what was meant, by YAML 1.1 and 1.2."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from sidecar.inject import emit


def _flat(items: list[Any]) -> bool:
    """Whether it is a list as manifests have them: of scalars, or of mappings that say something."""
    return all(isinstance(item, dict) and item for item in items) or not any(isinstance(i, dict | list) for i in items)


_KEYS = st.sampled_from(["name", "y", "sidecar/injected", "SIDECAR_LOG__FORMAT", "0"])
SCALARS = st.one_of(
    st.booleans(),
    st.integers(-9, 99999),
    st.sampled_from(["yes", "On", "n", "null", "1", "1.0", ":80", "--a", "-", "a: b", "a #b", "'", '"', "", "é", "a:"]),
    st.text(alphabet="ab:#-'\"{}[] \n\t/.0", max_size=8),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, min_size=1, max_size=6).filter(_flat) | st.dictionaries(_KEYS, inner, max_size=3),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(_KEYS, VALUES, min_size=1, max_size=4), st.sampled_from([0, 2]))
def test_it_is_read_as_it_was_meant(value: dict[str, Any], offset: int) -> None:
    """In block style, in either place of the dashes, and in one line."""
    lines = emit.block(value, offset)
    assert not [line for line in lines if "\n" in line]
    for text in ("\n".join(lines), emit.flow(value)):
        assert yaml.safe_load(text) == value
        assert YAML(typ="safe", pure=True).load(text) == value


@pytest.mark.parametrize("text", ["sidecar:0.1.0", "/etc/sidecar", "http://127.0.0.1:8080", "--upstream", "ALL"])
def test_what_needs_no_quotes_has_none(text: str) -> None:
    """Manifests are read by people."""
    assert emit.scalar(text) == text
