"""Tokens, against a real store."""

from __future__ import annotations

import pytest

from gateway.errors import Declined
from gateway.secrets import token_id
from gateway.store.key_names import token_key
from gateway.tokens.caps import CapChanges
from gateway.tokens.repositories import Repositories
from tests.support.repositories import manifest


async def test_times_are_of_the_stores_clock(repos: Repositories) -> None:
    await repos.products.register(manifest("p", "1"))
    minted = await repos.tokens.create("p", expires_in=60)
    record = minted.record
    assert record.expires - record.created == 60_000
    assert await repos.client.call("PEXPIRETIME", token_key(record.id)) == record.expires
    assert record.id == token_id(minted.token)
    assert minted.token not in repr(minted)
    assert await repos.tokens.get(record.id) == record
    at = await repos.tokens.create("p", expires_at=record.expires + 1)
    assert at.record.expires == record.expires + 1
    assert await repos.tokens.create("p", expires_in=5, token=minted.token) == minted
    with pytest.raises(Declined, match="past"):
        await repos.tokens.create("p", expires_at=record.created)
    with pytest.raises(Declined, match="expiresIn"):
        await repos.tokens.create("p", expires_in=0)


async def test_revoking_keeps_the_expiry(repos: Repositories) -> None:
    await repos.products.register(manifest("p", "1"))
    record = (await repos.tokens.create("p", max_downloads=1)).record
    revoked = await repos.tokens.revoke(record.id)
    assert (revoked.status, revoked.expires) == ("revoked", record.expires)
    assert await repos.tokens.revoke(record.id) == revoked
    assert await repos.client.call("PEXPIRETIME", token_key(record.id)) == record.expires
    with pytest.raises(Declined, match="revoked"):
        await repos.tokens.update(record.id, expires_at=record.expires + 5)
    for unknown in ("0" * 32, "", "*", record.id.upper()):
        with pytest.raises(Declined, match="no such token"):
            await repos.tokens.revoke(unknown)


async def test_the_expiry_and_the_limit_can_be_changed(repos: Repositories) -> None:
    await repos.products.register(manifest("p", "1"))
    record = (await repos.tokens.create("p", expires_in=60)).record
    key = token_key(record.id)
    changed = await repos.tokens.update(record.id, expires_at=record.expires + 777, max_downloads=2)
    assert (changed.expires, changed.max_downloads) == (record.expires + 777, 2)
    assert await repos.client.call("PEXPIRETIME", key) == record.expires + 777
    assert await repos.client.call("HMGET", key, "max", "size") == ["2", "100"]
    assert await repos.tokens.update(record.id) == changed
    unlimited = await repos.tokens.update(record.id, max_downloads=None)
    assert unlimited.max_downloads is None
    assert await repos.client.call("HMGET", key, "max", "size") == [None, None]
    for wrong, code in ((record.created, "expiry_past"), (record.created + 999_000, "expiry_too_far")):
        with pytest.raises(Declined) as error:
            await repos.tokens.update(record.id, expires_at=wrong, max_downloads=5, max_lifetime=600)
        assert error.value.code == code
    assert await repos.tokens.get(record.id) == unlimited  # all or nothing


@pytest.mark.parametrize(
    ("before", "changes", "after"),
    [
        ("", {"connections": 4, "binding": "address"}, "connections=4 binding=address"),
        ("connections=4 rate=5", {"connections": None}, "rate=5"),
        ("connections=4 rate=5", {"rate": 6, "connection_rate": 7}, "connections=4 rate=6 connection_rate=7"),
        ("connections=4", {"connections": None, "rate": None}, None),
        ("colour=blue rate=5", {"rate": None, "binding": "network"}, "colour=blue binding=network"),
        ("rate=5", {}, "rate=5"),
    ],
)
async def test_the_caps_are_changed_word_by_word(
    repos: Repositories, before: str, changes: CapChanges, after: str | None
) -> None:
    await repos.products.register(manifest("p", "1"))
    record = (await repos.tokens.create("p")).record
    key = token_key(record.id)
    if before:
        await repos.client.call("HSET", key, "caps", before)
    await repos.client.call("HSET", key, "bound", "somebody")
    await repos.tokens.update(record.id, caps=changes)
    bound = None if "binding" in changes else "somebody"
    assert await repos.client.call("HMGET", key, "caps", "bound") == [after, bound]
    with pytest.raises(Declined) as error:
        await repos.tokens.update(
            record.id, caps={"rate": 10**12 + 1, "connections": 10_001}, max_downloads=1
        )
    assert [field for field, _ in error.value.faults] == ["maxConnections", "maxRate"]
    assert await repos.client.call("HMGET", key, "caps", "bound", "max") == [after, bound, None]


@pytest.mark.parametrize(
    ("sizes", "charged", "exhausted"),
    [
        ((100,), {0: 199}, False),
        ((100,), {0: 200}, True),
        ((100, 50), {0: 200}, False),
        ((100, 50), {0: 200, 1: 100}, True),
        ((100, 0), {0: 200}, True),
        ((0,), {}, False),
    ],
)
async def test_a_token_is_exhausted_when_every_file_is_used_up(
    repos: Repositories, sizes: tuple[int, ...], charged: dict[int, int], exhausted: bool
) -> None:
    await repos.products.register(manifest("p", "1", *sizes))
    record = (await repos.tokens.create("p", max_downloads=2)).record
    for file, count in charged.items():
        await repos.client.call("HINCRBY", token_key(record.id), f"charged:{file}", count)
    found = await repos.tokens.get(record.id)
    assert found is not None
    assert found.charged == charged
    assert found.status == ("exhausted" if exhausted else "active")
