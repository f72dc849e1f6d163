"""The index of tokens, against a real store: it follows the tokens, and what is lost is found again."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from gateway.products.repository import ResolvedVersion
from gateway.secrets import new_token
from gateway.store.key_names import TOKEN_INDEX_KEY, token_key
from gateway.tokens import index as index_module
from gateway.tokens.index import (
    EXAMINED,
    LAST_MOMENT,
    Entry,
    TokenIndex,
    customer_mark,
    pack_entry,
    product_mark,
)
from gateway.tokens.listing import TokenFilter
from gateway.tokens.records import TokenRecord
from gateway.tokens.repositories import Repositories
from tests.support.repositories import create_many, list_ids, manifest
from tests.support.store_server import StoreServer

EMAIL = "ada@example.com"


@pytest.fixture
async def shop(repos: Repositories) -> Repositories:
    """The repositories, with a product p."""
    await repos.products.register(manifest("p", "1"))
    return repos


async def members(repos: Repositories) -> list[bytes]:
    """The members of the index, without the two that are no entries."""
    await repos.tokens.index.drain()
    found = await repos.client.call("ZRANGE", TOKEN_INDEX_KEY, "[c", "(s", "BYLEX")
    found += await repos.client.call("ZRANGE", TOKEN_INDEX_KEY, "[t", "(u", "BYLEX")
    return [member.encode("utf-8", "surrogateescape") for member in found]


def expected(*records: TokenRecord) -> set[bytes]:
    """The members that these tokens have."""
    found = set()
    for record in records:
        entry = pack_entry(record.id, record.created, record.expires, record.product, record.email)
        found |= {b"t" + entry, b"p" + entry[22:26] + entry[:22]}
        if record.email:
            found.add(b"c" + entry[26:30] + entry[:22])
    return found


async def expire(repos: Repositories, *records: TokenRecord) -> None:
    """Let tokens be gone, and their entries be overdue, as if years had passed."""
    await repos.client.call("DEL", *(token_key(record.id) for record in records))
    for record in records:
        entry = pack_entry(record.id, record.created, record.expires, record.product, record.email)
        old = pack_entry(record.id, record.created, record.created + 1, record.product, record.email)
        await repos.client.call_all(
            ("ZREM", TOKEN_INDEX_KEY, b"t" + entry), ("ZADD", TOKEN_INDEX_KEY, 0, b"t" + old)
        )


def test_marks_are_short_and_ignore_case() -> None:
    assert len(product_mark("p")) == len(customer_mark(EMAIL)) == 4
    assert customer_mark("ADA@Example.com") == customer_mark(EMAIL) != customer_mark("bob@example.com")
    assert customer_mark(None) == customer_mark("") == bytes(4)
    assert product_mark(EMAIL) != customer_mark(EMAIL)


@pytest.mark.parametrize("expires", [1, LAST_MOMENT, LAST_MOMENT + 1, 10**20])
def test_every_expiry_has_six_bytes(expires: int) -> None:
    assert len(pack_entry("ab" * 16, 1, expires, "p", None)) == 36


def test_an_entry_is_read_from_each_kind_of_member() -> None:
    entry = pack_entry("ab" * 16, 1234567890123, 1234567890124, "p", EMAIL)
    for member in (b"t" + entry, b"p" + entry[22:26] + entry[:22], b"c" + entry[26:30] + entry[:22]):
        found = Entry.read(member.decode("utf-8", "surrogateescape"))
        assert (found.identifier, found.created, found.member) == ("ab" * 16, 1234567890123, member)


async def test_a_new_token_is_in_the_index_and_its_customer_is_not_readable_there(shop: Repositories) -> None:
    plain = (await shop.tokens.create("p", "1")).record
    hers = (await shop.tokens.create("p", email=EMAIL, name="Ada")).record
    found = await members(shop)
    assert set(found) == expected(plain, hers)
    assert not [member for member in found if b"ada" in member.lower()]


async def test_the_times_are_those_of_the_token_however_old_the_lookup_was(shop: Repositories) -> None:
    version = await shop.products.resolve_version("p")
    assert version.read_at > 0
    made = []
    for read_at in (0, 1, version.read_at - 3_600_000, version.read_at + 3_600_000, version.read_at):
        stale = ResolvedVersion("p", "1", version.manifest, read_at)
        made.append((await shop.tokens.create(stale, expires_in=60)).record)
    assert set(await members(shop)) == expected(*made)
    assert all(record.expires - record.created == 60_000 for record in made)
    assert all(abs(record.created - version.read_at) < 30_000 for record in made)


async def test_a_token_that_is_made_again_has_one_entry(shop: Repositories) -> None:
    version = await shop.products.resolve_version("p")
    token = new_token()
    first = (await shop.tokens.create(version, token=token, expires_in=600)).record
    await asyncio.sleep(0.005)
    later = ResolvedVersion("p", "1", version.manifest, version.read_at + 5)
    assert (await shop.tokens.create(later, token=token, expires_in=600)).record == first
    assert set(await members(shop)) == expected(first)


async def test_extending_moves_the_expiry_and_shortening_does_not(shop: Repositories) -> None:
    record = (await shop.tokens.create("p", email=EMAIL, expires_in=60)).record
    longer = await shop.tokens.update(record.id, expires_at=record.expires + 60_000)
    assert set(await members(shop)) == expected(longer)
    await shop.tokens.update(record.id, expires_at=record.expires - 30_000)
    assert set(await members(shop)) == expected(longer)
    assert await list_ids(shop) == [record.id]


async def test_a_revoked_token_stays_in_the_list_and_a_gone_one_leaves_it(shop: Repositories) -> None:
    revoked, gone, stays = [(await shop.tokens.create("p", email=EMAIL)).record for _ in range(3)]
    await shop.tokens.revoke(revoked.id)
    await shop.client.call("DEL", token_key(gone.id))
    assert set(await list_ids(shop)) == {revoked.id, stays.id}
    assert set(await members(shop)) == expected(
        revoked, gone, stays
    )  # a young one may be about to be written


@pytest.mark.parametrize("only", [TokenFilter(), TokenFilter("p"), TokenFilter(email=EMAIL)])
async def test_a_list_removes_what_it_finds_to_be_gone(
    shop: Repositories, monkeypatch: pytest.MonkeyPatch, only: TokenFilter
) -> None:
    monkeypatch.setattr(index_module, "YOUNG_SECONDS", -60)
    gone, stays = [(await shop.tokens.create("p", email=EMAIL)).record for _ in range(2)]
    await shop.client.call("DEL", token_key(gone.id))
    assert await list_ids(shop, only) == [stays.id]
    assert set(await members(shop)) == expected(stays)


async def test_making_tokens_removes_entries_of_expired_ones_a_few_at_a_time(
    shop: Repositories, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_module, "EXAMINED_AT_ONCE", 1)
    old = [(await shop.tokens.create("p", email=EMAIL)).record for _ in range(20)]
    keep = (await shop.tokens.create("p", email=EMAIL)).record
    await expire(shop, *old)
    assert len(await members(shop)) == 63
    new = [(await shop.tokens.create("p")).record]
    assert len(await members(shop)) == 65 - 3 * EXAMINED
    while len(new) < 16:
        new.append((await shop.tokens.create("p")).record)
    assert set(await members(shop)) == expected(keep, *new)


async def test_a_sweep_goes_through_the_whole_index_in_steps(
    shop: Repositories, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_module, "SWEEP_STEP", 10)
    await create_many(shop, 25)
    old = [(await shop.tokens.create("p")).record for _ in range(10)]
    await create_many(shop, 3)
    await shop.tokens.index.drain()
    await shop.client.call("ZREM", TOKEN_INDEX_KEY, *await marks(shop))
    await expire(shop, *old)
    assert [await shop.tokens.index.sweep() for _ in range(3)] == [0, 0, 5]
    assert [await shop.tokens.index.sweep() for _ in range(4)] == [5, 0, 0, 0]
    assert len(await members(shop)) == 56


async def marks(repos: Repositories) -> list[str]:
    """Where the search for expired entries has come to."""
    found: list[str] = await repos.client.call("ZRANGE", TOKEN_INDEX_KEY, "[s", "(t", "BYLEX")
    return found or ["none"]


async def test_a_fill_finds_tokens_whose_entries_were_lost(shop: Repositories) -> None:
    made = [(await shop.tokens.create("p", email=EMAIL)).record for _ in range(3)]
    lost = expected(made[1])
    await members(shop)
    await shop.client.call("ZREM", TOKEN_INDEX_KEY, *lost)
    await shop.client.call("HSET", token_key("0" * 32), "created", "never")  # holds no token
    await shop.client.call("SET", token_key("1" * 32), "text")
    await shop.client.call("SET", token_key("no-id"), "text")
    await shop.tokens.index.fill()
    assert {member for member in await members(shop) if member[:1] != b"d"} == expected(*made)
    found = await shop.tokens.index.find(b"t", None, 1)
    assert (found.is_complete, found.damaged) == (True, ["0" * 32, "1" * 32])
    page = await shop.tokens.list_page()
    assert page.damaged == ("0" * 32, "1" * 32)
    await shop.client.call("DEL", token_key("0" * 32))
    assert (await shop.tokens.list_page()).damaged == ("1" * 32,)
    assert (await shop.tokens.index.find(b"t", None, 1)).damaged == ["1" * 32]


async def test_a_write_that_fails_lets_the_next_list_look_again(shop: Repositories) -> None:
    assert await list_ids(shop) == []  # now it is complete
    await shop.client.call("RENAME", TOKEN_INDEX_KEY, "dg:tokens:aside")
    await shop.client.call("SET", TOKEN_INDEX_KEY, "another kind")
    lost = (await shop.tokens.create("p")).record.id
    await shop.tokens.index.drain()
    await shop.client.call("RENAME", "dg:tokens:aside", TOKEN_INDEX_KEY)
    found = (await shop.tokens.create("p")).record.id
    await shop.tokens.index.drain()
    assert not await shop.tokens.index.is_complete()
    assert set(await list_ids(shop)) == {lost, found}


async def test_closing_the_repositories_waits_for_the_index(store: StoreServer) -> None:
    async with Repositories.connect(store.url, 10) as repos:
        await repos.products.register(manifest("p", "1"))
        await repos.client.call("SCRIPT", "FLUSH")
        made = (await repos.tokens.create("p")).record
    async with Repositories.connect(store.url, 10) as repos:
        assert set(await members(repos)) == expected(made)


async def test_the_keeper_fills_again_and_again(shop: Repositories, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_module, "KEEP_SECONDS", 0.01)
    monkeypatch.setattr(index_module, "FILL_EVERY_SECONDS", 0.01)
    monkeypatch.setattr(index_module, "PAUSE_SECONDS", 0.0)
    index: TokenIndex = shop.tokens.index
    keeper = asyncio.create_task(index.keep())
    try:
        for _ in range(2):
            made = [(await shop.tokens.create("p")).record for _ in range(3)]
            await members(shop)
            await shop.client.call("ZREM", TOKEN_INDEX_KEY, *expected(made[1]))
            async with asyncio.timeout(60):
                while not expected(*made) <= set(await members(shop)):  # noqa: ASYNC110 - of another client
                    await asyncio.sleep(0.01)
            await shop.client.call("DEL", TOKEN_INDEX_KEY)
            async with asyncio.timeout(60):
                while not await index.is_complete():  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
    finally:
        keeper.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await keeper
