"""At a start with another key, secrets are encrypted again, or one line says that they cannot be read."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from gateway.connections.repository import ConnectionRepository
from gateway.connections.rotating import seal_anew
from gateway.connections.sealing import SealError, SecretBox
from gateway.database.engine import Database

ONE, TWO, THREE = "11" * 32, "22" * 32, "33" * 32


async def test_secrets_get_the_new_key(
    database: Database, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "gateway.connections")
    first = ConnectionRepository(database, SecretBox(tmp_path, ONE))
    made = [await first.create("stripe", name, ["whsec_abc"]) for name in ("a", "b")]
    both = ConnectionRepository(database, SecretBox(tmp_path, TWO, ONE))
    await seal_anew(both)
    assert "secrets of 2 connections were encrypted again" in caplog.text
    caplog.clear()
    second = ConnectionRepository(database, SecretBox(tmp_path, TWO))
    await seal_anew(second)
    assert caplog.text == ""
    assert [each.secrets for each in await second.list_all()] == [("whsec_abc",)] * 2
    assert [each.id for each in made] == [each.id for each in await second.list_all()]


async def test_a_wrong_key_is_one_line(
    database: Database, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = ConnectionRepository(database, SecretBox(tmp_path, ONE))
    for number in range(7):
        await first.create("stripe", f"shop {number}", ["whsec_abc"])
    await seal_anew(ConnectionRepository(database, SecretBox(tmp_path, THREE, TWO)))
    [record] = caplog.records
    said = record.getMessage()
    assert "secrets of 7 connections cannot be read (shop 0, " in said
    assert "`secrets_old_key`" in said
    assert "\n" not in said
    assert not any(key in said for key in (ONE, TWO, THREE, "whsec"))


async def test_a_connection_whose_secrets_are_lost_is_shown_and_takes_new_ones(
    database: Database, tmp_path: Path
) -> None:
    first = ConnectionRepository(database, SecretBox(tmp_path, ONE))
    made = await first.create("stripe", "shop", ["whsec_abc"])
    other = ConnectionRepository(database, SecretBox(tmp_path, TWO))
    [listed] = await other.list_all()
    assert (listed.id, listed.name, listed.secrets) == (made.id, "shop", ())
    assert listed.unreadable is not None
    with pytest.raises(SealError, match="give the connection its secrets again"):
        await other.find(made.id)
    with pytest.raises(SealError, match="give the connection its secrets again"):
        await other.change(made.id, name="shop 2")
    changed = await other.change(made.id, secrets=("whsec_new",))
    assert (changed.secrets, changed.unreadable) == (("whsec_new",), None)
    found = await other.find(made.id)
    assert found is not None
    assert found.secrets == ("whsec_new",)
