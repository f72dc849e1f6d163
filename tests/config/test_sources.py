"""Where settings come from, which source wins, and what a child process gets of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from gateway.config.settings import Settings, base_url, load
from gateway.config.sources import toml_name, variable_name
from gateway.config.storages import LocalSettings
from tests.support.settings_files import SECRET, faults, write

pytestmark = pytest.mark.usefixtures("in_empty_folder")


ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("flag", "variable", "toml", "wanted"),
    [
        (None, None, None, "0.0.0.0:8080"),
        (None, None, "t:1", "t:1"),
        (None, "e:1", None, "e:1"),
        (None, "e:1", "t:1", "e:1"),
        ("f:1", None, None, "f:1"),
        ("f:1", None, "t:1", "f:1"),
        ("f:1", "e:1", None, "f:1"),
        ("f:1", "e:1", "t:1", "f:1"),
        (None, "", "t:1", "t:1"),  # an empty variable is an unset one
    ],
)
def test_precedence(
    flag: str | None, variable: str | None, toml: str | None, wanted: str, tmp_path: Path
) -> None:
    config = write(tmp_path, f'listen = "{toml}"' if toml else "")
    env = {} if variable is None else {"GATEWAY_LISTEN": variable}
    assert load({"listen": flag}, config, env).listen == wanted


def test_every_setting_is_read_from_each_source(tmp_path: Path) -> None:
    other: dict[str, Any] = {
        "redis_url": "redis://x/1", "embedded_server": "system", "redis_timeout": 2.5, "redis_queue": 7,
        "database_url": "postgresql://x/y", "database_migrate": False,
        "listen": "127.0.0.1:1",
        "mint_listen": "127.0.0.1:2", "admin_listen": "127.0.0.1:3", "dashboard_listen": "127.0.0.1:4",
        "web_listen": "127.0.0.1:5", "workers": 3, "public_url": "https://x",
        "trusted_proxies": ["10.0.0.0/8", "::1"], "data": "/d", "mint_max_ttl": 99, "mint_default_ttl": 9,
        "hang_timeout": 3.5,
        "drain_timeout": 1.5, "header_timeout": 1.5, "keepalive_timeout": 1.5, "stall_timeout": 1.5,
        "max_connections": 5, "max_line": 999, "max_field": 999, "max_headers": 9, "max_head": 2000,
        "cors_origins": ["https://a"], "open_files": 9, "access_log": "off", "log_level": "debug",
        "tls_cert": "/c", "tls_key": "/k",
        "cache_path": "/cache", "cache_max_bytes": "1 GiB", "loopback_shops": True,
        "traces_share": 0.5, "traces_endpoint": "https://c:1",
        "max_attempts": 1, "max_key_attempts": 2, "max_hook_attempts": 3, "max_token_connections": 4,
        "max_address_connections": 5, "exempt_clients": ["10.0.0.0/8"],
        "max_token_rate": 5, "max_connection_rate": 6, "token_binding": "network",
        "usage_max_bytes": "2 MiB", "usage_file_max_bytes": 5,
        "secrets_key": "/k", "secrets_old_key": "11" * 32, "retention_inbox": 1, "retention_events": 2,
        "retention_audit": 3, "retention_customers": 4,
        "retention_addresses": 5, "retention_networks": 6,
        "sharing_networks": 7, "sharing_overlap": 8, "sharing_programs": 9, "sharing_copies": 10,
        "seller_name": "Shop", "seller_logo": "/logo.svg", "seller_colour": "#ff0000",
        "seller_links": ["Imprint=https://shop.example/imprint"], "language": "de",
        "dashboard_url": "https://dashboard.example", "retention_webhooks": 5, "loopback_webhooks": True,
        "portal_link": False,
        "mail_url": "smtps://u:p@x", "mail_password_file": "/p", "mail_ca": "/a",
        "mail_from": "A <a@x.example>",
        "mail_reply_to": "b@x.example", "mail_timeout": 2.5, "mail_per_minute": 5, "mail_per_recipient": 6,
        "mail_new_versions": True, "mail_files": 7, "retention_mails": 8,
    }  # fmt: skip
    assert set(other) == set(Settings.model_fields) - {"storage"}, "a new setting needs a value here"
    texts = {
        name: ",".join(value) if isinstance(value, list) else str(value) for name, value in other.items()
    }
    toml = write(
        tmp_path, "\n".join(f"{toml_name(name)} = {json.dumps(value)}" for name, value in other.items())
    )
    by_flags = load(texts, None, {})
    by_variables = load({}, None, {variable_name(name): text for name, text in texts.items()})
    by_toml = load({}, toml, {})
    assert by_flags == by_variables == by_toml
    default = Settings()
    for name in other:
        assert getattr(by_flags, name) != getattr(default, name), name


def test_a_table_and_a_flat_key_are_the_same(tmp_path: Path) -> None:
    assert load({}, write(tmp_path, '[mint]\nlisten = "h:1"'), {}).mint_listen == "h:1"
    assert load({}, write(tmp_path, 'mint_listen = "h:1"'), {}).mint_listen == "h:1"
    both = write(tmp_path, 'mint_listen = "h:1"\n[mint]\nlisten = "h:1"')
    assert faults(toml=both) == (f"{both}: mint.listen: is given twice: leave one of the two out",)


def test_storages_are_merged_key_by_key(tmp_path: Path) -> None:
    toml = write(tmp_path, '[storage.a]\nroot = "/a"\n[storage.b]\nroot = "/b"\naccel_prefix = "/x/"')
    env = {"GATEWAY_STORAGE__B__ROOT": "/other", "GATEWAY_STORAGE__MY_DISK__ROOT": "rel/../there"}
    assert load({}, toml, env).storage == {
        "a": LocalSettings(type="local", root=Path("/a"), accel_prefix="/_protected/a/"),
        "b": LocalSettings(type="local", root=Path("/other"), accel_prefix="/x/"),
        "my_disk": LocalSettings(root=tmp_path / "there", accel_prefix="/_protected/my_disk/"),
    }


def test_the_configuration_file_is_found(tmp_path: Path) -> None:
    assert load({}, None, {}).workers == len(os.sched_getaffinity(0))
    (tmp_path / "config").mkdir()
    (tmp_path / "config/gateway.toml").write_text("workers = 11")
    (tmp_path / "other.toml").write_text("workers = 12")
    assert load({}, None, {}).workers == 11
    assert load({}, None, {"GATEWAY_CONFIG": "other.toml"}).workers == 12
    assert load({}, Path("config/gateway.toml"), {"GATEWAY_CONFIG": "other.toml"}).workers == 11


def test_values_are_normalised(tmp_path: Path) -> None:
    flags = {
        "data": "x/../y", "listen": ":80", "mint_listen": "unix:m.sock", "admin_listen": "[0:0::1]:9",
        "public_url": "https://h/p/", "log_level": "WARNING", "drain_timeout": "1h30m", "mint_max_ttl": "1h",
        "trusted_proxies": "127.0.0.1, fd00::/8", "access_log": "a.log",
    }  # fmt: skip
    settings = load(flags, None, {})
    assert settings.data == tmp_path / "y"
    assert settings.listen == "0.0.0.0:80"
    assert settings.mint_listen == f"unix:{tmp_path}/m.sock"
    assert settings.admin_listen == "[::1]:9"
    assert settings.public_url == "https://h/p"
    assert settings.log_level == "warning"
    assert settings.drain_timeout == 5400
    assert settings.mint_default_ttl == 3600, "the default follows a lower maximum"
    assert settings.trusted_proxies == (ip_network("127.0.0.1"), ip_network("fd00::/8"))
    assert settings.access_log == f"{tmp_path}/a.log"


@pytest.mark.parametrize(
    ("flags", "wanted"),
    [
        ({}, "http://127.0.0.1:8080"),
        ({"listen": "[::]:80"}, "http://[::1]:80"),
        ({"listen": "h:80"}, "http://h:80"),
        ({"public_url": "https://x/y/"}, "https://x/y"),
    ],
)
def test_base_url(flags: dict[str, str], wanted: str) -> None:
    assert base_url(load(flags, None, {})) == wanted


def test_settings_survive_the_way_to_a_child(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    toml = write(
        tmp_path,
        '[storage.a]\nroot = "/a"\n[storage.s]\ntype = "s3"\nbucket = "b-1"\n'
        f"access_key = '{SECRET}'\nsecret_key = '{SECRET}'\nca_file = '/ca.pem'",
    )
    flags = {"redis_url": f"redis://:{SECRET}@h", "trusted_proxies": "10.0.0.0/8,::1", "cors_origins": "*"}
    settings = load(flags, toml, {})
    monkeypatch.setenv("GATEWAY_WORKERS", "77")
    monkeypatch.setenv("GATEWAY_STORAGE__B__ROOT", "/b")
    child = Settings.model_validate_json(settings.model_dump_json())
    assert child == settings, "nothing is lost, and nothing of the child's environment is mixed in"


def test_settings_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Settings().workers = 3


@pytest.mark.slow
def test_importing_the_settings_brings_no_server_along() -> None:
    heavy = "{'typer', 'rich', 'redis', 'sqlalchemy', 'aiohttp', 'uvloop'} & set(sys.modules)"
    code = f"import sys, gateway.config.settings; print({heavy} or '')"
    completed = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert completed.stdout.strip() == ""
