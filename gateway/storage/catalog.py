"""What publishing and checking need from an object storage. It runs in threads, off the hot path.

An address is what users write, such as `s3://bucket/folder/file.zip`. A key is what manifests keep: the
storage's own name for an object, relative to the prefix of its settings.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from gateway.errors import NotAsPublished
from gateway.manifest import ManifestFile


class ObjectMissing(NotAsPublished):
    """There is no object of this key."""


@dataclass(frozen=True, slots=True)
class ObjectFacts:
    """One object, as its storage describes it.

    size: in bytes. modified: in nanoseconds since 1970, 0 if the storage does not say. etag, version_id: what
    a manifest keeps. sha256, crc32: of the whole content, in hex, if the storage or the uploader stored them;
    else empty. encoding: the field Content-Encoding that the object is stored with, "" without one.
    """

    key: str
    size: int
    modified: int
    etag: str
    version_id: str = ""
    sha256: str = ""
    crc32: str = ""
    encoding: str = ""


class Catalog(Protocol):
    """Lists, describes and reads the objects of one storage.

    Every method blocks, is safe from any thread and may raise StorageError.
    """

    @property
    def name(self) -> str:
        """The storage's name in the settings and in manifests."""

    @property
    def root(self) -> str:
        """What the addresses of all its objects begin with: `s3://bucket/` or `s3://bucket/prefix/`."""

    def check_root(self) -> str:
        """Check that the storage can be reached and accepts us; return what it does not allow, or ""."""

    def stat(self, key: str) -> ObjectFacts:
        """Describe one object. Raises ObjectMissing when there is none of this key."""

    def check(self, file: ManifestFile) -> None:
        """Raise the error that a download of this file would get now, if any. This reads no content."""

    def list(self, folder: str) -> Iterator[str]:
        """List the keys of the objects below a folder ("" or ending with "/"), in order."""

    def read(self, facts: ObjectFacts) -> Iterator[bytes]:
        """Read the content in chunks. Fails when the object is no longer the one described."""
