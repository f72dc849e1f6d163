"""The keys of receipts: made once, shared, encrypted, replaced, and published for ever."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest
from sqlalchemy import select

from gateway.connections.sealing import SecretBox
from gateway.database.engine import Database
from gateway.database.usage_tables import SIGNING_KEY
from gateway.usage import jws
from gateway.web.signing_keys import SigningKeys

OTHER_KEY = "11" * 32


async def test_processes_that_share_the_database_share_the_key(database: Database, tmp_path: Path) -> None:
    several = [SigningKeys(database, SecretBox(tmp_path)) for _ in range(5)]
    made = await asyncio.gather(*(each.current() for each in several))
    assert len(set(made)) == 1
    assert set(await several[0].published()) == {jws.thumbprint(jws.public_of(made[0]))}


async def test_a_key_is_published_before_anything_is_signed(database: Database, tmp_path: Path) -> None:
    keys = SigningKeys(database, SecretBox(tmp_path))
    published = await keys.published()
    assert len(published) == 1
    assert jws.verify(await keys.sign(b"x"), published) == b"x"


async def test_what_is_stored_tells_nobody_the_key(database: Database, tmp_path: Path) -> None:
    private = await SigningKeys(database, SecretBox(tmp_path)).current()
    async with database.reading() as sql:
        [row] = (await sql.execute(select(SIGNING_KEY))).all()
    assert private not in row.private
    assert row.public == jws.public_of(private)


async def test_a_replaced_key_stays_published_and_signs_no_more(database: Database, tmp_path: Path) -> None:
    keys, others = SigningKeys(database, SecretBox(tmp_path)), SigningKeys(database, SecretBox(tmp_path))
    old = await others.sign(b"old")
    new = await keys.rotate()
    published = await keys.published()
    assert next(iter(published)) == new
    assert len(published) == 2
    assert jws.verify(old, published) == b"old"
    signed = await others.sign(b"new")
    assert jws.verify(signed, {new: published[new]}) == b"new"
    async with database.reading() as sql:
        rows = (await sql.execute(select(SIGNING_KEY))).all()
    assert {(row.id == new, row.private is None, row.retired is None) for row in rows} == {
        (True, False, True),
        (False, True, False),
    }


async def test_a_new_key_of_the_secrets_encrypts_it_anew(database: Database, tmp_path: Path) -> None:
    private = await SigningKeys(database, SecretBox(tmp_path)).current()
    assert await SigningKeys(database, SecretBox(tmp_path, OTHER_KEY)).current() == private
    (tmp_path / "secrets.key").unlink()
    assert await SigningKeys(database, SecretBox(tmp_path, OTHER_KEY)).current() == private


async def test_a_key_that_nothing_opens_is_replaced(
    database: Database, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A receipt is still signed, and what the lost key has signed can still be verified."""
    old = await SigningKeys(database, SecretBox(tmp_path)).sign(b"old")
    keys = SigningKeys(database, SecretBox(tmp_path / "elsewhere", OTHER_KEY))
    with caplog.at_level(logging.ERROR):
        new = await keys.sign(b"new")
    assert "cannot be opened" in caplog.text
    published = await keys.published()
    assert (jws.verify(old, published), jws.verify(new, published)) == (b"old", b"new")
