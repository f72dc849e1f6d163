"""Finds what a token opens: its manifest, file and blob. Downloads and `/auth` do this in the same way."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import Future
from contextlib import suppress
from time import monotonic
from typing import Final, NamedTuple

from gateway.dataplane.manifest_cache import LoadedManifest, ManifestCache
from gateway.errors import StorageError, StoreUnavailable
from gateway.http.plans import Representation
from gateway.http.targets import choose_file
from gateway.manifest import Manifest, ManifestFile
from gateway.runtime.deferred import Deferred, in_thread
from gateway.storage.interface import BeingCompared, Blob, Storage
from gateway.storage.registry import Storages
from gateway.tokens.claims import Claims

COMPARING_SECONDS: Final = 20.0
"""How long a request waits while the content of a file is compared with its SHA-256, before it is refused
with Retry-After. Most programs wait this long for an answer, and 10 GB from a quick disk are compared in
it."""

_log = logging.getLogger("gateway")


class ResolvedFile(NamedTuple):
    """One file, found on its storage as it was published.

    number: its number in the manifest. blob: acquired; the caller releases it.
    """

    number: int
    representation: Representation
    storage: Storage
    blob: Blob


class ResolvedIndex(NamedTuple):
    """An index is asked for. folder: of its files, with a slash at the end; empty for all files."""

    manifest: Manifest
    folder: str


class Resolver:
    """Finds the files that tokens open. The store is asked only for manifests that are not in memory."""

    def __init__(self, claims: Claims, manifests: ManifestCache, storages: Storages) -> None:
        self._claims = claims
        self._manifests = manifests
        self._storages = storages

    async def resolve(self, digest: bytes, name: str | None) -> ResolvedFile | ResolvedIndex:
        """Return the file of this name in the manifest with this digest, with its blob.

        Without a name the only file is meant; where there are several, the request asks for the index of all
        files, and with the name of a folder for that of its files. A file that is not in its place is looked
        for where its version has it now. Raises Refused (FILE_NOT_FOUND), StoreUnavailable, or StorageError
        when the blob is missing, changed or unreachable.
        """
        loaded = self._manifests.get(digest) or await self._load(digest)
        number = choose_file(loaded.manifest, name)
        if isinstance(number, str):
            return ResolvedIndex(loaded.manifest, number)
        try:
            return await self._find(loaded, number)
        except BeingCompared:
            raise
        except StorageError:
            moved = await self._moved(digest, loaded.manifest)
            if moved is None:
                raise
            return await self._find(moved, number)

    async def _find(self, loaded: LoadedManifest, number: int) -> ResolvedFile:
        representation = loaded.representation(number)
        file = representation.file
        storage: Storage = self._storages.get(file.storage)
        blob = storage.lookup(file)
        if blob is None:
            blob = await _open(storage, file)
        return ResolvedFile(number, representation, storage, blob)

    async def _moved(self, digest: bytes, manifest: Manifest) -> LoadedManifest | None:
        """The manifest with the places where the files are now, if somebody has told (`product relocate`).

        A token names the manifest that its version had when the token was made. From now on this worker uses
        the other one in its place.
        """
        current = await self._claims.manifest_of_version(manifest.product, manifest.version)
        if current is None or current == manifest.digest.encode():
            return None
        moved = self._manifests.get(current)
        if (
            moved is None or moved.manifest.digest.encode() != current
        ):  # what an earlier move put in its place
            moved = await self._load(current)
        if _files(moved.manifest) != _files(manifest):
            return None
        self._manifests.replace(digest, moved)
        return moved

    async def _load(self, digest: bytes) -> LoadedManifest:
        """Fetch a manifest that this worker has not seen, or does not hold any more."""
        text = await self._claims.manifest(digest)
        try:
            return self._manifests.add(digest, text)
        except ValueError as error:
            _log.error("the store holds a damaged manifest: %s", error)
            raise StoreUnavailable(f"the store holds a damaged manifest: {error}") from error


def _files(manifest: Manifest) -> list[tuple[str, str]]:
    return [(file.name, file.sha256) for file in manifest.files]


async def _open(storage: Storage, file: ManifestFile) -> Blob:
    """Open a file in a thread. If its content has to be compared first, wait for that, but not for ever.

    Raises StorageError; BeingCompared when the comparison takes too long.
    """
    deadline = monotonic() + COMPARING_SECONDS
    while True:
        try:
            return await in_thread(storage.open, file)
        except BeingCompared as error:
            if error.done is None or not await _ends(error.done, deadline - monotonic()):
                raise


def _ends(work: Future[None], seconds: float) -> Deferred[bool]:
    """Whether work in a thread ends within this time. The work goes on if it does not."""
    loop = asyncio.get_running_loop()
    ended: Deferred[bool] = Deferred()
    timer = loop.call_later(max(seconds, 0.0), ended.set_result, False)

    def end() -> None:
        timer.cancel()
        ended.set_result(True)

    def tell(_: Future[None]) -> None:
        with suppress(RuntimeError):  # the loop is closed: the process ends
            loop.call_soon_threadsafe(end)

    work.add_done_callback(tell)
    return ended
