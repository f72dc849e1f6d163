"""Faults of settings: each names its place and the next step, and all are reported at once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gateway.config.settings import load
from gateway.config.sources import flag_name, toml_name, variable_name
from tests.support.settings_files import faults, write

pytestmark = pytest.mark.usefixtures("in_empty_folder")


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
