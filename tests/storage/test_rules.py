"""What is never opened, however it is named: hidden files, the data folder, and the neighbours of a file."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.config.storages import LocalSettings
from gateway.errors import StorageError
from gateway.manifest import ManifestFile, hidden_part
from gateway.products.publishing import hash_files, plan_publication
from gateway.storage.local import storage as local_storage
from gateway.storage.local.registered_folders import REGISTRY, name_for
from gateway.storage.registry import ObjectLocation, Storages
from tests.support.local_files import entry
from tests.support.rows import each_row


@each_row(
    ("key", "hidden"),
    [
        ("a.zip", ""),
        ("a/b.c/d", ""),
        ("~backup", ""),
        (".env", ".env"),
        ("a/.git/config", ".git"),
        ("a/..", ".."),
        ("./a", "."),
        ("Thumbs.db", "Thumbs.db"),
        ("x/DESKTOP.INI", "DESKTOP.INI"),
        ("thumbs.db/x", "thumbs.db"),
        ("my.env", ""),
    ],
)
def test_hidden_names(key: str, hidden: str) -> None:
    assert hidden_part(key) == hidden


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder for sale, with what is not for sale in it and the gateway's data folder below it."""
    top = tmp_path / "Music"
    for name in ("a.zip", "b.zip", ".env", "sub/.git/config", ".store/c.zip", "data/store/x.aof", "data/x"):
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_bytes(name.encode())
    return top


@pytest.fixture
def data(folder: Path) -> Path:
    return folder / "data"


@pytest.fixture
def storages(folder: Path, data: Path) -> Storages:
    return Storages({"files": LocalSettings(root=folder)}, data, 16, private=[folder / "b.zip"])


@pytest.mark.parametrize(
    ("key", "text"),
    [
        (".env", "is hidden"),
        ("sub/.git/config", "is hidden"),
        (".store/c.zip", "is hidden"),
        ("data/store/x.aof", "own data folder"),
        ("data/x", "own data folder"),
        ("to-env", "leads to '.env', which is hidden"),
        ("to-folder/c.zip", "leads to '.store/c.zip', which is hidden"),
        ("sub/to-data", "own data folder"),
        ("to-store/x.aof", "own data folder"),
        ("b.zip", "private to the gateway"),
        ("to-private", "private to the gateway"),
        ("hard-private", "private to the gateway"),
        ("../Music/.env", "component"),
        ("sub/../.env", "component"),
    ],
)
def test_what_is_never_opened(storages: Storages, folder: Path, key: str, text: str) -> None:
    (folder / "to-env").symlink_to(".env")
    (folder / "to-folder").symlink_to(".store")
    (folder / "sub" / "to-data").symlink_to("../data/x")
    (folder / "to-store").symlink_to("data/store")
    (folder / "to-private").symlink_to("b.zip")
    (folder / "hard-private").hardlink_to(folder / "b.zip")
    with pytest.raises(StorageError, match=text):
        storages.local("files").stat(key)
    assert storages.local("files").stat("a.zip").size == 5


def test_a_bind_mount_or_another_case_is_the_same_data_folder(folder: Path) -> None:
    """Folders are compared by what they are. A link above the root stands for a second name of a folder."""
    (folder.parent / "alias").symlink_to(folder / "data")
    storages = Storages({"files": LocalSettings(root=folder)}, folder.parent / "alias", 16)
    with pytest.raises(StorageError, match="own data folder"):
        storages.local("files").stat("data/x")


@pytest.mark.parametrize("root", ["data", "data/store", "data/STORE"])
def test_a_root_in_the_data_folder_serves_nothing_that_the_gateway_keeps(
    folder: Path, data: Path, root: str
) -> None:
    (folder / "data" / "STORE").mkdir()
    for name in ("x", "x.aof"):
        (folder / "data" / "STORE" / name).touch()
    storages = Storages({"files": LocalSettings(root=folder / root)}, data, 16)
    with pytest.raises(StorageError, match="own data folder"):
        storages.local("files").stat("x" if root == "data" else "x.aof")


def test_a_root_that_was_made_in_the_data_folder_is_served(folder: Path, data: Path) -> None:
    (data / "demo").mkdir()
    (data / "demo" / "demo.bin").touch()
    assert Storages({"d": LocalSettings(root=data / "demo")}, data, 4).local("d").stat("demo.bin").size == 0


@pytest.mark.parametrize("change", ["hide", "into-data"])
def test_renamed_after_it_was_opened(
    storages: Storages, folder: Path, data: Path, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The path still leads to the same file, through a link that has taken the folder's place."""
    (folder / "kit").mkdir()
    (folder / "kit" / "k.zip").write_bytes(b"k")
    file = entry(folder, "kit/k.zip")
    storage = storages.local("files")
    storage.open(file).release()
    kept = storage.lookup(file)
    assert kept is not None
    kept.release()
    moved = folder / ".kit" if change == "hide" else data / "kit"
    (folder / "kit").rename(moved)
    (folder / "kit").symlink_to(moved.relative_to(folder))
    monkeypatch.setattr(local_storage, "RULES_SECONDS", 0.0)
    monkeypatch.setattr(local_storage, "FRESH_SECONDS", 0.0)
    assert storage.lookup(file) is None
    with pytest.raises(StorageError, match=r"is hidden|own data folder"):
        storage.open(file)


def publish_alone(storages: Storages, path: Path) -> ManifestFile:
    return hash_files(plan_publication([path]), storages, "p", "1").files[0]


@pytest.mark.parametrize(
    "key", ["b.zip", ".env", "data/x", "sub/.git/config", "../Music/b.zip", "./a.zip", "A.zip", "", "a.zip/"]
)
def test_the_storage_of_a_single_file_is_that_file(folder: Path, tmp_path: Path, key: str) -> None:
    storages = Storages({}, tmp_path / "state", 16)
    file = publish_alone(storages, folder / "a.zip")
    storage = storages.local(file.storage)
    storage.check(file)
    with pytest.raises(StorageError):
        storage.stat(key)
    other = publish_alone(storages, folder / "b.zip")
    assert other.storage != file.storage


@pytest.mark.parametrize("target", [".env", "b.zip", "sub/.git/config"])
def test_a_link_in_the_place_of_a_single_file_is_not_followed(
    folder: Path, tmp_path: Path, target: str
) -> None:
    storages = Storages({}, tmp_path / "state", 16)
    file = publish_alone(storages, folder / "a.zip")
    (folder / "a.zip").unlink()
    (folder / "a.zip").symlink_to(target)
    with pytest.raises(StorageError, match="link"):
        storages.local(file.storage).stat("a.zip")


def test_a_hidden_file_that_is_named_is_served_alone(folder: Path, tmp_path: Path) -> None:
    storages = Storages({"files": LocalSettings(root=folder)}, tmp_path / "state", 16)
    file = publish_alone(storages, folder / ".env")
    assert (file.storage, file.key) == (name_for(folder / ".env"), ".env")
    storages.local(file.storage).check(file)
    with pytest.raises(StorageError):
        storages.local(file.storage).stat("a.zip")


def test_what_an_earlier_version_registered_is_served_but_takes_nothing_new(folder: Path) -> None:
    """It registered the folder of a single file. Publishing the folder itself makes the entry whole."""
    state = folder.parent / "state"
    state.mkdir()
    name = name_for(folder)
    (state / REGISTRY).write_text(json.dumps({name: {"type": "local", "root": str(folder)}}))
    storages = Storages({}, state, 16)
    storages.local(name).check(entry(folder, "a.zip", name))
    assert not storages.local(name).takes_new
    assert storages.locate(folder / "b.zip") is None
    alone = publish_alone(storages, folder / "a.zip")
    assert alone.storage == name_for(folder / "a.zip")
    assert publish_folder(storages, folder)[0].storage == name
    assert storages.local(name).takes_new
    assert storages.locate(folder / "b.zip") == ObjectLocation(name, "b.zip")
    assert storages.locate(folder / "a.zip", alone=True) == ObjectLocation(alone.storage, "a.zip")


def publish_folder(storages: Storages, folder: Path) -> tuple[ManifestFile, ...]:
    return hash_files(plan_publication([folder]), storages, "p", "1").files


@pytest.mark.parametrize("place", ["data/store/x.aof", "data/x", "data/store", "link"])
def test_nothing_of_the_data_folder_is_published(folder: Path, data: Path, place: str) -> None:
    (folder / "link").symlink_to("data/store/x.aof")
    with pytest.raises(Exception, match="own data folder"):
        plan_publication([folder / place], data)


def test_a_link_to_a_hidden_file_is_not_published(folder: Path, data: Path) -> None:
    (folder / "pretty.zip").symlink_to(".store/c.zip")
    with pytest.raises(Exception, match="is a link to a hidden file"):
        plan_publication([folder], data)


def test_what_was_read_for_a_single_file_is_not_read_again_for_its_folder(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storages = Storages({}, tmp_path / "state", 16)
    first = hash_files(plan_publication([folder / "a.zip"]), storages, "p", "1")
    read: list[int] = []
    monkeypatch.setattr(os, "preadv", _counting(os.preadv, read))
    second = hash_files(plan_publication([folder], folder / "data"), storages, "p", "2", previous=first)
    assert [file.name for file in second.files] == ["a.zip", "b.zip"]
    assert len(read) == 2  # of b.zip alone: its bytes and its end


def _counting(function: Callable[..., int], calls: list[int]) -> Callable[..., int]:
    def call(*arguments: object) -> int:
        calls.append(1)
        return function(*arguments)

    return call
