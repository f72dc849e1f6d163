"""API keys, against a real store."""

from __future__ import annotations

import pytest

from gateway.errors import Declined
from gateway.tokens.repositories import Repositories
from tests.support.repositories import manifest


async def test_keys_are_created_listed_and_revoked(repos: Repositories) -> None:
    shop = await repos.keys.create("shop", "mint")
    admin = await repos.keys.create("admin")
    twin = await repos.keys.create("shop")
    assert shop.key not in repr(shop)
    assert await repos.keys.authenticate(shop.key) == shop.record
    assert (await repos.keys.authenticate(admin.key) or shop.record).role == "admin"
    for unknown in ("", "gk_" + "a" * 43, shop.key + "x", "é", "x" * 10_000):
        assert await repos.keys.authenticate(unknown) is None
    assert {key.id for key in await repos.keys.list_all()} == {key.record.id for key in (shop, admin, twin)}
    with pytest.raises(Declined, match="by id"):
        await repos.keys.revoke("shop")
    assert await repos.keys.revoke(shop.record.id) == shop.record
    assert await repos.keys.revoke("shop") == twin.record
    assert await repos.keys.authenticate(shop.key) is None
    with pytest.raises(Declined) as error:
        await repos.keys.revoke(shop.key)
    assert shop.key not in str(error.value)
    with pytest.raises(Declined, match="role"):
        await repos.keys.create("x", "root")


async def test_no_secret_reaches_the_store(repos: Repositories) -> None:
    await repos.products.register(manifest("p", "1"))
    secrets = [(await repos.tokens.create("p", email="a@b", metadata={"a": 1})).token for _ in range(5)]
    secrets += [(await repos.keys.create("k")).key]
    held = []
    for key in await repos.client.call("KEYS", "*"):
        held.append(key)
        held.append(str(await repos.client.call("DUMP", key)))
    text = "\n".join(held)
    assert not any(secret in text or secret[3:] in text for secret in secrets)
