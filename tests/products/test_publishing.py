"""Publishing paths: the manifest's digests are right, its files can be opened, and changes are noticed."""

from __future__ import annotations

import hashlib
import io
import os
import pty
import sys
import threading
import time
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.config.storages import LocalSettings
from gateway.errors import ConfigurationError
from gateway.manifest import Manifest
from gateway.products.hashing import HASH_BYTES
from gateway.products.publishing import Report, hash_files, plan_publication, show_progress
from gateway.storage.local.registered_folders import REGISTRY, Registered, name_for
from gateway.storage.registry import Storages

CONTENTS = {
    "empty": b"",
    "one.wav": b"x",
    "sub/exact.zip": os.urandom(2 * HASH_BYTES),
    'sub/Über "q"\n.pdf': os.urandom(3 * HASH_BYTES + 17),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    top = tmp_path / "drums"
    (top / "sub").mkdir(parents=True)
    for name, content in CONTENTS.items():
        (top / name).write_bytes(content)
    return top


@pytest.fixture
def storages(tmp_path: Path) -> Iterator[Storages]:
    known = Storages({}, tmp_path / "data", 16)
    yield known
    known.close()


def publish(
    storages: Storages, *paths: Path, report: Report | None = None, previous: Manifest | None = None
) -> Manifest:
    return hash_files(plan_publication(paths), storages, "drums", "1.0", report=report, previous=previous)


def test_digests(folder: Path, storages: Storages) -> None:
    manifest = publish(storages, folder)
    assert (manifest.product, manifest.version) == ("drums", "1.0")
    assert [file.name for file in manifest.files] == sorted(CONTENTS)
    for file in manifest.files:
        content = CONTENTS[file.name]
        assert file.size == len(content)
        assert file.sha256 == hashlib.sha256(content).hexdigest()
        assert file.crc32 == f"{zlib.crc32(content):08x}"
        assert file.key == file.name
        with storages.local(file.storage).open(file) as blob:
            assert blob.pread(0, blob.size) == content
    assert {file.name: file.type for file in manifest.files}["one.wav"].startswith("audio/")
    assert Manifest.parse(manifest.text) == manifest


def test_known_digest(tmp_path: Path, storages: Storages) -> None:
    """The check values of FIPS 180 and of CRC-32 itself."""
    (tmp_path / "abc").write_bytes(b"abc")
    (tmp_path / "check").write_bytes(b"123456789")
    abc, check = publish(storages, tmp_path / "abc", tmp_path / "check").files
    assert abc.sha256 == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert check.crc32 == "cbf43926"


def test_other_workers_find_the_registered_storage(folder: Path, storages: Storages, tmp_path: Path) -> None:
    manifest = publish(storages, folder)
    worker = Storages({}, tmp_path / "data", 16)
    for file in manifest.files:
        worker.local(file.storage).check(file)


def test_configured_storage_is_used(folder: Path, tmp_path: Path) -> None:
    storages = Storages(
        {"all": LocalSettings(root=tmp_path), "sub": LocalSettings(root=folder / "sub")}, tmp_path / "data", 4
    )
    places = {file.name: (file.storage, file.key) for file in publish(storages, folder).files}
    assert places["one.wav"] == ("all", "drums/one.wav")
    assert places["sub/exact.zip"] == ("sub", "exact.zip")
    assert not (tmp_path / "data" / REGISTRY).exists()


def test_one_registered_storage_for_one_folder(folder: Path, storages: Storages) -> None:
    manifest = publish(storages, folder)
    assert len({file.storage for file in manifest.files}) == 1
    again = publish(storages, folder / "one.wav", folder / "sub" / "exact.zip")
    assert {file.storage for file in again.files} == {manifest.files[0].storage}


def test_link_is_kept_under_the_key_of_its_file(folder: Path, storages: Storages) -> None:
    """So that it opens in either way of opening, absolute link or not."""
    (folder / "latest").symlink_to(folder / "one.wav")
    (file,) = [file for file in publish(storages, folder).files if file.name == "latest"]
    assert file.key == "one.wav"
    storages.local(file.storage).check(file)


def test_progress_adds_up(folder: Path, storages: Storages) -> None:
    done: list[int] = []
    publication = plan_publication([folder])
    hash_files(publication, storages, "p", "1", report=done.append)
    assert sum(done) == publication.size
    assert len(done) > len(publication.scanned)


def test_unchanged_files_are_not_read_again(folder: Path, storages: Storages) -> None:
    first = publish(storages, folder)
    marked = replace(first, files=tuple(replace(file, sha256="m" * 64) for file in first.files))
    for file in marked.files:
        storages.local(file.storage).remember_content(file, (folder / file.name).stat())
    (folder / "one.wav").write_bytes(b"y")
    facts = (folder / "one.wav").stat()
    os.utime(folder / "one.wav", ns=(1, facts.st_mtime_ns + 1_000_000))
    (folder / "new").write_bytes(b"new")
    done: list[int] = []
    second = publish(storages, folder, report=done.append, previous=marked)
    fresh = {file.name for file in second.files if file.sha256 != "m" * 64}
    assert fresh == {"one.wav", "new"}
    assert sum(done) == sum(file.size for file in second.files)
    assert publish(storages, folder, previous=second).files == second.files


@pytest.mark.parametrize("change", ["grow", "shrink", "touch", "delete", "replace", "twin"])
def test_changed_while_hashed(folder: Path, storages: Storages, change: str) -> None:
    """Whatever happens between the look and the last byte: no manifest."""
    path = folder / "sub" / "exact.zip"
    publication = plan_publication([path])
    once = threading.Event()

    def meddle(_: int) -> None:
        if once.is_set():
            return
        once.set()
        facts = path.stat()
        if change in {"grow", "shrink"}:
            os.truncate(path, facts.st_size + (1 if change == "grow" else -1))
        elif change == "touch":
            os.utime(path, ns=(1, facts.st_mtime_ns + 1))
        else:
            path.rename(folder / "aside")  # still there, so that the new one is another inode
            if change != "delete":
                path.write_bytes(b"x" * (facts.st_size if change == "twin" else 5))
                os.utime(path, ns=(1, facts.st_mtime_ns))

    with pytest.raises(ConfigurationError, match=r"changed while it was published|is missing"):
        hash_files(publication, storages, "p", "1", report=meddle)


@pytest.mark.parametrize("change", ["touch", "delete", "fifo"])
def test_changed_before_hashing(folder: Path, storages: Storages, change: str) -> None:
    path = folder / "one.wav"
    publication = plan_publication([folder])
    path.unlink()
    if change == "touch":
        path.write_bytes(b"longer")
    elif change == "fifo":
        os.mkfifo(path)
    with pytest.raises(ConfigurationError, match=r"one\.wav"):
        hash_files(publication, storages, "p", "1")


def test_interrupted(folder: Path, storages: Storages) -> None:
    """Ctrl-C during the report of a thread ends them all, with no descriptor left."""
    before = len(os.listdir("/proc/self/fd"))

    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        publish(storages, folder, report=interrupt)
    assert len(os.listdir("/proc/self/fd")) == before
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("hash")]


def test_sparse_beyond_four_gibibytes_is_placed(tmp_path: Path, storages: Storages) -> None:
    """Reading it all takes too long here; its size must survive."""
    with (tmp_path / "large").open("wb") as file:
        file.truncate((4 << 30) + 1)
    publication = plan_publication([tmp_path / "large"])
    known = publish(
        storages, tmp_path / "large", previous=_known(storages, publication.scanned[0].modified, tmp_path)
    )
    assert known.files[0].size == (4 << 30) + 1


def _known(storages: Storages, modified: int, root: Path) -> Manifest:
    from gateway.manifest import ManifestFile  # noqa: PLC0415

    storages.register([Registered(root.resolve(), whole=True)])
    storage = name_for(root.resolve())
    file = ManifestFile("l", (4 << 30) + 1, "t", "0" * 64, "0" * 8, storage, "large", modified)
    storages.local(storage).remember_content(file, (root / "large").stat())
    return Manifest("p", "0", (file,))


def test_no_bar_without_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    stderr = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stderr)
    with show_progress(10) as report:
        report(10)
    assert stderr.getvalue() == ""


def test_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = pty.openpty()
    os.set_blocking(ours, False)
    monkeypatch.setenv("TERM", "xterm")
    with open(theirs, "w", encoding="utf-8") as terminal, open(ours, "rb", buffering=0) as screen:
        monkeypatch.setattr(sys, "stderr", terminal)
        with show_progress(3 << 20) as report:
            report(3 << 20)
        terminal.flush()
        drawn, deadline = b"", time.monotonic() + 5
        while b"3.0/3.0 MiB" not in drawn and time.monotonic() < deadline:
            drawn += screen.read(65536) or b""
    assert b"Hashing" in drawn
    assert b"3.0/3.0 MiB" in drawn


def test_a_file_with_its_old_time_and_other_content_is_read_again(folder: Path, storages: Storages) -> None:
    """As builds with fixed times make them."""
    path = folder / "one.wav"
    os.utime(path, ns=(1, 10**9))
    first = publish(storages, folder)
    (folder / "fresh").write_bytes(b"y")
    os.utime(folder / "fresh", ns=(1, 10**9))
    (folder / "fresh").replace(path)
    second = publish(storages, folder, previous=first)
    changed = {new.name for new, old in zip(second.files, first.files, strict=True) if new != old}
    assert changed == {"one.wav"}


def test_a_date_in_the_future_is_that_of_publishing(folder: Path, storages: Storages) -> None:
    future = time.time_ns() + 10**18
    os.utime(folder / "one.wav", ns=(1, future))
    [file] = [file for file in publish(storages, folder).files if file.name == "one.wav"]
    assert file.modified < future - 9 * 10**17
    storages.local(file.storage).check(file)
