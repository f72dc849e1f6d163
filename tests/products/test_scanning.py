"""Which files are published, which are skipped, and every fault that prevents publishing."""

from __future__ import annotations

import os
import socket
import tempfile
from pathlib import Path

import pytest

from gateway.errors import ConfigurationError
from gateway.products.scanning import ScannedFile, plan_publication


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    top = tmp_path / "drums"
    for name in ("b.wav", "a/2.wav", "a/10.wav", "a.txt", "z/deep/er/x"):
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_bytes(name.encode())
    return top


def names(*paths: Path, private: Path | None = None) -> list[str]:
    return [scanned_file.name for scanned_file in plan_publication(paths, private).scanned]


def faults(*paths: Path) -> tuple[str, ...]:
    with pytest.raises(ConfigurationError) as raised:
        plan_publication(paths)
    assert not any("\n" in fault for fault in raised.value.faults)
    return raised.value.faults


def test_folder_in_order(folder: Path) -> None:
    assert names(folder) == ["a/10.wav", "a/2.wav", "a.txt", "b.wav", "z/deep/er/x"]
    publication = plan_publication([folder])
    assert publication.size == sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    first = publication.scanned[0]
    assert isinstance(first, ScannedFile)
    facts = (folder / "a/10.wav").stat()
    assert (first.path, first.folder) == (folder / "a/10.wav", folder)
    assert (first.size, first.modified) == (facts.st_size, facts.st_mtime_ns)


def test_files_by_base_name(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert names(folder / "b.wav", folder / "a/2.wav") == ["b.wav", "2.wav"]
    monkeypatch.chdir(folder / "a")
    assert names(Path("2.wav"), Path("../b.wav"), Path("../z/deep")) == ["2.wav", "b.wav", "er/x"]
    assert names(Path()) == ["10.wav", "2.wav"]


def test_hidden_is_skipped_and_counted(folder: Path) -> None:
    hidden = [".DS_Store", "a/.env", "Thumbs.db", "z/Desktop.ini", "._a.txt"]
    for name in hidden:
        (folder / name).write_bytes(b"x")
    (folder / ".git").mkdir()
    (folder / ".git" / "config").write_bytes(b"x")
    publication = plan_publication([folder])
    assert [scanned_file.name for scanned_file in publication.scanned] == names(folder)
    assert len(publication.scanned) == 5
    assert sorted(publication.skipped) == sorted(folder / name for name in [*hidden, ".git"])
    assert names(folder / ".DS_Store") == [".DS_Store"]


def test_only_hidden_files(tmp_path: Path) -> None:
    (tmp_path / ".hidden").touch()
    (fault,) = faults(tmp_path)
    assert "has no files to publish" in fault
    assert "names that begin with a dot" in fault


def test_links(folder: Path, tmp_path: Path) -> None:
    (folder / "latest.wav").symlink_to("b.wav")
    (folder / "z" / "absolute").symlink_to(folder / "a.txt")
    by_name = {
        scanned_file.name: scanned_file.path
        for scanned_file in plan_publication([folder]).scanned
        if isinstance(scanned_file, ScannedFile)
    }
    assert by_name["latest.wav"] == folder / "b.wav"
    assert by_name["z/absolute"] == folder / "a.txt"
    (tmp_path / "alias").symlink_to(folder)
    assert names(tmp_path / "alias") == names(folder)
    (tmp_path / "one.wav").symlink_to(folder / "b.wav")
    (only,) = plan_publication([tmp_path / "one.wav"]).scanned
    assert isinstance(only, ScannedFile)
    assert (only.name, only.path, only.folder) == ("one.wav", tmp_path / "one.wav", tmp_path)
    assert only.real == folder / "b.wav"
    alias = [each for each in plan_publication([tmp_path / "alias"]).scanned if isinstance(each, ScannedFile)]
    assert {each.folder for each in alias} == {tmp_path / "alias"}, "as it was given"
    assert {each.name: each.path for each in alias}["latest.wav"] == tmp_path / "alias" / "b.wav"


def test_every_fault_at_once(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").touch()
    os.mkfifo(folder / "fifo")
    (folder / "out").symlink_to("../outside")
    (folder / "device").symlink_to("/dev/null")
    (folder / "inner").symlink_to("a")
    (folder / "broken").symlink_to("nowhere")
    (folder / "loop").symlink_to("loop")
    (folder / os.fsdecode(b"caf\xe9")).touch()
    (folder / "line\nbreak").symlink_to("nowhere")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(folder / "sock"))
        found = faults(folder, tmp_path / "missing", tmp_path / "outside", Path("/dev/null"))
    expected = {
        "fifo": "neither a file nor a folder",
        "sock": "neither a file nor a folder",
        "out": "leads out of the folder",
        "device": "leads out of the folder",
        "inner": "link to a folder",
        "broken": "broken link",
        "loop": "circle",
        "caf\\udce9": "not valid UTF-8",
        "line\\nbreak": "broken link",
        "missing": "does not exist",
        "/dev/null": "neither a file nor a folder",
    }
    assert len(found) == len(expected)
    for name, text in expected.items():
        assert any(name in fault and text in fault for fault in found), (name, found)


def test_same_name_twice(folder: Path) -> None:
    (fault,) = faults(folder / "a", folder / "z/deep/er", folder / "a/2.wav")
    assert "would both be named '2.wav'" in fault


def test_without_a_path_there_is_nothing_to_publish() -> None:
    assert faults() == ("nothing to publish: name a file or a folder",)


def test_data_folder_is_never_published(folder: Path) -> None:
    data = folder / "state"
    data.mkdir()
    (data / "store.aof").write_bytes(b"secret")
    assert "state/store.aof" in names(folder)
    assert names(folder, private=data) == [name for name in names(folder) if name != "state/store.aof"]
    assert plan_publication([folder], data).skipped == (data,)
    (folder / "peek").symlink_to("state/store.aof")
    with pytest.raises(ConfigurationError, match="own data folder"):
        plan_publication([folder], data)
    with pytest.raises(ConfigurationError, match="own data folder"):
        plan_publication([data], data)


def test_demo_inside_the_data_folder(folder: Path) -> None:
    """Named on purpose: a folder that lies in the data folder."""
    assert names(folder / "a", private=folder) == ["10.wav", "2.wav"]


def test_any_name(tmp_path: Path) -> None:
    wanted = ["Große.wav", "鼓.wav", 'a"b;c', "line\nbreak", "\\..\\x", " ", "😀", "%2e"]
    for name in wanted:
        (tmp_path / name).touch()
    assert names(tmp_path) == sorted(wanted)


def test_unreadable_files_and_folders_are_faults() -> None:
    with tempfile.TemporaryDirectory(prefix="dg-private-") as name:
        top = Path(name)
        top.chmod(0o755)
        (top / "file").touch()
        (top / "file").chmod(0)
        (top / "closed").mkdir(mode=0)
        root = os.geteuid() == 0
        if root:
            os.seteuid(65534)  # permissions do not stop root
        try:
            found = faults(top)
            (single,) = faults(top / "closed" / "below")
        finally:
            if root:
                os.seteuid(0)
            (top / "closed").chmod(0o700)
    assert len(found) == 2
    assert any("file may not be read" in fault for fault in found)
    assert any("closed cannot be listed: this user may not do that" in fault for fault in found)
    assert "cannot be reached: this user may not do that" in single
