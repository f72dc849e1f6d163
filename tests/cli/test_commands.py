"""The commands for products, tokens and keys, used as a person and as a script use them."""

from __future__ import annotations

import os
import pty
import re
from pathlib import Path

import pytest
import redis

from gateway.catalogue.catalogue import Catalogue
from gateway.config.database_url import locate_database
from gateway.database.engine import Database
from gateway.secrets import key_hash, token_id
from gateway.store.key_names import token_key
from gateway.tokens.repositories import Repositories
from gateway.web.documents import product_document, token_document
from gateway.web.times import parse_time
from tests.support.console import Gateway
from tests.support.store_server import STORE_SECONDS, StoreServer

ID = re.compile(r"[0-9a-f]{32}")


@pytest.mark.slow
async def test_a_product_is_registered(gateway: Gateway, files: Path, store: StoreServer) -> None:
    (files / ".hidden").touch()
    added = gateway.run("product", "add", "drums", "1.0", files, "--name", "Drums & Bass")
    assert added.stdout == ""
    assert "drums 1.0: 2 files, 5.0 KiB, registered and active." in added.stderr
    assert "Left out 1 hidden file:" in added.stderr

    again = gateway.json("product", "add", "drums", "1.1", files / "a.bin")
    assert (again["activeVersion"], again["version"]) == ("1.0", "1.1"), "a later version is not sold unasked"
    assert (
        gateway.json("product", "add", "drums", "1.1", files / "a.bin", "--activate")["activeVersion"]
        == "1.1"
    )

    shown = gateway.json("product", "show", "drums")
    names = [[file["name"] for file in version["files"]] for version in shown["versions"]]
    assert names == [["a.bin", 'sub/ü "b".txt'], ["a.bin"]]
    location = locate_database(gateway.variables["GATEWAY_DATABASE_URL"], gateway.folder)
    async with Repositories.connect(store.url, STORE_SECONDS) as link, Database.of(location) as database:
        product = await Catalogue(database, link).find("drums")
        assert await link.products.get("drums") == product.product
        assert gateway.json("product", "list") == [product_document(product)], "the words of the API"

    table = gateway.run("product", "show", "drums").stdout
    assert shown["versions"][0]["files"][0]["sha256"] in table
    assert "Drums & Bass" in gateway.run("product", "list").stdout


async def test_a_token_lives_its_life(gateway: Gateway, files: Path, store: StoreServer) -> None:
    gateway.run("product", "add", "drums", "1.0", files)
    made = gateway.json(
        "token", "create", "drums", "--expires-in", "2h", "--max-downloads", "3", "--email", "a@b.example",
        "--name", "Änne", "--metadata", "order=4711", "--metadata", "shop=x=y", "--public-url", "https://dl.example/x",
    )  # fmt: skip
    token = made["downloadToken"]
    assert made["downloadUrl"] == f"https://dl.example/x/download?token={token}"
    assert "directUrl" not in made, "the version has several files"
    assert made["tokenId"] == token_id(token)
    assert parse_time(made["expiresAt"]) - parse_time(made["createdAt"]) == 2 * 3600 * 1000
    assert made["customer"] == {"email": "a@b.example", "name": "Änne"}
    assert made["metadata"] == {"order": "4711", "shop": "x=y"}

    shown = gateway.json("token", "show", made["tokenId"])
    assert shown.pop("files")[0] == {"name": "a.bin", "size": 5120, "bytesCharged": 0}
    async with Repositories.connect(store.url, STORE_SECONDS) as link:
        record = await link.tokens.get(made["tokenId"])
        assert record is not None
        assert shown == token_document(record), "the words of the mint API"
    assert gateway.json("token", "show", token)["tokenId"] == made["tokenId"], "the token itself names it too"

    longer = gateway.json("token", "extend", made["tokenId"], "--expires-in", "1d", "--unlimited")
    assert longer["maxDownloads"] is None
    assert parse_time(longer["expiresAt"]) - parse_time(made["createdAt"]) >= 86_400_000
    moment = "2099-01-01T00:00:00.000Z"
    assert "mint.max_ttl" in gateway.fault("token", "extend", made["tokenId"], "--expires-at", moment)
    limited = gateway.json("token", "extend", made["tokenId"], "--max-downloads", "5")
    assert (limited["maxDownloads"], limited["expiresAt"]) == (5, longer["expiresAt"])

    gateway.run("token", "revoke", made["tokenId"])
    assert gateway.json("token", "list", "--status", "revoked")[0]["revokedAt"] is not None
    assert gateway.json("token", "list", "--status", "active") == []


@pytest.mark.slow
def test_what_a_person_sees_of_tokens(gateway: Gateway, files: Path) -> None:
    gateway.run("product", "add", "drums", "1.0", files)
    made = gateway.run("token", "create", "drums", "1.0")
    [url] = made.stdout.splitlines()
    token = url.split("/")[-2]
    assert url == f"http://127.0.0.1:8080/download/{token}/", "the index of the files"
    assert token_id(token) in made.stderr
    assert token not in made.stderr
    listed = gateway.run("token", "list").stdout
    assert token_id(token) in listed
    assert token not in listed
    shown = gateway.run("token", "show", token_id(token)).stdout
    assert re.search(r"^status +active$", shown, re.M)
    assert token not in shown

    gateway.run("product", "add", "kit", "1.0", files / "a.bin")
    made = gateway.json("token", "create", "kit", "--public-url", "https://dl.example/x")
    assert made["directUrl"] == f"https://dl.example/x/download/{made['downloadToken']}/a.bin"
    assert gateway.run("token", "create", "kit").stdout.endswith("/a.bin\n")


@pytest.mark.slow
def test_ids_are_whole_in_a_narrow_terminal(gateway: Gateway, files: Path) -> None:
    gateway.run("product", "add", "a-product-with-quite-a-long-name", "1.0.0-alpha.1", files)
    made = gateway.json("token", "create", "a-product-with-quite-a-long-name")
    ours, theirs = pty.openpty()
    gateway.variables["COLUMNS"] = "40"
    process = gateway.start("token", "list", stdout=theirs)
    os.close(theirs)
    seen = b""
    with os.fdopen(ours, "rb", buffering=0) as terminal:
        try:
            while piece := terminal.read(65536):
                seen += piece
        except OSError:  # EIO: the other side is closed
            pass
    assert process.wait() == 0
    assert made["tokenId"].encode() in seen
    assert b"a-product-with-quite-a-long-name" in seen
    assert b"\x1b[" in seen, "a terminal gets colours"


@pytest.mark.slow
def test_the_list_is_filtered_and_limited(gateway: Gateway, files: Path) -> None:
    for product in ("drums", "bass"):
        gateway.run("product", "add", product, "1", files)
    made = [gateway.json("token", "create", product)["tokenId"] for product in ("drums", "bass", "bass")]
    assert [each["tokenId"] for each in gateway.json("token", "list")] == made[::-1], "newest first"
    assert {each["tokenId"] for each in gateway.json("token", "list", "--product", "bass")} == set(made[1:])
    limited = gateway.run("token", "list", "--limit", "1")
    assert len(ID.findall(limited.stdout)) == 1
    assert "--limit 1 was reached" in limited.stderr


@pytest.mark.slow
def test_a_damaged_key_is_named_beside_the_list(gateway: Gateway, files: Path, store: StoreServer) -> None:
    gateway.run("product", "add", "drums", "1", files)
    made = gateway.json("token", "create", "drums")["tokenId"]
    bad = "f" * 32
    with redis.Redis.from_url(store.url) as client:
        client.set(token_key(bad), "text")
    listed = gateway.run("token", "list")
    assert ID.findall(listed.stdout) == [made]
    assert listed.stderr.startswith(f"token {bad} is damaged")
    assert listed.stderr.count("\n") == 1
    assert "is damaged" in gateway.fault("token", "show", bad)


@pytest.mark.slow
async def test_a_key_is_shown_once_and_stored_hashed(gateway: Gateway, store: StoreServer) -> None:
    made = gateway.json("key", "create", "shop", "--role", "mint")
    async with Repositories.connect(store.url, STORE_SECONDS) as link:
        record = await link.keys.authenticate(made["key"])
        assert record is not None
        assert record.role == "mint"
        assert await link.client.call("EXISTS", made["key"]) == 0
        assert record.hash == key_hash(made["key"])
    listed = gateway.run("key", "list").stdout
    assert "shop" in listed
    assert made["key"] not in listed
    gateway.run("key", "create", "shop", "--role", "admin")
    assert "2 API keys" in gateway.fault("key", "revoke", "shop")
    gateway.run("key", "revoke", made["keyId"])
    assert [key["role"] for key in gateway.json("key", "list")] == ["admin"]


@pytest.mark.slow
def test_an_embedded_store_serves_commands_too(tmp_path: Path, files: Path) -> None:
    gateway = Gateway(tmp_path)
    gateway.run("product", "add", "drums", "1", files, "--data", "state")
    gateway.run("--data", "state", "token", "create", "drums")  # before the command's name is as good
    assert len(gateway.json("token", "list", "--data", "state")) == 1
    assert not (tmp_path / ".download-gateway").exists()


@pytest.mark.slow
def test_what_the_locale_cannot_write_is_escaped(gateway: Gateway) -> None:
    gateway.variables["PYTHONIOENCODING"] = "latin-1"
    gateway.run("key", "create", "日本")
    assert "\\u65e5\\u672c" in gateway.run("key", "list").stdout
    assert gateway.json("key", "list")[0]["name"] == "日本"


@pytest.mark.parametrize("text", ["a\x1b[31mb", "tab\there", "line\nbreak"])
async def test_control_characters_do_not_reach_the_terminal(
    text: str, gateway: Gateway, store: StoreServer
) -> None:
    async with Repositories.connect(store.url, STORE_SECONDS) as link:
        await link.keys.create(text)
    listed = gateway.run("key", "list").stdout
    assert len(listed.splitlines()) == 2
    assert listed.replace("\n", "").isprintable()
