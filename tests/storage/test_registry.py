"""Storages by name: those of the settings, and registered ones, which are found without a restart."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gateway.config.storages import LocalSettings, S3Settings
from gateway.errors import ConfigurationError, StorageError
from gateway.storage import registry
from gateway.storage.local.registered_folders import REGISTRY, Registered, name_for, read_registry, register
from gateway.storage.registry import ObjectLocation, Storages
from tests.support.local_files import entry


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


def test_configured(root: Path, data: Path) -> None:
    storages = Storages({"files": LocalSettings(root=root)}, data, 4)
    assert storages.local("files").root == root
    assert [storage.name for storage in storages] == ["files"]
    assert not data.exists()
    with pytest.raises(StorageError, match=r"no storage 'other': configure \[storage.other\]"):
        storages.get("other")


def test_registered_while_running(root: Path, data: Path) -> None:
    """It is found at once, also right after others that were asked for in vain."""
    running = Storages({}, data, 4)
    with pytest.raises(StorageError):
        running.get("anything")
    name = register(data, root)
    storage = running.local(name)
    with storage.open(entry(root, "sub/file", name)) as blob:
        assert blob.pread(0, 1) == b"0"
    other = register(data, root / "sub")
    running.local(other).stat("file")
    assert running.get(name) is storage  # with the descriptors it has
    running.close()


def test_the_registered_folders_are_read_only_when_they_have_changed(
    root: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever unknown names are asked for. A file that cannot be read is tried again after a while."""
    reads: list[Path] = []

    def read(folder: Path) -> dict[str, Registered]:
        reads.append(folder)
        return read_registry(folder)

    monkeypatch.setattr(registry, "read_registry", read)
    name = register(data, root)
    running = Storages({}, data, 4)
    for number in range(5):
        with pytest.raises(StorageError, match="no storage"):
            running.get(f"unknown-{number}")
    assert len(reads) == 1
    running.local(name)
    (data / REGISTRY).write_text("damaged")
    with pytest.raises(StorageError, match="is damaged"):
        running.get("unknown")
    for _ in range(5):
        with pytest.raises(StorageError, match="no storage"):
            running.get("unknown")
    assert len(reads) == 2
    (data / REGISTRY).unlink()
    other = register(data, root / "sub")
    monkeypatch.setattr(registry, "RECHECK_SECONDS", 0.0)
    running.local(other)


def test_register(root: Path, data: Path) -> None:
    name = register(data, root)
    assert name == register(data, root) == name_for(root.resolve())
    assert name.startswith("root-")
    assert read_registry(data) == {name: Registered(root, whole=True)}
    table = {"type": "local", "root": str(root), "whole": True}
    assert json.loads((data / REGISTRY).read_bytes()) == {name: table}
    assert stat.S_IMODE((data / REGISTRY).stat().st_mode) == 0o600
    assert stat.S_IMODE(data.stat().st_mode) == 0o700
    assert sorted(os.listdir(data)) == [REGISTRY, REGISTRY + ".lock"]


@pytest.mark.parametrize(
    ("folder", "word"),
    [
        ("/srv/Drums & Bass", "drums-bass"),
        ("/srv/鼓", "files"),
        ("/", "files"),
        ("/srv/" + "x" * 200, "x" * 40),
    ],
)
def test_names_fit_the_settings(folder: str, word: str) -> None:
    from gateway.config.settings import STORAGE_NAME  # noqa: PLC0415

    name = name_for(Path(folder))
    assert name.rpartition("-")[0] == word
    assert STORAGE_NAME.fullmatch(name)
    assert name != name_for(Path(folder + "/other"))


def test_settings_win(root: Path, data: Path, tmp_path: Path) -> None:
    name = register(data, root)
    storages = Storages({name: LocalSettings(root=tmp_path)}, data, 4)
    assert [storages.local(storage.name).root for storage in storages] == [tmp_path]


def test_locate(root: Path, data: Path) -> None:
    storages = Storages(
        {"wide": LocalSettings(root=root), "narrow": LocalSettings(root=root / "sub")}, data, 4
    )
    register(data, root.parent)
    (root / "line\nbreak").touch()
    assert storages.locate(root / "sub" / "file") == ObjectLocation("narrow", "file")
    assert storages.locate(root / "sub") == ObjectLocation("wide", "sub")
    assert storages.locate(root / "line\nbreak") == ObjectLocation("wide", "line\nbreak")
    assert storages.locate(root.parent / "secret") == ObjectLocation(name_for(root.parent), "secret")
    assert storages.locate(root.parent.parent / "else") is None
    assert storages.locate(root.with_name("root2") / "x") == ObjectLocation(name_for(root.parent), "root2/x")


BUCKETS = {
    "shop": S3Settings(bucket="shop", access_key="a", secret_key="b"),
    "kits": S3Settings(bucket="shop", prefix="kits", access_key="a", secret_key="b"),
}


def test_buckets(root: Path, data: Path) -> None:
    storages = Storages({"files": LocalSettings(root=root), **BUCKETS}, data, 4)
    assert [storage.name for storage in storages] == ["files", "shop", "kits"]
    shop = storages.get("shop")
    assert shop.name == "shop"
    assert storages.get("shop") is shop
    assert storages.locate(root / "sub" / "file") == ObjectLocation("files", "sub/file")
    with pytest.raises(StorageError, match="storage shop: is a bucket, not a folder"):
        storages.local("shop")
    storages.prepare()
    assert storages.get("shop") is shop


def test_a_registered_folder_keeps_the_buckets(root: Path, data: Path) -> None:
    name = register(data, root)
    storages = Storages({**BUCKETS, name: S3Settings(bucket="other")}, data, 4)
    shop = storages.get("shop")
    other = register(data, root / "sub")
    assert {storage.name for storage in storages} == {"shop", "kits", name, other}
    assert storages.get("shop") is shop
    with pytest.raises(StorageError, match="is a bucket"):
        storages.local(name)


@pytest.mark.parametrize(
    ("address", "wanted"),
    [
        ("s3://shop", ("shop", "")),
        ("s3://shop/", ("shop", "")),
        ("s3://shop/a/b", ("shop", "a/b")),
        ("s3://shop/kitsch", ("shop", "kitsch")),
        ("s3://shop/kits", ("kits", "")),
        ("s3://shop/kits/a", ("kits", "a")),
        ("s3://shopping/a", None),
        ("gs://shop/a", None),
    ],
)
def test_locate_object(data: Path, address: str, wanted: tuple[str, str] | None) -> None:
    found = Storages(BUCKETS, data, 4).locate_object(address)
    assert (found and (found[0].name, found[1])) == wanted


def test_catalogs(root: Path, data: Path) -> None:
    storages = Storages({"files": LocalSettings(root=root), **BUCKETS}, data, 4)
    assert [catalog.root for catalog in storages.catalogs()] == ["s3://shop/", "s3://shop/kits/"]
    assert storages.catalog("shop") is storages.catalog("shop")
    assert storages.catalog("files") is storages.catalog("none") is None


@pytest.mark.slow
def test_files_on_disk_pay_nothing_for_buckets(root: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from gateway.dataplane.wiring import build_worker; "
        "from gateway.storage.registry import Storages; from gateway.config.storages import LocalSettings; "
        "storages = Storages({'files': LocalSettings(root=Path('/'))}, Path('/nowhere'), 4); "
        "storages.prepare(); storages.get('files'); "
        "lazy = ('botocore', 'obstore', 'gateway.storage.s3'); "
        "print([name for name in sys.modules if name.startswith(lazy)])"
    )
    completed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert completed.stdout == "[]\n"


WRITE = (
    "import sys; from pathlib import Path; from gateway.storage.local.registered_folders import register\n"
    + ("for n in range(20): register(Path(sys.argv[1]), Path(f'/srv/{sys.argv[2]}/{n}'))")
)


def test_two_writers(data: Path) -> None:
    """Neither loses what the other wrote."""
    writers = [subprocess.Popen([sys.executable, "-c", WRITE, str(data), name]) for name in ("a", "b")]
    assert [writer.wait() for writer in writers] == [0, 0]
    assert len(read_registry(data)) == 40


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"a": 1}', '{"a": {"type": "local"}}', '{"a": {"type": "local", "root": 3}}']
)
def test_damaged(data: Path, root: Path, text: str) -> None:
    data.mkdir()
    (data / REGISTRY).write_text(text)
    with pytest.raises(StorageError, match="is damaged"):
        Storages({}, data, 4).get("a")
    with pytest.raises(ConfigurationError, match="is damaged"):
        register(data, root)
    assert (data / REGISTRY).read_text() == text


def test_data_folder_that_cannot_be(root: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be written"):
        register(root / "sub" / "file", root)


def test_folder_not_utf8(tmp_path: Path, data: Path) -> None:
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    with pytest.raises(ConfigurationError, match="not valid UTF-8"):
        register(data, folder)


def test_threads_that_ask_at_once_all_find_the_storage(root: Path, data: Path) -> None:
    """A thread that asks while another one is still looking gets the storage too."""
    name = register(data, root)
    for _ in range(50):
        running = Storages({}, data, 4)
        together = threading.Barrier(8)

        def ask(running: Storages = running, together: threading.Barrier = together) -> str:
            together.wait()
            return running.get(name).name

        with ThreadPoolExecutor(8) as pool:
            assert {asked.result() for asked in [pool.submit(ask) for _ in range(8)]} == {name}
