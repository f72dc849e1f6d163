"""How often something may be done: by name, within a window of time, in all web processes together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from gateway.store.client import StoreClient
from gateway.web.problems import Problem
from gateway.web.quotas import Quota, Quotas
from tests.support.control_plane import read_store
from tests.support.store_server import StoreServer

FEW = Quota("few", 3, 60_000)
SHORT = Quota("short", 1, 50)


@pytest.fixture
async def client(store: StoreServer) -> AsyncIterator[StoreClient]:
    async with StoreClient([store.url], 10) as found:
        yield found


async def test_a_name_has_so_many_and_is_told_when_to_come_again(client: StoreClient) -> None:
    quotas, others = Quotas(client), Quotas(client)
    for _ in range(2):
        await quotas.take((FEW, "ann"))
    await others.take((FEW, "ann"))
    with pytest.raises(Problem) as refused:
        await quotas.take((FEW, "ann"))
    assert refused.value.status == 429
    assert 0 < int(refused.value.headers["Retry-After"]) <= 60
    await quotas.take((FEW, "bob"))
    await quotas.take((Quota("other", 3, 60_000), "ann"))


async def test_who_is_over_one_limit_takes_nothing_of_the_next(client: StoreClient) -> None:
    quotas, shared = Quotas(client), Quota("shared", 5, 60_000)
    for _ in range(3):
        await quotas.take((FEW, "ann"), (shared, "all"))
    for _ in range(10):
        with pytest.raises(Problem):
            await quotas.take((FEW, "ann"), (shared, "all"))
    await quotas.take((FEW, "bob"), (shared, "all"))
    await quotas.take((FEW, "bob"), (shared, "all"))
    with pytest.raises(Problem):
        await quotas.take((FEW, "bob"), (shared, "all"))


async def test_the_same_moment_is_counted_and_nobody_is_not(client: StoreClient) -> None:
    quotas = Quotas(client)
    done = await asyncio.gather(*(quotas.take((FEW, "ann")) for _ in range(20)), return_exceptions=True)
    assert done.count(None) == 3
    for _ in range(10):
        await quotas.take((FEW, ""))


async def test_what_is_given_back_can_be_taken_again(client: StoreClient) -> None:
    quotas = Quotas(client)
    await quotas.give_back((FEW, "ann"))  # nobody has taken anything
    for _ in range(2):
        await quotas.take((FEW, "ann"))
    for _ in range(5):
        await quotas.look((FEW, "ann"))
        await quotas.take((FEW, "ann"))
        with pytest.raises(Problem):
            await quotas.look((FEW, "ann"))
        await quotas.give_back((FEW, "ann"))
    await quotas.take((FEW, "ann"))
    with pytest.raises(Problem):
        await quotas.take((FEW, "ann"))


async def test_a_window_ends_and_the_store_has_no_name(client: StoreClient, store: StoreServer) -> None:
    quotas = Quotas(client)
    await quotas.take((SHORT, "ann@example.com"))
    assert "ann@example.com" not in await read_store(store.url)

    async with asyncio.timeout(30):
        while True:
            try:
                await quotas.take((SHORT, "ann@example.com"))
                break
            except Problem:
                await asyncio.sleep(0.01)
