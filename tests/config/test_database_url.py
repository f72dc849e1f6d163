"""The setting `database_url`: its two forms, and what is shown of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.config.database_url import DATABASE_FILE, check_database_url, locate_database
from gateway.config.settings import load
from gateway.errors import ConfigurationError
from tests.support.rows import each_row

SECRET = "hunter2"

POSTGRES = {
    f"postgresql://shop:{SECRET}@db.example.com:6432/gateway": "postgresql://db.example.com:6432/gateway",
    f"postgresql://shop:{SECRET}%40@db.example.com/gateway?sslmode=require": "postgresql://db.example.com/gateway",
    f"postgresql://shop:p%2F{SECRET}@[::1]:5432/gateway": "postgresql://[::1]:5432/gateway",
    f"postgresql:///gateway?host=/run/postgresql&password={SECRET}": "postgresql:///run/postgresql/gateway",
    f"postgresql://shop@/gateway?host=db&user=x&password={SECRET}": "postgresql://db/gateway",
}


@pytest.mark.parametrize(("url", "label"), POSTGRES.items())
def test_postgresql_is_taken_and_shown_without_its_password(url: str, label: str) -> None:
    assert check_database_url(f" {url} ") == url
    location = locate_database(url, Path("data"))
    assert (location.label, location.dsn, location.path, location.files) == (label, url, None, ())
    assert SECRET not in repr(location)


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///some/where.db", "some/where.db"),
        ("sqlite:////var/lib/gateway/it.db", "/var/lib/gateway/it.db"),
        ("sqlite:///with space %41.db", "with space %41.db"),
    ],
)
def test_sqlite_is_a_file(url: str, path: str) -> None:
    checked = check_database_url(url)
    location = locate_database(checked, Path("data"))
    assert location.path == Path(path).absolute()
    assert [file.name for file in location.files] == [Path(path).name, f"{Path(path).name}-journal"]
    assert check_database_url(checked) == checked


def test_without_a_url_it_is_a_file_below_data() -> None:
    assert locate_database(None, Path("data")).path == Path("data", DATABASE_FILE).absolute()


@each_row(
    "url",
    [
        "sqlite://",
        "sqlite:///",
        "sqlite:///:memory:",
        "sqlite:///a.db?mode=ro",
        "sqlite:///folder/",
        "sqlite+aiosqlite:///a.db",
        "postgres://db/gateway",
        "postgresql+asyncpg://db/gateway",
        "mysql://db/gateway",
        "postgresql:///gateway",
        "postgresql://db",
        "postgresql://db/",
        "postgresql://db:0/gateway",
        "postgresql://db:port/gateway",
        "postgresql://[::1/gateway",
        "postgresql://db/gateway?sslmode",
        "/var/lib/gateway.db",
        "",
        7,
    ],
)
def test_other_forms_are_refused_in_one_line_that_quotes_nothing(url: object) -> None:
    text = url.replace("//", f"//shop:{SECRET}@", 1) if isinstance(url, str) and "sqlite" not in url else url
    with pytest.raises(ValueError, match=r"write (sqlite:///PATH|postgresql://)") as raised:
        check_database_url(text)
    assert SECRET not in str(raised.value)
    assert "\n" not in str(raised.value)


def test_settings_name_it_and_hide_it(tmp_path: Path) -> None:
    given = {
        "GATEWAY_DATABASE_URL": f"postgresql://shop:{SECRET}@db/gateway",
        "GATEWAY_DATABASE_MIGRATE": "no",
    }
    settings = load({}, None, given)
    assert settings.database_url == given["GATEWAY_DATABASE_URL"]
    assert settings.database_migrate is False
    assert SECRET not in repr(settings)
    with pytest.raises(ConfigurationError, match="GATEWAY_DATABASE_URL: names no host") as raised:
        load({}, None, {"GATEWAY_DATABASE_URL": f"postgresql://shop:{SECRET}@/gateway"})
    assert SECRET not in str(raised.value)


def test_the_file_is_never_served(tmp_path: Path) -> None:
    settings = load({"database_url": f"sqlite:///{tmp_path}/it.db"}, None, {})
    assert {tmp_path / "it.db", tmp_path / "it.db-journal"} <= set(settings.private_paths)
