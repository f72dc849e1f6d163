"""`check` against real stores and real files, and what it finds in the settings."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gateway.cli.checks.store import check_store
from gateway.tokens.repositories import Repositories
from tests.support.console import FREE, Gateway, report
from tests.support.store_server import STORE_SECONDS, StoreServer

EXPECTED = ("store persistence", "mail")
"""What warns in a trial: the store of the tests keeps nothing, and there is no mail server."""


@pytest.mark.slow
def test_everything_is_fine(gateway: Gateway, files: Path) -> None:
    gateway.run("product", "add", "drums", "1", files)
    found = report(gateway)
    assert {each["result"] for name, each in found.items() if name not in EXPECTED} == {"ok", "skip"}
    assert found["store persistence"]["result"] == "warn", "the tests' store keeps nothing"
    assert found["mail"]["result"] == "warn", "there is no mail server"
    assert found["files"]["text"] == "all as they were published: 2 files"
    assert found["proxy"]["result"] == "skip"
    output = gateway.run("check", *FREE, "--quick")
    assert "CHECK" in output.stdout
    assert "--quick" in output.stdout
    assert output.stderr == ""


def test_faults_of_settings_come_first(gateway: Gateway) -> None:
    found = gateway.json("check", "--workers", "0", "--stall-timeout", "x", code=1)
    assert [each["check"] for each in found] == ["settings", "settings"]
    assert found[0]["text"].startswith("--workers: ")


def test_no_store(gateway: Gateway, own_store: StoreServer) -> None:
    own_store.stop()
    gateway.variables["GATEWAY_REDIS_URL"] = own_store.url
    assert report(gateway, code=1)["store"]["result"] == "fail"


def test_an_embedded_store_passes(tmp_path: Path) -> None:
    found = report(Gateway(tmp_path))
    assert found["mail"]["result"] == "warn", "there is no mail server"
    assert {each["result"] for name, each in found.items() if name != "mail"} == {"ok", "skip"}


@pytest.mark.parametrize(
    ("settings", "subject", "level", "text"),
    [
        (("maxmemory-policy", "allkeys-lru"), "store memory", "fail", "maxmemory-policy is allkeys-lru"),
        (("maxmemory", "900kb"), "store memory", "warn", "of maxmemory is used"),
        (("save", "60 1"), "store persistence", "warn", "only snapshots"),
        (("save", ""), "store persistence", "warn", "a restart loses every product"),
        (("appendonly", "yes"), "store persistence", "ok", "every write"),
        (("replicaof", "127.0.0.1 1"), "store role", "fail", "read-only replica"),
    ],
)
async def test_the_store_as_it_is_set_up(
    settings: tuple[str, str], subject: str, level: str, text: str, own_store: StoreServer
) -> None:
    async with Repositories.connect(own_store.url, STORE_SECONDS) as link:
        await link.client.call(
            *(["REPLICAOF", "127.0.0.1", "1"] if settings[0] == "replicaof" else ("CONFIG", "SET", *settings))
        )
        found = {each.subject: each for each in await check_store(link, "it")}
    assert (found[subject].level.value, text in found[subject].text) == (level, True), found[subject]


@pytest.mark.slow
def test_files_that_are_not_as_published(gateway: Gateway, files: Path) -> None:
    gateway.run("product", "add", "drums", "1", files)
    gateway.run("product", "add", "bass", "1", files / "a.bin")
    os.truncate(files / "a.bin", 7)
    (files / "sub" / 'ü "b".txt').unlink()
    found = gateway.json("check", *FREE, code=1)
    failed = [(each["check"], each["text"].split(":")[0]) for each in found if each["result"] == "fail"]
    assert failed == [
        ("product bass 1", "a.bin"), ("product drums 1", "a.bin"), ("product drums 1", 'sub/ü "b".txt'),
    ]  # fmt: skip
    assert all(each["mend"] for each in found if each["result"] == "fail")


def test_a_storage_without_its_folder(gateway: Gateway, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    gateway.variables |= {
        "GATEWAY_STORAGE__GONE__ROOT": str(tmp_path / "gone"),
        "GATEWAY_STORAGE__FILE__ROOT": str(tmp_path / "file"),
        "GATEWAY_STORAGE__HERE__ROOT": str(tmp_path),
    }
    found = report(gateway, code=1)
    assert [found[f"storage {name}"]["result"] for name in ("gone", "file", "here")] == ["fail", "fail", "ok"]


def test_a_damaged_registry(gateway: Gateway, tmp_path: Path) -> None:
    (tmp_path / ".download-gateway").mkdir()
    (tmp_path / ".download-gateway/storages.json").write_text("{")
    assert "storages.json is damaged" in report(gateway, code=1)["storages"]["text"]
