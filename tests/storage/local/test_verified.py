"""What is known of the content of files: kept for all processes of a machine, and harmless to lose."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.errors import StorageError
from gateway.manifest import ManifestFile
from gateway.storage.file_locks import try_lock
from gateway.storage.interface import BeingCompared
from gateway.storage.local.comparisons import FREE_FAILURES, LOCK_FILE, Comparisons
from gateway.storage.local.descriptors import DescriptorCache
from gateway.storage.local.storage import LocalStorage
from gateway.storage.local.verified import NOTHING_KNOWN, Fingerprint, VerifiedFiles, can_tell, record_name
from tests.support.local_files import entry, open_compared


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data" / "verified"


def process(root: Path, folder: Path) -> LocalStorage:
    """The storage as one process has it."""
    comparisons = Comparisons(VerifiedFiles(folder))
    return LocalStorage("files", root, DescriptorCache(4), comparisons=comparisons)


def dated(root: Path) -> ManifestFile:
    """A file whose time cannot tell contents apart, and its entry."""
    os.utime(root / "sub" / "file", ns=(1, 10**9))
    return entry(root, "sub/file")


def record(folder: Path, file: ManifestFile) -> Path:
    name = record_name(file)
    return folder / name[:2] / name[2:]


def test_what_one_process_has_compared_the_others_know(root: Path, folder: Path) -> None:
    file = dated(root)
    one, other = process(root, folder), process(root, folder)
    with pytest.raises(BeingCompared):
        other.check(file)
    open_compared(one, file).release()
    other.check(file)
    assert record(folder, file).stat().st_mode & 0o077 == 0 or folder.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    "text", [b"", b"{", b"[]", b"{}", b'{"verified": 1}', b'{"verified": [[1]]}', b"\xff"]
)
def test_a_damaged_record_is_none(root: Path, folder: Path, text: bytes) -> None:
    file = dated(root)
    storage = process(root, folder)
    open_compared(storage, file).release()
    record(folder, file).write_bytes(text)
    with pytest.raises(BeingCompared):
        process(root, folder).check(file)
    open_compared(process(root, folder), file).release()
    process(root, folder).check(file)


def test_without_a_folder_that_can_be_written_each_process_remembers_for_itself(
    root: Path, tmp_path: Path
) -> None:
    (tmp_path / "data").write_text("a file, where the folder should be")
    file = dated(root)
    storage = process(root, tmp_path / "data" / "verified")
    open_compared(storage, file).release()
    storage.check(file)


def test_a_comparison_waits_for_that_of_another_process(root: Path, folder: Path) -> None:
    file = dated(root)
    folder.mkdir(parents=True)
    holder = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o600)
    assert try_lock(holder, int(record_name(file)[:14], 16))
    storage = process(root, folder)
    with pytest.raises(BeingCompared) as raised:
        storage.open(file)
    assert raised.value.done is not None
    with pytest.raises(TimeoutError):
        raised.value.done.result(0.2)
    facts = os.stat(root / "sub" / "file")
    VerifiedFiles(folder).verify(file, Fingerprint.of(facts))  # as the other process does
    (root / "sub" / "file").chmod(0o000)  # it is not read again
    os.close(holder)
    raised.value.done.result(60)


def test_comparisons_end_with_the_process(root: Path, folder: Path) -> None:
    file = dated(root)
    folder.mkdir(parents=True)
    holder = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o600)
    assert try_lock(holder, int(record_name(file)[:14], 16))
    comparisons = Comparisons(VerifiedFiles(folder))
    storage = LocalStorage("files", root, DescriptorCache(4), comparisons=comparisons)
    done = comparisons.begin(storage, file)
    assert done is not None
    comparisons.close()
    done.result(60)
    os.close(holder)
    assert comparisons.begin(storage, file) is None
    assert VerifiedFiles(folder).read(file) == NOTHING_KNOWN
    assert not [each for each in threading.enumerate() if each.name.startswith("compare") and each.daemon]


def test_pauses_grow_and_a_good_end_forgets_the_failures(root: Path, folder: Path) -> None:
    file = dated(root)
    path = root / "sub" / "file"
    content = path.read_bytes()
    storage, known = process(root, folder), VerifiedFiles(folder)
    for number in range(FREE_FAILURES + 2):
        path.write_bytes(b"9876543210")
        os.utime(path, ns=(1, number))
        before = known.read(file)
        known.write(file, replace(before, again=min(before.again, time.time())))  # the pause is over
        begun, pause = time.time(), 2 ** (number - FREE_FAILURES + 1) if number >= FREE_FAILURES else 0
        with pytest.raises(StorageError, match="its content has another SHA-256"):
            open_compared(storage, file)
        assert begun + pause <= known.read(file).again <= time.time() + pause
    path.write_bytes(content)
    known.write(file, replace(known.read(file), again=time.time() + 50))
    with pytest.raises(StorageError, match="could not be compared") as raised:
        storage.open(file)
    assert raised.value.retry_after is not None
    assert 1 < raised.value.retry_after <= 50
    known.write(file, replace(known.read(file), again=0.0))
    open_compared(storage, file).release()
    assert known.read(file).failures == 0


@pytest.mark.parametrize(
    ("modified", "tells"),
    [
        (0, False),
        (10**9, False),
        (1_700_000_000 * 10**9, False),
        (1_700_000_000 * 10**9 + 1, True),
        (-1, True),
    ],
)
def test_only_a_time_with_a_fraction_tells_contents_apart(modified: int, tells: bool) -> None:
    assert can_tell(modified) is tells
