"""The manifests a worker has seen, ready to answer from.

A manifest never changes and is named by its own digest, so it may be kept for ever; only the memory is
bounded, by the number of files, oldest use out first.
"""

from __future__ import annotations

from collections import OrderedDict
from hashlib import sha256
from typing import Final

from gateway.http.plans import Representation
from gateway.manifest import Manifest

FILES_KEPT: Final = 50_000
"""About 2 KiB each: 100 MiB a worker at the most."""


class LoadedManifest:
    """One version's files: the manifest, and each file as HTTP shows it (made when first asked for)."""

    __slots__ = ("_shown", "manifest")

    def __init__(self, manifest: Manifest) -> None:
        self.manifest = manifest
        self._shown: list[Representation | None] = [None] * len(manifest.files)

    def representation(self, index: int) -> Representation:
        """File number `index` as HTTP shows it."""
        shown = self._shown[index]
        if shown is None:
            shown = self._shown[index] = Representation(self.manifest.files[index])
        return shown


class ManifestCache:
    """A bounded memory of editions by digest."""

    def __init__(self, files: int = FILES_KEPT) -> None:
        self._limit = files
        self._files = 0
        self._editions: OrderedDict[bytes, LoadedManifest] = OrderedDict()

    def get(self, digest: bytes) -> LoadedManifest | None:
        """The edition, or None when it is not in memory."""
        edition = self._editions.get(digest)
        if edition is not None:
            self._editions.move_to_end(digest)
        return edition

    def add(self, digest: bytes, text: bytes) -> LoadedManifest:
        """Keep the edition that `text` describes. Raises ValueError when that is not this manifest."""
        if sha256(text).hexdigest().encode() != digest:
            raise ValueError("a manifest's text does not have its digest")
        edition = LoadedManifest(Manifest.parse(text))
        if digest not in self._editions:
            self._files += len(edition.manifest.files)
        self._editions[digest] = edition
        while self._files > self._limit and len(self._editions) > 1:
            _, oldest = self._editions.popitem(last=False)
            self._files -= len(oldest.manifest.files)
        return edition
