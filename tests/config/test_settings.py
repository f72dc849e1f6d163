"""Settings: their sources, which source wins, and that all faults are reported at once, without secrets."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from gateway.config import reference
from gateway.config.settings import Settings, base_url, load
from gateway.config.sources import flag_name, toml_name, variable_name
from gateway.config.storages import STORAGE_TYPES, LocalSettings, S3Settings
from gateway.errors import ConfigurationError

ROOT = Path(__file__).parents[2]
SECRET = "hunter2-never-print"


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No config/gateway.toml is found by chance."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "test.toml"
    path.write_text(text)
    return path


def faults(
    flags: dict[str, Any] | None = None, toml: Path | None = None, env: dict[str, str] | None = None
) -> tuple[str, ...]:
    with pytest.raises(ConfigurationError) as caught:
        load(flags or {}, toml, env or {})
    return caught.value.faults


# Who wins


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


def test_a_bucket_is_read_from_toml_and_the_environment(tmp_path: Path) -> None:
    toml = write(
        tmp_path,
        f"""
        [storage.shop]
        type = "s3"
        bucket = "my-shop"
        endpoint = "https://s3.example.com:9000/"
        prefix = "/a/b"
        access_key = "{SECRET}"
        secret_key = "{SECRET}"
        verify = false
        read_timeout = "1m"
        [cache]
        path = "c"
        max_bytes = "1 GiB"
        """,
    )
    env = {
        "GATEWAY_STORAGE__SHOP__DELIVERY": "redirect", "GATEWAY_STORAGE__SHOP__VERIFY": "true",
        "GATEWAY_STORAGE__B__TYPE": "s3", "GATEWAY_STORAGE__B__BUCKET": "other.bucket",
        "GATEWAY_STORAGE__B__CONNECTIONS": "7",
    }  # fmt: skip
    settings = load({}, toml, env)
    shop, other = settings.storage["shop"], settings.storage["b"]
    assert shop == S3Settings(
        bucket="my-shop", endpoint="https://s3.example.com:9000", prefix="a/b/", access_key=SECRET,
        secret_key=SECRET, verify=True, read_timeout=60.0, delivery="redirect",
    )  # fmt: skip
    assert other == S3Settings(bucket="other.bucket", connections=7)
    assert (settings.cache_path, settings.cache_max_bytes) == (tmp_path / "c", 1 << 30)


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


# Faults


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("redis_url", "http://x", "is not a redis://, rediss:// or unix:// URL"),
        ("redis_url", "redis://", "names no host"),
        ("redis_url", "redis://h:99999", "is not a URL with a valid host and port"),
        (
            "redis_url",
            "redis://h?foo=bar",
            "has the option foo, which there is not: the options are db, username",
        ),
        ("redis_url", "redis://h?DB=1", "has the option DB, which there is not"),
        ("redis_url", "redis://h?decode_responses=no", "the option decode_responses, which there is not"),
        ("redis_url", "unix:///run/x.sock?foo", "has the option foo, which there is not"),
        ("redis_url", "redis://h?ssl_cert_reqs=none", "ssl_cert_reqs, which is for TLS: write rediss://"),
        ("redis_url", "rediss://h?ssl_cert_reqs=maybe", "an option ssl_cert_reqs that cannot be read"),
        ("redis_url", "rediss://h?ssl=1", "the options are db, "),
        ("redis_url", "redis://h?db=first", "an option db that cannot be read"),
        ("redis_url", "redis://h?socket_timeout=soon", "an option socket_timeout that cannot be read"),
        ("redis_url", "redis://h/first", "has a database that is not a number"),
        ("redis_url", "unix://relative.sock", "needs the socket's absolute path"),
        ("redis_timeout", "-1", "must be more than 0 s"),
        ("redis_timeout", "0", "must be more than 0 s"),
        ("redis_timeout", "soon", "'soon' is not a time"),
        ("redis_timeout", "nan", "'nan' is not a time"),
        ("drain_timeout", "99999d", "at most"),
        (
            "drain_timeout",
            "1M",
            "'1M' is not a time, because months differ: write days (30d), or 1m for minutes",
        ),
        ("mint_max_ttl", "1 year", "'1 year' is not a time, because years differ: write days (365d)"),
        ("hang_timeout", "1", "must be at least 2 s, not '1'"),
        ("mint_max_ttl", "1.5", "must be whole seconds"),
        ("workers", "zero", "must be a whole number, not 'zero'"),
        ("workers", "0", "must be from 1 to"),
        ("workers", "1.5", "must be a whole number"),
        ("listen", "8080", "'8080' is not an address: write HOST:PORT, [IPV6]:PORT or unix:PATH"),
        ("listen", "::1:80", "an IPv6 host needs brackets"),
        ("listen", "[::x]:80", "no valid IPv6 address"),
        ("listen", "h:70000", "has no possible port"),
        ("listen", "h o:1", "is not an address"),
        ("listen", "http://h:1", "is not an address"),
        ("listen", "unix:", "names no socket"),
        ("listen", "unix:/" + "x" * 200, "longer than 107 bytes"),
        ("public_url", "example.com", "must be http://HOST or https://HOST"),
        ("public_url", "ftp://example.com", "must be http://HOST or https://HOST"),
        ("public_url", "https://h/?a=1", "must be http://HOST or https://HOST"),
        ("public_url", "https://h:x", "must be http://HOST or https://HOST"),
        ("trusted_proxies", "10.0.0.1/8", "write 10.0.0.0/8"),
        ("trusted_proxies", "localhost", "is not a network"),
        ("embedded_server", "valkey", "must be bundled, system or the path of a program"),
        ("trusted_proxies", "fe80::1%eth0", "has a zone"),
        ("cors_origins", "https://a/path", "is not an origin"),
        ("cors_origins", "example.com", "is not an origin"),
        ("data", " ", "must be text"),
        ("log_level", "loud", "must be debug, info, warning or error"),
        ("cache_max_bytes", "50G", "'50G' is not a size: write bytes (1048576) or a unit"),
        ("cache_max_bytes", "500 Gb", "'500 Gb' is not a size, because it could mean bits: write 500 GB or"),
        ("cache_max_bytes", "1 MiB", "must be at least 64 MiB"),
    ],
)
def test_each_value_is_checked_in_each_source(name: str, value: str, wanted: str, tmp_path: Path) -> None:
    toml = write(tmp_path, f"{toml_name(name)} = {json.dumps(value)}")
    for place, found in (
        (flag_name(name), faults({name: value})),
        (variable_name(name), faults(env={variable_name(name): value})),
        (f"{toml}: {toml_name(name)}", faults(toml=toml)),
    ):
        assert len(found) == 1
        assert found[0].startswith(f"{place}: ")
        assert wanted in found[0]
        assert "\n" not in found[0]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("workers = true", "workers: must be a whole number, not True"),
        ("listen = 8080", "listen: must be text, not 8080"),
        ('header_timeout = "x"', "header_timeout: 'x' is not a time"),
        ("header_timeout = false", "header_timeout: must be a time in seconds, not False"),
        ("header_timeout = nan", "header_timeout: must be more than 0 s"),
        ("trusted_proxies = [1]", "trusted_proxies: must be a list of texts"),
        ("redis_url = 5", "redis_url: is not a redis://"),
        ("storage = 1", "storage: must be a table"),
        ("[storage]\na = 1", "storage.a: must be a table"),
        ("[storage.a]", "storage.a.root: is needed in a storage of type local"),
        ('[storage.a]\ntype = "s3"', "storage.a.bucket: is needed in a storage of type s3"),
        ("[storage.a]\ntype = 3", 'storage.a.type: there is no storage of type 3: write "local", "s3",'),
        (
            '[storage.a]\nroot = "/"\nbucket = "b"',
            "storage.a.bucket: is a setting of type s3 and gs, and this storage is of type local: "
            'set type = "s3", or remove it',
        ),
        (
            '[storage.a]\ntype = "s3"\nbucket = "b-1"\nroot = "/"',
            "storage.a.root: is a setting of type local, and this storage is of type s3: remove it",
        ),
        ("cache.max_bytes = 99999999", "cache.max_bytes: has no effect without cache.path"),
        ('[storage.a]\nroot = ""', "storage.a.root: must be text"),
        ('[storage.a]\nroot = "/"\ntype = "s9"', "storage.a.type: there is no storage of type 's9'"),
        (
            '[storage.a]\nroot = "/"\naccel_prefix = "x"',
            "storage.a.accel_prefix: must begin and end with a slash",
        ),
        ('[storage.a]\nroot = "/"\nrot = "/"', "storage.a.rot: there is no such setting; did you mean root?"),
        ('[storage."A b"]\nroot = "/"', "storage.A b: a storage's name is made of"),
        ("wrokers = 1", "wrokers: there is no such setting; did you mean workers?"),
        ("mint.max_tll = 1", "mint.max_tll: there is no such setting; did you mean mint.max_ttl?"),
        ("[mint.deep]\nlisten = 1", "mint.deep.listen: there is no such setting"),
        ("workers =", "the file is not TOML"),
        ("workers = 1\nworkers = 2", "the file is not TOML"),
    ],
)
def test_toml_is_checked(text: str, wanted: str, tmp_path: Path) -> None:
    [fault] = faults(toml=write(tmp_path, text))
    assert wanted in fault
    assert str(tmp_path / "test.toml") in fault


def test_an_unreadable_settings_file_is_reported_with_what_named_it(tmp_path: Path) -> None:
    assert faults(toml=Path("none.toml")) == (
        "--config none.toml: the file cannot be read: it or its folder does not exist: correct the path",
    )
    [fault] = faults(env={"GATEWAY_CONFIG": str(tmp_path)})
    assert (
        fault
        == f"GATEWAY_CONFIG={tmp_path}: the file cannot be read: it is a folder, not a file: name a file"
    )
    (tmp_path / "bad.toml").write_bytes(b'listen = "\xff"')
    assert "is not TOML" in faults(toml=Path("bad.toml"))[0]


def test_unknown_variables_are_reported() -> None:
    assert faults(
        env={"GATEWAY_WORKER": "1", "GATEWAY_CONFG": "x", "GATEWAY_STORAGE": "{}", "OTHER": "1"}
    ) == (
        "GATEWAY_CONFG: there is no such setting; did you mean GATEWAY_CONFIG?",
        "GATEWAY_STORAGE: there is no such setting; storages are GATEWAY_STORAGE__NAME__ROOT",
        "GATEWAY_WORKER: there is no such setting; did you mean GATEWAY_WORKERS?",
    )
    assert faults(env={"GATEWAY_STORAGE__A__ROOOT": "/"}) == (
        "GATEWAY_STORAGE__A__ROOT: is needed in a storage of type local",
        "GATEWAY_STORAGE__A__ROOOT: there is no such setting; did you mean root?",
    )


def test_listeners_may_not_collide(tmp_path: Path) -> None:
    assert faults({"listen": "127.0.0.1:8081"}) == (
        "--listen: 127.0.0.1:8081 collides with mint.listen (127.0.0.1:8081): "
        "give each an address of its own",
    )
    assert faults({"listen": ":8081"})[0].startswith("--listen: 0.0.0.0:8081 collides with mint.listen")
    [fault] = faults({"listen": "unix:a"}, env={"GATEWAY_ADMIN_LISTEN": f"unix:{tmp_path}/a"})
    assert fault.startswith(f"GATEWAY_ADMIN_LISTEN: unix:{tmp_path}/a collides with --listen")
    load({"listen": "127.0.0.1:0", "mint_listen": "127.0.0.1:0"}, None, {})  # 0 is any free port
    load({"listen": "127.0.0.2:8081"}, None, {})


def test_a_default_life_beyond_the_longest_is_a_fault() -> None:
    assert faults({"mint_default_ttl": "2h"}, env={"GATEWAY_MINT_MAX_TTL": "3600"}) == (
        "--mint-default-ttl: 7200 s is more than GATEWAY_MINT_MAX_TTL allows (3600 s)",
    )


def test_all_faults_are_reported_together(tmp_path: Path) -> None:
    toml = write(tmp_path, 'foo = 1\nredis_url = "x"\nlisten = ":8082"\n[storage.a]\n[mint]\nmax_ttl = -1')
    found = faults(
        {"workers": "x"},
        toml,
        {"GATEWAY_HEADER_TIMEOUT": "-1", "GATEWAY_LISTN": "1", "GATEWAY_SOMEBODY_ELSES": "1"},
    )
    assert [fault.removeprefix(f"{toml}: ").split(":")[0] for fault in found] == [
        "GATEWAY_LISTN", "foo", "redis_url", "--workers", "mint.max_ttl", "GATEWAY_HEADER_TIMEOUT",
        "storage.a.root", "listen",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        (
            "bucket",
            "s3://my-bucket/x",
            "is not the name of a bucket: 's3://my-bucket/x'; write the name alone",
        ),
        ("endpoint", "s3.example.com", "must be http://HOST:PORT or https://HOST"),
        ("endpoint", f"https://key:{SECRET}@h", "must be http://HOST:PORT or https://HOST"),
        ("endpoint", "https://h:x", "must be http://HOST:PORT or https://HOST"),
        ("endpoint", "https://h/?x", "must be http://HOST:PORT or https://HOST"),
        ("region", " ", "must be text"),
        ("prefix", "a\nb", "must be text such as shop/files"),
        ("addressing", "dns", 'must be "auto", "path" or "virtual", not \'dns\''),
        ("connections", "0", "must be from 1 to"),
        ("read_timeout", "soon", "'soon' is not a time"),
        ("read_timeout", "1M", "'1M' is not a time, because months differ"),
        ("redirect_ttl", "1mo", "'1mo' is not a time, because months differ"),
        ("verify", "perhaps", "must be true or false, not 'perhaps'"),
        ("delivery", "accel", 'must be "stream" or "redirect"'),
        ("redirect_ttl", "1.5", "must be whole seconds"),
        ("conections", "1", "there is no such setting; did you mean connections?"),
    ],
)
def test_each_value_of_a_bucket_is_checked(name: str, value: str, wanted: str, tmp_path: Path) -> None:
    held = {"type": "s3", "bucket": "b-1", name: value}
    toml = write(tmp_path, "[storage.a]\n" + "".join(f"{k} = {json.dumps(v)}\n" for k, v in held.items()))
    env = {f"GATEWAY_STORAGE__A__{key.upper()}": text for key, text in held.items()}
    for place, found in (
        (f"GATEWAY_STORAGE__A__{name.upper()}", faults(env=env)),
        (f"{toml}: storage.a.{name}", faults(toml=toml)),
    ):
        assert len(found) == 1
        assert found[0].startswith(f"{place}: ")
        assert wanted in found[0]
        assert SECRET not in found[0]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ('access_key = "x"', "needs both access_key and secret_key, or neither"),
        (f"secret_key = '{SECRET}'", "needs both access_key and secret_key, or neither"),
        (
            f"session_token = '{SECRET}'",
            "session_token, which has no effect without access_key and secret_key",
        ),
        ('redirect_ttl = "8d"', "more than 604800 s"),
        ('addressing = "virtual"', 'cannot be part of a host: set addressing = "path"'),
        (
            'addressing = "virtual"\nbucket = "a-b"\nendpoint = "http://[::1]:9000"',
            'an IP address as endpoint, which no name can be part of: set addressing = "path"',
        ),
        ('addressing = "virtual"\nbucket = "a-b"\nendpoint = "http://10.0.0.1"', "an IP address as endpoint"),
        (
            'anonymous = true\naccess_key = "x"\nsecret_key = "y"',
            "is anonymous, so access_key and profile have no effect",
        ),
        ('anonymous = true\nprofile = "x"', "is anonymous, so access_key and profile have no effect"),
    ],
)
def test_what_belongs_together_is_checked(text: str, wanted: str, tmp_path: Path) -> None:
    bucket = "" if "bucket" in text else 'bucket = "a_b"\n'
    toml = write(tmp_path, f'[storage.a]\ntype = "s3"\n{bucket}{text}\n')
    [fault] = faults(toml=toml)
    assert fault.startswith(f"{toml}: storage.a: ")
    assert wanted in fault
    assert SECRET not in fault


# Secrets


@pytest.mark.parametrize("name", ["access_key", "secret_key", "session_token"])
def test_the_keys_of_a_bucket_are_never_printed(name: str, tmp_path: Path) -> None:
    keys = {"access_key": SECRET, "secret_key": SECRET, "session_token": SECRET}
    text = "".join(f"{key} = {value!r}\n" for key, value in keys.items())
    table = load({}, write(tmp_path, f'[storage.a]\ntype = "s3"\nbucket = "b-1"\n{text}'), {}).storage["a"]
    assert SECRET not in repr(table)
    assert SECRET not in str(table)
    assert getattr(table, name) == SECRET
    for wrong in (f"{SECRET}\n{SECRET}", f"{SECRET}ü"):
        keys[name] = wrong
        text = "".join(f"{key} = {json.dumps(value)}\n" for key, value in keys.items())
        [fault] = faults(toml=write(tmp_path, f'[storage.a]\ntype = "s3"\nbucket = "b-1"\n{text}'))
        assert f"storage.a.{name}: must be the text that was issued (ASCII)" in fault
        assert SECRET not in fault


@pytest.mark.parametrize(
    "url",
    [f"redis://:{SECRET}@h:6379/0", f"rediss://user:{SECRET}@h", f"unix://:{SECRET}@/run/x.sock?db=1"],
)
def test_the_password_is_never_printed(url: str) -> None:
    settings = load({}, None, {"GATEWAY_REDIS_URL": url})
    assert settings.redis_url == url
    assert SECRET not in repr(settings)
    assert SECRET not in str(settings)


@pytest.mark.parametrize(
    "url",
    [
        SECRET, f"{SECRET}:x@h", f"http://:{SECRET}@h", f"redis://:{SECRET}@", f"redis://:{SECRET}@h:x",
        f"redis://h?foo={SECRET}", f"redis://h?{SECRET}=1", f"redis://h?password={SECRET}&db={SECRET}",
        f"redis://:{SECRET}@h/x", f"redis://[{SECRET}@h", f"unix://:{SECRET}@h/x", f"redis://:{SECRET}/x@h:1",
    ],
)  # fmt: skip
def test_no_fault_contains_the_password(url: str, tmp_path: Path) -> None:
    env = {"GATEWAY_REDIS_URL": url, "GATEWAY_REDIS_PASSWORD": SECRET}
    texts = "\n".join(faults({"redis_url": url}) + faults(env=env))
    texts += "\n".join(
        faults(toml=write(tmp_path, f"redis_url = {json.dumps(url)}\nredis_password = {SECRET!r}"))
    )
    assert SECRET not in texts


# Children


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


# Documentation


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


@pytest.mark.slow
def test_importing_the_settings_brings_no_server_along() -> None:
    heavy = "{'typer', 'rich', 'redis', 'sqlalchemy', 'aiohttp', 'uvloop'} & set(sys.modules)"
    code = f"import sys, gateway.config.settings; print({heavy} or '')"
    completed = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert completed.stdout.strip() == ""
