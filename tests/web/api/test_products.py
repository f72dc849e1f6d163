"""/api/products over HTTP, and registering versions of files that a storage holds."""

from __future__ import annotations

import hashlib
import io
import json
import zlib
from pathlib import Path
from typing import Any

import pytest

from gateway.config.settings import Settings
from gateway.products.publishing import hash_files, plan_publication
from gateway.storage.local.registered_folders import REGISTRY
from gateway.storage.registry import Storages
from tests.support.control_plane import CONTENT, Api
from tests.support.rows import each_row

FILE = {
    "name": "Drums.zip",
    "size": 100,
    "sha256": hashlib.sha256(CONTENT).hexdigest(),
    "crc32": f"{zlib.crc32(CONTENT):08x}",
    "storage": "main",
    "key": "a.bin",
}


def root(settings: Settings) -> Path:
    return settings.roots["main"]


@pytest.mark.slow
async def test_a_product_from_nothing_to_a_token(api: Api, settings: Settings) -> None:
    status, body, _ = await api.ask("POST", "/api/products", {"productId": "bass", "name": "Bass"})
    assert status == 201
    assert body["product"] | {"createdAt": ""} == {
        "productId": "bass",
        "name": "Bass",
        "status": "active",
        "activeVersion": None,
        "createdAt": "",
        "versions": [],
    }
    version = {"version": "1", "files": [FILE]}
    status, body, _ = await api.ask("POST", "/api/products/bass/versions", version)
    assert (status, body["product"]["activeVersion"]) == (200, "1")
    assert await api.ask("POST", "/api/products/bass/versions", version) is not None
    manifest = await api.store.products.get_manifest(body["product"]["versions"][0]["manifest"])
    assert manifest is not None
    [file] = manifest.files
    assert file.modified == (root(settings) / "a.bin").stat().st_mtime_ns
    assert file.type == "application/octet-stream"
    status, body, _ = await api.ask("POST", "/api/products/bass/versions", version | {"version": "2"})
    assert body["product"]["activeVersion"] == "1"
    status, body, _ = await api.ask(
        "POST", "/api/products/bass/versions", version | {"version": "3", "activate": True}
    )
    assert body["product"]["activeVersion"] == "3"
    assert (await api.ask("GET", "/api/products/bass"))[1] == body
    _, everything, _ = await api.ask("GET", "/api/products")
    assert [product["productId"] for product in everything["products"]] == ["bass", "drums"]
    assert (await api.store.tokens.create("bass")).record.version == "3"


async def test_conflicts(api: Api) -> None:
    status, body, _ = await api.ask("POST", "/api/products", {"productId": "drums"})
    assert (status, body["code"]) == (409, "product_exists")
    status, body, _ = await api.ask(
        "POST", "/api/products/drums/versions", {"version": "1.0.0", "files": [FILE]}
    )
    assert (status, body["code"]) == (409, "version_conflict")


@pytest.mark.parametrize("identifier", ["nothing", "..%2f", "%00", "%ff", "a" * 200])
@pytest.mark.asyncio(loop_scope="session")
async def test_unknown_products(refusing: Api, identifier: str) -> None:
    version = {"version": "1", "files": [FILE]}
    for method, path, given in (
        ("GET", "", None),
        ("PUT", "", {"name": "x"}),
        ("POST", "/versions", version),
    ):
        status, body, _ = await refusing.ask(method, f"/api/products/{identifier}{path}", given)
        assert (status, body["code"]) == (404, "product_unknown"), method


async def test_update(api: Api) -> None:
    _, body, _ = await api.ask(
        "PUT", "/api/products/drums", {"name": "New", "status": "archived", "activeVersion": "2.0.0"}
    )
    product = body["product"]
    assert (product["name"], product["status"], product["activeVersion"]) == ("New", "archived", "2.0.0")
    status, body, _ = await api.ask("PUT", "/api/products/drums", {"activeVersion": "9"})
    assert (status, body["code"]) == (409, "active_version_unknown")


@each_row(
    ("method", "path", "json", "field"),
    [
        ("POST", "/api/products", {}, "productId"),
        ("POST", "/api/products", {"productId": "a/b"}, "productId"),
        ("POST", "/api/products", {"productId": "x", "name": []}, "name"),
        ("PUT", "/api/products/drums", {"name": ""}, "name"),
        ("POST", "/api/products", {"productId": "x", "status": "active"}, "status"),
        ("PUT", "/api/products/drums", {}, "body"),
        ("PUT", "/api/products/drums", {"name": None}, "name"),
        ("PUT", "/api/products/drums", {"status": "gone"}, "status"),
        ("PUT", "/api/products/drums", {"activeVersion": ""}, "activeVersion"),
        ("PUT", "/api/products/drums", {"productId": "x"}, "productId"),
    ],
)
@pytest.mark.asyncio(loop_scope="session")
async def test_wrong_products(refusing: Api, method: str, path: str, json: Any, field: str) -> None:
    status, body, _ = await refusing.ask(method, path, json)
    assert (status, [fault["field"] for fault in body["errors"]]) == (400, [field])


async def test_empty_texts_are_left_out(api: Api) -> None:
    status, body, _ = await api.ask("POST", "/api/products", {"productId": "bass", "name": ""})
    assert (status, body["product"]["name"]) == (201, "bass")
    empty = {"type": "", "sha256": "", "crc32": "", "modified": None}
    version = {"version": "1", "activate": None, "files": [FILE | empty]}
    status, body, _ = await api.ask("POST", "/api/products/bass/versions", version)
    assert (status, body["product"]["activeVersion"]) == (200, "1")
    manifest = await api.store.products.get_manifest(body["product"]["versions"][0]["manifest"])
    assert manifest is not None
    [file] = manifest.files
    assert (file.type, file.sha256) == ("application/octet-stream", FILE["sha256"])


@each_row(
    ("change", "field"),
    [
        ({"storage": "other"}, "files[1].storage"),
        ({"key": "missing.bin"}, "files[1].key"),
        ({"key": "../a.bin"}, "files[1].key"),
        ({"key": "/etc/passwd"}, "files[1].key"),
        ({"key": "link"}, "files[1].key"),
        ({"key": "folder"}, "files[1].key"),
        ({"key": ""}, "files[1].key"),
        ({"key": "a\0"}, "files[1].key"),
        ({"size": 99}, "files[1].size"),
        ({"size": -1}, "files[1].size"),
        ({"size": 100.0}, "files[1].size"),
        ({"modified": 5}, "files[1].modified"),
        ({"modified": 2**63}, "files[1].modified"),
        ({"sha256": "A" * 64}, "files[1].sha256"),
        ({"sha256": "0" * 64}, "files[1].sha256"),
        ({"crc32": "0" * 8}, "files[1].crc32"),
        ({"key": ".env"}, "files[1].key"),
        ({"key": "folder/.git/config"}, "files[1].key"),
        ({"key": "THUMBS.DB"}, "files[1].key"),
        ({"crc32": "0"}, "files[1].crc32"),
        ({"type": "text"}, "files[1].type"),
        ({"type": []}, "files[1].type"),
        ({"modified": ""}, "files[1].modified"),
        ({"storage": ""}, "files[1].storage"),
        ({"type": "text/html\r\nX: y"}, "files[1].type"),
        ({"name": ""}, "files[1].name"),
        ({"name": "a\0b"}, "files[1].name"),
        ({"name": "é" * 513}, "files[1].name"),
        ({"name": "first"}, "files[1].name"),
        ({"extra": 1}, "files[1].extra"),
    ],
)
@pytest.mark.asyncio(loop_scope="session")
async def test_wrong_files(refusing: Api, change: dict[str, Any], field: str) -> None:
    files = [FILE | {"name": "first"}, FILE | change]
    status, body, _ = await refusing.ask(
        "POST", "/api/products/drums/versions", {"version": "3", "files": files}
    )
    assert (status, [fault["field"] for fault in body["errors"]]) == (400, [field])
    product = await refusing.store.products.get("drums")
    assert product is not None
    assert "3" not in product.versions


@pytest.mark.slow
async def test_many_files_and_their_limit(api: Api) -> None:
    files = [FILE | {"name": f"{index:05}.bin"} for index in range(10_000)]
    for version, given, expected in (("3", files, 200), ("4", [*files, FILE], 400), ("5", [], 400)):
        body = io.BytesIO(json.dumps({"version": version, "files": given}).encode())
        headers = {"Content-Type": "application/json"}
        status, answer, _ = await api.ask("POST", "/api/products/drums/versions", data=body, headers=headers)
        assert status == expected
        assert [fault["field"] for fault in answer.get("errors", ())] == ["files"] * (expected == 400)


async def test_digests_are_computed_unless_trust_is_asked_for(api: Api) -> None:
    path = "/api/products/drums/versions"
    bare = {"name": "a", "size": 100, "storage": "main", "key": "a.bin"}
    false = {**bare, "sha256": "0" * 64, "crc32": "0" * 8}
    status, body, _ = await api.ask("POST", path, {"version": "3", "files": [false]})
    assert (status, [fault["field"] for fault in body["errors"]]) == (
        400,
        ["files[0].sha256", "files[0].crc32"],
    )
    status, body, _ = await api.ask("POST", path, {"version": "3", "files": [bare], "trust": True})
    assert (status, [fault["message"] for fault in body["errors"]]) == (400, ["is required with trust"] * 2)
    assert (await api.ask("POST", path, {"version": "3", "files": [bare]}))[0] == 200
    assert (await api.ask("POST", path, {"version": "4", "files": [false], "trust": True}))[0] == 200
    product = await api.store.products.get("drums")
    assert product is not None
    computed = await api.store.products.get_manifest(product.versions["3"])
    trusted = await api.store.products.get_manifest(product.versions["4"])
    assert computed is not None
    assert trusted is not None
    assert computed.files[0].sha256 == FILE["sha256"]
    assert trusted.files[0].sha256 == "0" * 64
    assert product.trusted == {"4"}
    assert await api.store.products.known_manifests(product, "4") == []
    assert await api.store.products.known_manifests(product, "3") == [computed]


async def test_nothing_beside_a_single_file_is_registered(api: Api, settings: Settings) -> None:
    """A file that `up` or `product add` published by itself is a storage of this file alone."""
    top = settings.data.parent / "Music"
    (top / "sub").mkdir(parents=True)
    for name in ("a.zip", "b.zip", ".env"):
        (top / name).write_bytes(b"x" * 100)
    (top / "link.zip").symlink_to(".env")
    storages = Storages.of(settings)
    storage = hash_files(plan_publication([top / "a.zip"]), storages, "drums", "9").files[0].storage
    for key, expected in (
        ("a.zip", 200),
        ("b.zip", 400),
        (".env", 400),
        ("link.zip", 400),
        ("sub/../.env", 400),
    ):
        file = {"name": "x", "size": 100, "storage": storage, "key": key}
        status, body, _ = await api.ask(
            "POST", "/api/products/drums/versions", {"version": "3", "files": [file]}
        )
        assert status == expected, (key, body)
        assert [fault["field"] for fault in body.get("errors", ())] == ["files[0].key"] * (expected == 400)


async def test_nothing_new_from_what_an_earlier_version_registered(api: Api, settings: Settings) -> None:
    settings.data.mkdir(exist_ok=True)
    table = {"type": "local", "root": str(root(settings))}
    (settings.data / REGISTRY).write_text(json.dumps({"old": table}))
    file = {"name": "x", "size": 100, "storage": "old", "key": "a.bin"}
    status, body, _ = await api.ask("POST", "/api/products/drums/versions", {"version": "3", "files": [file]})
    assert (status, body["errors"][0]["field"]) == (400, "files[0].storage")
    assert "product add" in body["errors"][0]["message"]


@pytest.mark.slow
async def test_a_version_has_notes_and_a_time_of_publication(api: Api) -> None:
    new = {"version": "3", "files": [FILE], "notes": "Louder.", "publishedAt": "2026-01-31T12:00:00+01:00"}
    status, body, _ = await api.ask("POST", "/api/products/drums/versions", new)
    assert status == 200
    described = {"notes": "Louder.", "publishedAt": "2026-01-31T11:00:00.000Z"}
    assert body["product"]["versions"][2] | described == body["product"]["versions"][2]

    path = "/api/products/drums/versions/3"
    status, body, _ = await api.ask("PUT", path, {"publishedAt": "2026-02-01T00:00:00Z"})
    assert (status, body["product"]["versions"][2]["publishedAt"]) == (200, "2026-02-01T00:00:00.000Z")
    assert body["product"]["versions"][2]["notes"] == "Louder."
    for null in (None, ""):
        await api.ask("PUT", path, {"notes": "Louder."})
        status, body, _ = await api.ask("PUT", path, {"notes": null})
        assert (status, body["product"]["versions"][2]["notes"]) == (200, None)
    assert (await api.ask("GET", "/api/products/drums"))[1] == body

    for wrong, field in (({}, "body"), ({"notes": 7}, "notes"), ({"publishedAt": "soon"}, "publishedAt")):
        status, body, _ = await api.ask("PUT", path, wrong)
        assert (status, body["errors"][0]["field"]) == (400, field)
    assert (await api.ask("PUT", "/api/products/drums/versions/9", {"notes": "x"}))[0] == 404
    assert (await api.ask("PUT", "/api/products/other/versions/3", {"notes": "x"}))[0] == 404
