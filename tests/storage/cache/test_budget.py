"""The budget of the cache, when several processes use it at once."""

from __future__ import annotations

import hashlib
import os
import threading
from pathlib import Path

import pytest

from gateway.storage.cache.budget import _TOTAL_LOCK, CacheBudget
from gateway.storage.cache.slice_files import PART, Slice, SliceFiles, cost_of
from tests.support.bucket_objects import Pattern
from tests.support.cached_storage import Reader
from tests.support.faulty_bucket import Upstream

SLICE = 64 * 1024
MAX_BYTES = 20 * cost_of(SLICE + 1)
"""Less than the slices that two processes may fill at once: they evict each other's, and must do without."""
SIZES = {"a": 30 * SLICE + 1, "b": 30 * SLICE - 1, "c": 30 * SLICE}


class Auditor:
    """Counts what is in a cache's folder. Nothing is made there meanwhile: it holds the total's lock."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._budget = CacheBudget(os.fsencode(path), MAX_BYTES)
        self.most = 0
        self.recorded = 0
        self.audits = 0

    def look(self) -> None:
        lock = self._budget._lock_soon(_TOTAL_LOCK)
        if lock is None:
            return
        try:
            found = {}  # by inode: one that gets its name meanwhile is met twice
            for path in self._path.glob("??/*"):
                try:
                    facts = path.stat()
                except FileNotFoundError:
                    continue
                found[facts.st_ino] = cost_of(facts.st_size)
            self.most = max(self.most, sum(found.values()))
            self.recorded = max(self.recorded, self._budget._read(lock) or 0)
            self.audits += 1
        finally:
            os.close(lock)


@pytest.mark.slow
def test_two_processes_that_evict_at_once_stay_below_the_budget(tmp_path: Path) -> None:
    """They read three objects, each larger than the budget, in different order."""
    path = tmp_path / "cache"
    path.mkdir(mode=0o700)
    contents = {key: Pattern(size, seed=size) for key, size in SIZES.items()}
    auditor, ended = Auditor(path), threading.Event()

    def audit() -> None:
        while not ended.wait(0.005):
            auditor.look()

    thread = threading.Thread(target=audit)
    with Upstream() as upstream:
        for key, content in contents.items():
            upstream.put(key, content)
        sequences = ("abcab", "cbaca")
        readers = [Reader(upstream, path, keys, 3, MAX_BYTES, SLICE) for keys in sequences]
        thread.start()
        try:
            for reader in readers:
                reader.go()
            digests = [reader.digests() for reader in readers]
        finally:
            ended.set()
            thread.join()
            for reader in readers:
                reader.close()
        auditor.look()
        sent = upstream.sent
    wanted = [hashlib.sha256(b"".join(contents[key][:] for key in keys)).hexdigest() for keys in sequences]
    assert digests == [[digest] for digest in wanted]
    most, recorded = auditor.most, auditor.recorded
    print(f"{auditor.audits} audits: {most} of {MAX_BYTES} B, {recorded} recorded; {sent} B read")
    assert MAX_BYTES // 2 < auditor.most <= MAX_BYTES
    assert auditor.most <= auditor.recorded <= MAX_BYTES


def test_a_slice_that_gets_its_name_while_it_is_counted(tmp_path: Path) -> None:
    """Missed, it would be room for another: the total may say too much, never too little."""
    root = os.fsencode(tmp_path)
    budget, files = CacheBudget(root, MAX_BYTES), SliceFiles(root)
    pieces = [Slice("ab" + f"{number:x}" * 62, 0, SLICE) for number in range(10)]
    parts = {files.path(piece.digest) + PART: files.create(piece) for piece in pieces}
    locks = [budget.lock(piece.digest) for piece in pieces]
    counted = budget._scan()
    found = [next(counted)]  # the folder's names are read now
    for path in parts.keys() - {found[0].path}:
        os.rename(path, path.removesuffix(PART))
    # of half of them, the writers have closed them too
    for lock in locks[::2]:
        assert lock is not None
        os.close(lock)
    found += counted
    assert sum(file.cost for file in found) == sum(piece.cost for piece in pieces)
    assert len({file.path for file in found}) == len(pieces)
    for descriptor in (*locks[1::2], *(part.fd for part in parts.values())):
        assert descriptor is not None
        os.close(descriptor)
