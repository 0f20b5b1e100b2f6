"""A fault in the sidecar itself leaves a traceback in the log, and in that no word of the request that met it."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

import pytest

from tests.support.client import Client
from tests.support.processes import Proxy
from tests.support.upstream import Upstream
from tests.support.waiting import eventually

SECRET: Final = "Xfault7secretX"
REQUEST: Final = (
    b"POST /broken?token=%b HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer %b\r\nCookie: a=%b\r\nX-Request-ID: fault\r\n"
    b"Content-Length: 14\r\n\r\n%b" % ((SECRET.encode(),) * 4)
)

# What breaks: a layer's call, which `rescue` answers for; and the protocol itself, below which is the event loop alone.
BREAKS: Final = {
    "a layer": "from sidecar.http1.upstream import Http1Upstream as it\nname = '__call__'",
    "the protocol": "from sidecar.http1.connection import ClientConnection as it\nname = 'data_received'",
}


def breaking(what: str, folder: Path) -> dict[str, str]:
    """The environment of a Python in which this raises as soon as it is called, its arguments at hand."""
    code = f"{BREAKS[what]}\ndef broken(*arguments):\n    raise RuntimeError('broken')\nsetattr(it, name, broken)\n"
    (folder / "sitecustomize.py").write_text(code, encoding="utf-8")
    return {"PYTHONPATH": os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])}


@pytest.mark.parametrize("what", BREAKS)
def test_a_traceback_quotes_no_request(what: str, tmp_path: Path) -> None:
    """Neither the head nor the body, at the most detailed level."""
    with Upstream() as upstream:
        proxy = Proxy(upstream.url, "--log-level", "debug", **breaking(what, tmp_path))
        try:
            with proxy.client() as client:
                client.send(REQUEST)
                answered = whole(client)
            eventually(lambda: "RuntimeError" in proxy.err.text, "the traceback")
            told = [proxy.page(page)[1].decode() for page in ("/requests", "/explain/fault", "/status")]
        finally:
            proxy.process.kill()
            proxy.process.wait()
            proxy.out.join()
            proxy.err.join()
    assert "Traceback" in proxy.err.text
    assert [text for text in (answered, proxy.out.text, proxy.err.text, *told) if SECRET in text] == []


def whole(client: Client) -> str:
    """All that comes until the end, in whichever way it ends."""
    client.half_close()
    received = client.buffer
    with suppress(OSError):
        while piece := client.sock.recv(65536):
            received += piece
    return received.decode("latin-1")
