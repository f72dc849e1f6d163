"""A blob matches its manifest as long as it is open; the number of descriptors is bounded, and none leaks."""

from __future__ import annotations

import os
import resource
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gateway.errors import StorageError
from gateway.manifest import ManifestFile
from gateway.storage.interface import FileBlob, Storage
from gateway.storage.local.descriptors import DescriptorCache
from gateway.storage.local.page_cache import READ_BYTES
from gateway.storage.local.storage import LocalStorage
from tests.support.local_files import count_descriptors, entry, open_compared

pytestmark = pytest.mark.usefixtures("no_leak")


def test_open_and_lookup(storage: LocalStorage, root: Path) -> None:
    file = entry(root, "sub/file")
    assert storage.lookup(file) is None
    with storage.open(file) as blob:
        assert (blob.size, blob.pread(2, 5), blob.pread(0, 10)) == (10, b"234", b"0123456789")
    with storage.lookup(file) as again:  # type: ignore[union-attr]
        assert again is blob
        assert again.fd >= 0


def test_a_storage_and_its_blobs_implement_the_interfaces(storage: LocalStorage, root: Path) -> None:
    """What the interface says is what there is; mypy checks the rest."""
    interface: Storage = storage
    with interface.open(entry(root, "sub/file")) as blob:
        file: FileBlob | None = blob.as_file
        assert file is blob


def delete(path: Path) -> None:
    path.unlink()


def truncate(path: Path) -> None:
    os.truncate(path, 4)


def empty(path: Path) -> None:
    os.truncate(path, 0)


def grow(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


def touch(path: Path) -> None:
    os.utime(path, ns=(1, path.stat().st_mtime_ns + 1))


def rewrite(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"9876543210")
    os.utime(path, ns=(1, path.stat().st_mtime_ns + 1_000_000))  # so that a coarse clock does not hide it


def replace(path: Path) -> None:
    fresh = path.with_name("fresh")
    fresh.write_bytes(b"9876543210")
    os.utime(fresh, ns=(1, path.stat().st_mtime_ns + 5))
    fresh.replace(path)


def become_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def become_link_out(path: Path) -> None:
    path.unlink()
    path.symlink_to("../../secret")


def become_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def move_folder(path: Path) -> None:
    path.parent.rename(path.parent.parent / "elsewhere")


CHANGES = [
    delete,
    truncate,
    empty,
    grow,
    rewrite,
    replace,
    become_folder,
    become_link_out,
    become_fifo,
    move_folder,
]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("cached", [True, False])
def test_changed_since_publishing(
    storage: LocalStorage, root: Path, change: Callable[[Path], None], cached: bool
) -> None:
    file = entry(root, "sub/file")
    storage.check(file)
    if cached:
        storage.open(file).release()
    change(root / "sub" / "file")
    assert storage.lookup(file) is None
    with pytest.raises(StorageError, match="storage files: 'sub/file' ") as raised:
        storage.open(file)
    assert "\n" not in str(raised.value)
    with pytest.raises(StorageError):
        storage.check(file)


def test_the_error_names_the_next_step(storage: LocalStorage, root: Path) -> None:
    file = entry(root, "sub/file")
    truncate(root / "sub" / "file")
    with pytest.raises(
        StorageError, match="changed since it was published: 4 bytes instead of 10; publish it again"
    ):
        storage.open(file)


def test_replaced_by_a_twin(storage: LocalStorage, root: Path) -> None:
    """Same size, time and content, another inode: opened anew; the transfer that runs keeps the old file."""
    file = entry(root, "sub/file")
    with storage.open(file) as old:
        twin = root / "twin"
        twin.write_bytes(b"0123456789")
        os.utime(twin, ns=(1, file.modified))
        twin.replace(root / "sub" / "file")
        assert storage.lookup(file) is None
        with open_compared(storage, file) as new:
            assert new is not old
            assert old.pread(0, 10) == new.pread(0, 10)


def test_published_again(storage: LocalStorage, root: Path) -> None:
    """Another version of the same path is another entry."""
    first = entry(root, "sub/file")
    storage.open(first).release()
    replace(root / "sub" / "file")
    second = entry(root, "sub/file")
    with storage.open(second) as blob:
        assert blob.pread(0, 2) == b"98"
    assert storage.lookup(first) is None
    with pytest.raises(StorageError):
        storage.open(first)


@pytest.mark.parametrize(
    ("change", "unchanged"),
    [(delete, True), (replace, True), (truncate, False), (grow, False), (touch, False), (rewrite, False)],
)
def test_unchanged(
    storage: LocalStorage, root: Path, change: Callable[[Path], None], unchanged: bool
) -> None:
    with storage.open(entry(root, "sub/file")) as blob:
        assert blob.unchanged()
        change(root / "sub" / "file")
        assert blob.unchanged() is unchanged


def test_truncated_under_a_reader(storage: LocalStorage, root: Path) -> None:
    with storage.open(entry(root, "sub/file")) as blob:
        truncate(root / "sub" / "file")
        assert blob.read_cached(0, 10) is None
        for read in (blob.pread, blob.read_into_memory):
            with pytest.raises(StorageError, match="truncated"):
                read(0, 10)
        assert blob.read_cached(0, 4) == b"0123"


def test_counts(storage: LocalStorage, root: Path, cache: DescriptorCache) -> None:
    blob = storage.open(entry(root, "sub/file"))
    assert blob.acquire() is blob
    blob.release()
    blob.release()
    with pytest.raises(RuntimeError, match="more often"):
        blob.release()
    assert blob.fd >= 0  # cached still
    cache.clear()
    assert blob.fd == -1
    with pytest.raises(RuntimeError, match="after it was closed"):
        blob.acquire()
    with pytest.raises(RuntimeError, match="more often"):
        blob.release()


def test_evicted_while_in_use(storage: LocalStorage, root: Path, cache: DescriptorCache) -> None:
    files = []
    for number in range(10):
        (root / f"{number}").write_bytes(b"%d" % number)
        files.append(entry(root, f"{number}"))
    before = count_descriptors(root)
    first = storage.open(files[0])
    for file in files[1:]:
        storage.open(file).release()
    assert len(cache) == 4
    assert count_descriptors(root) == before + 5
    assert first.pread(0, 1) == b"0"
    first.release()
    assert first.fd == -1
    assert count_descriptors(root) == before + 4
    assert [file.key for file in files if _known(storage, file)] == ["6", "7", "8", "9"]
    assert _known(storage, files[6])  # the least recently used goes first
    storage.open(files[0]).release()
    assert not _known(storage, files[7])


def _known(storage: LocalStorage, file: ManifestFile) -> bool:
    blob = storage.lookup(file)
    if blob is None:
        return False
    blob.release()
    return True


def test_opened_by_many_at_once(storage: LocalStorage, root: Path) -> None:
    file = entry(root, "sub/file")
    before = count_descriptors(root)
    barrier = threading.Barrier(8)

    def work() -> None:
        barrier.wait()
        for _ in range(50):
            with storage.open(file) as blob:
                assert blob.pread(0, 1) == b"0"
            found = storage.lookup(file)
            if found is not None:
                found.release()

    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(work) for _ in range(8)]:
            done.result()
    assert count_descriptors(root) == before + 1


def test_a_deleted_file_held_is_served_and_closed(storage: LocalStorage, root: Path) -> None:
    file = entry(root, "sub/file")
    blob = storage.open(file)
    delete(root / "sub" / "file")
    assert storage.lookup(file) is None
    assert blob.pread(0, 10) == b"0123456789"
    blob.release()
    assert blob.fd == -1


def test_out_of_descriptors(storage: LocalStorage, root: Path, cache: DescriptorCache) -> None:
    """The cache gives way before a request fails; when all are in use, the fault says what to do."""
    for number in range(4):
        (root / f"{number}").write_bytes(b"x")
        storage.open(entry(root, f"{number}")).release()
    (root / "wanted").touch()
    file = entry(root, "wanted")
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    spare = []
    try:
        highest = max(int(name) for name in os.listdir("/proc/self/fd"))
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1, limits[1]))
        spare = _use_up()
        storage.open(file).release()
        assert len(cache) == 3
        cache.clear()
        spare += _use_up()
        with pytest.raises(StorageError, match="too many files are open"):
            storage.open(file)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        for fd in spare:
            os.close(fd)


def _use_up() -> list[int]:
    taken = []
    while True:
        try:
            taken.append(os.dup(0))
        except OSError:
            return taken


def test_beyond_four_gibibytes(storage: LocalStorage, root: Path) -> None:
    far = (5 << 30) + 3
    with (root / "large").open("wb") as file:
        file.truncate(far + 10)
        file.seek(far)
        file.write(b"abcdefghij")
    with storage.open(entry(root, "large")) as blob:
        assert blob.size == far + 10
        assert blob.pread(far, far + 10) == b"abcdefghij"
        blob.read_into_memory(far - READ_BYTES, far + 10)
        assert blob.is_in_memory(far - READ_BYTES, far + 10)
        assert blob.read_cached(far + 2, far + 4) == b"cd"
        assert blob.pread(4 << 30, (4 << 30) + 2) == b"\0\0"


def test_empty_file(storage: LocalStorage, root: Path) -> None:
    (root / "empty").touch()
    with storage.open(entry(root, "empty")) as blob:
        assert (blob.size, blob.pread(0, 0), blob.read_cached(0, 0)) == (0, b"", b"")
        assert blob.is_in_memory(0, 0)
        blob.read_into_memory(0, 0)
