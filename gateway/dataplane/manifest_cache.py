"""The manifests that a worker has seen, parsed and ready to answer from.

A manifest never changes and is named by its own digest, so it may be kept for ever. Only the memory is
bounded, by the number of files. The manifest that was not used for the longest time is dropped first.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from hashlib import sha256
from typing import Final

from gateway.http.plans import Representation
from gateway.manifest import Manifest

FILES_KEPT: Final = 50_000
"""About 2 KiB each: at most 100 MiB a worker."""


class LoadedManifest:
    """The files of one version: the manifest, and each file as HTTP shows it (made when first asked for)."""

    __slots__ = ("_representations", "manifest")

    def __init__(self, manifest: Manifest) -> None:
        self.manifest = manifest
        self._representations: list[Representation | None] = [None] * len(manifest.files)

    def representation(self, index: int) -> Representation:
        """File number `index` as HTTP shows it."""
        representation = self._representations[index]
        if representation is None:
            manifest = self.manifest
            file = manifest.files[index]
            representation = Representation(file, time.time(), manifest.product, manifest.version)
            self._representations[index] = representation
        return representation


class ManifestCache:
    """A bounded memory of loaded manifests by digest."""

    def __init__(self, files: int = FILES_KEPT) -> None:
        self._limit = files
        self._files = 0
        self._manifests: OrderedDict[bytes, LoadedManifest] = OrderedDict()

    def get(self, digest: bytes) -> LoadedManifest | None:
        """Return the manifest, or None when it is not in memory."""
        loaded = self._manifests.get(digest)
        if loaded is not None:
            self._manifests.move_to_end(digest)
        return loaded

    def replace(self, digest: bytes, moved: LoadedManifest) -> None:
        """Keep a manifest with the same files in other places under the digest of the old one."""
        if digest in self._manifests:
            self._manifests[digest] = moved

    def add(self, digest: bytes, text: bytes) -> LoadedManifest:
        """Keep the manifest whose text this is. Raises ValueError when the text does not have this digest."""
        if sha256(text).hexdigest().encode() != digest:
            raise ValueError("a manifest's text does not have its digest")
        loaded = LoadedManifest(Manifest.parse(text))
        if digest not in self._manifests:
            self._files += len(loaded.manifest.files)
        self._manifests[digest] = loaded
        while self._files > self._limit and len(self._manifests) > 1:
            _, oldest = self._manifests.popitem(last=False)
            self._files -= len(oldest.manifest.files)
        return loaded
