"""Where settings are read."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def in_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No config/gateway.toml is found by chance."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
