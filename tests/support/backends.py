"""Where the files of a plane are: every kind of storage, and what tests do to files there.

A `Backend` puts files, replaces and removes them; `Plane.publish` writes the manifests. A module that names
its `BACKENDS`, such as `EVERY_BACKEND`, has its tests that ask for `plane` or `pair` run on each of them.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from tests.support.buckets import Put, S3Server

EVERY_BACKEND: Final = ("local", "s3", "s3-tls", "s3-cache")
QUICK_BACKENDS: Final = ("local", "s3")
"""Those on which `make test` runs these tests. CI has the others, too."""

CACHE_BYTES: Final = 1 << 30


class Backend(Protocol):
    """Files of one storage, by key."""

    def settings(self, folder: Path) -> dict[str, Any]:
        """The settings that make this backend the storage `main`. folder: the folder of the plane."""

    def put(self, key: str, content: bytes) -> Put:
        """Write a file, or replace it; return what the storage says about it."""

    def remove(self, key: str) -> None:
        """Take a file away."""

    def date(self, key: str, modified: int) -> None:
        """Set the time of a file (nanoseconds since 1970), if the storage allows that."""


@dataclass
class Folder:
    """A folder of this machine."""

    root: Path

    def settings(self, folder: Path) -> dict[str, Any]:
        return {"storage": {"main": {"type": "local", "root": self.root}}}

    def put(self, key: str, content: bytes) -> Put:
        path = self.root / key
        fresh = path.with_suffix(".new")
        fresh.write_bytes(content)
        fresh.rename(path)
        facts = path.stat()
        return Put("", "", facts.st_size, facts.st_mtime_ns)

    def remove(self, key: str) -> None:
        (self.root / key).unlink()

    def date(self, key: str, modified: int) -> None:
        os.utime(self.root / key, ns=(modified, modified))


@dataclass
class Objects:
    """A bucket of a real S3 server; `cached`: with slices kept on this machine."""

    server: S3Server
    bucket: str
    cached: bool = False

    def settings(self, folder: Path) -> dict[str, Any]:
        cache = {"cache_path": folder / "cache", "cache_max_bytes": CACHE_BYTES} if self.cached else {}
        return {"storage": {"main": self.server.table(self.bucket)}, **cache}

    def put(self, key: str, content: bytes) -> Put:
        return self.server.put(self.bucket, key, content)

    def remove(self, key: str) -> None:
        self.server.delete(self.bucket, key)

    def date(self, key: str, modified: int) -> None:
        """An object's time is the server's, and its ETag pins it."""


def make_backend(name: str, servers: dict[str, S3Server]) -> Backend:
    """A fresh bucket for any of BACKENDS except `local`."""
    server = servers["https" if name == "s3-tls" else "http"]
    return Objects(server, server.make_bucket(), cached=name == "s3-cache")
