"""Pages of tokens, against a real store."""

from __future__ import annotations

import pytest

from gateway.errors import StoreUnavailable
from gateway.store.key_names import TOKEN_INDEX_KEY, manifest_key, token_key
from gateway.tokens import listing
from gateway.tokens.index import POSITION_BYTES
from gateway.tokens.listing import TokenFilter
from gateway.tokens.repositories import Repositories
from tests.support.repositories import create_many, list_ids, manifest
from tests.support.timing import lasts


@pytest.fixture
async def shop(repos: Repositories) -> Repositories:
    """The repositories, with products p and q."""
    await repos.products.register(manifest("p", "1"))
    await repos.products.register(manifest("q", "1"))
    return repos


@pytest.mark.parametrize("limit", [1, 7, 50, 200])
async def test_every_token_is_listed_once_and_the_newest_first(shop: Repositories, limit: int) -> None:
    assert await list_ids(shop, limit=limit) == []
    made = [(await shop.tokens.create("p")).record for _ in range(5)]
    others = await create_many(shop, 195)
    found = await list_ids(shop, limit=limit)
    assert len(found) == 200
    assert set(found) == others | {record.id for record in made}
    created = [(await shop.tokens.get(found[place])).created for place in (0, 20, 100, 199)]  # type: ignore[union-attr]
    assert created == sorted(created, reverse=True)
    newest_first = [record.id for record in sorted(made, key=lambda one: (one.created, one.id), reverse=True)]
    assert found[-5:] == newest_first


async def test_pages_repeat_and_omit_nothing_while_tokens_are_made_and_expire(shop: Repositories) -> None:
    made = await create_many(shop, 40)
    doomed = sorted(await create_many(shop, 200))
    stay = await create_many(shop, 40)
    found: list[str] = []
    cursor = None
    while True:
        page = await shop.tokens.list_page(None, 10, cursor)
        found += [record.id for record in page.tokens]
        await create_many(shop, 5)
        gone, doomed = doomed[:20], doomed[20:]
        if gone:
            await shop.client.call("DEL", *map(token_key, gone))
        if page.cursor is None:
            break
        cursor = page.cursor
    assert made | stay <= set(found)
    assert len(found) == len(set(found))


async def test_filters_select_by_product_status_email_and_key(shop: Repositories) -> None:
    await create_many(shop, 300)
    mine = (await shop.tokens.create("q", email="Ada@Example.com", key="0" * 16)).record.id
    hers = (await shop.tokens.create("p", email="ada@example.com")).record.id
    await shop.tokens.create("p", email="bob@example.com")
    revoked = (await shop.tokens.create("q")).record.id
    await shop.tokens.revoke(revoked)
    used = (await shop.tokens.create("p", max_downloads=1)).record.id
    await shop.client.call("HSET", token_key(used), "charged:0", 100)
    assert set(await list_ids(shop, TokenFilter(product="q"))) == {mine, revoked}
    assert set(await list_ids(shop, TokenFilter(email="ADA@example.com"))) == {mine, hers}
    assert await list_ids(shop, TokenFilter(product="q", email="ada@example.com")) == [mine]
    assert await list_ids(shop, TokenFilter(product="p", email="ada@example.com", status="active")) == [hers]
    assert await list_ids(shop, TokenFilter(status="revoked")) == [revoked]
    assert await list_ids(shop, TokenFilter(status="exhausted")) == [used]
    assert await list_ids(shop, TokenFilter(key="0" * 16)) == [mine]
    assert len(await list_ids(shop, TokenFilter(product="p", status="active"))) == 302
    assert await list_ids(shop, TokenFilter(product="q", status="exhausted")) == []


@pytest.mark.parametrize(
    "damage",
    [("SET", "text"), ("RPUSH", "a list"), ("HSET", "product", "p"), ("HSET", "charged:0", "none")],
    ids=lambda damage: damage[0],
)
async def test_a_damaged_key_is_reported_and_does_not_break_the_list(
    shop: Repositories, damage: tuple[str, ...]
) -> None:
    made = await create_many(shop, 100)
    bad = (await shop.tokens.create("p")).record.id
    made |= await create_many(shop, 20)
    await shop.client.call("DEL", token_key(bad))
    await shop.client.call(damage[0], token_key(bad), *damage[1:])
    for limit in (10, 200):
        found: list[str] = []
        damaged: list[str] = []
        cursor = None
        while cursor or not found:
            page = await shop.tokens.list_page(TokenFilter(product="p"), limit, cursor)
            found += [record.id for record in page.tokens]
            damaged += page.damaged
            cursor = page.cursor
        assert set(found) == made
        assert set(damaged) == {bad}
    with pytest.raises(StoreUnavailable, match=f"token {bad} is damaged: .* DEL dg:token:.{bad}. removes it"):
        await shop.tokens.get(bad)


async def test_a_lost_manifest_does_not_break_the_list(shop: Repositories) -> None:
    await shop.products.register(manifest("several", "1", 1, 2, 3))
    minted = (await shop.tokens.create("several", max_downloads=1)).record
    others = await create_many(shop, 10)
    await shop.client.call("DEL", manifest_key(minted.manifest))
    shop.tokens._reader._sizes.clear()  # as in a process that starts now
    assert set(await list_ids(shop)) == others | {minted.id}
    record = await shop.tokens.get(minted.id)
    assert record is not None
    assert record.status == "active"


async def test_the_work_of_a_page_is_bounded(shop: Repositories, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "MAX_SCANNED", 250)
    await create_many(shop, 500)
    page = await shop.tokens.list_page(TokenFilter(status="revoked"), 50)
    assert page.tokens == ()
    assert page.cursor is not None
    assert await list_ids(shop, TokenFilter(status="revoked")) == []


async def test_tokens_without_an_entry_are_found_at_the_first_list(shop: Repositories) -> None:
    made = await create_many(shop, 600)
    await shop.client.call("DEL", TOKEN_INDEX_KEY)
    newer = (await shop.tokens.create("q")).record.id  # begins an index in which the others are missing
    listed = await list_ids(shop)
    assert listed[0] == newer
    assert set(listed[1:]) == made
    assert set(await list_ids(shop, TokenFilter(product="p"))) == made


async def test_a_list_does_not_wait_for_ever_while_the_index_is_filled(shop: Repositories) -> None:
    await create_many(shop, 1000)
    await shop.client.call("DEL", TOKEN_INDEX_KEY)
    with pytest.raises(StoreUnavailable, match="being made for the first time"):
        await shop.tokens.list_page(patience=0.0)
    assert len((await shop.tokens.list_page(limit=200)).tokens) == 200  # the filling went on


@pytest.mark.slow
@pytest.mark.timing
async def test_the_first_page_of_many_tokens_is_there_in_50_ms(shop: Repositories) -> None:
    await create_many(shop, 20_000)
    hers = (await shop.tokens.create("q", email="ada@example.com")).record.id
    await create_many(shop, 1000)
    await shop.tokens.list_page()
    for only in (
        None,
        TokenFilter(product="p"),
        TokenFilter(product="q"),
        TokenFilter(email="ada@example.com"),
    ):
        with lasts(most=0.05):
            page = await shop.tokens.list_page(only)
        assert len(page.tokens) == (50 if only in (None, TokenFilter(product="p")) else 1)
    assert page.tokens[0].id == hers


@pytest.mark.parametrize("text", ["", "0", "x" * 44, "0" * 43, "0" * 45, "0" * 16, "0" * 43 + "A"])
async def test_wrong_cursors_are_refused(repos: Repositories, text: str) -> None:
    with pytest.raises(ValueError, match="not a cursor"):
        await repos.tokens.list_page(cursor=text)


async def test_any_position_is_a_cursor(shop: Repositories) -> None:
    made = await create_many(shop, 5)
    assert (await shop.tokens.list_page(cursor="0" * 2 * POSITION_BYTES)).tokens == ()
    page = await shop.tokens.list_page(cursor="f" * 2 * POSITION_BYTES)
    assert {record.id for record in page.tokens} == made
