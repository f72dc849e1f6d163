"""What publishing and checking ask of an object storage: the control plane, off the hot path, in threads.

Addresses are what users write, such as `s3://bucket/folder/file.zip`; keys are a storage's own, as manifests
have them, relative to the prefix of its settings.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from gateway.errors import StorageError
from gateway.manifest import ManifestFile


class ObjectMissing(StorageError):
    """There is no object of this key."""


@dataclass(frozen=True, slots=True)
class ObjectFacts:
    """One object as its storage describes it.

    size in bytes, modified in nanoseconds since 1970. etag and version_id: what a manifest keeps. sha256 and
    crc32: of the whole content, in hex, when the storage or the uploader stored them; else empty.
    """

    key: str
    size: int
    modified: int
    etag: str
    version_id: str = ""
    sha256: str = ""
    crc32: str = ""


class Catalog(Protocol):
    """Looks into one object storage. Every method blocks, is safe from any thread and raises StorageError."""

    @property
    def name(self) -> str:
        """What manifests call the storage."""

    @property
    def root(self) -> str:
        """The address that all its keys begin at, ending with "/": `s3://bucket/` or `s3://bucket/prefix/`."""

    def check_root(self) -> str:
        """See whether the storage can be reached and lets us in; what it does not let us do, or ""."""

    def stat(self, key: str) -> ObjectFacts:
        """Describe one object."""

    def check(self, file: ManifestFile) -> None:
        """Raise the error that serving the file would meet now, if any. Reads none of its content."""

    def list(self, folder: str) -> Iterator[str]:
        """Keys of the objects below a folder ("" or ending with "/"), in order."""

    def read(self, facts: ObjectFacts) -> Iterator[bytes]:
        """Read the content in pieces; fails when the object is no longer the one described."""
