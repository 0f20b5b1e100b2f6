"""The system's certificates are out of sight only for as long as aiohttp is imported."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

import pytest

from sidecar.certificates import out_of_sight


def test_a_context_made_meanwhile_holds_no_certificate() -> None:
    with out_of_sight():
        assert ssl.create_default_context().cert_store_stats()["x509"] == 0


def test_afterwards_they_are_read_from_where_the_user_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    mine = tmp_path / "mine.pem"
    mine.write_text("")
    monkeypatch.setenv("SSL_CERT_FILE", str(mine))
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    with out_of_sight():
        pass
    assert os.environ["SSL_CERT_FILE"] == str(mine)
    assert "SSL_CERT_DIR" not in os.environ


def test_they_come_back_after_a_failure_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/mine.pem")
    with pytest.raises(ImportError), out_of_sight():
        raise ImportError
    assert os.environ["SSL_CERT_FILE"] == "/mine.pem"
