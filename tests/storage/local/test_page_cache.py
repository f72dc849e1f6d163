"""Whether a file is in memory: the probe is right on every file system there is, and never guesses."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.storage.local.descriptors import DescriptorCache
from gateway.storage.local.page_cache import (
    PROBE_BYTES,
    Probe,
    all_cached,
    choose_probe,
    count_cached,
    is_in_memory,
    probe_of_file_system,
    read_into_memory,
)
from gateway.storage.local.storage import LocalStorage
from tests.support.local_files import entry
from tests.support.waiting import wait_until

SIZE = 8 << 20


@pytest.fixture(params=["disk", "memory"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    if request.param == "disk":
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir="/dev/shm") as memory:
        yield Path(memory)


@pytest.mark.parametrize("pages", [None, *Probe])
def test_each_kind_of_probe_gives_the_right_bytes_or_none(folder: Path, pages: Probe | None) -> None:
    """Each way of asking gives the right bytes or none; UNKNOWN gives none, and threads read."""
    content = os.urandom(100_000)
    (folder / "file").write_bytes(content)
    with LocalStorage("s", folder, DescriptorCache(1)).open(entry(folder, "file")) as blob:
        if pages is not None:
            blob._probe = pages
        asked = {blob.read_cached(a, b) for a, b in ((0, 1), (99_999, 100_000), (4095, 8193), (0, 100_000))}
        expected = {content[0:1], content[99_999:], content[4095:8193], content}
        if pages is Probe.UNKNOWN:
            assert asked == {None}
            assert not blob.is_in_memory(0, 1)
        elif pages is None:
            assert asked == expected
            assert blob.is_in_memory(0, 100_000)
        else:
            assert asked <= expected | {None}
        assert blob.is_in_memory(5, 5)
        assert blob.read_cached(99_999, 100_001) is None


def test_out_of_memory_and_back(tmp_path: Path) -> None:
    """Pages dropped are noticed; warmed, they are there again."""
    (tmp_path / "file").write_bytes(os.urandom(SIZE))
    with LocalStorage("s", tmp_path, DescriptorCache(1)).open(entry(tmp_path, "file")) as blob:
        os.fsync(blob.fd)
        os.posix_fadvise(blob.fd, 0, 0, os.POSIX_FADV_DONTNEED)
        if choose_probe(blob.fd) in {Probe.NOWAIT, Probe.COUNTED} and count_cached(blob.fd, 0, SIZE) == 0:
            assert not blob.is_in_memory(0, SIZE)
            assert blob.read_cached(0, SIZE) is None
            blob.read_into_memory(0, SIZE // 2)
            assert blob.is_in_memory(0, SIZE // 2)
            assert all_cached(blob.fd, 0, SIZE // 2)
        blob.read_into_memory(0, SIZE)
        assert blob.read_cached(SIZE - 10, SIZE) == blob.pread(SIZE - 10, SIZE)


def test_bad_descriptor_is_unknown() -> None:
    assert choose_probe(-1) is Probe.UNKNOWN


def test_reading_in(folder: Path) -> None:
    """A part of a file, by its descriptor alone; what ends early says so."""
    (folder / "file").write_bytes(bytes(100_000))
    fd = os.open(folder / "file", os.O_RDONLY)
    try:
        assert probe_of_file_system(fd) is probe_of_file_system(fd) is choose_probe(fd)
        read_into_memory(fd, 10, 99_000)
        if choose_probe(fd) is not Probe.UNKNOWN:
            assert is_in_memory(fd, choose_probe(fd), 10, 99_000)
        with pytest.raises(EOFError):
            read_into_memory(fd, 0, 100_001)
    finally:
        os.close(fd)


def make_hole(fd: int) -> bool:
    """Drop the second part of a file from the page cache; whether that succeeded."""
    os.posix_fadvise(fd, PROBE_BYTES, PROBE_BYTES, os.POSIX_FADV_DONTNEED)
    return count_cached(fd, PROBE_BYTES, 2 * PROBE_BYTES) == 0


@pytest.mark.alone  # others fill the page cache meanwhile
def test_a_hole_in_what_is_in_memory(tmp_path: Path) -> None:
    """A large span is looked at between its ends, too; what goes on needs no look at its first byte."""
    size = 3 * PROBE_BYTES
    (tmp_path / "file").write_bytes(os.urandom(size))
    fd = os.open(tmp_path / "file", os.O_RDONLY)
    try:
        os.fsync(fd)
        if choose_probe(fd) is not Probe.NOWAIT:
            pytest.skip("this file system does not answer RWF_NOWAIT")
        assert is_in_memory(fd, Probe.NOWAIT, 0, size)
        if not make_hole(fd):
            pytest.skip("the kernel keeps the pages")

        def sees_hole(start: int) -> bool:  # the kernel may read ahead into the hole meanwhile
            return make_hole(fd) and not is_in_memory(fd, Probe.NOWAIT, start, size)

        wait_until(lambda: sees_hole(0), "the hole between the ends was seen")
        assert is_in_memory(fd, Probe.NOWAIT, 0, PROBE_BYTES)
        wait_until(lambda: sees_hole(2 * PROBE_BYTES - 1), "the hole at the first byte was seen")
        assert is_in_memory(fd, Probe.NOWAIT, 2 * PROBE_BYTES - 1, size, follows=True)
    finally:
        os.close(fd)
