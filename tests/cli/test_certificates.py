"""Files of certificates and keys that cannot be used are named before anything is served."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.cli.checks.certificates import trust_faults
from gateway.config.settings import Settings
from tests.support.certificates import make_certificate
from tests.support.console import Gateway

S3 = {"type": "s3", "bucket": "shop"}
AZURE = {"type": "az", "account": "a", "container": "shop"}
GOOGLE = {"type": "gs", "bucket": "shop"}


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder with a certificate, and with files that are none."""
    certificate, _ = make_certificate(tmp_path)
    certificate.rename(tmp_path / "good.pem")
    (tmp_path / "empty.pem").write_text("")
    (tmp_path / "text.pem").write_text("no certificate")
    (tmp_path / "damaged.pem").write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    (tmp_path / "folder").mkdir()
    return tmp_path


@pytest.mark.parametrize("table", [S3, AZURE, GOOGLE], ids=["s3", "az", "gs"])
@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("good.pem", None),
        ("none.pem", "cannot be read: it or its folder does not exist: correct the path"),
        ("folder", "cannot be read: it is a folder, not a file"),
        ("empty.pem", "has no certificates in PEM form"),
        ("text.pem", "has no certificates in PEM form"),
        ("damaged.pem", "has no certificates in PEM form"),
    ],
)
def test_the_authority_of_a_storage(table: dict[str, str], name: str, fault: str | None, files: Path) -> None:
    settings = Settings.model_validate({"storage": {"shop": {**table, "ca_file": files / name}}})
    found = trust_faults(settings)
    assert len(found) == (fault is not None)
    if fault is not None:
        assert found[0].startswith(f"storage.shop.ca_file: {files / name} {fault}")


def test_every_file_is_looked_at(files: Path) -> None:
    store = f"rediss://h?ssl_ca_certs={files / 'none.pem'}&ssl_certfile={files / 'good.pem'}"
    table = {**GOOGLE, "service_account": files / "none.json"}
    settings = Settings.model_validate({"storage": {"shop": table}, "redis_url": store})
    missing = "cannot be read: it or its folder does not exist: correct the path"
    assert trust_faults(settings) == [
        f"storage.shop.service_account: {files / 'none.json'} {missing}",
        f"redis_url: the file of its option ssl_ca_certs {missing}",
    ]


@pytest.mark.slow
@pytest.mark.parametrize("command", ["up", "serve"])
def test_a_gateway_does_not_start_without_them(tmp_path: Path, command: str) -> None:
    table = {"TYPE": "s3", "BUCKET": "shop", "CA_FILE": str(tmp_path / "none.pem")}
    variables = {f"GATEWAY_STORAGE__SHOP__{name}": value for name, value in table.items()}
    done = Gateway(tmp_path, {**variables, "GATEWAY_REDIS_URL": "redis://127.0.0.1:1"}).run(command, code=1)
    [line] = done.stderr.splitlines()
    assert "storage.shop.ca_file:" in line
    assert "none.pem cannot be read: it or its folder does not exist: correct the path" in line
