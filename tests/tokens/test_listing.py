"""Pages of tokens, against a real store."""

from __future__ import annotations

import pytest

from gateway.errors import StoreUnavailable
from gateway.store.key_names import token_key
from gateway.tokens.listing import Position, TokenFilter
from gateway.tokens.repositories import Repositories
from tests.support.repositories import create_many, list_ids, manifest


@pytest.mark.parametrize("limit", [1, 7, 50, 200])
async def test_every_token_is_listed_once(repos: Repositories, limit: int) -> None:
    await repos.products.register(manifest("p", "1"))
    assert await list_ids(repos, limit=limit) == []
    made = await create_many(repos, 400)
    found = await list_ids(repos, limit=limit)
    assert len(found) == 400
    assert set(found) == made


@pytest.mark.slow
async def test_what_is_there_throughout_is_listed_once_while_the_store_grows(
    repos: Repositories,
) -> None:
    await repos.products.register(manifest("p", "1"))
    made = await create_many(repos, 300)
    found: list[str] = []
    cursor = None
    while True:
        page = await repos.tokens.list_page(None, 10, cursor)
        found += [record.id for record in page.tokens]
        await create_many(repos, 40)
        if page.cursor is None or len(found) > 5000:
            break
        cursor = page.cursor
    assert made <= set(found)
    assert len(found) == len(set(found))


async def test_nothing_is_skipped_while_the_store_shrinks(repos: Repositories) -> None:
    await repos.products.register(manifest("p", "1"))
    made = await create_many(repos, 100)
    doomed = sorted(await create_many(repos, 3000))
    found: list[str] = []
    cursor = None
    while True:
        page = await repos.tokens.list_page(None, 10, cursor)
        found += [record.id for record in page.tokens]
        gone, doomed = doomed[:300], doomed[300:]
        if gone:
            await repos.client.call("DEL", *map(token_key, gone))
        if page.cursor is None:
            break
        cursor = page.cursor
    assert made <= set(found)


async def test_filters_select_by_product_status_and_email(repos: Repositories) -> None:
    await repos.products.register(manifest("p", "1"))
    await repos.products.register(manifest("q", "1"))
    await create_many(repos, 300)
    mine = (await repos.tokens.create("q", email="Ada@Example.com")).record.id
    revoked = (await repos.tokens.create("q")).record.id
    await repos.tokens.revoke(revoked)
    used = (await repos.tokens.create("p", max_downloads=1)).record.id
    await repos.client.call("HSET", token_key(used), "charged:0", 100)
    assert set(await list_ids(repos, TokenFilter(product="q"))) == {mine, revoked}
    assert await list_ids(repos, TokenFilter(email="ada@example.com")) == [mine]
    assert await list_ids(repos, TokenFilter(status="revoked")) == [revoked]
    assert await list_ids(repos, TokenFilter(status="exhausted")) == [used]
    assert len(await list_ids(repos, TokenFilter(product="p", status="active"))) == 300
    assert await list_ids(repos, TokenFilter(product="q", status="exhausted")) == []


@pytest.mark.parametrize(
    "damage",
    [("SET", "text"), ("RPUSH", "a list"), ("HSET", "product", "p"), ("HSET", "charged:0", "none")],
    ids=lambda damage: damage[0],
)
async def test_a_damaged_key_is_reported_and_does_not_break_the_list(
    repos: Repositories, damage: tuple[str, ...]
) -> None:
    await repos.products.register(manifest("p", "1"))
    made = await create_many(repos, 100)
    bad = "f" * 32
    await repos.client.call(damage[0], token_key(bad), *damage[1:])
    for limit in (10, 200):
        found: list[str] = []
        damaged: list[str] = []
        cursor = None
        while cursor or not found:
            page = await repos.tokens.list_page(TokenFilter(product="p"), limit, cursor)
            found += [record.id for record in page.tokens]
            damaged += page.damaged
            cursor = page.cursor
        assert set(found) == made
        assert damaged == [bad]
    with pytest.raises(StoreUnavailable, match=f"token {bad} is damaged: .* DEL dg:token:.{bad}. removes it"):
        await repos.tokens.get(bad)


async def test_the_work_of_a_page_is_bounded(repos: Repositories) -> None:
    await repos.products.register(manifest("p", "1"))
    await create_many(repos, 8000)
    page = await repos.tokens.list_page(TokenFilter(product="none"), 50)
    assert page.tokens == ()
    assert page.cursor is not None
    assert await list_ids(repos, TokenFilter(product="none")) == []


@pytest.mark.parametrize(
    "text", ["", "0", "x" * 16, "0" * 15, "0" * 17, "0" * 16 + "A" * 32, "0" * 16 + "0" * 32 * 201]
)
async def test_wrong_cursors_are_refused(repos: Repositories, text: str) -> None:
    with pytest.raises(ValueError, match="not a cursor"):
        await repos.tokens.list_page(cursor=text)


def test_a_position_survives_as_a_cursor() -> None:
    for position in (Position(0, ("ab" * 16,)), Position(2**64 - 1), Position(5, ("00" * 16, "ff" * 16))):
        assert Position.decode(position.encode()) == position
