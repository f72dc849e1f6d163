"""Files of a local storage, and each way there is to open them."""

from __future__ import annotations

import os
from pathlib import Path

from gateway.manifest import ManifestFile
from gateway.storage.local.confinement import best_opener, open_by_parts

OPENERS = sorted({best_opener(), open_by_parts}, key=lambda opener: opener.__name__)


def entry(root: Path, key: str, storage: str = "files") -> ManifestFile:
    """The manifest's entry for a file as it is now."""
    facts = os.stat(root / key)
    return ManifestFile(
        key, facts.st_size, "application/octet-stream", "0" * 64, "0" * 8, storage, key, facts.st_mtime_ns
    )


def count_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))
