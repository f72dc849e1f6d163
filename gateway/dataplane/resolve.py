"""Finds what a token opens: its manifest, file and blob. Downloads and `/auth` do this in the same way."""

from __future__ import annotations

import logging
from typing import NamedTuple

from gateway.dataplane.manifest_cache import LoadedManifest, ManifestCache
from gateway.errors import StoreUnavailable
from gateway.http.plans import Representation
from gateway.http.targets import choose_file
from gateway.runtime.deferred import in_thread
from gateway.storage.interface import Blob, Storage
from gateway.storage.registry import Storages
from gateway.tokens.claims import Claims

_log = logging.getLogger("gateway")


class ResolvedFile(NamedTuple):
    """One file, found on its storage as it was published.

    number: its number in the manifest. blob: acquired; the caller releases it.
    """

    number: int
    representation: Representation
    storage: Storage
    blob: Blob


class Resolver:
    """Finds the files that tokens open. The store is asked only for manifests that are not in memory."""

    def __init__(self, claims: Claims, manifests: ManifestCache, storages: Storages) -> None:
        self._claims = claims
        self._manifests = manifests
        self._storages = storages

    async def resolve(self, digest: bytes, name: str | None) -> ResolvedFile | LoadedManifest:
        """Return the file of this name in the manifest with this digest, with its blob.

        Without a name the only file is meant; where there are several, the manifest is returned, because the
        request asks for the index of all files. Raises Refused (FILE_NOT_FOUND), StoreUnavailable, or
        StorageError when the blob is missing, changed or unreachable.
        """
        loaded = self._manifests.get(digest) or await self._load(digest)
        number = choose_file(loaded.manifest, name)
        if number is None:
            return loaded
        representation = loaded.representation(number)
        file = representation.file
        storage: Storage = self._storages.get(file.storage)
        blob = storage.lookup(file)
        if blob is None:
            blob = await in_thread(storage.open, file)
        return ResolvedFile(number, representation, storage, blob)

    async def check_name(self, digest: bytes, name: str) -> None:
        """Raise Refused(FILE_NOT_FOUND) unless the manifest has a file of this name."""
        loaded = self._manifests.get(digest) or await self._load(digest)
        choose_file(loaded.manifest, name)

    async def _load(self, digest: bytes) -> LoadedManifest:
        """Fetch a manifest that this worker has not seen, or does not hold any more."""
        text = await self._claims.manifest(digest)
        try:
            return self._manifests.add(digest, text)
        except ValueError as error:
            _log.error("the store holds a damaged manifest: %s", error)
            raise StoreUnavailable(f"the store holds a damaged manifest: {error}") from error
