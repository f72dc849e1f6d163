"""The written reference of the settings, and the example file."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from gateway.config import reference
from gateway.config.settings import Settings, load
from gateway.config.sources import flag_name, toml_name, variable_name
from gateway.config.storages import STORAGE_TYPES
from tests.support.settings_files import write

pytestmark = pytest.mark.usefixtures("in_empty_folder")


ROOT = Path(__file__).parents[2]


def test_the_written_reference_is_the_generated_one() -> None:
    hint = "run python -m gateway.config.reference"
    assert (ROOT / reference.PAGE).read_text("utf-8") == reference.settings_page(), hint
    assert (ROOT / reference.EXAMPLE).read_text("utf-8") == reference.example_file(), hint


def test_the_reference_has_every_setting() -> None:
    page, example = reference.settings_page(), reference.example_file()
    for name, field in Settings.model_fields.items():
        assert field.description
        if name != "storage":
            for text in (toml_name(name), flag_name(name), variable_name(name)):
                assert f"`{text}`" in page
            assert f"# {toml_name(name).rpartition('.')[2]} = " in example


def test_the_example_file_changes_nothing_until_it_is_edited(tmp_path: Path) -> None:
    assert load({}, ROOT / reference.EXAMPLE, {}) == Settings()
    edited = "".join(
        line.removeprefix("# ") if " = " in line or line.startswith("# [") else line
        for line in reference.example_file().splitlines(keepends=True)
    )
    assert len(tomllib.loads(edited)) > 20
    settings = load({}, write(tmp_path, edited), {})
    changed = {name for name, value in settings if value != getattr(Settings(), name)}
    own = {
        "redis_url",
        "database_url",
        "public_url",
        "tls_cert",
        "tls_key",
        "workers",
        "cache_path",
        "web_listen",
        "secrets_key",
        "secrets_old_key",
        "dashboard_url",
        "portal_link",
        "seller_logo",
        "mail_url",
        "mail_password_file",
        "mail_ca",
        "mail_from",
        "mail_reply_to",
        "storage",
    }
    assert changed <= own
    assert set(settings.storage) == set(reference.NAMES.values())
    assert {table.type for table in settings.storage.values()} == set(STORAGE_TYPES)
