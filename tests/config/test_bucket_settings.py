"""The settings of a bucket: how they are read, their faults, and that no key is printed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gateway.config.settings import load
from gateway.config.storages import S3Settings
from tests.support.settings_files import SECRET, faults, write

pytestmark = pytest.mark.usefixtures("in_empty_folder")


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
