"""Kinds of knobs: whatever the text, a value comes out that survives being written, or a reason why not."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sidecar.settings.knobs import Knob, knobs

TEXTS = st.text(max_size=30) | st.from_regex(r"[0-9.,:/\[\]a-zKMGi*-]{0,20}", fullmatch=True)


@pytest.mark.parametrize("knob", knobs().values(), ids=knobs())
@given(text=TEXTS)
@example(text="")
@example(text="0")
@example(text="\u00b2s")
@example(text="http://[::1%eth0]:80")
def test_any_text_is_a_value_or_a_reason(knob: Knob, text: str) -> None:
    """No text brings a reader down: it is a value that is read back from its own text, or refused with a remedy."""
    refusal = ""
    try:
        value = knob.read(text)
    except ValueError as error:
        refusal = str(error)
    if refusal:
        assert "; " in refusal  # "what is wrong; what to write instead"
    elif knob.kind.many:
        assert knob.read(list(value)) == value
    else:
        assert knob.read(knob.kind.write(value)) == value
