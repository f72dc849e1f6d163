"""Reading, claiming and settling a token, against a real store."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.errors import LIMIT_REACHED, TOKEN_INVALID, Refused, StoreUnavailable
from gateway.http.index_page import Terms
from gateway.runtime.deferred import stepped
from gateway.store.key_names import product_key, token_key
from gateway.store.scripts import SCRIPTS
from gateway.store.topology import Topology
from gateway.tokens.claims import NOT_RESERVED, Claims, opened_manifest
from tests.support.examples import examples
from tests.support.store_server import STORE_SECONDS, StoreServer
from tests.support.waiting import until

TOKEN = "0123456789abcdef" * 2
DIGEST = "d" * 64


@pytest.fixture
async def claims(store: StoreServer) -> AsyncIterator[Claims]:
    topology = Topology.connect([store.url], timeout=STORE_SECONDS, queue=100, scripts=SCRIPTS)
    made = Claims(topology)
    topology.start()
    await until(lambda: topology.is_ready)
    yield made
    await topology.stop()


@pytest.fixture
def client(store: StoreServer) -> redis.Redis:
    return redis.Redis.from_url(store.url, decode_responses=True)


@pytest.fixture(autouse=True)
def closed(client: redis.Redis) -> Any:
    yield
    client.close()


def put(client: redis.Redis, **fields: str | int) -> None:
    values: dict[Any, str | int] = {"manifest": DIGEST}
    client.hset(token_key(TOKEN), mapping=values | fields)


def charged(client: redis.Redis, file: int = 0) -> int | None:
    value = client.hget(token_key(TOKEN), f"charged:{file}")
    return None if value is None else int(value)


async def run(coroutine: Any) -> Any:
    """Step a coroutine that awaits outcomes, from a task."""
    return await stepped(coroutine).as_future()


async def refusal(coroutine: Any) -> object:
    with pytest.raises(Refused) as caught:
        await run(coroutine)
    return caught.value.refusal


READS = pytest.mark.parametrize(
    "read", [Claims.read_token, Claims.read_and_claim], ids=lambda read: read.__name__
)


@READS
async def test_what_a_token_opens(claims: Claims, client: redis.Redis, read: Any) -> None:
    put(client)
    reply = await run(read(claims, TOKEN))
    assert opened_manifest(reply) == DIGEST.encode()
    assert (reply.limit, reply.reserved) == (None, 0)
    assert charged(client) is None


@READS
@pytest.mark.parametrize("kind", ["unknown", "revoked"])
async def test_invalid_tokens_are_refused(claims: Claims, client: redis.Redis, read: Any, kind: str) -> None:
    if kind == "revoked":
        put(client, revoked=1, max=5, size=100)
    reply = await run(read(claims, TOKEN))
    with pytest.raises(Refused) as caught:
        opened_manifest(reply)
    assert caught.value.refusal is TOKEN_INVALID
    assert charged(client) is None


async def test_reading_and_claiming_reserves_the_only_file(claims: Claims, client: redis.Redis) -> None:
    put(client, max=2, size=100)
    for expected in (100, 200):
        assert (await run(claims.read_and_claim(TOKEN))).reserved == 100
        assert charged(client) == expected
    reply = await run(claims.read_and_claim(TOKEN))
    assert (opened_manifest(reply), reply.reserved) == (DIGEST.encode(), NOT_RESERVED)
    assert charged(client) == 200


async def test_reading_and_claiming_only_reads_where_there_are_several_files(
    claims: Claims, client: redis.Redis
) -> None:
    put(client, max=2)
    assert await run(claims.read_and_claim(TOKEN)) == (DIGEST.encode(), None, b"2", None, 0)
    assert charged(client) is None


@pytest.mark.parametrize("size", [1, 1000, 5 << 30, 1 << 42, (1 << 51) - 1])
async def test_claims_are_exact_at_any_size(claims: Claims, client: redis.Redis, size: int) -> None:
    put(client, max=2)
    await run(claims.claim(TOKEN, 0, size, size))
    await run(claims.claim(TOKEN, 0, size - 1, size)) if size > 1 else None
    allowance = 2 * size + size // 2
    room = allowance - (charged(client) or 0)
    assert await refusal(claims.claim(TOKEN, 0, room + 1, size)) is LIMIT_REACHED
    await run(claims.claim(TOKEN, 0, room, size))
    assert charged(client) == allowance
    assert await refusal(claims.claim(TOKEN, 0, 1, size)) is LIMIT_REACHED


async def test_files_are_metered_apart(claims: Claims, client: redis.Redis) -> None:
    put(client, max=1)
    await run(claims.claim(TOKEN, 0, 10, 10))
    await run(claims.claim(TOKEN, 7, 10, 10))
    assert (charged(client, 0), charged(client, 7), charged(client, 1)) == (10, 10, None)


async def test_a_claim_on_a_token_revoked_meanwhile(claims: Claims, client: redis.Redis) -> None:
    put(client, max=1, revoked=1)
    assert await refusal(claims.claim(TOKEN, 0, 10, 10)) is TOKEN_INVALID
    client.delete(token_key(TOKEN))
    assert await refusal(claims.claim(TOKEN, 0, 10, 10)) is TOKEN_INVALID


@pytest.mark.parametrize(
    ("before", "refund", "after"), [(100, 30, 70), (100, 100, 0), (100, 500, 0), (0, 5, 0)]
)
async def test_settling_returns_what_was_not_received(
    claims: Claims, client: redis.Redis, before: int, refund: int, after: int
) -> None:
    put(client, max=1, **{"charged:0": before})
    claims.settle(TOKEN, 0, refund)
    await run(claims.check())  # answered in order
    assert charged(client) == after


async def test_settling_does_not_bring_an_expired_token_back(claims: Claims, client: redis.Redis) -> None:
    claims.settle(TOKEN, 0, 5)
    await run(claims.check())
    assert not client.exists(token_key(TOKEN))


async def test_settling_keeps_the_expiry(claims: Claims, client: redis.Redis) -> None:
    put(client, max=1, **{"charged:0": 10})
    client.pexpireat(token_key(TOKEN), 4_000_000_000_000)
    claims.settle(TOKEN, 0, 5)
    await run(claims.claim(TOKEN, 0, 1, 100))
    assert client.pexpiretime(token_key(TOKEN)) == 4_000_000_000_000


async def test_a_refund_that_is_refused_is_kept(claims: Claims, client: redis.Redis) -> None:
    put(client, max=1, **{"charged:0": 10})
    client.config_set("maxmemory", 1)
    try:
        claims.settle(TOKEN, 0, 4)
        with pytest.raises(StoreUnavailable, match="OOM"):
            await run(claims.check())
        assert (claims.owed, charged(client)) == (1, 10)
    finally:
        client.config_set("maxmemory", 0)
    await until(lambda: not claims.owed)
    await run(claims.check())
    assert charged(client) == 6


STEPS = st.lists(st.tuples(st.sampled_from(["claim", "settle"]), st.integers(1, 150)), max_size=30)


@settings(
    max_examples=examples(30), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(STEPS)
async def test_the_sum_is_always_right(
    claims: Claims, client: redis.Redis, steps: list[tuple[str, int]]
) -> None:
    """Any sequence of claims and refunds, beside the same sums done here."""
    client.delete(token_key(TOKEN))
    put(client, max=3)
    known = 0
    for kind, amount in steps:
        if kind == "settle":
            claims.settle(TOKEN, 0, min(amount, known))
            known -= min(amount, known)
        elif known + amount <= 350:
            await run(claims.claim(TOKEN, 0, amount, 100))
            known += amount
        else:
            assert await refusal(claims.claim(TOKEN, 0, amount, 100)) is LIMIT_REACHED
    await run(claims.check())
    assert (charged(client) or 0) == known


@pytest.mark.parametrize("size", [1, 2, 3, 1000, (1 << 51) - 1])
@pytest.mark.parametrize("maximum", [1, 2])
async def test_the_tolerance_never_lets_a_further_download_begin(
    claims: Claims, client: redis.Redis, maximum: int, size: int
) -> None:
    put(client, max=maximum, size=size, **{"charged:0": maximum * size})
    assert (await run(claims.read_and_claim(TOKEN))).reserved == NOT_RESERVED
    assert await refusal(claims.claim(TOKEN, 0, size, size)) is LIMIT_REACHED
    assert await refusal(claims.claim(TOKEN, 0, size // 2 + 1, size)) is LIMIT_REACHED
    await run(claims.claim(TOKEN, 0, size // 2, size))
    assert charged(client) == maximum * size + size // 2


async def test_the_terms_of_a_link(claims: Claims, client: redis.Redis) -> None:
    """What an index tells: a product without a name (it was removed) is named by its id."""
    assert await run(claims.terms(TOKEN, "drums", 0)) == Terms("drums")
    put(client, expires=1_800_000_000_000, max=3, **{"charged:1": 7})
    client.hset(product_key("drums"), "name", "Épic")
    assert await run(claims.terms(TOKEN, "drums", 3)) == Terms("Épic", 1_800_000_000_000, 3, (0, 7, 0))
    assert await run(claims.terms(TOKEN, "drums", 0)) == Terms("Épic", 1_800_000_000_000, 3)
