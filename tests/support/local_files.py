"""Files of a local storage, and each way there is to open them."""

from __future__ import annotations

import os
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from gateway.manifest import ManifestFile
from gateway.storage.interface import BeingCompared
from gateway.storage.local.blob import LocalBlob
from gateway.storage.local.confinement import best_opener, open_by_parts
from gateway.storage.local.storage import LocalStorage

OPENERS = sorted({best_opener(), open_by_parts}, key=lambda opener: opener.__name__)


def entry(root: Path, key: str, storage: str = "files") -> ManifestFile:
    """The manifest's entry for a file as it is now."""
    facts = os.stat(root / key)
    readable = facts.st_size < 1 << 30 and (root / key).is_file()
    digest = sha256((root / key).read_bytes()).hexdigest() if readable else "0" * 64
    return ManifestFile(
        key, facts.st_size, "application/octet-stream", digest, "0" * 8, storage, key, facts.st_mtime_ns
    )


def open_compared(storage: LocalStorage, file: ManifestFile) -> LocalBlob:
    """Open a file as a worker does: after its content has been compared, where that is necessary."""
    while True:
        try:
            return storage.open(file)
        except BeingCompared as error:
            if error.done is None:
                raise
            error.done.result(60)


def count_descriptors(root: Path | None = None) -> int:
    """How many descriptors are open. root: only those of files below it.

    Those of other tests may be closed at any moment, when their garbage is collected.
    """
    numbers = os.listdir("/proc/self/fd")
    if root is None:
        return len(numbers)
    below = 0
    for number in numbers:
        with suppress(FileNotFoundError):  # the listing's own
            below += os.readlink(f"/proc/self/fd/{number}").startswith(f"{root.resolve()}/")
    return below
