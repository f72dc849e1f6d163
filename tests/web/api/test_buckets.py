"""Registering objects of a bucket through the API: what the storage says counts, not what the client says."""

from __future__ import annotations

import hashlib
import zlib
from typing import Any

import pytest

from gateway.config.settings import Settings
from tests.support.control_plane import Api
from tests.support.shop import Shop
from tests.support.store_server import StoreServer

FILE = {
    "name": "a.bin",
    "size": 3,
    "sha256": hashlib.sha256(b"one").hexdigest(),
    "crc32": f"{zlib.crc32(b'one'):08x}",
    "storage": "shop",
    "key": "in/a.bin",
}


@pytest.fixture
def settings(settings: Settings, versioned: Shop) -> Settings:
    """With a bucket as storage `shop` beside `main`."""
    return settings.model_copy(update={"storage": {**settings.storage, "shop": versioned.table()}})


async def register(api: Api, *files: dict[str, Any]) -> tuple[int, Any]:
    status, body, _ = await api.ask(
        "POST", "/api/products/drums/versions", {"version": "3", "files": list(files)}
    )
    return status, body


async def test_etag_and_version_come_from_the_storage(api: Api, versioned: Shop, store: StoreServer) -> None:
    put = versioned.put("in/a.bin", b"one")
    beside = {"name": "b.bin", "size": 100, "storage": "main", "key": "a.bin"}
    status, body = await register(api, FILE, beside)
    assert status == 200, body
    digest = body["product"]["versions"][-1]["manifest"]
    manifest = await api.store.products.get_manifest(digest)
    assert manifest is not None
    file, other = manifest.files
    assert (file.etag, file.version_id, file.modified) == (put.etag, put.version_id, put.modified)
    assert (other.etag, other.version_id) == ("", "")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "field", "text"),
    [
        ({"size": 4}, "files[0].size", "is not the 3 bytes that the storage holds"),
        (
            {"key": "in/none"},
            "files[0].key",
            "cannot be served: storage shop: the object 'in/none' is missing",
        ),
        ({"modified": 7}, "files[0].modified", "is not what the storage says"),
        ({"storage": "none"}, "files[0].storage", "is not a storage of this service"),
        ({"sha256": "0" * 64}, "files[0].sha256", "is not that of the content"),
        ({"key": "in/.env"}, "files[0].key", "is hidden"),
        ({"key": "in/../.env"}, "files[0].key", "is hidden"),
        ({"etag": '"x"'}, "files[0].etag", ""),
        ({"versionId": "x"}, "files[0].versionId", ""),
    ],
)
async def test_digests_that_the_storage_does_not_confirm(
    api: Api, versioned: Shop, change: dict[str, Any], field: str, text: str
) -> None:
    versioned.put("in/a.bin", b"one")
    status, body = await register(api, FILE | change)
    assert status == 400
    [fault] = body["errors"]
    assert fault["field"] == field
    assert text in fault["message"]
