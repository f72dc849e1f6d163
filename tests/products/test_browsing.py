"""The picker of files: what a folder shows, what is chosen, and that nothing leads out of a root."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.config.storages import LocalSettings
from gateway.errors import StorageError
from gateway.products import browsing
from gateway.products.browsing import Entry, choose_files, list_folder, list_places
from gateway.storage.local.registered_folders import Registered
from gateway.storage.registry import Storages
from tests.support.shop import Shop

OUTSIDE = (
    "..",
    "../secret",
    "drums/../../secret",
    "/etc",
    "/etc/passwd",
    "drums//kit.wav",
    "drums/.",
    "./drums",
    "a\0b",
    "\ud800",
    ".hidden",
    "drums/.git/config",
    "way-out",
    "way-out/secret.txt",
    "absolute",
    "up",
    "up/secret/secret.txt",
    "to-hidden",
)
"""Keys of the storage that lead out of it, or to what is never published."""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "files"
    for folder in ("drums/loops", "drums/.git", ".hidden", "empty", "bass"):
        (root / folder).mkdir(parents=True)
    for name in (
        "drums/kit.wav",
        "drums/loops/a.wav",
        "drums/.git/config",
        ".hidden/x",
        "bass/b.wav",
        "read.me",
    ):
        (root / name).write_bytes(name.encode())
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "secret.txt").write_text("secret")
    (root / "way-out").symlink_to("../secret")
    (root / "absolute").symlink_to("/etc/passwd")
    (root / "up").symlink_to("..")
    (root / "to-hidden").symlink_to(".hidden/x")
    (root / "same.wav").symlink_to("drums/kit.wav")
    (root / "drums-now").symlink_to("drums")
    return root


@pytest.fixture
def storages(tmp_path: Path, root: Path) -> Iterator[Storages]:
    known = Storages({"main": LocalSettings(type="local", root=root)}, tmp_path / "data", 16)
    yield known
    known.close()


def names(storages: Storages, folder: str = "") -> list[str]:
    return [each.name + "/" * each.is_folder for each in list_folder(storages, "main", folder).entries]


def chosen(storages: Storages, folder: str, *keys: str) -> dict[str, str]:
    return {each.name: each.key for each in choose_files(storages, "main", folder, keys)}


def test_a_folder_shows_its_folders_and_files_without_what_is_never_published(storages: Storages) -> None:
    found = list_folder(storages, "main")
    assert names(storages) == ["bass/", "drums/", "empty/", "read.me", "same.wav"]
    assert found.left_out == 6  # .hidden, and the links to folders, out of the root and to hidden files
    assert found.entries[-1] == Entry("same.wav", "same.wav", False, len("drums/kit.wav"))
    assert names(storages, "drums") == ["loops/", "kit.wav"]
    assert names(storages, "empty") == []
    assert list_folder(storages, "main", "drums/loops").trail == [
        ("drums", "drums"),
        ("loops", "drums/loops"),
    ]


@pytest.mark.parametrize("key", OUTSIDE)
def test_nothing_outside_of_the_root_is_shown_or_chosen(storages: Storages, key: str) -> None:
    with pytest.raises(StorageError):
        list_folder(storages, "main", key)
    with pytest.raises(StorageError):
        choose_files(storages, "main", "", [key])
    with pytest.raises(StorageError):
        choose_files(storages, "main", key, [f"{key}/secret.txt"])


def test_a_link_that_is_turned_outwards_later_is_not_followed(storages: Storages, root: Path) -> None:
    assert chosen(storages, "", "same.wav") == {"same.wav": "same.wav"}
    (root / "same.wav").unlink()
    (root / "same.wav").symlink_to("../secret/secret.txt")
    with pytest.raises(StorageError):
        choose_files(storages, "main", "", ["same.wav"])


def test_what_is_chosen_keeps_its_place_below_the_folder(storages: Storages) -> None:
    assert chosen(storages, "", "drums", "read.me") == {
        "drums/kit.wav": "drums/kit.wav",
        "drums/loops/a.wav": "drums/loops/a.wav",
        "read.me": "read.me",
    }
    assert chosen(storages, "", "drums") == {
        "kit.wav": "drums/kit.wav",
        "loops/a.wav": "drums/loops/a.wav",
    }
    assert chosen(storages, "drums", "drums/loops") == {"a.wav": "drums/loops/a.wav"}
    assert chosen(storages, "drums", "drums/kit.wav", "drums/kit.wav") == {"kit.wav": "drums/kit.wav"}
    assert choose_files(storages, "main", "", ["read.me"]) == [("read.me", "read.me", len("read.me"))]


@pytest.mark.parametrize(
    ("folder", "keys"),
    [("", ["nothing"]), ("", ["empty"]), ("", []), ("drums", ["bass/b.wav"]), ("drum", ["drums/kit.wav"])],
)
def test_what_cannot_be_published_is_refused(storages: Storages, folder: str, keys: list[str]) -> None:
    with pytest.raises(StorageError):
        choose_files(storages, "main", folder, keys)


def test_a_version_has_a_limit_of_files(storages: Storages, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(browsing, "MAX_FILES", 2)
    with pytest.raises(StorageError, match="more than 2 files"):
        choose_files(storages, "main", "", ["drums", "read.me"])


def test_a_long_folder_is_cut(storages: Storages, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(browsing, "MOST_ENTRIES", 2)
    found = list_folder(storages, "main")
    assert found.is_cut
    assert len(found.entries) == 2


def test_sockets_and_names_that_are_no_text_are_left_out(storages: Storages, root: Path) -> None:
    with socket.socket(socket.AF_UNIX) as here:
        here.bind(str(root / "empty" / "socket"))
        (Path(os.fsdecode(os.fsencode(root / "empty") + b"/\xff.wav"))).write_bytes(b"")
        found = list_folder(storages, "main", "empty")
    assert (found.entries, found.left_out) == ((), 2)


def test_the_data_folder_below_a_root_is_not_shown(tmp_path: Path, root: Path) -> None:
    data = root / "data"
    (data / "store").mkdir(parents=True)
    (data / "storages.json").write_text("{}")
    storages = Storages({"main": LocalSettings(type="local", root=root)}, data, 16)
    for folder in ("data", "data/store"):
        with pytest.raises(StorageError, match="data folder"):
            list_folder(storages, "main", folder)
    storages.close()


def test_registered_folders_are_places_and_single_files_are_not(
    storages: Storages, tmp_path: Path, root: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "one.zip").write_bytes(b"1")
    storages.register([Registered(other, whole=True), Registered(root, only="read.me")])
    places = list_places(storages)
    assert [each.root for each in places] == sorted(
        [str(root), str(other)], key=lambda each: each != str(root)
    )
    name = next(each.name for each in places if each.root == str(other))
    assert [each.name for each in list_folder(storages, name).entries] == ["one.zip"]
    singles = [each.name for each in storages if each.name not in {place.name for place in places}]
    assert len(singles) == 1
    with pytest.raises(StorageError):
        list_folder(storages, singles[0])
    with pytest.raises(StorageError):
        choose_files(storages, singles[0], "", ["drums/kit.wav"])


def test_an_unknown_storage_is_refused(storages: Storages) -> None:
    with pytest.raises(StorageError, match="no storage"):
        list_folder(storages, "nothing")


@pytest.mark.slow
def test_a_bucket_is_shown_by_folders_and_chosen_from(shop: Shop, tmp_path: Path) -> None:
    for key in ("drums/kit.wav", "drums/loops/a.wav", "drums/.git/x", "read.me", ".env"):
        shop.put(key, key.encode())
    storages = Storages({"shop": shop.table()}, tmp_path / "data", 4)
    try:
        assert [each.name for each in list_places(storages)] == ["shop"]
        top = list_folder(storages, "shop")
        assert [(each.name, each.is_folder) for each in top.entries] == [("drums", True), ("read.me", False)]
        below = list_folder(storages, "shop", "drums")
        assert [each.key for each in below.entries] == ["drums/loops", "drums/kit.wav"]
        files = choose_files(storages, "shop", "", ["drums"])
        assert files == [("kit.wav", "drums/kit.wav", 13), ("loops/a.wav", "drums/loops/a.wav", 17)]
        for key in ("..", "/etc", "drums/.git/x", ".env"):
            with pytest.raises(StorageError):
                choose_files(storages, "shop", "", [key])
    finally:
        storages.close()
