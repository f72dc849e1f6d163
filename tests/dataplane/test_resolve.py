"""Finding what a token opens: its manifest, file and blob, in a real store and real files."""

from __future__ import annotations

import asyncio
import os
import zlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

import pytest
import redis

from gateway.config.storages import LocalSettings
from gateway.dataplane.manifest_cache import ManifestCache
from gateway.dataplane.resolve import ResolvedFile, ResolvedIndex, Resolver
from gateway.errors import FILE_NOT_FOUND, Refused, StorageError, StoreUnavailable
from gateway.manifest import Manifest, ManifestFile
from gateway.runtime.deferred import stepped
from gateway.storage.file_locks import try_lock
from gateway.storage.interface import FRESH_SECONDS, BeingCompared
from gateway.storage.local.verified import record_name
from gateway.storage.registry import Storages
from gateway.store.key_names import manifest_key, version_key
from gateway.store.scripts import SCRIPTS
from gateway.store.topology import Topology
from gateway.tokens.claims import Claims
from tests.support.store_server import StoreServer
from tests.support.waiting import until


@dataclass
class Shelf:
    """A folder of files, the manifests in the store, and a resolver over both."""

    root: Path
    client: redis.Redis
    resolver: Resolver

    def publish(self, *contents: bytes, storage: str = "main") -> Manifest:
        files = []
        for number, content in enumerate(contents):
            path = self.root / f"{number}"
            path.write_bytes(content)
            files.append(
                ManifestFile(
                    name=f"{number}.bin",
                    size=len(content),
                    type="application/octet-stream",
                    sha256=sha256(content).hexdigest(),
                    crc32=f"{zlib.crc32(content):08x}",
                    storage=storage,
                    key=path.name,
                    modified=path.stat().st_mtime_ns,
                )
            )
        manifest = Manifest("drums", "1.0", tuple(files))
        self.client.set(manifest_key(manifest.digest), manifest.text)
        return manifest

    async def resolve(self, manifest: Manifest, name: str | None = None) -> ResolvedFile | ResolvedIndex:
        work = self.resolver.resolve(manifest.digest.encode(), name)
        return await stepped(work).as_future()


@pytest.fixture
async def shelf(store: StoreServer, tmp_path: Path) -> AsyncIterator[Shelf]:
    topology = Topology.connect([store.url], timeout=5, queue=100, scripts=SCRIPTS)
    topology.start()
    await until(lambda: topology.is_ready)
    root = tmp_path / "files"
    root.mkdir()
    storages = Storages({"main": LocalSettings(type="local", root=root)}, tmp_path, 16)
    with redis.Redis.from_url(store.url) as client:
        yield Shelf(root, client, Resolver(Claims(topology), ManifestCache(), storages))
    storages.close()
    await topology.stop()


@pytest.mark.parametrize("name", [None, "0.bin"])
async def test_the_only_file_is_found_with_and_without_its_name(shelf: Shelf, name: str | None) -> None:
    manifest = shelf.publish(b"first")
    for _ in range(2):  # the second time from memory
        resolved = await shelf.resolve(manifest, name)
        assert isinstance(resolved, ResolvedFile)
        with resolved.blob as blob:
            assert (resolved.number, resolved.storage.name) == (0, "main")
            assert resolved.representation.file == manifest.files[0]
            assert blob.as_file is not None
            assert blob.as_file.pread(0, 5) == b"first"
        with pytest.raises(RuntimeError):
            resolved.blob.release()  # it was acquired once


async def test_each_file_has_its_number(shelf: Shelf) -> None:
    manifest = shelf.publish(b"first", b"second")
    resolved = await shelf.resolve(manifest, "1.bin")
    assert isinstance(resolved, ResolvedFile)
    with resolved.blob as blob:
        assert (resolved.number, blob.size) == (1, 6)


async def test_no_name_among_several_files_asks_for_the_index(shelf: Shelf) -> None:
    manifest = shelf.publish(b"first", b"second")
    resolved = await shelf.resolve(manifest)
    assert isinstance(resolved, ResolvedIndex)
    assert resolved.manifest == manifest


async def test_an_unknown_name_is_refused(shelf: Shelf) -> None:
    manifest = shelf.publish(b"first")
    with pytest.raises(Refused) as caught:
        await shelf.resolve(manifest, "other.bin")
    assert caught.value.refusal is FILE_NOT_FOUND


async def test_a_missing_file_is_the_storages_fault(shelf: Shelf) -> None:
    manifest = shelf.publish(b"first")
    (shelf.root / "0").unlink()
    with pytest.raises(StorageError):
        await shelf.resolve(manifest)


async def test_an_unknown_storage_is_the_storages_fault(shelf: Shelf) -> None:
    with pytest.raises(StorageError, match="there is no storage"):
        await shelf.resolve(shelf.publish(b"first", storage="elsewhere"))


async def test_a_manifest_is_fetched_once(shelf: Shelf) -> None:
    manifest = shelf.publish(b"first")
    key = manifest_key(manifest.digest)
    for _ in range(2):
        resolved = await shelf.resolve(manifest)
        assert isinstance(resolved, ResolvedFile)
        resolved.blob.release()
        shelf.client.delete(key)


@pytest.mark.parametrize("text", [None, b"", b"{}", os.urandom(20)], ids=["gone", "empty", "other", "random"])
async def test_a_damaged_manifest_is_the_stores_fault(shelf: Shelf, text: bytes | None) -> None:
    manifest = shelf.publish(b"damaged")
    key = manifest_key(manifest.digest)
    if text is None:
        shelf.client.delete(key)
    else:
        shelf.client.set(key, text)
    with pytest.raises(StoreUnavailable, match="manifest"):
        await shelf.resolve(manifest)


async def test_a_request_waits_for_a_comparison_and_not_for_ever(
    shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process holds the lock of the comparison for a while."""
    manifest = shelf.publish(b"first")
    path = shelf.root / "0"
    os.utime(path, ns=(1, 10**9))
    folder = tmp_path / "verified"
    folder.mkdir()
    holder = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    assert try_lock(holder, int(record_name(manifest.files[0])[:14], 16))
    monkeypatch.setattr("gateway.dataplane.resolve.COMPARING_SECONDS", 0.1)
    with pytest.raises(BeingCompared) as raised:
        await shelf.resolve(manifest)
    assert raised.value.retry_after == 1
    monkeypatch.setattr("gateway.dataplane.resolve.COMPARING_SECONDS", 20.0)
    asyncio.get_running_loop().call_later(0.1, os.close, holder)
    resolved = await shelf.resolve(manifest)
    assert isinstance(resolved, ResolvedFile)
    resolved.blob.release()


async def test_files_that_have_moved_are_found_where_their_version_has_them_now(shelf: Shelf) -> None:
    """There and back again, and nothing is found for a version with other content."""
    manifest = shelf.publish(b"first")
    (shelf.root / "0").rename(shelf.root / "moved")
    moved = replace(manifest, files=(replace(manifest.files[0], key="moved"),))
    other = replace(manifest, files=(replace(manifest.files[0], key="moved", sha256="0" * 64),))
    for each in (moved, other):
        shelf.client.set(manifest_key(each.digest), each.text)
    shelf.client.hset(version_key("drums"), "1.0", other.digest)
    with pytest.raises(StorageError):
        await shelf.resolve(manifest)
    shelf.client.hset(version_key("drums"), "1.0", moved.digest)
    for _ in range(2):
        resolved = await shelf.resolve(manifest)
        assert isinstance(resolved, ResolvedFile)
        assert resolved.representation.file == moved.files[0]
        resolved.blob.release()
    await asyncio.sleep(2 * FRESH_SECONDS)
    (shelf.root / "moved").rename(shelf.root / "0")
    with pytest.raises(StorageError):
        await shelf.resolve(manifest)
    shelf.client.hset(version_key("drums"), "1.0", manifest.digest)
    for each in (manifest, moved):
        resolved = await shelf.resolve(each)
        assert isinstance(resolved, ResolvedFile)
        assert resolved.representation.file == manifest.files[0]
        resolved.blob.release()
