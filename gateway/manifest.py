"""The manifest: the immutable list of a version's files, named by the SHA-256 of its own text.

The text is canonical JSON (sorted keys, no spaces, UTF-8), so the same files always get the same name, and a
worker may keep a manifest in memory for ever.

A key is *hidden* when one of its parts between slashes is a hidden name. Hidden files are neither published
from a folder or a bucket nor opened there, because programs keep in them what is not for others (`.env`,
`.git/config`, the gateway's own `.download-gateway/`).
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Final

HIDDEN_NAMES: Final = frozenset({"thumbs.db", "desktop.ini"})
"""Names that are hidden although they do not begin with a dot, in lower case."""


def is_hidden(name: str) -> bool:
    """Whether a name, which is one part of a path, is hidden, in whatever case it is written."""
    return name.startswith(".") or name.casefold() in HIDDEN_NAMES


def hidden_part(key: str) -> str:
    """Return the first hidden name in a key, "" when it has none."""
    return next(filter(is_hidden, key.split("/")), "")


@dataclass(frozen=True)
class ManifestFile:
    """One file of a version.

    name: what the customer sees; "/" separates folders. size: bytes. type: media type. sha256 and
    crc32: lower-case hex (64 and 8 digits). storage: name of a configured storage. key: the key of
    the blob in it. modified: nanoseconds since 1970 UTC, as the storage reported it at publishing. etag and
    version_id: the names that an object storage gave this very content; empty for other storages.
    """

    name: str
    size: int
    type: str
    sha256: str
    crc32: str
    storage: str
    key: str
    modified: int
    etag: str = ""
    version_id: str = ""

    @cached_property
    def hidden(self) -> str:
        """The first hidden name in its key, "" when it has none."""
        return hidden_part(self.key)


_OPTIONAL: Final = ("etag", "version_id")
"""Fields left out of the text when they are empty, so that manifests of local files keep their digests."""


@dataclass(frozen=True)
class Manifest:
    """All files of one version of one product, in the order they were published (names are unique)."""

    product: str
    version: str
    files: tuple[ManifestFile, ...]

    @cached_property
    def text(self) -> bytes:
        """The canonical JSON text, which the store holds and `digest` names."""
        plain = {
            "product": self.product,
            "version": self.version,
            "files": [_plain(file) for file in self.files],
        }
        return json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the text, 64 lower-case hex digits."""
        return hashlib.sha256(self.text).hexdigest()

    @property
    def only_file(self) -> str:
        """The name of the file, if there is only one; otherwise an empty text."""
        return self.files[0].name if len(self.files) == 1 else ""

    def number_of(self, name: str) -> int | None:
        """Return the index in `files` of the file of this name, or None if there is none.

        A name is found in whatever form of Unicode it is written here and there, because clients and file
        systems do not agree on one: macOS writes "é" as two characters. The very same name comes first.
        """
        number = self._by_name.get(name)
        return number if number is not None or name.isascii() else self._by_name.get(composed(name))

    @cached_property
    def folders(self) -> frozenset[str]:
        """The folders in the names of the files, each with a slash at its end; names are composed."""
        found: set[str] = set()
        for file in self.files:
            folder = composed(file.name).rpartition("/")[0]
            while folder and f"{folder}/" not in found:
                found.add(f"{folder}/")
                folder = folder.rpartition("/")[0]
        return frozenset(found)

    @cached_property
    def _by_name(self) -> dict[str, int]:
        exact = {file.name: index for index, file in enumerate(self.files)}
        return {composed(name): index for name, index in exact.items()} | exact

    @classmethod
    def parse(cls, text: bytes) -> Manifest:
        """Read the text of a manifest. Raises ValueError when it is not one."""
        try:
            plain = json.loads(text)
            files = tuple(ManifestFile(**file) for file in plain["files"])
            return cls(plain["product"], plain["version"], files)
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a manifest: {error}") from error


def composed(name: str) -> str:
    """Return a name in the composed form of Unicode (NFC), in which names are handed out."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def _plain(file: ManifestFile) -> dict[str, str | int]:
    return {name: value for name, value in asdict(file).items() if value or name not in _OPTIONAL}
