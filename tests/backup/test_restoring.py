"""A backup is taken while everything runs, and restored into other databases and stores."""

from __future__ import annotations

import gzip
import json
import os
import stat
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.backup.contents import BackupFault
from gateway.backup.restoring import is_used, restore
from gateway.backup.taking import take
from gateway.catalogue.catalogue import Catalogue
from gateway.database.engine import Database
from gateway.database.migrating import migrate
from gateway.database.tables import (
    CONNECTION,
    CUSTOMER,
    ENTITLEMENT,
    INBOX,
    LINK,
    METADATA,
)
from gateway.secrets import token_id
from gateway.storage.local.registered_folders import Registered, read_registry, register_entries
from gateway.tokens.repositories import Repositories
from tests.support.control_plane import manifest
from tests.support.databases import Databases
from tests.support.store_server import StoreServer


def quiet(_what: str, _number: int) -> None:
    pass


async def rows(database: Database) -> dict[str, list[tuple[Any, ...]]]:
    async with database.reading() as connection:
        return {
            table.name: sorted(map(tuple, await connection.execute(table.select())), key=repr)
            for table in METADATA.sorted_tables
            if table.name != "state"
        }


async def tokens(store: Repositories) -> dict[str, Any]:
    call = store.client.call
    keys = sorted(await call("KEYS", "dg:token:*"))
    return {key: (await call("HGETALL", key), await call("PEXPIRETIME", key)) for key in keys}


@pytest.fixture
async def catalogue(database: Database, repos: Repositories) -> Catalogue:
    """Something of everything, with values that are hard to write."""
    made = Catalogue(database, repos)
    await made.register(manifest("drums", "1.0"), notes='Zeile\n"ß" 𝄞')
    await made.register(manifest("drums", "2.0", 100, 50))
    await made.create_key("shop", "mint", 3600)
    async with database.writing() as connection:
        await connection.execute(CUSTOMER.insert().values(id="c", name="Ada", created=1))
        row = {"id": "s", "kind": "stripe", "name": "shop", "live": True, "secrets": bytes(range(256))}
        await connection.execute(CONNECTION.insert().values(**row, options={"a": [1, None]}, created=1))
        event = {"id": "e", "connection_id": "s", "dedupe_key": "d", "type": "t", "state": "applied"}
        body = b"\x00\xff" * 1000
        await connection.execute(INBOX.insert().values(**event, received=2, headers={}, body=body))
        for status in ("active", "revoked"):
            right = {"id": status, "customer_id": "c", "product_id": "drums", "scope": "all", "quantity": 1}
            values = {"status": status, "reasons": ["\x00"], "enforced": status, "created": 1, "updated": 1}
            await connection.execute(ENTITLEMENT.insert().values(**right, **values, bought=1, base={}))
    return made


@pytest.fixture(params=["sqlite", "postgresql"])
async def target(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Database]:
    """Another database, of either engine, so that each is restored into each."""
    server = request.getfixturevalue("postgres") if request.param == "postgresql" else None
    made = Databases(Path(tempfile.mkdtemp(dir=tmp_path_factory.getbasetemp())), server, prefix="target")
    location = await made.make(empty=True)
    async with Database.of(location) as database:
        await migrate(database)
        yield database
    await made.remove(location)


@pytest.mark.slow
async def test_everything_comes_back_in_another_database_and_store(
    catalogue: Catalogue, repos: Repositories, target: Database, own_store: StoreServer, tmp_path: Path
) -> None:
    kept = await repos.tokens.create("drums", max_downloads=3, email="ada@example.com", metadata={"order": 7})
    ended = await repos.tokens.create("drums")
    async with catalogue.database.writing() as connection:
        for minted, right in ((kept, "active"), (ended, "revoked")):
            link = {"token_id": minted.record.id, "entitlement_id": right, "version": "1.0"}
            await connection.execute(LINK.insert().values(**link, created=1, expires=minted.record.expires))
    await repos.audit.record("cli", "token.create", {"token": kept.record.id})
    source, destination = tmp_path / "from", tmp_path / "to"
    register_entries(source, [Registered(tmp_path / "files", whole=True)])
    (source / "secrets.key").write_bytes(b"\x00key")
    file = tmp_path / "backup"
    found = await take(file, catalogue.database, repos, source, quiet)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert (found["tokens"], found["tables"]["product"]) == (2, 1)
    assert [name for name in os.listdir(tmp_path) if name.startswith(".")] == []

    async with Repositories.connect(own_store.url, 10) as other:
        assert not await is_used(target, other)
        for _ in range(2):  # it may be made again
            restored = await restore(file, target, other, destination, quiet)
            assert restored["rows"] == found["rows"]
        assert await rows(target) == await rows(catalogue.database)
        expected = await tokens(repos)
        del expected[f"dg:token:{{{ended.record.id}}}"]
        assert await tokens(other) == expected
        assert await other.products.list_all() == await repos.products.list_all()
        assert await other.keys.list_all() == await repos.keys.list_all()
        digest = manifest("drums", "2.0", 100, 50).digest
        assert await other.products.get_manifest(digest) == await repos.products.get_manifest(digest)
        assert [each.what for each in await other.audit.latest(1)] == [{"token": kept.record.id}]
        assert not await Catalogue(target, other).synchronise()
        assert (await other.tokens.get(token_id(kept.token))) is not None
        assert await is_used(target, other)
        assert await other.tokens.index.is_complete()
    assert read_registry(destination) == read_registry(source)
    assert (destination / "secrets.key").read_bytes() == b"\x00key"
    assert stat.S_IMODE((destination / "secrets.key").stat().st_mode) == 0o600


async def test_a_backup_of_yesterday_replaces_the_catalogue_and_keeps_newer_tokens(
    catalogue: Catalogue, repos: Repositories, tmp_path: Path
) -> None:
    old = await repos.tokens.create("drums", max_downloads=1)
    file = tmp_path / "backup"
    await take(file, catalogue.database, repos, tmp_path, quiet)
    before = await rows(catalogue.database)
    await catalogue.register(manifest("today", "1"))
    await catalogue.create_key("today")
    new = await repos.tokens.create("drums")
    await repos.client.call("HSET", f"dg:token:{{{old.record.id}}}", "charged:0", "100")
    await restore(file, catalogue.database, repos, tmp_path, quiet)
    after = await rows(catalogue.database)
    assert after == before
    assert [each.id for each in await repos.products.list_all()] == ["drums"]
    assert [each.name for each in await repos.keys.list_all()] == ["shop"]
    assert not await catalogue.synchronise()
    assert await repos.tokens.get(new.record.id) is not None
    charged = await repos.client.call("HGET", f"dg:token:{{{old.record.id}}}", "charged:0")
    assert charged == "100", "what was received stays charged"


@pytest.mark.parametrize("damage", ["cut", "end", "bit", "other", "newer", "migration", "empty"])
async def test_a_file_that_is_not_whole_changes_nothing(
    catalogue: Catalogue, repos: Repositories, tmp_path: Path, damage: str
) -> None:
    file = tmp_path / "backup"
    await take(file, catalogue.database, repos, tmp_path, quiet)
    content = file.read_bytes()
    lines = gzip.decompress(content).splitlines(keepends=True)
    first = json.loads(lines[0])
    damaged = {
        "cut": content[:-20],
        "end": gzip.compress(b"".join(lines[:-1])),
        "bit": content[:100] + bytes([content[100] ^ 1]) + content[101:],
        "other": gzip.compress(b'{"end": {}}\n'),
        "newer": gzip.compress(b"".join([json.dumps({**first, "backup": 2}).encode() + b"\n", *lines[1:]])),
        "migration": gzip.compress(
            b"".join([json.dumps({**first, "migration": "9999"}).encode() + b"\n", *lines[1:]])
        ),
        "empty": b"",
    }
    file.write_bytes(damaged[damage])
    before = await rows(catalogue.database)
    with pytest.raises(BackupFault, match=str(file)) as raised:
        await restore(file, catalogue.database, repos, tmp_path, quiet)
    assert "\n" not in str(raised.value)
    assert await rows(catalogue.database) == before
