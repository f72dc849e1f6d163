"""The store off the hot path, against a real one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from gateway.errors import ConfigurationError, StoreUnavailable
from gateway.manifest import Manifest, ManifestFile
from gateway.secrets import token_id
from gateway.store.key_names import token_key
from gateway.tokens.listing import Position
from gateway.tokens.repository import Declined, TokenFilter, TokenStore
from tests.support.store_server import StoreServer
from tests.support.timing import lasts


def manifest(product: str, version: str, *sizes: int, sha256: str = "0" * 64) -> Manifest:
    files = [
        ManifestFile(f"{index}.bin", size, "application/zip", sha256, "0" * 8, "main", f"{index}", 7)
        for index, size in enumerate(sizes or (100,))
    ]
    return Manifest(product, version, tuple(files))


@pytest.fixture
async def tokens(store: StoreServer) -> AsyncIterator[TokenStore]:
    async with TokenStore.connect(store.url) as connected:
        yield connected


# products


async def test_the_first_version_becomes_active(tokens: TokenStore) -> None:
    first = await tokens.register_manifest(manifest("p", "1"), name="Drums")
    assert (first.id, first.name, first.status, first.active) == ("p", "Drums", "active", "1")
    assert (await tokens.register_manifest(manifest("p", "2", 5))).active == "1"
    third = await tokens.register_manifest(manifest("p", "3", 6), activate=True)
    assert (third.active, third.name, sorted(third.versions)) == ("3", "Drums", ["1", "2", "3"])
    assert await tokens.get_manifest(third.versions["2"]) == manifest("p", "2", 5)
    assert await tokens.list_products() == [third]


async def test_a_version_never_changes(tokens: TokenStore) -> None:
    before = await tokens.register_manifest(manifest("p", "1"))
    assert await tokens.register_manifest(manifest("p", "1")) == before
    with pytest.raises(Declined, match="never changes") as told:
        await tokens.register_manifest(manifest("p", "1", 101))
    assert told.value.code == "version_conflict"
    assert await tokens.get_product("p") == before


async def test_racing_registrations_agree(tokens: TokenStore) -> None:
    wanted = [manifest("p", "1", size) for size in range(1, 20)]
    answers = await asyncio.gather(*(tokens.register_manifest(one) for one in wanted), return_exceptions=True)
    assert sum(not isinstance(answer, Declined) for answer in answers) == 1


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        (Manifest("", "1", manifest("p", "1").files), "product"),
        (Manifest("a/b", "1", manifest("p", "1").files), "product"),
        (Manifest("p", ".1", manifest("p", "1").files), "version"),
        (Manifest("p", "1", ()), "files"),
        (Manifest("p", "1", manifest("p", "1").files * 2), "files[1].name"),
        (Manifest("p", "1", manifest("p", "1").files * 10_001), "files"),
        (manifest("p", "1", 1, -1), "files[1].size"),
        (manifest("p", "1", 2**53), "files[0].size"),
        (manifest("p", "1", sha256="0" * 63), "files[0].sha256"),
        (manifest("p", "1", sha256="A" * 64), "files[0].sha256"),
    ],
)
async def test_wrong_manifests(tokens: TokenStore, wrong: Manifest, field: str) -> None:
    with pytest.raises(Declined) as told:
        await tokens.register_manifest(wrong)
    assert (told.value.code, told.value.faults[0][0]) == ("invalid", field)
    assert await tokens.call("DBSIZE") == 0


@pytest.mark.parametrize(
    ("name", "good"),
    [("..", False), ("a/../b", False), ("./a", False), ("a/.b/..c/d..", True), ("...", True)],
)
async def test_names_that_no_link_can_carry(tokens: TokenStore, name: str, good: bool) -> None:
    plain = manifest("p", "1")
    named = replace(plain, files=(replace(plain.files[0], name=name),))
    if good:
        await tokens.register_manifest(named)
        return
    with pytest.raises(Declined) as told:
        await tokens.register_manifest(named)
    [(field, message)] = told.value.faults
    assert (field, "clients take those out of a link" in message) == ("files[0].name", True)


@pytest.mark.parametrize(
    ("name", "good"),
    [
        ("a", True),
        ('weird: "quotes"; \r\n ../ 🎹', True),
        ("é" * 512, True),
        ("", False),
        ("a\0", False),
        ("é" * 513, False),
        ("\ud800", False),
    ],
)
async def test_names_of_files(tokens: TokenStore, name: str, good: bool) -> None:
    one = Manifest("p", "1", (ManifestFile(name, 1, "a/b", "0" * 64, "0" * 8, "main", "k", 7),))
    if good:
        product = await tokens.register_manifest(one)
        assert await tokens.get_manifest(product.versions["1"]) == one
    else:
        with pytest.raises(Declined, match=r"files\[0\].name"):
            await tokens.register_manifest(one)


async def test_making_and_changing_products(tokens: TokenStore) -> None:
    made = await tokens.create_product("p", "Drums")
    assert (made.name, made.active, made.versions) == ("Drums", None, {})
    assert abs(made.created / 1000 - time.time()) < 5
    with pytest.raises(Declined, match="exists"):
        await tokens.create_product("p")
    with pytest.raises(Declined, match="no product q"):
        await tokens.update_product("q", name="x")
    with pytest.raises(Declined, match="no product q"):
        await tokens.register_manifest(manifest("q", "1"), create=False)
    with pytest.raises(Declined, match="no version 9"):
        await tokens.update_product("p", name="never", active="9")
    await tokens.register_manifest(manifest("p", "1"))
    changed = await tokens.update_product("p", name="New", status="archived", active="1")
    assert (changed.name, changed.status, changed.active) == ("New", "archived", "1")
    with pytest.raises(Declined, match="archived"):
        await tokens.create_token("p")


# tokens


async def test_times_are_the_stores(tokens: TokenStore) -> None:
    await tokens.register_manifest(manifest("p", "1"))
    minted = await tokens.create_token("p", expires_in=60)
    record = minted.record
    assert record.expires - record.created == 60_000
    assert await tokens.call("PEXPIRETIME", token_key(record.id)) == record.expires
    assert record.id == token_id(minted.token)
    assert minted.token not in repr(minted)
    assert await tokens.get_token(record.id) == record
    at = await tokens.create_token("p", expires_at=record.expires + 1)
    assert at.record.expires == record.expires + 1
    assert await tokens.create_token("p", expires_in=5, token=minted.token) == minted
    with pytest.raises(Declined, match="past"):
        await tokens.create_token("p", expires_at=record.created)
    with pytest.raises(Declined, match="expiresIn"):
        await tokens.create_token("p", expires_in=0)


async def test_revoking_keeps_the_expiry(tokens: TokenStore) -> None:
    await tokens.register_manifest(manifest("p", "1"))
    record = (await tokens.create_token("p", max_downloads=1)).record
    revoked = await tokens.revoke_token(record.id)
    assert (revoked.status, revoked.expires) == ("revoked", record.expires)
    assert await tokens.revoke_token(record.id) == revoked
    assert await tokens.call("PEXPIRETIME", token_key(record.id)) == record.expires
    with pytest.raises(Declined, match="revoked"):
        await tokens.update_token(record.id, expires_at=record.expires + 5)
    for unknown in ("0" * 32, "", "*", record.id.upper()):
        with pytest.raises(Declined, match="no such token"):
            await tokens.revoke_token(unknown)


async def test_changing(tokens: TokenStore) -> None:
    await tokens.register_manifest(manifest("p", "1"))
    record = (await tokens.create_token("p", expires_in=60)).record
    key = token_key(record.id)
    changed = await tokens.update_token(record.id, expires_at=record.expires + 777, max_downloads=2)
    assert (changed.expires, changed.max_downloads) == (record.expires + 777, 2)
    assert await tokens.call("PEXPIRETIME", key) == record.expires + 777
    assert await tokens.call("HMGET", key, "max", "size") == ["2", "100"]
    assert await tokens.update_token(record.id) == changed
    unlimited = await tokens.update_token(record.id, max_downloads=None)
    assert unlimited.max_downloads is None
    assert await tokens.call("HMGET", key, "max", "size") == [None, None]
    for wrong, code in ((record.created, "expiry_past"), (record.created + 999_000, "expiry_too_far")):
        with pytest.raises(Declined) as told:
            await tokens.update_token(record.id, expires_at=wrong, max_downloads=5, max_lifetime=600)
        assert told.value.code == code
    assert await tokens.get_token(record.id) == unlimited  # all or nothing


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
async def test_exhausted(
    tokens: TokenStore, sizes: tuple[int, ...], charged: dict[int, int], exhausted: bool
) -> None:
    await tokens.register_manifest(manifest("p", "1", *sizes))
    record = (await tokens.create_token("p", max_downloads=2)).record
    for file, count in charged.items():
        await tokens.call("HINCRBY", token_key(record.id), f"charged:{file}", count)
    found = await tokens.get_token(record.id)
    assert found is not None
    assert found.charged == charged
    assert found.status == ("exhausted" if exhausted else "active")


# the list


async def walk(tokens: TokenStore, wanted: TokenFilter | None = None, limit: int = 7) -> list[str]:
    found: list[str] = []
    cursor = None
    while True:
        page = await tokens.list_tokens(wanted, limit, cursor)
        assert len(page.tokens) <= limit
        found += [record.id for record in page.tokens]
        if page.cursor is None:
            return found
        cursor = page.cursor
        assert len(cursor) < 6500


async def create_many(tokens: TokenStore, count: int) -> set[str]:
    minted = await asyncio.gather(*(tokens.create_token("p") for _ in range(count)))
    return {one.record.id for one in minted}


@pytest.mark.parametrize("limit", [1, 7, 50, 200])
async def test_every_token_once(tokens: TokenStore, limit: int) -> None:
    await tokens.register_manifest(manifest("p", "1"))
    assert await walk(tokens, limit=limit) == []
    made = await create_many(tokens, 400)
    found = await walk(tokens, limit=limit)
    assert len(found) == 400
    assert set(found) == made


async def test_what_is_there_throughout_is_listed_once_while_the_store_grows(tokens: TokenStore) -> None:
    await tokens.register_manifest(manifest("p", "1"))
    made = await create_many(tokens, 300)
    found: list[str] = []
    cursor = None
    while True:
        page = await tokens.list_tokens(None, 10, cursor)
        found += [record.id for record in page.tokens]
        await create_many(tokens, 40)
        if page.cursor is None or len(found) > 5000:
            break
        cursor = page.cursor
    assert made <= set(found)
    assert len(found) == len(set(found))


async def test_nothing_is_skipped_while_the_store_shrinks(tokens: TokenStore) -> None:
    await tokens.register_manifest(manifest("p", "1"))
    made = await create_many(tokens, 100)
    doomed = sorted(await create_many(tokens, 3000))
    found: list[str] = []
    cursor = None
    while True:
        page = await tokens.list_tokens(None, 10, cursor)
        found += [record.id for record in page.tokens]
        gone, doomed = doomed[:300], doomed[300:]
        if gone:
            await tokens.call("DEL", *map(token_key, gone))
        if page.cursor is None:
            break
        cursor = page.cursor
    assert made <= set(found)


async def test_filters(tokens: TokenStore) -> None:
    await tokens.register_manifest(manifest("p", "1"))
    await tokens.register_manifest(manifest("q", "1"))
    await create_many(tokens, 300)
    mine = (await tokens.create_token("q", email="Ada@Example.com")).record.id
    revoked = (await tokens.create_token("q")).record.id
    await tokens.revoke_token(revoked)
    used = (await tokens.create_token("p", max_downloads=1)).record.id
    await tokens.call("HSET", token_key(used), "charged:0", 100)
    assert set(await walk(tokens, TokenFilter(product="q"))) == {mine, revoked}
    assert await walk(tokens, TokenFilter(email="ada@example.com")) == [mine]
    assert await walk(tokens, TokenFilter(status="revoked")) == [revoked]
    assert await walk(tokens, TokenFilter(status="exhausted")) == [used]
    assert len(await walk(tokens, TokenFilter(product="p", status="active"))) == 300
    assert await walk(tokens, TokenFilter(product="q", status="exhausted")) == []


@pytest.mark.parametrize(
    "damage",
    [("SET", "text"), ("RPUSH", "a list"), ("HSET", "product", "p"), ("HSET", "charged:0", "none")],
    ids=lambda damage: damage[0],
)
async def test_a_damaged_key_spoils_no_list(tokens: TokenStore, damage: tuple[str, ...]) -> None:
    await tokens.register_manifest(manifest("p", "1"))
    made = await create_many(tokens, 100)
    bad = "f" * 32
    await tokens.call(damage[0], token_key(bad), *damage[1:])
    for limit in (10, 200):
        found: list[str] = []
        damaged: list[str] = []
        cursor = None
        while cursor or not found:
            page = await tokens.list_tokens(TokenFilter(product="p"), limit, cursor)
            found += [record.id for record in page.tokens]
            damaged += page.damaged
            cursor = page.cursor
        assert set(found) == made
        assert damaged == [bad]
    with pytest.raises(StoreUnavailable, match=f"token {bad} is damaged: .* DEL dg:token:.{bad}. removes it"):
        await tokens.get_token(bad)


async def test_a_page_is_bounded_work(tokens: TokenStore) -> None:
    await tokens.register_manifest(manifest("p", "1"))
    await create_many(tokens, 8000)
    page = await tokens.list_tokens(TokenFilter(product="none"), 50)
    assert page.tokens == ()
    assert page.cursor is not None
    assert await walk(tokens, TokenFilter(product="none")) == []


@pytest.mark.parametrize(
    "text", ["", "0", "x" * 16, "0" * 15, "0" * 17, "0" * 16 + "A" * 32, "0" * 16 + "0" * 32 * 201]
)
async def test_wrong_cursors(tokens: TokenStore, text: str) -> None:
    with pytest.raises(ValueError, match="not a cursor"):
        await tokens.list_tokens(cursor=text)


def test_cursors_survive() -> None:
    for position in (Position(0, ("ab" * 16,)), Position(2**64 - 1), Position(5, ("00" * 16, "ff" * 16))):
        assert Position.decode(position.encode()) == position


# API keys


async def test_keys(tokens: TokenStore) -> None:
    shop = await tokens.create_key("shop", "mint")
    admin = await tokens.create_key("admin")
    twin = await tokens.create_key("shop")
    assert shop.key not in repr(shop)
    assert await tokens.authenticate(shop.key) == shop.record
    assert (await tokens.authenticate(admin.key) or shop.record).role == "admin"
    for unknown in ("", "gk_" + "a" * 43, shop.key + "x", "é", "x" * 10_000):
        assert await tokens.authenticate(unknown) is None
    assert {key.id for key in await tokens.list_keys()} == {key.record.id for key in (shop, admin, twin)}
    with pytest.raises(Declined, match="by id"):
        await tokens.revoke_key("shop")
    assert await tokens.revoke_key(shop.record.id) == shop.record
    assert await tokens.revoke_key("shop") == twin.record
    assert await tokens.authenticate(shop.key) is None
    with pytest.raises(Declined) as told:
        await tokens.revoke_key(shop.key)
    assert shop.key not in str(told.value)
    with pytest.raises(Declined, match="role"):
        await tokens.create_key("x", "root")


async def test_no_secret_reaches_the_store(tokens: TokenStore) -> None:
    await tokens.register_manifest(manifest("p", "1"))
    secrets = [(await tokens.create_token("p", email="a@b", metadata={"a": 1})).token for _ in range(5)]
    secrets += [(await tokens.create_key("k")).key]
    held = []
    for key in await tokens.call("KEYS", "*"):
        held.append(key)
        held.append(str(await tokens.call("DUMP", key)))
    text = "\n".join(held)
    assert not any(secret in text or secret[3:] in text for secret in secrets)


# the link


@pytest.mark.parametrize("url", ["", "http://x", "redis://:sec/ret@host", "redis://u:secret@host:port"])
def test_wrong_urls_are_not_quoted(url: str) -> None:
    with pytest.raises(ConfigurationError) as told:
        TokenStore.connect(url)
    assert "sec" not in str(told.value)
    assert told.value.__suppress_context__


@pytest.mark.parametrize(
    "url",
    ["redis://user:secret@127.0.0.1:1/0", "unix://:secret@/nowhere/store.sock", "redis://:secret@256.0.0.1"],
)
async def test_no_store_there(url: str) -> None:
    async with TokenStore.connect(url, 0.5) as tokens:
        with pytest.raises(StoreUnavailable) as told:
            await tokens.ping()
        assert "secret" not in str(told.value)


async def test_wrong_password(own_store: StoreServer) -> None:
    async with TokenStore.connect(own_store.url) as tokens:
        await tokens.call("CONFIG", "SET", "requirepass", "opensesame")
    for url in (own_store.url, own_store.url.replace("unix://", "unix://:wrongsecret@")):
        async with TokenStore.connect(url) as tokens:
            with pytest.raises(StoreUnavailable) as told:
                await tokens.list_products()
            assert "secret" not in str(told.value)
    async with TokenStore.connect(own_store.url.replace("unix://", "unix://:opensesame@")) as tokens:
        await tokens.ping()


async def test_the_store_goes_and_comes_back(own_store: StoreServer) -> None:
    async with TokenStore.connect(own_store.url, 0.5) as tokens:
        await tokens.register_manifest(manifest("p", "1"))
        await asyncio.gather(*(tokens.create_token("p") for _ in range(50)))
        own_store.stop()
        answers = await asyncio.gather(*(tokens.create_token("p") for _ in range(50)), return_exceptions=True)
        assert all(isinstance(answer, StoreUnavailable) for answer in answers)
        own_store.start()  # empty: the scripts are gone too
        await tokens.register_manifest(manifest("p", "1"))
        assert len(await create_many(tokens, 50)) == 50


@pytest.mark.timing
async def test_a_store_that_hangs(own_store: StoreServer) -> None:
    async with TokenStore.connect(own_store.url, 0.3) as tokens:
        await tokens.ping()
        async with TokenStore.connect(own_store.url, 5) as other:
            await other.call("CLIENT", "PAUSE", 1500, "ALL")
            with lasts(most=1), pytest.raises(StoreUnavailable, match=r"0\.3 s"):
                await tokens.ping()
            await asyncio.sleep(1.5)
            await tokens.ping()


async def test_a_full_store(own_store: StoreServer) -> None:
    async with TokenStore.connect(own_store.url) as tokens:
        await tokens.register_manifest(manifest("p", "1"))
        await tokens.call("CONFIG", "SET", "maxmemory", 1)
        with pytest.raises(StoreUnavailable, match="OutOfMemory"):
            await tokens.create_token("p")


async def test_late_replies_are_nobodys(own_store: StoreServer) -> None:
    async with TokenStore.connect(own_store.url, 0.2) as tokens:
        await tokens.call("SET", "a", "first")
        await tokens.call("CLIENT", "PAUSE", 500, "ALL")
        with pytest.raises(StoreUnavailable, match="did not answer"):
            await tokens.call("GET", "a")
        await asyncio.sleep(0.4)
        answers = await asyncio.gather(tokens.call("ECHO", "x"), tokens.call("GET", "a"))
        assert list(answers) == ["x", "first"]


async def test_callers_that_go_away_disturb_nobody(tokens: TokenStore) -> None:
    await tokens.register_manifest(manifest("p", "1"))
    ids = sorted(await create_many(tokens, 200))

    async def check(identifier: str) -> None:
        for _ in range(10):
            record = await tokens.get_token(identifier)
            assert record is not None
            assert record.id == identifier

    tasks = [asyncio.create_task(check(identifier)) for identifier in ids]
    for task in tasks[::2]:
        await asyncio.sleep(0)
        task.cancel()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(answer is None for answer in answers[1::2])


async def test_a_caller_of_every_turn_is_served(tokens: TokenStore) -> None:
    """A request made in the very turn in which the last sender ends must not wait for ever."""

    async def ask_often() -> None:
        for _ in range(300):
            await tokens.ping()

    async with asyncio.timeout(20):
        await asyncio.gather(*(ask_often() for _ in range(8)))
