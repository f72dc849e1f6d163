"""Settings as tests give them: a file of settings, and the faults that are found in what was given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateway.config.settings import load
from gateway.errors import ConfigurationError

SECRET = "hunter2-never-print"


def write(tmp_path: Path, text: str) -> Path:
    """Write a file of settings."""
    path = tmp_path / "test.toml"
    path.write_text(text)
    return path


def faults(
    flags: dict[str, Any] | None = None, toml: Path | None = None, env: dict[str, str] | None = None
) -> tuple[str, ...]:
    """The faults of these settings."""
    with pytest.raises(ConfigurationError) as caught:
        load(flags or {}, toml, env or {})
    return caught.value.faults
