"""The console script as a process of its own, with nothing in its environment but what a test gives it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.cli import main
from tests.support.console import Fault, Gateway
from tests.support.databases import new_database_url
from tests.support.store_server import STORE_SECONDS, StoreServer


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands that run in this process give the store as long as those in processes of their own."""
    monkeypatch.setenv("GATEWAY_REDIS_TIMEOUT", str(STORE_SECONDS))


@pytest.fixture
def gateway(store: StoreServer, tmp_path: Path) -> Gateway:
    """Commands that use the shared store, which is empty at first."""
    return Gateway(tmp_path, {"GATEWAY_REDIS_URL": store.url, "GATEWAY_DATABASE_URL": new_database_url()})


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder with two files to sell."""
    folder = tmp_path / "files"
    (folder / "sub").mkdir(parents=True)
    (folder / "a.bin").write_bytes(bytes(range(256)) * 20)
    (folder / "sub" / 'ü "b".txt').write_text("hello")
    return folder


@pytest.fixture
def complain(
    store: StoreServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Fault]:
    """Run a command in this process, which is quicker: for tables of faults."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("GATEWAY_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("GATEWAY_REDIS_URL", store.url)
    monkeypatch.setenv("GATEWAY_REDIS_TIMEOUT", str(STORE_SECONDS))

    def run(*arguments: str) -> Fault:
        code = main(arguments)
        output = capsys.readouterr()
        assert output.out == ""
        lines = output.err.splitlines()
        assert all(line.startswith("download-gateway: ") for line in lines)
        return Fault(code, [line.removeprefix("download-gateway: ") for line in lines])

    return run
