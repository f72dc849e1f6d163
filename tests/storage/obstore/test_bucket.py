"""Clients made from settings: which settings they need, and the error for each that is wrong."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from gateway.config.settings import load
from gateway.errors import ConfigurationError, StorageError
from gateway.storage.obstore.bucket import address, make_store
from gateway.storage.registry import Storages
from tests.support.clouds import settings_of

GOOGLE = {"type": "gs", "bucket": "shop"}
AZURE = {"type": "az", "account": "shop", "container": "kits"}


@pytest.mark.parametrize(
    ("table", "root"),
    [
        (GOOGLE, "gs://shop/"),
        (GOOGLE | {"prefix": "/kits/"}, "gs://shop/kits/"),
        (AZURE, "az://kits/"),
        (AZURE | {"prefix": "a/b"}, "az://kits/a/b/"),
    ],
)
def test_addresses(table: dict[str, Any], root: str) -> None:
    assert address(settings_of(table)) == root


@pytest.mark.parametrize(
    "table",
    [
        GOOGLE | {"service_account": "/nowhere/key.json"},
        GOOGLE | {"ca_file": "/nowhere/ca.pem"},
        AZURE | {"account_key": "c2VjcmV0!"},
    ],
)
def test_unusable_credentials_are_reported_without_secrets(table: dict[str, Any]) -> None:
    with pytest.raises(StorageError) as caught:
        make_store("cloud", settings_of(table))
    assert str(caught.value).startswith("storage cloud: its credentials or certificates cannot be used")
    assert "c2VjcmV0" not in str(caught.value)


def test_faulty_credentials_are_no_fault_of_other_storages(tmp_path: Path) -> None:
    tables = {
        "bad": settings_of(GOOGLE | {"service_account": "/nowhere/key.json"}),
        "good": settings_of(AZURE),
    }
    storages = Storages(tables, tmp_path, 10)
    found = storages.locate_object("az://kits/a.zip")
    assert found is not None
    assert (found[0].name, found[1]) == ("good", "a.zip")
    assert storages.get("good").name == "good"
    with pytest.raises(StorageError, match="storage bad: its credentials"):
        storages.get("bad")


def test_secrets_are_in_no_repr() -> None:
    settings = settings_of(AZURE | {"account_key": "c2VjcmV0", "sas_token": "sig=c2VjcmV0"})
    assert "c2VjcmV0" not in repr(settings)
    assert "c2VjcmV0" not in repr(make_store("cloud", settings_of(AZURE | {"account_key": "c2VjcmV0"})))


@pytest.mark.parametrize("table", [GOOGLE, AZURE])
def test_a_missing_extra_is_reported_with_the_command_that_installs_it(
    table: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "obstore", None)
    environ = {f"GATEWAY_STORAGE__CLOUD__{name.upper()}": value for name, value in table.items()}
    with pytest.raises(ConfigurationError) as caught:
        load({}, None, environ)
    [fault] = caught.value.faults
    assert fault.endswith("needs a library that is not installed: pip install 'download-gateway[clouds]'")
